"""The table of measures: what is promised, and how each figure comes about.

One row for each figure of the specification's row K. What a figure is of is in `samples`; what a
row says of its figures is in `answers`. A row with a `reason` cannot be known in this release: it
is shown with that reason, never left out and never guessed.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from allegro.core.protocol.event_types import EventType


class Shown(StrEnum):
    """Which number of its samples is the value of a row.

    `largest`, `smallest` and `p99` are of a duration; `rate` is how many met the target a day; `share` is the
    part of all samples that met the target.
    """

    LARGEST = "largest"
    SMALLEST = "smallest"
    P99 = "p99"
    RATE = "rate"
    SHARE = "share"


class Measure(msgspec.Struct, frozen=True, kw_only=True):
    """One row. `target` is in `unit`: `s`, `a day`, or `share` (0 to 1).

    `is_least`: the value must reach the target; else it must not pass it. `clock` says whether the
    time in which the link was down counts for nothing and is shown beside the value. `method` and
    `source` are one line each. `reason` is why it cannot be known yet, empty where it can.
    """

    name: str
    title: str
    target: float
    unit: str
    shown: Shown
    method: str
    source: str
    is_least: bool = False
    clock: bool = False
    reason: str = ""


def _from(*types: EventType) -> str:
    return ", ".join(types)


POLL_LATENCY = Measure(
    name="poll.latency",
    title="event on the forge to home",
    target=300.0,
    unit="s",
    shown=Shown.LARGEST,
    method="from the forge's time of a new version of an issue, pull request or comment to its"
    " commit in the archive; versions from before its repository was first read do not count",
    source=_from(
        EventType.FORGE_SNAPSHOT_ISSUE,
        EventType.FORGE_SNAPSHOT_PULL,
        EventType.FORGE_SNAPSHOT_COMMENT,
        EventType.FORGE_MARK,
    ),
    clock=True,
)
RECOVERY = Measure(
    name="sync.recovery",
    title="sync recovery after an outage",
    target=30.0,
    unit="s",
    shown=Shown.LARGEST,
    method="from the new link to the commit of the last entry that waited when it came up",
    source=_from(EventType.LINK_UP, EventType.LINK_CAUGHT_UP),
)
BUFFER = Measure(
    name="buffer.age",
    title="age of what waited on a lane when it came home",
    target=7 * 86_400.0,
    unit="s",
    shown=Shown.LARGEST,
    method="from a lane's beat to its commit in the archive; each entry that a journal gave up"
    " misses the target, whatever its age",
    source=_from(EventType.LANE_BEAT, EventType.JOURNAL_GAP),
)
ROOM = Measure(
    name="buffer.room",
    title="how long a lane's journal lasts without a link",
    target=7 * 86_400.0,
    unit="s",
    shown=Shown.SMALLEST,
    method="the journal's size by the pace at which it filled, over each hour without a link; one"
    " that did not grow is not counted",
    source=_from(EventType.LANE_BEAT),
    is_least=True,
)
TRIAGE = Measure(
    name="triage.time",
    title="issue triage",
    target=300.0,
    unit="s",
    shown=Shown.LARGEST,
    method="from the opening of an issue to the label that marks it as seen, by the lane's clocks",
    source=_from(EventType.TRIAGE_DONE),
)
PULL = Measure(
    name="pull.time",
    title="pull request after approval",
    target=120.0,
    unit="s",
    shown=Shown.LARGEST,
    method="from the approval to the receipt at home, of pull requests that were opened",
    source=_from(EventType.REQUEST_SETTLED),
    clock=True,
)
COMMENT = Measure(
    name="comment.time",
    title="comment",
    target=60.0,
    unit="s",
    shown=Shown.LARGEST,
    method="from the request, or its approval, to the receipt at home, of comments that were written",
    source=_from(EventType.REQUEST_SETTLED),
    clock=True,
)
LAG = Measure(
    name="telemetry.lag",
    title="telemetry lag",
    target=0.1,
    unit="s",
    shown=Shown.P99,
    method="from the lane's time of a session's event to its commit in the archive; the clocks of"
    " lane and house are taken to agree, a sample below 0 counts as 0",
    source="all events of sessions",
    clock=True,
)
UPTIME = Measure(
    name="uptime",
    title="uptime of lanes",
    target=0.999,
    unit="share",
    shown=Shown.SHARE,
    method="of the minutes in which a house or another lane looked at a lane, those in which one of"
    " them saw it; what a lane says of itself does not count",
    source=_from(EventType.LANE_BEAT, EventType.FLEET_PROBED),
    is_least=True,
)
FAILOVER = Measure(
    name="failover.time",
    title="fail-over",
    target=30.0,
    unit="s",
    shown=Shown.LARGEST,
    method="from the last word of the old holder to the first act of the new one; planned hand-overs"
    " do not count",
    source=_from(EventType.ROLE_TAKEN),
)
PULLS = Measure(
    name="pulls.rate",
    title="pull requests opened",
    target=10.0,
    unit="a day",
    shown=Shown.RATE,
    method="pull requests that were opened, by the days of the window",
    source=_from(EventType.REQUEST_SETTLED),
    is_least=True,
)
SESSIONS = Measure(
    name="sessions.rate",
    title="sessions carried",
    target=50.0,
    unit="a day",
    shown=Shown.RATE,
    method="sessions that ended as completed, by the days of the window; capacity (100 a day) is"
    " what the bench measures",
    source=_from(EventType.SESSION_END),
    is_least=True,
)
SYNCTHING = Measure(
    name="syncthing.lag",
    title="lag of shared files",
    target=60.0,
    unit="s",
    shown=Shown.LARGEST,
    method="none yet",
    source="none",
    reason="this release shares no files",
)
FALSE_ALERTS = Measure(
    name="alerts.false",
    title="alert false positives",
    target=0.05,
    unit="share",
    shown=Shown.SHARE,
    method="of the alerts that a person judged, those judged as noise, since verdicts are kept",
    source="verdicts on alerts",
)

MEASURES = (
    POLL_LATENCY,
    RECOVERY,
    BUFFER,
    ROOM,
    TRIAGE,
    PULL,
    COMMENT,
    LAG,
    UPTIME,
    FAILOVER,
    PULLS,
    SESSIONS,
    SYNCTHING,
    FALSE_ALERTS,
)
BY_NAME = {one.name: one for one in MEASURES}

WAIT = ".wait"
"""What the figure of the time before a row's clock ran is named, behind the name of the row."""


def is_met(measure: Measure, value: float) -> bool:
    """Say whether a value meets the target of a row; false for what is no number."""
    return value >= measure.target if measure.is_least else value <= measure.target
