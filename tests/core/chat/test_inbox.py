"""What was read is acted on once: by who confirmed it, after a restart too."""

from __future__ import annotations

from allegro.core.chat.inbox import (
    MOST_WAITING,
    SEEN,
    Inbox,
    confirmed,
    done,
    fresh,
    settled,
    stored,
)
from allegro.core.chat.received import Batch, Command, Ignored, Sender, Tap, Update

ROSA = Sender(77, 77)


def command(message: int, name: str = "status", argument: str = "") -> Command:
    return Command(ROSA, message, name, argument, 1_000)


def tap(id_: str) -> Tap:
    return Tap(id_, ROSA, 5, "ack~~n:1~" + "a" * 16)


def batch(*updates: tuple[int, Command | Tap | Ignored]) -> Batch:
    read = tuple(Update(number, content) for number, content in updates)
    return Batch(read, max((number for number, _ in updates), default=None))


def inbox(*updates: tuple[int, Command | Tap], epoch: int = 1) -> Inbox:
    return stored(Inbox(), list(updates), epoch, 1_000.0)


def ours(one: Inbox) -> list[int]:
    return [waits.number for waits in one.waiting if waits.is_ours]


def test_what_was_stored_once_is_never_fresh_again_though_it_is_done() -> None:
    first: list[tuple[int, Command | Tap]] = [(1, command(10)), (2, tap("a"))]
    held = inbox(*first)
    assert fresh(Inbox(), [*first, *first]) == first
    for key in (command(10).key, tap("a").key):
        held = done(held, key)
    assert held.waiting == ()
    assert fresh(held, first) == []


def test_it_is_ours_once_the_service_was_told() -> None:
    held = confirmed(inbox((1, command(10)), (3, command(11))), 2)
    assert ours(held) == [1]
    assert held.is_unconfirmed


def test_what_comes_again_after_a_restart_waits_for_its_confirmation() -> None:
    held = inbox((7, command(10)))
    assert ours(settled(held, batch((7, command(10))), alone_since=1)) == []


def test_what_does_not_come_again_was_confirmed_before_the_restart() -> None:
    held = inbox((7, command(10)))
    assert ours(settled(held, batch(), alone_since=1)) == [7]
    assert ours(settled(held, batch((8, command(11))), alone_since=1)) == [7]


def test_what_lies_behind_a_short_batch_is_not_judged_yet() -> None:
    held = inbox((7, command(10)))
    assert settled(held, batch((5, Ignored("no command"))), alone_since=1) == held


def test_what_another_lane_read_meanwhile_is_left_to_it_but_for_presses() -> None:
    held = inbox((7, command(10)), (8, tap("a")), epoch=1)
    assert ours(settled(held, batch(), alone_since=3)) == [8]
    assert len(settled(held, batch(), alone_since=3).waiting) == 1


def test_only_a_stop_keeps_the_words_behind_it() -> None:
    held = inbox((1, command(10, "status", "a secret")), (2, command(11, "stop", "smoke")))
    arguments = [one.content.argument for one in held.waiting if isinstance(one.content, Command)]
    assert arguments == ["", "smoke"]


def test_an_inbox_is_bounded_whatever_is_written() -> None:
    held = inbox(*((n, command(n)) for n in range(1, 1_000)))
    assert len(held.waiting) == MOST_WAITING
    assert len(held.seen) == SEEN
