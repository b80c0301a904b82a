from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from allegro.core.forge.marks import MAX_OFF_S, Mark, Window, first_mark, halves, next_mark, window

TIMES = st.integers(0, 2**33)
WALLS = st.floats(0, 2**33)


def test_a_watch_begins_at_the_forge_s_own_time() -> None:
    assert first_mark(1000, 5.0) == Mark(1000, 5.0)


def test_a_mark_follows_the_forge_s_clock() -> None:
    assert next_mark(Mark(1000, 5.0), 1060, 65.0) == Mark(1060, 65.0)


def test_a_forge_whose_clock_leaps_pulls_the_mark_no_further_than_time_went_by() -> None:
    assert next_mark(Mark(1000, 5.0), 50_000, 15.0) == Mark(1010, 15.0)


def test_a_forge_that_keeps_lying_ahead_wins_nothing_with_each_poll() -> None:
    mark = first_mark(1_000_000, 1_000_000.0)
    for cycle in range(1, 1001):
        now_s = 1_000_000 + cycle * 0.7
        mark = next_mark(mark, int(now_s) + 3600, now_s)
    assert 1_000_000 + 699 <= mark.forge_s <= 1_000_000 + 700


def test_a_forge_whose_clock_falls_back_takes_the_mark_back() -> None:
    assert next_mark(Mark(1000, 5.0), 900, 15.0).forge_s == 900


def test_a_date_that_is_no_clock_moves_nothing() -> None:
    mark = Mark(1_000_000, 1_000_000.0)
    assert next_mark(mark, 0, 1_000_001.0) == mark
    assert next_mark(mark, 1_000_001 + int(MAX_OFF_S) + 1, 1_000_001.0) == mark


def test_our_own_clock_falling_back_loses_nothing() -> None:
    assert next_mark(Mark(1000, 500.0), 1010, 15.0) == Mark(1000, 500.0)
    assert next_mark(Mark(1000, 500.0), 1490, 490.0) == Mark(1000, 500.0)


def test_a_clock_of_ours_that_shows_no_time_leaves_the_mark() -> None:
    assert next_mark(Mark(1000, 5.0), 1040, math.nan) == Mark(1000, 5.0)


def test_each_poll_reaches_back_by_the_overlap_but_not_before_all_time() -> None:
    assert window(Mark(1000, 5.0), overlap_s=10) == Window(990, None)
    assert window(Mark(3, 5.0), overlap_s=10) == Window(0, None)


def test_a_window_is_halved_and_the_later_half_keeps_its_end() -> None:
    assert halves(Window(0, 9), now_s=100) == (Window(0, 4), Window(5, 9))
    assert halves(Window(0, None), now_s=9) == (Window(0, 4), Window(5, None))


def test_a_single_second_cannot_be_halved() -> None:
    assert halves(Window(5, 5), now_s=100) is None
    assert halves(Window(5, None), now_s=5) is None
    assert halves(Window(5, None), now_s=4) is None


@given(TIMES, WALLS, TIMES, WALLS)
def test_a_mark_is_never_ahead_of_the_forge_or_of_the_time_that_went_by(
    forge_s: int, wall_s: float, date_s: int, now_s: float
) -> None:
    mark = next_mark(Mark(forge_s, wall_s), date_s, now_s)
    assert mark.forge_s <= max(forge_s, date_s)
    assert mark.forge_s - forge_s <= max(0.0, now_s - wall_s)


@given(st.lists(st.tuples(st.integers(-5, 5), st.floats(0.2, 60.0)), min_size=1, max_size=20))
def test_an_honest_forge_a_few_seconds_off_is_followed_within_its_wobble(
    cycles: list[tuple[int, float]],
) -> None:
    mark, now_s = first_mark(1_000_000, 1_000_000.0), 1_000_000.0
    for wobble_s, elapsed_s in cycles:
        now_s += elapsed_s
        mark = next_mark(mark, int(now_s) + wobble_s, now_s)
        assert now_s - 12 <= mark.forge_s <= now_s + 5


@given(st.integers(0, 2**33), st.integers(0, 10_000), st.booleans())
def test_halves_join_without_gap_or_overlap(since_s: int, length_s: int, is_open: bool) -> None:
    until_s = since_s + length_s
    found = halves(Window(since_s, None if is_open else until_s), now_s=until_s)
    if length_s == 0:
        assert found is None
        return
    assert found is not None
    early, late = found
    assert early.since_s == since_s
    assert early.until_s is not None
    assert late.since_s == early.until_s + 1
    assert since_s <= early.until_s < until_s
    assert late.until_s == (None if is_open else until_s)


def test_one_wrong_date_behind_leaves_the_mark_where_it_was_once_the_clock_is_right_again() -> None:
    mark = first_mark(1_000_000, 1_000_000.0)
    mark = next_mark(mark, 996_400, 1_000_001.0)
    assert mark.forge_s == 996_400
    assert next_mark(mark, 1_000_002, 1_000_002.0).forge_s == 1_000_002


def test_a_forge_clock_that_was_set_back_for_good_is_followed() -> None:
    mark = first_mark(1_000_000, 1_000_000.0)
    for second in range(1, 50):
        mark = next_mark(mark, 996_400 + second, 1_000_000.0 + second)
        assert mark.forge_s == 996_400 + second
