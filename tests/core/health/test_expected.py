"""A house that sleeps as expected alarms nobody; one that should be awake does."""

from __future__ import annotations

import datetime
from zoneinfo import ZoneInfo

import pytest

from allegro.core.health import codes
from allegro.core.health.days import DayWindow
from allegro.core.health.expected import Expected, Mode, lane_speaks, silence

BERLIN = ZoneInfo("Europe/Berlin")
WORKING = Expected(Mode.HOURS, DayWindow(8 * 60, 22 * 60))
NAN = float("nan")


def at(text: str) -> float:
    return datetime.datetime.fromisoformat(text).replace(tzinfo=BERLIN).timestamp()


@pytest.mark.parametrize(
    ("expected", "heard", "now", "state"),
    [
        (Expected(), "2026-06-01T12:00", "2026-06-01T12:05", "ok"),
        (Expected(), "2026-06-01T12:00", "2026-06-01T12:05:01", "bad"),
        (WORKING, "2026-06-01T22:00", "2026-06-02T07:59", "ok"),
        (WORKING, "2026-06-01T22:00", "2026-06-02T08:04", "ok"),
        (WORKING, "2026-06-01T22:00", "2026-06-02T08:06", "bad"),
        (WORKING, "2026-06-02T09:00", "2026-06-02T09:06", "bad"),
        (Expected(Mode.WHENEVER), "2026-06-01T12:00", "2026-07-01T12:00", "ok"),
    ],
)
def test_only_a_silence_that_breaks_the_rule_is_bad(
    expected: Expected, heard: str, now: str, state: str
) -> None:
    fact = silence(expected, at(heard), at(now), BERLIN)
    assert (fact.code, fact.state) == (codes.HOUSE_SILENT, state)
    assert "last heard at 2026-0" in fact.detail


@pytest.mark.parametrize(("expected", "state"), [(Expected(), "bad"), (WORKING, "bad")])
def test_a_silence_of_unknown_length_is_never_well_where_the_house_is_expected(
    expected: Expected, state: str
) -> None:
    assert silence(expected, NAN, at("2026-06-02T12:00"), BERLIN).state == state


def test_hours_that_fill_the_day_are_always() -> None:
    all_day = Expected(Mode.HOURS, DayWindow(0, 0))
    assert silence(all_day, at("2026-06-01T23:50"), at("2026-06-02T00:04"), BERLIN).state == "bad"


def test_a_house_that_sleeps_eight_hours_each_night_for_a_month_alarms_nobody() -> None:
    start_s, states = at("2026-10-10T08:00"), set()
    heard_s = start_s
    for minute in range(30 * 24 * 60):
        now_s = start_s + minute * 60
        hour = datetime.datetime.fromtimestamp(now_s, BERLIN).hour
        woke_late = datetime.datetime.fromtimestamp(now_s - 180, BERLIN).hour
        if 8 <= hour < 22 and 8 <= woke_late < 22:
            heard_s = now_s
        states.add(silence(WORKING, heard_s, now_s, BERLIN).state)
    assert states == {"ok"}


def test_a_lane_speaks_itself_once_its_house_is_silent_for_a_minute() -> None:
    assert not lane_speaks(100.0, 160.0)
    assert lane_speaks(100.0, 160.1)
    assert lane_speaks(NAN, 160.0)
