"""Commands are read, and only a chat and person on the list together may give them."""

from __future__ import annotations

import pytest

from allegro.core.base.untrusted import Unreadable
from allegro.core.chat.allow import AllowList, Stranger, admit, read_allow_list
from allegro.core.chat.commands import Words, read_command
from allegro.core.chat.received import Command, Content, Ignored, Sender, Tap

GROUP = Sender(-100, 7)


def allowed(*entries: str) -> AllowList:
    read = read_allow_list(entries)
    assert isinstance(read, AllowList)
    return read


def said_by(sender: Sender) -> Command:
    return Command(sender, 1, "stop", "", 5)


def test_chat_and_person_must_be_on_the_list_together() -> None:
    both = allowed("-100:7", "8")
    assert admit(said_by(GROUP), both) == said_by(GROUP)
    assert admit(said_by(Sender(8, 8)), both) == said_by(Sender(8, 8))
    for stranger in (Sender(-100, 8), Sender(7, 7), Sender(8, 7), Sender(-101, 7), Sender(100, 7)):
        assert admit(said_by(stranger), both) == Stranger(stranger)


def test_an_empty_list_lets_nobody_in() -> None:
    assert admit(said_by(GROUP), allowed()) == Stranger(GROUP)


@pytest.mark.parametrize(
    ("content", "result"),
    [
        (Ignored("edited", GROUP), None),
        (Ignored("edited", Sender(1, 1)), Stranger(Sender(1, 1))),
        (Ignored("channel post"), None),
        (Unreadable("cut"), None),
        (Tap("1", Sender(1, 1), 3, ""), Stranger(Sender(1, 1))),
    ],
)
def test_what_is_no_command_is_never_acted_on(content: Content, result: Stranger | None) -> None:
    assert admit(content, allowed("-100:7")) == result


@pytest.mark.parametrize(
    "entry",
    ["", ":", "x", "7:", ":x", "-7", "0", "7:0", "7:-7", "1:2:3", "٣", "²", "9" * 20, "--7:7"],
)
def test_an_entry_that_names_nobody_is_refused_with_a_sentence(entry: str) -> None:
    assert isinstance(read_allow_list((entry,)), str)


@pytest.mark.parametrize(
    ("text", "bot", "result"),
    [
        ("/stop", "fleet_bot", Words("stop", "")),
        ("/STOP now\nplease ", "fleet_bot", Words("stop", "now\nplease")),
        ("/stop@Fleet_Bot", "fleet_bot", Words("stop", "")),
        ("/stop@other_bot", "fleet_bot", "other_bot"),
        ("/stop@other_bot", "", Words("stop", "")),
        (" /stop", "", None), ("stop", "", None), ("/", "", None), ("/1", "", None), ("", "", None),
        ("/stop" * 9_000, "", None), ("/stöp", "", None), ("/stop\x00", "", None),
    ],
)  # fmt: skip
def test_a_message_is_read_as_the_command_it_is(
    text: str, bot: str, result: Words | str | None
) -> None:
    assert read_command(text, bot) == result


def test_a_long_argument_is_cut() -> None:
    words = read_command("/stop " + "x" * 5_000, "")
    assert isinstance(words, Words)
    assert len(words.argument) == 300
