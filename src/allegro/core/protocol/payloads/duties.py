"""Events of scheduled duties: what is planned, and how each run ended. Times are Unix seconds."""

from __future__ import annotations

import msgspec

from allegro.core.base.untrusted import Number
from allegro.core.health.duty_runs import Figures
from allegro.core.protocol.answers.bounds import Seconds
from allegro.core.protocol.event_types import EventType
from allegro.core.protocol.payloads.base import Payload


class DutyPlanned(Payload, frozen=True, kw_only=True):
    """When a scheduled duty is due next, told once and when its schedule changes.

    `role` owns it, empty where each lane runs it for itself; an empty `cron` says that it is off.
    """

    type_ = EventType.DUTY_PLANNED
    duty: str
    role: str
    cron: str
    grace_s: Seconds
    due_s: Seconds


class DutyEnded(Payload, frozen=True, kw_only=True):
    """Names for readers the three events that a due time can leave.

    `due_s` is 0 for a run that a person asked for, `begun_s` 0 where nothing ran; `next_s` is the
    next due time. The sealed text is the result; the house writes its own into `result`, and into
    `owner` whose duty it is where it tells of another's.
    """

    duty: str
    role: str
    due_s: Seconds
    begun_s: Seconds
    duration_s: Seconds
    punctuality: str
    next_s: Seconds
    skipped: Number = 0
    figures: Figures = msgspec.field(default_factory=dict)
    result: str = ""
    owner: str = ""


class DutyRan(DutyEnded, frozen=True, kw_only=True):
    """A scheduled duty ran: when it was due and began, how long it took, `figures` of its result."""

    type_ = EventType.DUTY_RAN


class DutyFailed(DutyEnded, frozen=True, kw_only=True):
    """A scheduled duty failed, hung, or was under way when the program ended."""

    type_ = EventType.DUTY_FAILED


class DutyMissed(DutyEnded, frozen=True, kw_only=True):
    """A due time of a scheduled duty for which nothing ran in time."""

    type_ = EventType.DUTY_MISSED
