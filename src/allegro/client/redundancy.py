"""What Timmy's programs ask about their lanes: are they well, who takes over, what happened."""

from __future__ import annotations

from typing import Any

import msgspec

from allegro.client.bridge import Bridge
from allegro.core.authority.lease import ROLES
from allegro.core.health.facts import FactPage
from allegro.core.protocol.answers.fleet import PeerSeen, SeenFromHome
from allegro.core.protocol.asked import Happened, LetRest


class Seen(msgspec.Struct, frozen=True):
    """How one vantage point sees a lane. None: it cannot tell.

    `host` answers at all; `daemon` speaks on the link; `forge`, `provider` and `clock` as the
    lane's own doctor says, `council` whether its page in the council is fresh.
    """

    host: bool | None = None
    daemon: bool | None = None
    forge: bool | None = None
    provider: bool | None = None
    clock: bool | None = None
    council: bool | None = None


class HealthStatus(msgspec.Struct, frozen=True):
    """One lane seen from the house and from its siblings. `verdict` is well, ill, dead, unknown.

    `troubles` are doctor's lines that are not good, in words.
    """

    lane: str
    verdict: str
    house: Seen
    siblings: dict[str, Seen]
    troubles: tuple[str, ...] = ()


class TakenOver(msgspec.Struct, frozen=True):
    """Which roles were given away, and which lanes were informed of it."""

    failed_host: str
    roles: tuple[str, ...]
    informed: tuple[str, ...]


class MeshStatus(msgspec.Struct, frozen=True):
    """The Syncthing mesh. Until channels come there is none, and it says so."""

    configured: bool = False
    detail: str = "not configured: file sharing comes with the channels"


class FailoverEvent(msgspec.Struct, frozen=True):
    """Something to put on record: what happened, to which lane and role."""

    what: str
    lane: str = ""
    role: str = ""


class RedundancyManager(Bridge):
    """Asks the house. Raises BridgeError; HouseUnreachable while the house does not run."""

    async def health_check_vps(self, host: str) -> HealthStatus:
        """Return how the lane named `host` is, from two vantage points where there are two."""
        health = await self._riding_over(lambda: self._house.lane_health(host))
        house, facts = _own(health.house), health.house.facts
        siblings = {name: _sibling(one) for name, one in health.siblings.items()}
        troubles = tuple(f"{one.what}: {one.detail}" for one in facts if one.state != "ok")
        verdict = _verdict(house, siblings, is_bad=any(one.state == "bad" for one in facts))
        return HealthStatus(host, verdict, house, siblings, troubles)

    async def take_over_routing(self, failed_host: str, to: str = "") -> TakenOver:
        """Let the other lanes do what `failed_host` does, for an hour at least.

        A lane that still answers hands over at once, in order; one that does not loses its roles
        when its lease ends. No lane is made to act before that.
        """
        wish = LetRest(lane=failed_host, to=to)
        answer = await self._riding_over(lambda: self._house.let_rest(wish))
        return TakenOver(failed_host, answer.roles, answer.informed())

    async def maintain_syncthing_mesh(self) -> MeshStatus:
        """Return how the mesh is: not configured, until channels come."""
        return MeshStatus()

    async def report_failover_event(self, event: FailoverEvent) -> str:
        """Put a failover on record at the house; return the event's id.

        The fleet's own take-overs are reported by their new holder, once; they need no report.
        """
        happened = Happened(event.what, event.lane, event.role)
        return (await self._riding_over(lambda: self._house.report_failover(happened))).id

    async def fleet(self) -> dict[str, Any]:
        """Return who holds what, as `allegro fleet status --json` shows it."""
        return dict(await self._riding_over(lambda: self._house.get("fleet")))


_CODES = {
    "forge": ("forge.reachable",),
    "provider": ("model.provider", "agent.hermes"),
    "clock": ("lane.clock",),
}
_BEFORE = {"forge": ("forge",), "provider": ("model provider", "gateway"), "clock": ("clock",)}
"""How a lane of the release before, whose facts have no code, begins the name of each."""


def _own(seen: SeenFromHome) -> Seen:
    if not seen.daemon:
        return Seen(host=seen.host, daemon=False)

    def is_about(fact: FactPage, part: str) -> bool:
        if fact.code == "other":
            return fact.what.startswith(_BEFORE[part])
        return fact.code in _CODES[part]

    def good(part: str) -> bool | None:
        found = [fact.verdict for fact in seen.facts if is_about(fact, part)]
        return None if not found else "bad" not in found

    return Seen(True, True, good("forge"), good("provider"), good("clock"))


def _sibling(seen: PeerSeen) -> Seen:
    """What a lane is ready for, it can do; why it is not ready for more, another lane cannot tell."""
    ready = seen.ready if seen.heard else ()
    return Seen(
        host=seen.host,
        council=seen.heard,
        forge=True if ROLES[0] in ready else None,
        provider=True if ROLES[1] in ready else None,
    )


def _verdict(house: Seen, siblings: dict[str, Seen], *, is_bad: bool) -> str:
    """Dead needs two who say so, or the only one there is: one view may be its own trouble."""
    if house.daemon:
        return "ill" if is_bad or False in (house.forge, house.provider, house.clock) else "well"
    if any(one.council for one in siblings.values()):
        return "ill"  # alive, but not for the house
    if house.host is False and all(one.host is False for one in siblings.values()):
        return "dead"
    return "ill" if house.host or any(one.host for one in siblings.values()) else "unknown"
