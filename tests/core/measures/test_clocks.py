"""Whose clock runs, and which minutes count."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from allegro.core.measures.linked import Linked, heard, waited_s, went_down, went_up
from allegro.core.measures.minutes import (
    DAY_MIN,
    Counted,
    DayMinutes,
    Look,
    counted,
    joined,
    with_looks,
)

MOMENTS = st.lists(st.integers(0, 2_000), min_size=1, max_size=20, unique=True).map(sorted)


def test_before_the_first_link_no_clock_runs() -> None:
    assert waited_s(went_up(Linked(), 100.0), 40.0, 130.0) == 60.0


def test_a_lane_of_which_no_link_is_known_stops_no_clock() -> None:
    assert waited_s(None, 0.0, 50.0) == 0.0


def test_a_link_that_is_still_down_stops_the_clock_since_then() -> None:
    linked = went_down(went_up(Linked(), 100.0), 200.0)
    assert waited_s(linked, 150.0, 260.0) == 60.0


def test_a_link_that_was_never_said_to_be_down_was_down_since_the_last_word() -> None:
    linked = went_up(heard(went_up(Linked(), 100.0), 150.0), 400.0)
    assert waited_s(linked, 100.0, 500.0) == 250.0


def test_a_loss_that_is_told_after_the_next_link_came_up_is_held_already() -> None:
    linked = went_up(heard(went_up(Linked(), 100.0), 150.0), 400.0)
    assert went_down(linked, 160.0) == linked


def test_a_link_lost_twice_is_down_since_the_first_loss() -> None:
    linked = went_down(went_down(went_up(Linked(), 0.0), 10.0), 50.0)
    assert waited_s(linked, 0.0, 60.0) == 50.0


@given(MOMENTS, st.integers(0, 2_000), st.integers(0, 2_000))
def test_what_waited_is_each_second_of_the_span_without_a_link(
    turns: list[int], one: int, other: int
) -> None:
    from_s, to_s = min(one, other), max(one, other)
    linked = Linked()
    for n, at_s in enumerate(turns):
        linked = went_up(linked, at_s) if n % 2 == 0 else went_down(linked, at_s)
    down = 0
    for second in range(from_s, to_s):
        before = [n for n, at_s in enumerate(turns) if at_s <= second]
        down += not before or before[-1] % 2 == 1
    assert waited_s(linked, from_s, to_s) == down


def test_a_link_that_flaps_without_end_keeps_a_bounded_past() -> None:
    linked = Linked()
    for n in range(1_000):
        linked = went_down(went_up(linked, n * 10.0), n * 10.0 + 5)
    assert len(linked.downs) < 100
    assert math.isinf(linked.downs[-1][1])


@given(st.lists(st.tuples(st.integers(0, 3 * DAY_MIN - 1), st.booleans()), max_size=60))
def test_bits_come_out_alike_in_any_order_and_any_parts(looks: list[tuple[int, bool]]) -> None:
    all_looks = [Look("a", minute, is_seen) for minute, is_seen in looks]
    whole = with_looks(all_looks)
    parts: dict[tuple[str, int], DayMinutes] = {}
    for look in reversed(all_looks):
        for key, bits in with_looks([look]).items():
            parts[key] = joined(parts.get(key, DayMinutes()), bits)
    assert parts == whole
    looked = {minute for minute, _ in looks}
    seen = {minute for minute, is_seen in looks if is_seen}
    found = [counted(day, bits, 0, 3 * 86_400) for (_, day), bits in whole.items()]
    assert sum(one.looked for one in found) == len(looked)
    assert sum(one.seen for one in found) == len(seen)


@given(st.integers(0, DAY_MIN * 60), st.integers(0, DAY_MIN * 60))
def test_minutes_of_a_span_are_those_that_begin_in_it(one: int, other: int) -> None:
    from_s, to_s = min(one, other), max(one, other)
    every = DayMinutes((1 << DAY_MIN) - 1, 0)
    begun = sum(from_s <= minute * 60 < to_s for minute in range(DAY_MIN))
    assert counted(0, every, from_s, to_s) == Counted(begun, 0)
