"""Days and daily windows in the operator's zone.

`day_of` is the one place that makes the borders of a day. A day is every moment that has its date
on a clock on the wall, so it has 23, 24 or 25 hours, or what else the zone's rules make of it.
Invariant: the days of a zone follow each other without gap or overlap (`day.end_s` is the
`start_s` of the next), and every moment is in exactly one of them. Where a clock is put back over
midnight, the day begins at the first of the two midnights; where midnight does not exist, at the
first moment after it. A moment is Unix seconds; the zone is a value that the caller loaded.

A daily window (quiet hours, the hours in which a house is expected) is two times of day. It may
reach over midnight; equal ends mean the whole day. A moment is inside by what the wall clock
shows: in the hour that a clock shows twice, both are inside or both outside.
"""

from __future__ import annotations

import datetime
import re

import msgspec

from allegro.core.base.errors import Refusal

DAY_MIN = 24 * 60


class Day(msgspec.Struct, frozen=True):
    """One day of the operator: `start_s` is its first moment, `end_s` the first of the next."""

    date: datetime.date
    start_s: float
    end_s: float


class DayWindow(msgspec.Struct, frozen=True):
    """From `start_min` to before `end_min`, minutes after midnight, 0 to 1439."""

    start_min: int
    end_min: int


def day_of(at_s: float, zone: datetime.tzinfo) -> Day:
    """Return the day that holds this moment. Raises OverflowError or ValueError outside 1 to 9999."""
    date = datetime.datetime.fromtimestamp(at_s, zone).date()
    return Day(date, _midnight_s(date, zone), _midnight_s(date + datetime.timedelta(1), zone))


def _midnight_s(date: datetime.date, zone: datetime.tzinfo) -> float:
    return datetime.datetime.combine(date, datetime.time(), zone).timestamp()


def read_window(text: str) -> DayWindow | Refusal:
    """Read `22:00-07:30`."""
    found = re.fullmatch(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)", text)
    if found is None:
        return Refusal("window", "expected two times of day, as in 22:00-07:30")
    start_h, start_min, end_h, end_min = (int(part) for part in found.groups())
    return DayWindow(start_h * 60 + start_min, end_h * 60 + end_min)


def is_within(window: DayWindow, at_s: float, zone: datetime.tzinfo) -> bool:
    """Whether the wall clock of the zone is inside the window at this moment."""
    at = datetime.datetime.fromtimestamp(at_s, zone)
    into_min = (at.hour * 60 + at.minute - window.start_min) % DAY_MIN
    return into_min < ((window.end_min - window.start_min) % DAY_MIN or DAY_MIN)


def opened_s(window: DayWindow, at_s: float, zone: datetime.tzinfo) -> float:
    """Return since when the window has been open at a moment inside it, a day at most.

    NaN outside of it. Where the clock was put on or back meanwhile, it counts real seconds.
    """
    if not is_within(window, at_s, zone):
        return float("nan")
    at = datetime.datetime.fromtimestamp(at_s, zone)
    start = datetime.time(window.start_min // 60, window.start_min % 60)
    opened = datetime.datetime.combine(at.date(), start, zone)
    if opened.timestamp() > at_s:
        opened = datetime.datetime.combine(at.date() - datetime.timedelta(1), start, zone)
    return opened.timestamp()
