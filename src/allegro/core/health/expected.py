"""When a house may be silent, and who tells a person meanwhile.

A house is a machine at home: one that never sleeps, one that is on in certain hours, or a notebook
that is on whenever its owner uses it. `house.expected` says which: `always`, `hours`, `whenever`.
Only a silence that breaks this rule is an alarm; every other one is shown with its age.

Invariant: a house that is silent outside of what is expected of it alarms nobody, however long.
In its hours it has `grace_s` from the moment they began (it may have slept until then) or from the
last word of it, whichever came later. A silence of unknown length (NaN) is an alarm where the
house is expected now: not known is never *ok*.

A lane tells a person of what it sees itself once it has not heard its house for `LANE_SPEAKS_S`,
whether the house is asleep or dead; before that the house tells. Times on the boot clock, which
no change of the wall clock moves.
"""

from __future__ import annotations

import datetime
from enum import StrEnum

import msgspec

from allegro.core.base.timestamps import rfc3339
from allegro.core.health import codes
from allegro.core.health.days import DayWindow, is_within, opened_s
from allegro.core.health.facts import Fact, State

LANE_SPEAKS_S = 60.0
SILENCE_GRACE_S = 300.0


class Mode(StrEnum):
    """When a house is expected to be awake."""

    ALWAYS = "always"
    HOURS = "hours"
    WHENEVER = "whenever"


class Expected(msgspec.Struct, frozen=True):
    """The rule of one house. `hours` counts in mode `hours` alone."""

    mode: Mode = Mode.ALWAYS
    hours: DayWindow = DayWindow(0, 0)

    @property
    def may_sleep(self) -> bool:
        return self.mode is not Mode.ALWAYS


def expected_since(expected: Expected, now_s: float, zone: datetime.tzinfo) -> float | None:
    """Return since when the house should have been awake (Unix s); None: it may sleep now.

    0 where it always should.
    """
    if expected.mode is Mode.WHENEVER:
        return None
    if expected.mode is Mode.ALWAYS:
        return 0.0
    if not is_within(expected.hours, now_s, zone):
        return None
    is_whole_day = expected.hours.start_min == expected.hours.end_min
    return 0.0 if is_whole_day else opened_s(expected.hours, now_s, zone)


def silence(
    expected: Expected,
    heard_s: float,
    now_s: float,
    zone: datetime.tzinfo,
    grace_s: float = SILENCE_GRACE_S,
) -> Fact:
    """Return whether the house's silence is a trouble. `heard_s` is its last word (Unix s)."""
    since_s = expected_since(expected, now_s, zone)
    detail = f"last heard at {rfc3339(heard_s)}"
    state: State = "ok"
    if since_s is None:
        detail += f"; expected {expected.mode}"
    elif not now_s - max(since_s, heard_s) <= grace_s:
        state = "bad"
    return Fact(codes.HOUSE_SILENT, state, detail, "link", at_s=now_s)


def lane_speaks(heard_boot_s: float, boot_s: float) -> bool:
    """Whether a lane tells a person itself. NaN, for a house never heard, means yes."""
    return not boot_s - heard_boot_s <= LANE_SPEAKS_S
