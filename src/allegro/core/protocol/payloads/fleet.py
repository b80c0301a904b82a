"""Events of a fleet: who is heard, who holds a role, and what the house itself writes."""

from __future__ import annotations

from allegro.core.base.untrusted import Number
from allegro.core.protocol.answers.bounds import Seconds
from allegro.core.protocol.event_types import EventType
from allegro.core.protocol.payloads.base import Payload


class RoleTaken(Payload, frozen=True, kw_only=True):
    """A lane took a role and acted: seconds from the last holder's word, to decide, to act."""

    type_ = EventType.ROLE_TAKEN
    role: str
    epoch: Number
    before: str
    why: str
    silent_s: Seconds
    take_s: Seconds
    act_s: Seconds


class BeatMissing(Payload, frozen=True, kw_only=True):
    """A lane is not heard. The house writes it too, with `linked`."""

    type_ = EventType.BEAT_MISSING
    lane: str
    silent_s: Seconds
    linked: bool | None = None


class BeatBack(Payload, frozen=True, kw_only=True):
    """A lane is heard again. The house writes it too, with `linked`."""

    type_ = EventType.BEAT_BACK
    lane: str
    silent_s: Seconds
    linked: bool | None = None


class CouncilLost(Payload, frozen=True, kw_only=True):
    """The lane cannot reach the council: no role changes hands there."""

    type_ = EventType.COUNCIL_LOST


class CouncilBack(Payload, frozen=True, kw_only=True):
    """The lane reaches the council again."""

    type_ = EventType.COUNCIL_BACK


class CouncilPageAside(Payload, frozen=True, kw_only=True):
    """The page of another lane met a bug here and is not read for a while."""

    type_ = EventType.COUNCIL_PAGE_ASIDE
    lane: str


class EffectDoubled(Payload, frozen=True, kw_only=True):
    """A second copy of an effect of ours is on the forge: `artifact`, beside `also`."""

    type_ = EventType.EFFECT_DOUBLED
    kind: str
    target: str
    artifact: Number
    also: Number


class FailoverReported(Payload, frozen=True, kw_only=True):
    """Somebody outside reports a failover to the house. `what` is a sentence for a person."""

    type_ = EventType.FAILOVER_REPORTED
    what: str
    lane: str
    role: str
