"""What a lane answers about its fleet, and what the house shows of all lanes.

What the house shows of a lane is that lane's word, and may be a lie of a stolen one: who holds a
role is what more than one lane says (`house/fleet/council_view.py`).
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from allegro.core.base.untrusted import Name, Number, Text
from allegro.core.health.facts import FactPage
from allegro.core.protocol.answers.bounds import MAX_ROLES, Epochs, Names, Seconds

MAX_PEERS = 16
TAKEN = "told"
"""Stands for a lane that took a wish to rest, in `RestAnswer.outcomes`."""

# --- a lane answers ------------------------------------------------------------------------------


class LaneOffer(msgspec.Struct, frozen=True):
    """Answers `offer`: where a lane's council server is reached. Checked before it is signed."""

    address: Name
    certificate: Annotated[str, Meta(max_length=20_000)]
    domain: Name = ""


class Peer(msgspec.Struct, frozen=True):
    """Another lane as this one hears it in the council. `age_s` is None before its first page."""

    lane: Name
    heard: bool = False
    age_s: Seconds | None = None
    ready: Names = ()
    done: Text = ""
    house_linked: bool = False
    version: Name = ""


class LaneFleet(msgspec.Struct, frozen=True, kw_only=True):
    """Answers `fleet`. `held` are the roles it holds, `holders` whom it reads as holder of each.

    A holder is (lane, epoch), ("", 0) for nobody. `frozen` is None where an older lane said nothing.
    """

    lane: Name = ""
    council: Name = ""
    roster: Number = 0
    members: Names = ()
    domain: Name = ""
    quorum: bool = False
    ready: Names = ()
    held: Epochs | None = None
    holders: Annotated[dict[Name, tuple[Name | Number, ...]], Meta(max_length=MAX_ROLES)] = {}
    held_for_s: Annotated[dict[Name, Seconds], Meta(max_length=MAX_ROLES)] = {}
    frozen: bool | None = None
    freezes: Names = ()
    siblings: Annotated[tuple[Peer, ...], Meta(max_length=MAX_PEERS)] = ()
    lease_s: Seconds = 0.0


class Rested(msgspec.Struct, frozen=True):
    """Answers `rest`: the roles that this lane still holds."""

    held: Epochs = {}


class PeerSeen(msgspec.Struct, frozen=True):
    """Answers `look_at`: whether another lane's page is fresh, and whether its host answers.

    `host` is None where that cannot be told: it is no lane of the council.
    """

    heard: bool = False
    ready: Names = ()
    host: bool | None = None


# --- the house shows -----------------------------------------------------------------------------


class FleetLane(msgspec.Struct, frozen=True, kw_only=True):
    """One lane in `allegro fleet status`. `hears` are the other lanes that it hears.

    `answers` is false where it gave no answer that can be read, for the reason `trouble`; `held` is
    then what its last heartbeat said. `heard_s` is Unix seconds. `freezes_unknown_here` are ids of
    its freezes that the house does not hold.
    """

    name: str
    linked: bool = False
    answers: bool = False
    trouble: str = ""
    heard_s: float | None = None
    held: dict[str, int] = {}
    held_for_s: dict[str, float | None] = {}
    holders: dict[str, str] = {}
    roster: int = 0
    serves: tuple[str, ...] = ()
    council: str = ""
    quorum: bool = False
    ready: tuple[str, ...] = ()
    domain: str = ""
    frozen: bool | None = None
    freezes_unknown_here: tuple[str, ...] = ()
    hears: tuple[str, ...] = ()


class Holder(msgspec.Struct, frozen=True):
    """Who holds a role. `claims` lanes say that they do; `for_s` is None where it cannot be told."""

    lane: str
    epoch: int
    claims: int
    for_s: float | None


class TakeOver(msgspec.Struct, frozen=True):
    """One role that changed hands, as its new holder reported it; times in seconds.

    `at` is when that came home (RFC 3339). `silent_s` is how long the old holder was silent,
    `take_s` how long it then took to take the role, `act_s` from there to the first act.
    """

    at: str
    lane: str
    role: str
    before: str
    why: str
    epoch: int
    silent_s: float
    take_s: float
    act_s: float


class FleetAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Answers `GET /v1/fleet`. `quorum` is None where too few lanes say whether they agree.

    `roles` holds the roles that somebody holds, `registers` whom the council names for each,
    `orders` who is preferred. `local_only_since_s` is Unix seconds, None while a lane is linked.
    """

    schema: str = "allegro.fleet/1"
    roster: int = 0
    members: tuple[str, ...] = ()
    lanes: tuple[FleetLane, ...] = ()
    roles: dict[str, Holder] = {}
    quorum: bool | None = None
    registers: dict[str, str] = {}
    shared_domains: tuple[str, ...] = ()
    orders: dict[str, tuple[str, ...]] = {}
    revoked: tuple[str, ...] = ()
    take_overs: tuple[TakeOver, ...] = ()
    local_only_since_s: float | None = None


class SeenFromHome(msgspec.Struct, frozen=True):
    """A lane as the house sees it. `host` is None where no address can be tried."""

    host: bool | None = None
    daemon: bool = False
    facts: tuple[FactPage, ...] = ()


class HealthAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Answers `GET /v1/fleet/health/LANE`: a lane seen from the house and from its siblings."""

    schema: str = "allegro.health/1"
    lane: str = ""
    house: SeenFromHome = SeenFromHome()
    siblings: dict[str, PeerSeen] = {}


class RestAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Answers `POST /v1/fleet/rest`: the roles handed over; for each lane `told`, or why not."""

    roles: tuple[str, ...] = ()
    outcomes: dict[str, str] = msgspec.field(name="told", default_factory=dict)

    def informed(self) -> tuple[str, ...]:
        """Return the lanes that took it."""
        return tuple(name for name, outcome in self.outcomes.items() if outcome == TAKEN)


class ReportedAnswer(msgspec.Struct, frozen=True):
    """Answers `POST /v1/fleet/happened`: the id of the event that was archived."""

    id: str
