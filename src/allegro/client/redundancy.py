"""What Timmy's programs ask about their lanes: are they well, who takes over, what happened."""

from __future__ import annotations

from typing import Any

import msgspec

from allegro.client.bridge import Bridge
from allegro.client.house_client import named
from allegro.core.authority.lease import ROLES


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
        response = await self._riding_over(lambda: self._house.get(f"fleet/health/{named(host)}"))
        house = _own(response["house"])
        siblings = {name: _sibling(one) for name, one in response["siblings"].items()}
        troubles = tuple(
            f"{fact.get('what')}: {fact.get('detail')}"
            for fact in response["house"].get("facts", ())
            if fact.get("state") != "ok"
        )
        is_bad = any(fact.get("state") == "bad" for fact in response["house"].get("facts", ()))
        verdict = _verdict(house, siblings, is_bad=is_bad)
        return HealthStatus(host, verdict, house, siblings, troubles)

    async def take_over_routing(self, failed_host: str, to: str = "") -> TakenOver:
        """Let the other lanes do what `failed_host` does, for an hour at least.

        A lane that still answers hands over at once, in order; one that does not loses its roles
        when its lease ends. No lane is made to act before that.
        """
        response = await self._riding_over(
            lambda: self._house.post("fleet/rest", {"lane": failed_host, "to": to})
        )
        heard = tuple(name for name, answer in response["told"].items() if answer == "told")
        return TakenOver(failed_host, tuple(response["roles"]), heard)

    async def maintain_syncthing_mesh(self) -> MeshStatus:
        """Return how the mesh is: not configured, until channels come."""
        return MeshStatus()

    async def report_failover_event(self, event: FailoverEvent) -> str:
        """Put a failover on record at the house; return the event's id.

        The fleet's own take-overs are reported by their new holder, once; they need no report.
        """
        body = msgspec.to_builtins(event)
        response = await self._riding_over(lambda: self._house.post("fleet/happened", body))
        return str(response["id"])

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


def _own(report: dict[str, Any]) -> Seen:
    if not report["daemon"]:
        return Seen(host=report["host"], daemon=False)

    def is_about(fact: dict[str, Any], part: str) -> bool:
        if fact.get("code", "other") == "other":
            return str(fact.get("what")).startswith(_BEFORE[part])
        return fact["code"] in _CODES[part]

    def good(part: str) -> bool | None:
        found = [fact.get("verdict") for fact in report["facts"] if is_about(fact, part)]
        return None if not found else "bad" not in found

    return Seen(True, True, good("forge"), good("provider"), good("clock"))


def _sibling(report: dict[str, Any]) -> Seen:
    """What a lane is ready for, it can do; why it is not ready for more, another lane cannot tell."""
    ready = report["ready"] if report["heard"] else ()
    return Seen(
        host=report["host"],
        council=report["heard"],
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
