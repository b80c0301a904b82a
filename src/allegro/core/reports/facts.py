"""The facts of one day, typed: what each source said, or that it did not speak.

A source that did not speak is `Unknown` with a reason, never an empty answer: an empty list says that
nothing happened. Times are Unix seconds; a day is the owner's (`allegro.core.health.days`). Words that
others wrote (titles, reasons, questions) stand in fields marked *foreign* and are tamed where they
are rendered. Lists hold the newest `MOST` and say how many more there are.
"""

from __future__ import annotations

import datetime

import msgspec

from allegro.core.measures.answers import Judged, RowAnswer

MOST = 40
SCHEMA = "allegro.report/1"


class Unknown(msgspec.Struct, frozen=True, tag_field="source", tag="silent"):
    """A source did not speak, and why."""

    unknown: str


class WaitingRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A request that waits for the owner. `question` and `repository` are foreign."""

    id: str
    kind: str
    urgency: str
    repository: str
    question: str
    created_s: float
    expires_s: float


class CameItem(msgspec.Struct, frozen=True, kw_only=True):
    """An issue or pull request that was opened. All words are foreign."""

    repository: str
    number: int
    title: str
    url: str
    is_pull: bool


class CameIn(msgspec.Struct, frozen=True, kw_only=True, tag_field="source", tag="spoke"):
    """What the forge showed, by the forge's own times: opened, closed, written, vanished that day."""

    issues: int
    pulls: int
    closed: int
    comments: int
    vanished: int
    items: tuple[CameItem, ...] = ()
    more: int = 0


class DoneItem(msgspec.Struct, frozen=True, kw_only=True):
    """A request that ended: its id opens its receipt, `url` the effect. `question` is foreign."""

    id: str
    kind: str
    state: str
    settled_s: float
    question: str = ""
    url: str = ""


class Done(msgspec.Struct, frozen=True, kw_only=True, tag_field="source", tag="spoke"):
    """Requests that ended that day. `states` counts them by their end, `kinds` those that were done."""

    states: dict[str, int]
    kinds: dict[str, int]
    items: tuple[DoneItem, ...] = ()
    more: int = 0


class SessionsDay(msgspec.Struct, frozen=True, kw_only=True, tag_field="source", tag="spoke"):
    """Sessions that ended, and model calls. `cost_usd` is of the `calls` whose price is known.

    `ends` counts sessions by their end, `ids` names those that ended, newest last.
    """

    ends: dict[str, int]
    calls: int
    failed_calls: int
    tokens_in: int
    tokens_out: int
    cost_usd: float
    unpriced: int
    ids: tuple[str, ...] = ()
    more: int = 0


class AlertLine(msgspec.Struct, frozen=True, kw_only=True):
    """An alert that was raised or held that day. `sentence` is foreign."""

    severity: str
    code: str
    sentence: str
    first_s: float
    last_s: float
    count: int
    is_over: bool = False


class AlertsDay(msgspec.Struct, frozen=True, kw_only=True, tag_field="source", tag="spoke"):
    """The alerts, most urgent first. `judged` are all verdicts so far, None where none are kept."""

    items: tuple[AlertLine, ...]
    more: int = 0
    judged: Judged | None = None


class DutyLine(msgspec.Struct, frozen=True, kw_only=True):
    """A duty that did not end well. `owner` is the house or a lane; `result` is foreign."""

    duty: str
    owner: str
    ending: str
    at_s: float
    result: str = ""


class DutiesDay(msgspec.Struct, frozen=True, kw_only=True, tag_field="source", tag="spoke"):
    """How many scheduled runs ended well, and each that failed or was missed."""

    ran: int
    items: tuple[DutyLine, ...] = ()
    more: int = 0


class FreezeLine(msgspec.Struct, frozen=True, kw_only=True):
    """A freeze that began that day or still holds. `by` and `reason` are foreign."""

    id: str
    by: str
    reason: str
    at_s: float
    is_active: bool


class GapLine(msgspec.Struct, frozen=True, kw_only=True):
    """Entries of a lane that will never come, named that day. `reason` is foreign."""

    lane: str
    first: int
    last: int
    count: int
    reason: str


class TakeOverLine(msgspec.Struct, frozen=True, kw_only=True):
    """A role that changed hands."""

    role: str
    lane: str
    before: str
    why: str
    took_s: float


class LaneLine(msgspec.Struct, frozen=True, kw_only=True):
    """A lane as the report is built. `is_home`: all that it told is archived. `heard_s` 0: never."""

    name: str
    is_linked: bool
    is_home: bool
    heard_s: float


class FactLine(msgspec.Struct, frozen=True, kw_only=True):
    """A line of doctor that is not well. `detail` and `subject` are foreign."""

    code: str
    title: str
    subject: str
    lane: str
    state: str
    detail: str
    fix: str


class DeliveryLine(msgspec.Struct, frozen=True, kw_only=True):
    """How far the report before this one came by one way. `url` leads to it; `detail` is foreign."""

    way: str
    state: str
    url: str = ""
    detail: str = ""


class DayFacts(msgspec.Struct, frozen=True, kw_only=True):
    """All that a report says. The same value is the same report, to the byte.

    `built_s` is when the facts were collected, `late_s` how long after its time. `unreadable`
    counts events of the day that nobody can read. `drift` and `backup` say so where none is
    configured. `deliveries` are of the report before.
    """

    house: str
    date: datetime.date
    zone: str
    from_s: float
    to_s: float
    built_s: float
    late_s: float = 0.0
    waiting: tuple[WaitingRequest, ...] | Unknown
    came_in: CameIn | Unknown
    done: Done | Unknown
    sessions: SessionsDay | Unknown
    measures: tuple[RowAnswer, ...] | Unknown
    alerts: AlertsDay | Unknown
    duties: DutiesDay | Unknown
    freezes: tuple[FreezeLine, ...] | Unknown
    gaps: tuple[GapLine, ...] | Unknown
    take_overs: tuple[TakeOverLine, ...] | Unknown
    lanes: tuple[LaneLine, ...] | Unknown
    doctor: tuple[FactLine, ...] | Unknown
    deliveries: tuple[DeliveryLine, ...] | Unknown
    unreadable: int = 0
    drift: str = "none configured"
    backup: str = "none configured"
    schema: str = SCHEMA
