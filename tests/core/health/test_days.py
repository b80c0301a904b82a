"""A day is what the operator's wall clock says: 23, 24 or 25 hours, without gap or overlap."""

from __future__ import annotations

import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allegro.core.base.errors import Refusal
from allegro.core.health.days import DayWindow, day_of, is_within, opened_s, read_window

BERLIN = ZoneInfo("Europe/Berlin")
ZONES = [
    ZoneInfo(name)
    for name in (
        "Europe/Berlin",
        "America/Sao_Paulo",
        "America/Havana",
        "Australia/Lord_Howe",
        "Pacific/Apia",
        "UTC",
    )
]
MOMENTS = st.floats(min_value=0, max_value=2_000_000_000)


def at(text: str, zone: datetime.tzinfo = BERLIN) -> float:
    return datetime.datetime.fromisoformat(text).replace(tzinfo=zone).timestamp()


@pytest.mark.parametrize(
    ("noon", "hours"),
    [("2026-03-29T12:00", 23), ("2026-10-25T12:00", 25), ("2026-06-01T12:00", 24)],
)
def test_a_day_has_the_hours_that_its_zone_gives_it(noon: str, hours: int) -> None:
    day = day_of(at(noon), BERLIN)
    assert (day.end_s - day.start_s) / 3600 == hours
    assert day.date.isoformat() == noon[:10]


def test_a_day_without_a_midnight_begins_at_its_first_moment() -> None:
    zone = ZoneInfo("America/Sao_Paulo")
    day = day_of(at("2018-11-04T12:00", zone), zone)
    assert datetime.datetime.fromtimestamp(day.start_s, zone).isoformat()[:16] == "2018-11-04T01:00"
    assert day.end_s - day.start_s == 23 * 3600


@given(at_s=MOMENTS, zone=st.sampled_from(ZONES))
def test_every_moment_is_in_one_day_and_days_follow_each_other(at_s: float, zone: ZoneInfo) -> None:
    day = day_of(at_s, zone)
    assert day.start_s <= at_s < day.end_s
    assert day_of(day.end_s, zone).start_s == day.end_s
    assert day_of(day.start_s, zone) == day
    for inside_s in (day.start_s, at_s, day.end_s - 1):
        assert datetime.datetime.fromtimestamp(inside_s, zone).date() == day.date


@pytest.mark.parametrize(
    ("clock", "inside"),
    [("21:59", False), ("22:00", True), ("03:00", True), ("07:29", True), ("07:30", False)],
)
def test_a_window_reaches_over_midnight(clock: str, inside: bool) -> None:
    window = DayWindow(22 * 60, 7 * 60 + 30)
    assert is_within(window, at(f"2026-06-01T{clock}"), BERLIN) == inside


def test_equal_ends_are_the_whole_day() -> None:
    assert all(
        is_within(DayWindow(60, 60), at(f"2026-06-01T{hour:02}:30"), BERLIN) for hour in range(24)
    )


def test_a_window_knows_since_when_it_is_open() -> None:
    window = DayWindow(22 * 60, 7 * 60)
    assert opened_s(window, at("2026-06-02T03:00"), BERLIN) == at("2026-06-01T22:00")
    assert opened_s(window, at("2026-06-01T23:00"), BERLIN) == at("2026-06-01T22:00")
    assert opened_s(window, at("2026-06-01T12:00"), BERLIN) != 0.0


@given(at_s=MOMENTS, start=st.integers(0, 1439), end=st.integers(0, 1439))
def test_an_open_window_opened_at_most_a_long_day_ago(at_s: float, start: int, end: int) -> None:
    window = DayWindow(start, end)
    if is_within(window, at_s, BERLIN):
        assert 0 <= at_s - opened_s(window, at_s, BERLIN) <= 25 * 3600


def test_a_window_is_read_and_what_is_none_is_refused() -> None:
    assert read_window("22:00-07:30") == DayWindow(22 * 60, 7 * 60 + 30)
    for wrong in ("", "22-07", "24:00-07:00", "22:00-07:60", "22:00 - 07:00", "22:00-07:00\n"):
        assert isinstance(read_window(wrong), Refusal)
