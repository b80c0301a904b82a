"""`/stop`: the same message is the same freeze, one freeze for each sender, and a thaw can mute."""

from __future__ import annotations

import pytest

from allegro.core.authority.freeze import FreezeSet, add, is_sound, thaw
from allegro.core.chat.received import Command, Sender
from allegro.core.chat.stopping import Kept, Made, Muted, Over, Stop, judge_stop, source_of

ROSA = Sender(-100_123, 77)
NOW_S = 1_000_000.0
NOTHING = FreezeSet()


def stop(
    freezes: FreezeSet = NOTHING, *, message: int = 5, sender: Sender = ROSA, at_s: int = 999_000,
    argument: str = "", muted: frozenset[str] = frozenset(),
) -> Stop:  # fmt: skip
    command = Command(sender, message, "stop", argument, at_s)
    return judge_stop("telegram", command, freezes, muted, NOW_S)


def made(result: Stop) -> Made:
    assert isinstance(result, Made)
    return result


def test_a_stop_makes_a_freeze_that_every_lane_keeps_as_it_is() -> None:
    freeze = made(stop(argument="smoke in the kitchen")).freeze
    assert is_sound(freeze)
    assert (freeze.by, freeze.at_s, freeze.reason) == (
        "telegram:77", 999_000.0, "smoke in the kitchen",
    )  # fmt: skip


def test_the_same_message_read_on_another_lane_is_the_same_freeze() -> None:
    assert made(stop()).freeze == made(stop()).freeze


@pytest.mark.parametrize(
    ("message", "sender"), [(6, ROSA), (5, Sender(-100_124, 77)), (55, Sender(-100_12, 377))]
)
def test_another_message_is_another_freeze(message: int, sender: Sender) -> None:
    assert made(stop(message=message, sender=sender)).freeze.id != made(stop()).freeze.id


def test_a_second_stop_of_a_sender_keeps_the_first_freeze() -> None:
    first = made(stop()).freeze
    assert stop(add(NOTHING, first), message=6) == Kept(first.id)
    assert stop(add(NOTHING, first), message=6, sender=Sender(77, 77)) == Kept(first.id)


def test_a_stop_of_somebody_else_is_a_freeze_of_its_own() -> None:
    standing = add(NOTHING, made(stop()).freeze)
    assert isinstance(stop(standing, message=6, sender=Sender(-100_123, 78)), Made)


def test_an_old_stop_read_again_after_its_thaw_freezes_nothing() -> None:
    first = made(stop()).freeze
    assert stop(thaw(add(NOTHING, first), (first.id,))) == Over(first.id)
    assert stop(FreezeSet(thawed=frozenset({first.id}))) == Over(first.id)


def test_a_new_stop_after_a_thaw_freezes_again() -> None:
    first = made(stop()).freeze
    assert isinstance(stop(thaw(add(NOTHING, first), (first.id,)), message=6), Made)


def test_a_thaw_can_take_a_senders_stops_away() -> None:
    muted = frozenset({source_of("telegram", ROSA)})
    assert stop(muted=muted) == Muted("telegram:77")
    assert isinstance(stop(muted=muted, sender=Sender(-100_123, 78)), Made)


def test_a_stop_from_the_future_is_dated_now_and_an_old_one_still_counts() -> None:
    assert made(stop(at_s=2**52)).freeze.at_s == NOW_S
    assert made(stop(at_s=0)).freeze.at_s == 0.0
