"""A producer that stops turns its light to unknown within its grace, restarts or not."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from allegro.core.health import codes
from allegro.core.health.facts import Fact, State
from allegro.core.health.freshness import (
    Board,
    Tick,
    expired,
    loaded,
    stated,
    ticked,
    withdrawn,
)

NAN = float("nan")


def well(subject: str = "", at_s: float = 100.0, until_s: float = 160.0) -> Fact:
    return Fact(codes.FORGE, "ok", "answers", "poll", subject, at_s, until_s, "vps")


def state_at(board: Board, now_s: float) -> State:
    (fact,) = expired(board.facts, now_s)
    return fact.state


def stored(board: Board) -> Board:
    return loaded(msgspec.json.decode(msgspec.json.encode(board), type=Board))


def test_a_fact_is_unknown_from_its_deadline_on_and_says_what_it_was() -> None:
    board = stated(Board(), [well()])
    assert state_at(board, 159.9) == "ok"
    (fact,) = expired(board.facts, 160.0)
    assert fact.state == "unknown"
    assert fact.detail == "not heard since 1970-01-01T00:01:40.000Z; then ok: answers"


@pytest.mark.parametrize(("until_s", "now_s"), [(NAN, 1.0), (160.0, NAN), (NAN, NAN), (-1.0, 1.0)])
def test_a_time_that_is_none_is_unknown_never_well(until_s: float, now_s: float) -> None:
    assert state_at(stated(Board(), [well(until_s=until_s)]), now_s) == "unknown"


def test_a_trouble_that_nobody_confirms_is_unknown_too() -> None:
    board = stated(Board(), [Fact(codes.FORGE, "bad", "503", "poll", "", 100.0, 160.0)])
    assert state_at(board, 161.0) == "unknown"


def test_the_newest_word_of_a_producer_replaces_its_older_one_of_the_same_subject() -> None:
    board = stated(Board(), [well("a"), well("b"), well("a", 150.0, 210.0)])
    assert [(one.subject, one.until_s) for one in board.facts] == [("a", 210.0), ("b", 160.0)]


def test_a_fact_of_the_moment_is_not_kept() -> None:
    assert stated(Board(), [Fact(codes.FORGE, "ok", "answers", "poll")]).facts == ()


def test_what_is_gone_on_purpose_is_no_longer_expected() -> None:
    board = stated(Board(), [well("a"), well("b")])
    assert len(withdrawn(board, "forge.reachable", "vps", "a").facts) == 1


def test_a_restart_keeps_each_deadline() -> None:
    board = ticked(stated(Board(), [well()]), Tick(101.0, 1.0))
    for boot_s in (2.0, 900.0, 0.1):
        board = ticked(stored(board), Tick(150.0, boot_s))
    assert (state_at(board, 159.0), state_at(board, 160.0)) == ("ok", "unknown")


def test_a_program_that_slept_gives_each_producer_its_period_again() -> None:
    board = ticked(stated(Board(), [well()]), Tick(110.0, 10.0))
    board = ticked(board, Tick(110.0 + 8 * 3600, 10.0 + 8 * 3600))
    woke_s = 110.0 + 8 * 3600
    assert state_at(board, woke_s + 59.9) == "ok"
    assert state_at(board, woke_s + 60.0) == "unknown"


def test_a_sleep_makes_nothing_well_that_was_unknown_before() -> None:
    board = ticked(stated(Board(), [well()]), Tick(170.0, 10.0))
    board = ticked(board, Tick(170.0 + 3600, 10.0 + 3600))
    assert state_at(board, 170.0 + 3600) == "unknown"


@pytest.mark.parametrize("step_s", [3600.0, -3600.0, 1e9])
def test_a_wall_clock_that_is_set_moves_all_deadlines_with_it(step_s: float) -> None:
    board = ticked(stated(Board(), [well()]), Tick(110.0, 10.0))
    board = ticked(board, Tick(115.0 + step_s, 15.0))
    assert state_at(board, 159.0 + step_s) == "ok"
    assert state_at(board, 161.0 + step_s) == "unknown"


@given(
    period_s=st.floats(5, 3600),
    events=st.lists(st.sampled_from(["tick", "restart", "speak"]), max_size=40),
)
def test_a_light_is_well_exactly_while_its_producer_keeps_its_word(
    period_s: float, events: list[str]
) -> None:
    now_s, spoke_s = 1_000.0, 1_000.0
    board = stated(Board(), [well(at_s=now_s, until_s=now_s + period_s)])
    for event in events:
        now_s += 7.0
        if event == "restart":
            board = stored(board)
        if event == "speak":
            spoke_s = now_s
            board = stated(board, [well(at_s=now_s, until_s=now_s + period_s)])
        board = ticked(board, Tick(now_s, now_s - 1_000.0))
        assert state_at(board, now_s) == ("ok" if now_s < spoke_s + period_s else "unknown")
