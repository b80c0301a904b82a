from __future__ import annotations

import math

from allegro.core.base.crashes import is_safe_mode_due, remembered


def test_three_crashes_within_a_minute_call_for_safe_mode() -> None:
    assert is_safe_mode_due([100.0, 130.0, 160.0], now_s=161.0)


def test_the_order_in_which_they_were_noted_does_not_matter() -> None:
    assert is_safe_mode_due([160.0, 100.0, 130.0], now_s=161.0)


def test_two_crashes_or_slow_ones_do_not() -> None:
    assert not is_safe_mode_due([100.0, 130.0], now_s=131.0)
    assert not is_safe_mode_due([100.0, 130.0, 160.1], now_s=161.0)


def test_old_crashes_are_outweighed_only_by_new_ones() -> None:
    assert not is_safe_mode_due([1.0, 2.0, 3.0, 500.0], now_s=501.0)
    assert is_safe_mode_due([1.0, 480.0, 490.0, 500.0], now_s=501.0)


def test_safe_mode_ends_ten_minutes_after_the_last_crash() -> None:
    assert is_safe_mode_due([1.0, 2.0, 3.0], now_s=602.9)
    assert not is_safe_mode_due([1.0, 2.0, 3.0], now_s=603.0)


def test_crashes_of_the_future_and_of_no_time_do_not_count() -> None:
    assert not is_safe_mode_due([100.0, 101.0, 102.0], now_s=50.0)
    assert not is_safe_mode_due([math.nan] * 3, now_s=50.0)


def test_only_recent_crashes_are_remembered_and_never_more_than_ten() -> None:
    assert remembered([1.0, 700.0, 2000.0], now_s=1000.0) == [700.0, 1000.0]
    assert remembered([float(n) for n in range(20)], now_s=20.0) == [
        float(n) for n in range(11, 21)
    ]
