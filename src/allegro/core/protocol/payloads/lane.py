"""Events of a lane about itself: signs of life, stops, trust, its journal."""

from __future__ import annotations

import msgspec

from allegro.core.base.untrusted import Name, Number
from allegro.core.protocol.answers.bounds import Seconds
from allegro.core.protocol.event_types import EventType
from allegro.core.protocol.payloads.base import Payload


class LaneBeat(Payload, frozen=True, kw_only=True):
    """A lane's sign of life: what it did last, when (Unix s), its polls so far, whom it sees.

    Of the other lanes of its council it hears those in `hears` and misses those in `misses`.
    `house_s` is how long ago it heard its house, missing where it never did since it started.
    Its journal keeps `kept_bytes` of `cap_bytes` for the house.
    """

    type_ = EventType.LANE_BEAT
    done: str
    done_s: Seconds
    cycles: Number
    hears: tuple[Name, ...] = ()
    misses: tuple[Name, ...] = ()
    house_s: Seconds | None = None
    kept_bytes: Number = 0
    cap_bytes: Number = 0


class SafeModeBegun(Payload, frozen=True, kw_only=True):
    """The lane stopped acting after a series of bugs; it goes on observing."""

    type_ = EventType.LANE_SAFE_MODE


class SafeModeEnded(Payload, frozen=True, kw_only=True):
    """The lane acts again after a series of crashes."""

    type_ = EventType.LANE_SAFE_MODE_ENDED


class DecisionAsked(Payload, frozen=True, kw_only=True):
    """The lane asks the owner a question; its words and options are sealed. An answer causes nothing."""

    type_ = EventType.DECISION_ASKED
    urgency: str
    options: Number


class DutyFailing(Payload, frozen=True, kw_only=True):
    """A background task of the lane failed for the first time in a row; it begins again."""

    type_ = EventType.DUTY_FAILING
    duty: str


class FreezeAdded(Payload, frozen=True, kw_only=True):
    """The lane froze. The sealed part is the whole freeze."""

    type_ = EventType.FREEZE_ADDED
    id: str


class FreezeThawed(Payload, frozen=True, kw_only=True):
    """The lane took a thaw. The sealed part is its token."""

    type_ = EventType.FREEZE_THAWED


class TrustChanged(Payload, frozen=True, kw_only=True):
    """The lane took a rotation, a revocation, a seat or a roster."""

    type_ = EventType.TRUST_CHANGED
    seat: Number
    sovereign_number: Number


class JournalRestarted(Payload, frozen=True, kw_only=True):
    """The journal began anew, because what it held does not go on from the archive."""

    type_ = EventType.JOURNAL_RESTARTED


class JournalGap(Payload, frozen=True, kw_only=True):
    """The journal dropped `count` events of one class between two sequence numbers."""

    type_ = EventType.JOURNAL_GAP
    reason: str
    shed: Number = msgspec.field(name="class")
    count: Number
    first: Number
    last: Number
