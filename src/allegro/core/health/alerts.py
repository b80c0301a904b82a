"""What a person should see, kept by severity: nothing urgent is pushed out by what is less so.

An alert is a code with its subject and values; its sentence is written from the code's template
where it is shown. The same code of the same subject of the same lane is one alert, however often it
comes: it is counted, and its newest values are kept. A lane has a share of each severity, so that
one cannot push out what others cause.

Two kinds share this shape. An *occurrence* was raised by `RaiseAlert`: something happened, and
nobody will say that it is over (a write under our name). A *condition* comes from facts: it holds
until a fact says that it is well. `Course` says where an alert stands on its way to a person; the
rules of that way are in `alarm`. Pure: a set of alerts in, the changed one and the evicted out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Protocol

import msgspec

from allegro.core.base.untrusted import text_of
from allegro.core.health.codes import Code, Severity, code_of

URGENCIES = {
    Severity.P0: "critical",
    Severity.P1: "high",
    Severity.P2: "medium",
    Severity.P3: "low",
}
"""The words of the release before, kept for one release in `allegro status --json`."""
MOST = 200
LANE_SHARE = 50
MAX_SUBJECT = 300
MAX_VALUE = 300
MAX_SENTENCE = 500

Key = tuple[str, str, str]
"""code, lane, subject"""


class RaiseAlert(Protocol):
    """Shows a person that a condition began. `lane` is whose word caused it, empty for our own.

    `values` fill the template of the code.
    """

    def __call__(self, code: Code, subject: str, /, lane: str = "", **values: object) -> None: ...


class Phase(StrEnum):
    """Where an alert stands.

    `pending`: it has not held for its grace yet. `firing`: a person is to know. `acknowledged`: he
    knows. `recovered`: it is over.
    """

    PENDING = "pending"
    FIRING = "firing"
    ACKNOWLEDGED = "acknowledged"
    RECOVERED = "recovered"


class Course(msgspec.Struct, frozen=True):
    """An alert's way to a person. Times in Unix seconds; 0: not (yet).

    `begun_s` is since when the trouble holds, `well_s` since when it does not; `turns` are the
    newest times at which it began, for flaps. `alarm` is the id of the notice that told it, made at
    `told_s` (a reminder renews that) and proven by a channel at `reached_s`; `told_severity` is
    what it said. `recovery` is the id of the notice of its end, `recovery_s` when that was made.
    `is_owed`: it waits for the next digest or report.
    """

    phase: Phase = Phase.FIRING
    begun_s: float = 0.0
    well_s: float = 0.0
    turns: tuple[float, ...] = ()
    alarm: str = ""
    told_s: float = 0.0
    told_severity: Severity | None = None
    reached_s: float = 0.0
    recovery: str = ""
    recovery_s: float = 0.0
    is_owed: bool = False
    acknowledged_s: float = 0.0
    snoozed_until_s: float = 0.0


class Alert(msgspec.Struct, frozen=True):
    """`severity` is the code's own; one of a ledger of before keeps what it had.

    `first_s` and `last_s` are Unix seconds; `count` says how often it was raised, or began to hold.
    `detail` is a fact's own sentence; it is empty for an occurrence.
    """

    code: str
    lane: str
    subject: str
    severity: Severity
    values: dict[str, str]
    first_s: float
    last_s: float
    count: int = 1
    detail: str = ""
    is_condition: bool = False
    course: Course = Course()

    @property
    def key(self) -> Key:
        return (self.code, self.lane, self.subject)

    @property
    def sentence(self) -> str:
        code = code_of(self.code)
        if self.is_condition:
            return text_of(
                f"{code.title} {self.subject}".strip() + f": {self.detail}", MAX_SENTENCE
            )
        return sentence_of(code, self.subject, self.lane, self.values)


class _Values(dict[str, object]):
    """The values of a sentence; one that is missing is shown as such."""

    def __missing__(self, key: str) -> str:
        return "?"


def sentence_of(code: Code, subject: str, lane: str, values: Mapping[str, object]) -> str:
    """Return an alert in words, MAX_SENTENCE characters at most. Foreign values stay values."""
    whole = _Values({**values, "subject": subject, "lane": lane})
    return text_of((code.alert or "{subject}").format_map(whole), MAX_SENTENCE)


def raised(
    held: Mapping[Key, Alert],
    code: Code,
    subject: str,
    lane: str,
    values: Mapping[str, object],
    now_s: float,
) -> tuple[Alert, list[Key]]:
    """Return the alert as it is now held, and the keys that must go for it."""
    subject = text_of(subject, MAX_SUBJECT)
    kept = {name: text_of(str(value), MAX_VALUE) for name, value in values.items()}
    known = held.get((code.code, lane, subject))
    if known is not None:
        again = msgspec.structs.replace(known, values=kept, last_s=now_s, count=known.count + 1)
        return again, []
    alert = Alert(code.code, lane, subject, code.severity, kept, now_s, now_s)
    return alert, evicted(held.values(), alert)


def evicted(held: Iterable[Alert], new: Alert) -> list[Key]:
    """Return what must go to make room for a new alert: one of its own severity, the oldest."""
    same = sorted((one for one in held if one.severity == new.severity), key=lambda one: one.last_s)
    mine = [one for one in same if one.lane == new.lane]
    if new.lane and len(mine) >= LANE_SHARE:
        return [mine[0].key]
    if len(same) < MOST:
        return []
    by_lane: dict[str, list[Alert]] = {}
    for one in same:
        by_lane.setdefault(one.lane, []).append(one)
    return [max(by_lane.values(), key=len)[0].key]


def by_severity(held: Iterable[Alert]) -> list[Alert]:
    """Return alerts with the most urgent first, among equals the newest first."""
    return sorted(held, key=lambda one: (one.severity, -one.last_s))
