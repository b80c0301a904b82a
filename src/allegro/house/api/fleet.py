"""The fleet on the house's API: who holds what, is each lane well, let one rest (R1, R4).

Lanes tell, and the house compares what they tell with what it sees itself. Nothing here decides
who holds a role.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import msgspec
from aiohttp import web

from allegro.core.authority.lease import ROLES
from allegro.core.authority.tokens import fingerprint
from allegro.core.base.errors import EdgeError, Refusal
from allegro.core.base.events import encode_event
from allegro.core.base.untrusted import (
    Name,
    Text,
    Unreadable,
    names_of,
    number_of,
    read_value,
    real_of,
    text_of,
)
from allegro.core.effects.render import one_line
from allegro.core.health import codes
from allegro.core.health.alerts import RaiseAlert
from allegro.core.ports import Clock, Dice
from allegro.core.protocol.answers.fleet import LaneOffer
from allegro.core.protocol.payloads.base import own_event
from allegro.core.protocol.payloads.fleet import FailoverReported
from allegro.core.protocol.queries import LookAt, QueryName, Rest
from allegro.core.stores import Archive
from allegro.house.api.http import answer_json, decode_body, refused
from allegro.house.files import Fleet, KnownLane
from allegro.house.fleet.council_view import agreement, holder_of, registered
from allegro.house.fleet.watch import FleetWatch
from allegro.house.health.lane_facts import answered_facts
from allegro.house.lanes import Lanes

ASK_S = 4.0
REACH_S = 3.0
REST_S = 3600.0
MAX_REST_S = 86_400.0


class RestBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    lane: Name
    role: Name = ""
    to: Name = ""
    seconds: float = REST_S


class Happened(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A failover somebody reports from outside: words for the archive."""

    what: Text
    lane: Name = ""
    role: Name = ""


class FleetApi:
    """Routes only; `watch` knows what happened, `lanes` what is said now."""

    def __init__(
        self, archive: Archive, lanes: Lanes, watch: FleetWatch, clock: Clock, dice: Dice,
        fleet: Callable[[], Fleet], alert: RaiseAlert,
    ) -> None:  # fmt: skip
        self._archive = archive
        self._lanes = lanes
        self._watch = watch
        self._clock = clock
        self._dice = dice
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

    async def describe(self) -> dict[str, Any]:
        """Return the fleet at a glance; what no lane could tell is null."""
        fleet, roster = self._fleet(), self._fleet().roster
        members = self._members()
        described = self._lanes.describe()
        lanes = await asyncio.gather(*(self._of_lane(lane) for lane in described))
        holders = {role: holder_of(role, lanes, members) for role in ROLES}
        domains = {one["name"]: one["domain"] for one in lanes if one["domain"]}
        return {
            "schema": "allegro.fleet/1", "roster": roster.number if roster else 0,
            "members": members, "lanes": lanes,
            "roles": {role: holder for role, holder in holders.items() if holder is not None},
            "quorum": agreement(lanes, members),
            "registers": {role: registered(role, lanes, members) for role in ROLES},
            "shared_domains": sorted(
                {domain for domain in domains.values() if list(domains.values()).count(domain) > 1}
            ),
            "orders": {role: list(names) for role, names in roster.roles.items()} if roster else {},
            "revoked": [lane.name for lane in fleet.lanes if lane.revoked],
            "take_overs": [msgspec.to_builtins(one) for one in self._watch.newest()],
            "local_only_since_s": self._watch.local_only_since_s,
        }  # fmt: skip

    def _members(self) -> list[str]:
        """Return the lanes of the council whose keys are not revoked."""
        fleet = self._fleet()
        revoked = {fingerprint(lane.key) for lane in fleet.lanes if lane.revoked}
        members = fleet.roster.members if fleet.roster else ()
        return [member.name for member in members if member.lane not in revoked]

    async def _of_lane(self, lane: dict[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = {}
        if lane["linked"]:
            with contextlib.suppress(EdgeError, TimeoutError):
                raw = await asyncio.wait_for(
                    self._lanes.ask_lane(lane["name"], QueryName.FLEET, {}), ASK_S
                )
                answer = raw if isinstance(raw, dict) else {}
        siblings, frozen = answer.get("siblings"), answer.get("frozen")
        return {
            "name": lane["name"], "linked": lane["linked"], "answers": bool(answer),
            "heard_s": lane["heard_s"] or self._watch.last_heard_s(lane["name"]),
            "held": _held(answer.get("held"), self._lanes.roles_of(lane["name"])),
            "held_for_s": _ages(answer.get("held_for_s")),
            "holders": _holders(answer.get("holders")),
            "roster": number_of(answer.get("roster")),
            "serves": self._lanes.serves(lane["name"]),
            "council": text_of(answer.get("council"), 16), "quorum": answer.get("quorum") is True,
            "ready": list(names_of(answer.get("ready"))), "domain": text_of(answer.get("domain"), 64),
            "frozen": frozen if isinstance(frozen, bool) else None,
            "freezes_unknown_here": self._lanes.unknown_freezes(answer.get("freezes")),
            "hears": [
                text_of(one.get("lane"), 32)
                for one in (siblings if isinstance(siblings, list) else [])[:16]
                if isinstance(one, dict) and one.get("heard") is True
            ],
        }  # fmt: skip

    async def _offer(self, request: web.Request) -> web.Response:
        name = request.match_info["lane"]
        offer = read_value(await self._lanes.ask_lane(name, QueryName.OFFER, {}), LaneOffer)
        if isinstance(offer, Unreadable):
            why = f"the answer of lane {name} cannot be read: {offer}"
            raise EdgeError(why, transient=False, kind="unreadable")
        return answer_json(offer)

    async def _rest(self, request: web.Request) -> web.Response:
        """Let a lane rest from a role: every linked lane is told, the holder hands over."""
        body = decode_body(await request.read(), RestBody)
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
                    outcomes[name] = "told"
                    resting += [role] if role not in resting else []
                except EdgeError as error:
                    outcomes.setdefault(name, str(error))
        if not resting:
            nobody = f"no linked lane serves {' or '.join(roles)}"
            return refused(Refusal("nobody_told", "; ".join(outcomes.values()) or nobody))
        return answer_json({"roles": resting, "told": outcomes})

    def _against_rest(self, body: RestBody) -> Refusal | None:
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
        return answer_json({"id": event.id})

    async def _health(self, request: web.Request) -> web.Response:
        """Tell host, daemon, forge, provider and clock of a lane apart, from two places."""
        name = request.match_info["lane"]
        lane = next((one for one in self._fleet().lanes if one.name == name), None)
        if lane is None:
            return refused(Refusal("unknown_lane", f"no lane is named {name}"))
        from_here = await self._seen_from_here(lane)
        others = [other for other, _, _ in self._lanes.linked() if other != name]
        seen = await asyncio.gather(*(self._seen_from(other, name) for other in others))
        return answer_json(
            {
                "schema": "allegro.health/1", "lane": name, "house": from_here,
                "siblings": {other: one for other, one in zip(others, seen, strict=True) if one},
            }
        )  # fmt: skip

    async def _seen_from_here(self, lane: KnownLane) -> dict[str, Any]:
        try:
            facts = await asyncio.wait_for(
                self._lanes.ask_lane(lane.name, QueryName.DOCTOR, {}), ASK_S
            )
        except (EdgeError, TimeoutError):
            return {"host": await _reach(lane.url), "daemon": False, "facts": []}
        pages = msgspec.to_builtins(answered_facts("", facts, self._clock.now_s()))
        return {"host": True, "daemon": True, "facts": pages}

    async def _seen_from(self, other: str, name: str) -> dict[str, Any]:
        try:
            answer = await asyncio.wait_for(
                self._lanes.ask_lane(other, QueryName.LOOK_AT, LookAt(lane=name).params()), ASK_S
            )
        except (EdgeError, TimeoutError):
            return {}
        if not isinstance(answer, dict):
            return {}
        host = answer.get("host")
        return {
            "host": host if isinstance(host, bool) else None, "heard": answer.get("heard") is True,
            "ready": list(names_of(answer.get("ready"))),
        }  # fmt: skip


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


def _held(held: object, heard: dict[str, int]) -> dict[str, int]:
    """Return the roles a lane says it holds now; what its last beat said where it did not answer."""
    if not isinstance(held, dict):
        return heard
    return {role: number_of(held[role]) for role in ROLES if role in held}


def _holders(answer: object) -> dict[str, str]:
    """Return whom a lane reads as holder of each role; empty for nobody."""
    holders = answer if isinstance(answer, dict) else {}
    return {role: next(iter(names_of(holders.get(role))), "") for role in ROLES}


def _ages(answer: object) -> dict[str, float | None]:
    ages = answer if isinstance(answer, dict) else {}
    return {role: real_of(ages[role]) for role in ROLES if role in ages}
