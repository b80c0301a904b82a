"""The fleet on the house's API: who holds what, is each lane well, let one rest (R1, R4).

Lanes tell, and the house compares what they tell with what it sees itself. Nothing here decides
who holds a role.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import TypeVar
from urllib.parse import urlsplit

from aiohttp import web

from allegro.core.authority.lease import ROLES
from allegro.core.authority.tokens import fingerprint
from allegro.core.base.errors import EdgeError, Refusal
from allegro.core.base.events import encode_event
from allegro.core.base.untrusted import Unreadable, read_value
from allegro.core.effects.render import one_line
from allegro.core.health import codes
from allegro.core.health.alerts import RaiseAlert
from allegro.core.protocol.answers.fleet import (
    TAKEN,
    FleetAnswer,
    FleetLane,
    HealthAnswer,
    LaneFleet,
    LaneOffer,
    PeerSeen,
    ReportedAnswer,
    RestAnswer,
    SeenFromHome,
)
from allegro.core.protocol.answers.house import LinkedLane
from allegro.core.protocol.asked import Happened, LetRest
from allegro.core.protocol.payloads.base import own_event
from allegro.core.protocol.payloads.fleet import FailoverReported
from allegro.core.protocol.queries import LookAt, QueryName, Rest
from allegro.house.api.http import answer_json, decode_body, refused
from allegro.house.files import Fleet, KnownLane
from allegro.house.fleet.council_view import agreement, holder_of, registered
from allegro.house.fleet.watch import FleetWatch
from allegro.house.health.lane_facts import answered_facts
from allegro.house.lanes import Lanes
from allegro.house.ports import Ports

V = TypeVar("V")

ASK_S = 4.0
REACH_S = 3.0
MAX_REST_S = 86_400.0


class FleetApi:
    """Routes only; `watch` knows what happened, `lanes` what is said now."""

    def __init__(
        self,
        ports: Ports,
        lanes: Lanes,
        watch: FleetWatch,
        fleet: Callable[[], Fleet],
        alert: RaiseAlert,
    ) -> None:
        self._archive, self._clock, self._dice = ports.archive, ports.clock, ports.dice
        self._lanes = lanes
        self._watch = watch
        self._fleet = fleet
        self._alert = alert

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/v1/fleet", self._show),
            web.get("/v1/fleet/offer/{lane}", self._offer),
            web.get("/v1/fleet/health/{lane}", self._health),
            web.post("/v1/fleet/rest", self._rest),
            web.post("/v1/fleet/happened", self._happened),
        ]

    async def _show(self, _: web.Request) -> web.Response:
        return answer_json(await self.describe())

    async def describe(self) -> FleetAnswer:
        """Return the fleet at a glance; what no lane could tell is null."""
        fleet, roster = self._fleet(), self._fleet().roster
        members = self._members()
        lanes = await asyncio.gather(*map(self._of_lane, self._lanes.describe()))
        holders = {role: holder_of(role, lanes, members) for role in ROLES}
        domains = [lane.domain for lane in lanes if lane.domain]
        return FleetAnswer(
            roster=roster.number if roster else 0,
            members=tuple(members),
            lanes=tuple(lanes),
            roles={role: holder for role, holder in holders.items() if holder is not None},
            quorum=agreement(lanes, members),
            registers={role: registered(role, lanes, members) for role in ROLES},
            shared_domains=tuple(sorted({one for one in domains if domains.count(one) > 1})),
            orders=dict(roster.roles) if roster else {},
            revoked=tuple(lane.name for lane in fleet.lanes if lane.revoked),
            take_overs=tuple(self._watch.newest()),
            local_only_since_s=self._watch.local_only_since_s,
        )

    def _members(self) -> list[str]:
        """Return the lanes of the council whose keys are not revoked."""
        fleet = self._fleet()
        revoked = {fingerprint(lane.key) for lane in fleet.lanes if lane.revoked}
        members = fleet.roster.members if fleet.roster else ()
        return [member.name for member in members if member.lane not in revoked]

    async def _of_lane(self, lane: LinkedLane) -> FleetLane:
        answer = await self._answer_of(lane)
        said = answer if isinstance(answer, LaneFleet) else LaneFleet()
        roles_heard = self._lanes.roles_of(lane.name)
        return FleetLane(
            name=lane.name,
            linked=lane.linked,
            answers=isinstance(answer, LaneFleet),
            trouble=f"its answer cannot be read: {answer}"
            if isinstance(answer, Unreadable)
            else "",
            heard_s=lane.heard_s or self._watch.last_heard_s(lane.name),
            held=roles_heard if said.held is None else _of_roles(said.held),
            held_for_s=_of_roles(said.held_for_s),
            holders={role: _first_name(said.holders.get(role, ())) for role in ROLES},
            roster=said.roster,
            serves=tuple(self._lanes.serves(lane.name)),
            council=said.council,
            quorum=said.quorum,
            ready=said.ready,
            domain=said.domain,
            frozen=said.frozen,
            freezes_unknown_here=self._lanes.unknown_freezes(said.freezes),
            hears=tuple(peer.lane for peer in said.siblings if peer.heard),
        )

    async def _answer_of(self, lane: LinkedLane) -> LaneFleet | Unreadable | None:
        """Return what a lane says of its fleet, None where it says nothing."""
        if not lane.linked:
            return None
        try:
            asking = self._lanes.ask_lane(lane.name, QueryName.FLEET, {})
            return read_value(await asyncio.wait_for(asking, ASK_S), LaneFleet)
        except (EdgeError, TimeoutError):
            return None

    async def _offer(self, request: web.Request) -> web.Response:
        name = request.match_info["lane"]
        offer = read_value(await self._lanes.ask_lane(name, QueryName.OFFER, {}), LaneOffer)
        if isinstance(offer, Unreadable):
            why = f"the answer of lane {name} cannot be read: {offer}"
            raise EdgeError(why, transient=False, kind="unreadable")
        return answer_json(offer)

    async def _rest(self, request: web.Request) -> web.Response:
        """Let a lane rest from a role: every linked lane is told, the holder hands over."""
        body = decode_body(await request.read(), LetRest)
        refusal = self._against_rest(body)
        if refusal is not None:
            return refused(refusal)
        roles = (body.role,) if body.role else tuple(self._lanes.roles_of(body.lane)) or ROLES
        outcomes: dict[str, str] = {}
        resting = []
        for role in roles:
            query = Rest(lane=body.lane, role=role, seconds=body.seconds, to=body.to)
            for name, _, _ in self._lanes.linked():
                if role not in self._lanes.serves(name):
                    continue
                try:
                    await self._lanes.ask_lane(name, query.name, query.params())
                    outcomes[name] = TAKEN
                    resting += [role] if role not in resting else []
                except EdgeError as error:
                    outcomes.setdefault(name, str(error))
        if not resting:
            nobody = f"no linked lane serves {' or '.join(roles)}"
            return refused(Refusal("nobody_told", "; ".join(outcomes.values()) or nobody))
        return answer_json(RestAnswer(roles=tuple(resting), outcomes=outcomes))

    def _against_rest(self, body: LetRest) -> Refusal | None:
        """Return why a lane cannot be made to rest as asked, None when it can."""
        members = self._members()
        if not members:
            return Refusal("no_council", "there is no council: a lane that is alone cannot rest")
        for name in filter(None, (body.lane or "?", body.to)):
            if name not in members:
                known = ", ".join(members)
                return Refusal("unknown_lane", f"{name} is not in the council; it has {known}")
        if body.to == body.lane:
            return Refusal("bad_request", "a lane cannot hand over to itself")
        if body.role and body.role not in ROLES:
            return Refusal("bad_request", f"{body.role} is no role: {', '.join(ROLES)}")
        if not 1.0 <= body.seconds <= MAX_REST_S:
            return Refusal("bad_request", "a rest takes from one second to one day")
        if body.to and body.to not in {name for name, _, _ in self._lanes.linked()}:
            return Refusal("not_linked", f"{body.to} is not linked: it cannot take over now")
        return None

    async def _happened(self, request: web.Request) -> web.Response:
        body = decode_body(await request.read(), Happened)
        now_s = self._clock.now_s()
        payload = FailoverReported(what=body.what, lane=body.lane, role=body.role)
        event = own_event(payload, id_=self._dice.token(16).hex(), now_s=now_s)
        await self._archive.add([encode_event(event)], now_s)
        self._alert(codes.FAILOVER_REPORTED, one_line(body.what))
        return answer_json(ReportedAnswer(event.id))

    async def _health(self, request: web.Request) -> web.Response:
        """Tell host, daemon, forge, provider and clock of a lane apart, from two places."""
        name = request.match_info["lane"]
        lane = next((one for one in self._fleet().lanes if one.name == name), None)
        if lane is None:
            return refused(Refusal("unknown_lane", f"no lane is named {name}"))
        from_here = await self._seen_from_here(lane)
        others = [other for other, _, _ in self._lanes.linked() if other != name]
        seen = await asyncio.gather(*(self._seen_from(other, name) for other in others))
        siblings = {other: one for other, one in zip(others, seen, strict=True) if one is not None}
        return answer_json(HealthAnswer(lane=name, house=from_here, siblings=siblings))

    async def _seen_from_here(self, lane: KnownLane) -> SeenFromHome:
        try:
            asking = self._lanes.ask_lane(lane.name, QueryName.DOCTOR, {})
            facts = await asyncio.wait_for(asking, ASK_S)
        except (EdgeError, TimeoutError):
            return SeenFromHome(host=await _reach(lane.url))
        pages = answered_facts("", facts, self._clock.now_s())
        return SeenFromHome(host=True, daemon=True, facts=tuple(pages))

    async def _seen_from(self, other: str, name: str) -> PeerSeen | None:
        """Return how one lane sees another, None where it did not answer in a way to be read."""
        query = LookAt(lane=name)
        try:
            asking = self._lanes.ask_lane(other, query.name, query.params())
            seen = read_value(await asyncio.wait_for(asking, ASK_S), PeerSeen)
        except (EdgeError, TimeoutError):
            return None
        return None if isinstance(seen, Unreadable) else seen


async def _reach(url: str) -> bool | None:
    """Whether a host answers at all: a refused connection is an answer. None: cannot be told."""
    parts = urlsplit(url)
    if parts.hostname is None or parts.scheme not in {"ws", "wss"}:
        return None
    port = parts.port or (443 if parts.scheme == "wss" else 80)
    try:
        _, writer = await asyncio.wait_for(asyncio.open_connection(parts.hostname, port), REACH_S)
    except ConnectionRefusedError:
        return True
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True


def _of_roles(said: Mapping[str, V]) -> dict[str, V]:
    """Return what a lane says of the roles there are; other words of it are left out."""
    return {role: said[role] for role in ROLES if role in said}


def _first_name(holder: tuple[str | int, ...]) -> str:
    """Return the name of a holder as (lane, epoch), empty for nobody."""
    return next((one for one in holder[:1] if isinstance(one, str)), "")
