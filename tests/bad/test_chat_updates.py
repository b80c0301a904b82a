"""Every kind of update, with every field bent, is read as a value; nothing bent becomes another's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from allegro.adapters.channels.telegram.updates import read_update
from allegro.core.base.untrusted import Unreadable, read_loose_json
from allegro.core.chat.received import Command, Ignored, Tap, Update
from allegro.testing.telegram.world import World

from . import values as bad


def updates() -> Iterator[tuple[str, dict[str, Any]]]:
    world = World(lambda: 1_000.0)
    world.allowed = [
        "message",
        "edited_message",
        "channel_post",
        "callback_query",
        "my_chat_member",
    ]
    made = {
        "message": world.says(77, "/stop now"), "forward": world.forwards(77, "/stop"),
        "anonymous": world.says_anonymously(-100, "/stop"), "post": world.posts(-200, "/stop"),
        "press": world.presses(77, 77, 101, "ack~~a1~" + "a" * 16),
        "member": world.queue("my_chat_member", {"chat": world.chat(77)}),
    }  # fmt: skip
    said = made["message"]
    assert said is not None
    made["edit"] = world.edits(said, "/stop")
    for name, update in made.items():
        assert update is not None
        yield name, update


@pytest.mark.parametrize(("kind", "update"), list(updates()), ids=lambda one: str(one)[:12])
def test_a_bent_update_is_read_as_a_value(kind: str, update: dict[str, Any]) -> None:
    whole = read_update(update, "bot").content
    for name, raw in bad.bent_json(update):
        loose = read_loose_json(raw)
        read = read_update(loose, "bot")
        assert isinstance(read, Update), name
        assert isinstance(read.content, Command | Tap | Ignored | Unreadable), name
        if kind not in {"message", "press"}:
            expected = Ignored | Unreadable | (Command if _undone(kind, name) else Ignored)
            assert isinstance(read.content, expected), name
        if isinstance(read.content, Command) and isinstance(whole, Command):
            assert read.content.sender.person > 0, name


def _undone(kind: str, name: str) -> bool:
    """Whether the bend took the very mark away, which makes it an ordinary message."""
    return kind == "forward" and name == "message.forward_origin: missing"


def test_a_mark_counts_by_being_there_whatever_its_value() -> None:
    update = dict(updates())["message"]
    for mark in ("forward_origin", "forward_date", "edit_date", "sender_chat", "via_bot"):
        for row in bad.VALUES:
            if row.value is bad.MISSING:
                continue
            bent = update | {"message": update["message"] | {mark: row.value}}
            assert isinstance(read_update(bent, "bot").content, Ignored), (mark, row.name)
