"""A reader that is deaf is told from a chat that is quiet."""

from __future__ import annotations

from allegro.core.chat.hearing import after_look, after_reading, began, deaf


def test_a_quiet_chat_is_not_deaf() -> None:
    hearing = began(0.0)
    for minute in range(10):
        hearing = after_look(after_reading(hearing, minute * 60.0, 0), 0)
        assert deaf(hearing, minute * 60.0 + 30) is None


def test_a_minute_without_a_reading_is_deaf_and_a_good_one_ends_it() -> None:
    hearing = after_reading(began(0.0), 30.0, None)
    assert deaf(hearing, 59.9) is None
    assert deaf(hearing, 60.0) == "no reading"
    assert deaf(after_reading(hearing, 61.0, 1), 61.0) is None


def test_updates_that_pile_up_while_readings_fail_are_noticed_before_the_minute() -> None:
    hearing = after_look(after_reading(began(0.0), 5.0, None), 1)
    assert deaf(hearing, 6.0) is None
    hearing = after_look(after_reading(hearing, 10.0, None), 2)
    assert deaf(hearing, 11.0) == "piling up"
    assert deaf(after_reading(hearing, 12.0, 2), 12.0) is None


def test_readings_that_bring_nothing_while_updates_wait_are_noticed() -> None:
    hearing = after_look(after_reading(began(0.0), 5.0, 0), 3)
    assert deaf(hearing, 6.0) is None
    hearing = after_look(after_reading(hearing, 35.0, 0), 3)
    assert deaf(hearing, 36.0) == "brings nothing"


def test_a_backlog_that_shrinks_is_not_deaf() -> None:
    hearing = began(0.0)
    for step, left in enumerate((300, 200, 100)):
        hearing = after_look(after_reading(hearing, step * 5.0, 100), left)
        assert deaf(hearing, step * 5.0) is None


def test_a_clock_that_is_no_number_counts_as_deaf() -> None:
    assert deaf(began(0.0), float("nan")) == "no reading"
