"""All that the alert machine remembers, as one frozen value that is stored whole, and its inputs.

Invariant: everything that decides when a person is told next is in `AlertState`: graces,
cooldowns, snoozes, maintenance windows, reminders, verdicts. So a restart at any moment changes
nothing: the value is read back (`msgspec.json`) and the next step goes on. It is stored in one
transaction with the outbox, before anything is sent: then a notice is neither lost (told in the
state, absent from the outbox) nor made twice.

Times are Unix seconds. `at_s` is when the last step was: a wall clock that was put back since is
seen by it, and all times of the past move with the clock, so that an alert that was due in 5 min
is not due in an hour and 5 min.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import Literal

import msgspec

from allegro.core.health.alerts import Alert, Course, Key
from allegro.core.health.codes import Code
from allegro.core.health.days import DayWindow
from allegro.core.health.delivery.notices import Kind, Notice
from allegro.core.health.facts import Fact

BACK_S = 1.0
MAX_SENT = 500

Verdict = Literal["useful", "noise"]


class Maintenance(msgspec.Struct, frozen=True):
    """From `from_s` until before `until_s` nothing is told of what it names.

    `code` is a code or the beginning of one up to a dot; empty fields name all. A P0 is held back
    only by a window that names its code whole.
    """

    id: str
    from_s: float
    until_s: float
    code: str = ""
    lane: str = ""
    subject: str = ""


class Score(msgspec.Struct, frozen=True):
    """Of one code: alarms that were sent, of those judged, of those useful."""

    useful: int = 0
    judged: int = 0
    sent: int = 0


class Judged(msgspec.Struct, frozen=True):
    """One alarm that was sent, of one code, with what a person said of it (None: nothing)."""

    notice: str
    code: str
    verdict: Verdict | None = None


class AlertState(msgspec.Struct, frozen=True):
    """`origin` begins the ids of notices: `house`, or a lane's name. `made` counts them."""

    origin: str
    alerts: tuple[Alert, ...] = ()
    maintenance: tuple[Maintenance, ...] = ()
    scores: dict[str, Score] = {}
    judged: tuple[Judged, ...] = ()
    made: int = 0
    at_s: float = 0.0


class Rules(msgspec.Struct, frozen=True):
    """Who tells, and when not. `quiet` None: no quiet hours. `zone` is the operator's."""

    zone: datetime.tzinfo
    quiet: DayWindow | None = None
    is_teller: bool = True


class Occurrence(msgspec.Struct, frozen=True):
    """What was raised by `RaiseAlert`."""

    code: Code
    subject: str
    lane: str = ""
    values: dict[str, str] = {}


class Told(msgspec.Struct, frozen=True):
    """Another node told a person of this alert (its event says so)."""

    key: Key
    kind: Kind
    notice: str
    at_s: float


class Delivery(msgspec.Struct, frozen=True):
    """A channel took a notice. One proof is enough; more of them change nothing."""

    notice: str
    at_s: float


class Inputs(msgspec.Struct, frozen=True):
    """What happened since the last step.

    `dropped` are ids of notices that the outbox gave up for room; `reported` are keys of alerts that
    a delivered report listed.
    """

    facts: Sequence[Fact] = ()
    occurrences: Sequence[Occurrence] = ()
    elsewhere: Sequence[Told] = ()
    deliveries: Sequence[Delivery] = ()
    dropped: Sequence[str] = ()
    reported: Sequence[Key] = ()


class Step(msgspec.Struct, frozen=True):
    """The state to store, and the notices to put into the outbox with it."""

    state: AlertState
    notices: tuple[Notice, ...] = ()


def alert_with(alert: Alert, **course: object) -> Alert:
    """Return the alert with some of its course changed."""
    return msgspec.structs.replace(alert, course=msgspec.structs.replace(alert.course, **course))


def on_clock(state: AlertState, now_s: float) -> AlertState:
    """Return the state with its past moved along where the wall clock was put back."""
    if not now_s < state.at_s - BACK_S:
        return state
    by_s = now_s - state.at_s
    return msgspec.structs.replace(
        state, alerts=tuple(_moved(one, by_s) for one in state.alerts), at_s=now_s
    )


def _moved(alert: Alert, by_s: float) -> Alert:
    course = alert.course
    names = ("begun_s", "well_s", "told_s", "reached_s", "recovery_s", "acknowledged_s")
    times = {name: at_s + by_s for name in names if (at_s := getattr(course, name))}
    turns = tuple(at_s + by_s for at_s in course.turns)
    moved = msgspec.structs.replace(course, **times, turns=turns)
    return msgspec.structs.replace(
        alert, first_s=alert.first_s + by_s, last_s=alert.last_s + by_s, course=moved
    )


def scored(state: AlertState, notice: Notice) -> AlertState:
    """Return the state that counts an alarm as sent, once for each code in it."""
    if notice.kind not in {Kind.ALARM, Kind.DIGEST}:
        return state
    found = sorted({code for code, _, _ in notice.keys})
    scores = dict(state.scores)
    for code in found:
        before = scores.get(code, Score())
        scores[code] = msgspec.structs.replace(before, sent=before.sent + 1)
    new = tuple(Judged(notice.id, code) for code in found)
    return msgspec.structs.replace(state, scores=scores, judged=(state.judged + new)[-MAX_SENT:])


def course_of(state: AlertState, key: Key) -> Course | None:
    """Return the course of one alert; None where it is not held."""
    return next((one.course for one in state.alerts if one.key == key), None)


def keys_of(state: AlertState, notice: str) -> tuple[Key, ...]:
    """Return the alerts that a notice told, for a tap on it."""
    return tuple(one.key for one in state.alerts if notice and one.course.alarm == notice)
