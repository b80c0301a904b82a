"""What the house tells of itself: status and doctor's facts, in plain values."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from allegro import __version__
from allegro.core.authority.freeze import MAX_ACTIVE, FreezeSet, sound_id
from allegro.core.base.errors import EdgeError
from allegro.core.base.store_ties import Fault
from allegro.core.base.untrusted import MAX_TEXT, Unreadable, text_of
from allegro.core.effects.render import one_line
from allegro.core.health import codes
from allegro.core.health.facts import Fact, FactPage, fact_page
from allegro.core.health.facts import State as FactState
from allegro.core.protocol.answers.lane import LaneStatus, UnknownStatus, read_status
from allegro.core.protocol.queries import QueryName
from allegro.core.requests.lifecycle import MOST_DOUBTS, STAGES, State
from allegro.core.settings import HouseSettings
from allegro.house.archive.suspended import Suspended
from allegro.house.files import Fleet, files_of
from allegro.house.health.alerts import Alerts
from allegro.house.health.lane_facts import answered_facts, link_facts, of_lane
from allegro.house.lanes import Lanes
from allegro.house.ports import Ports

LOW_DISK_BYTES = 500_000_000
ASK_S = 5.0
FAILING = 3
"""So many orders without a clear answer are told by doctor."""


class Troubles(NamedTuple):
    """What the house found wrong: alerts, lanes that get no orders, its two stores."""

    alerts: Alerts
    suspended: Suspended
    fault: Fault | None


class HouseNow(msgspec.Struct, frozen=True):
    """What holds in the house at this moment; each is asked anew.

    `alone_since` is when the last lane was linked (Unix s), None while one is; `blocked` says what
    holds orders up, empty for nothing; `duties` says how scheduled duties are.
    """

    fleet: Callable[[], Fleet]
    freezes: Callable[[], FreezeSet]
    alone_since: Callable[[], float | None]
    blocked: Callable[[], str]
    duties: Callable[[], list[Fact]] = list


class Facts:
    """Collects what `allegro status` and `allegro doctor` show."""

    def __init__(
        self,
        settings: HouseSettings,
        ports: Ports,
        lanes: Lanes,
        now: HouseNow,
        troubles: Troubles,
    ) -> None:
        self._settings = settings
        self._files = files_of(settings)
        self._archive = ports.archive
        self._ledger = ports.ledger
        self._lanes = lanes
        self._clock = ports.clock
        self._fleet = now.fleet
        self._freezes = now.freezes
        self._alone_since = now.alone_since
        self._blocked = now.blocked
        self._duties = now.duties
        self._troubles = troubles

    async def status(self) -> dict[str, object]:
        """Return the house at a glance. Figures name their source; unknown is null."""
        now_s = self._clock.now_s()
        requests = [r for r in self._ledger.requests.values() if not r.internal]
        waiting = [r for r in requests if r.state is State.PROPOSED]
        lanes = self._lanes.describe()
        details = await asyncio.gather(*(self._lane_status(lane["name"]) for lane in lanes))
        for lane, detail in zip(lanes, details, strict=True):
            lane["detail"] = detail
        own = {freeze.id for freeze in self._freezes().freezes}
        return {
            "schema": "allegro.status/1",
            "version": __version__,
            "house": self._settings.house.name,
            "acting": self._settings.house.acting,
            "seat": self._fleet().seat,
            "frozen": not self._freezes().is_thawed,
            "freezes": [
                {"id": f.id, "by": f.by, "reason": f.reason, "at_s": f.at_s}
                for f in self._freezes().active
            ],
            "lane_freezes": {
                lane["name"]: extra
                for lane in lanes
                if (extra := [id_ for id_ in _held_ids(lane["detail"]) if id_ not in own])
            },
            "lanes": lanes,
            "local_only_since_s": self._alone_since(),
            "waiting_for_sovereign": len(waiting),
            "oldest_waiting_s": max((now_s - r.created_s for r in waiting), default=None),
            "open": {state.value: sum(r.state is state for r in requests) for state in STAGES},
            "blocked": self._blocked(),
            "archive": await self._archive.counts(),
            "alerts": self._troubles.alerts.listed(),
            "alert_counts": self._troubles.alerts.counts(),
            "suspended": self._troubles.suspended.described(),
        }

    async def doctor(self) -> dict[str, object]:
        """Return doctor's facts of house and lanes; `ok` is false when one of them is bad."""
        now_s = self._clock.now_s()
        own = [*self._own_facts(), *self._request_facts(), *await self._trouble_facts()]
        own += [*self._domain_facts(), *await self._archive_facts(), *self._duties()]
        pages = [fact_page(fact, now_s) for fact in own]
        for found in await asyncio.gather(*map(self._lane_facts, self._lanes.describe())):
            pages += found
        return {
            "schema": "allegro.doctor/1",
            "ok": all(page.state != "bad" for page in pages),
            "facts": [msgspec.to_builtins(page) for page in pages],
        }

    async def _archive_facts(self) -> list[Fact]:
        gaps = await self._archive.gaps()
        words = f"{len(gaps)} named gaps"
        facts = [Fact(codes.ARCHIVE_GAPS, "warn" if gaps else "ok", words, "archive")]
        if not self._lanes.describe():
            facts.append(Fact(codes.LANES, "bad", "none paired", "fleet.json"))
        return facts

    def _domain_facts(self) -> list[Fact]:
        """Say loudly where one outage would take more than one lane of the council (R6)."""
        roster = self._fleet().roster
        by_domain: dict[str, list[str]] = {}
        for member in roster.members if roster else ():
            if member.domain:
                by_domain.setdefault(member.domain, []).append(member.name)
        return [
            Fact(codes.FAILURE_DOMAIN, "bad", f"shared by {', '.join(names)}", "roster", domain)
            for domain, names in by_domain.items()
            if len(names) > 1
        ]

    def _own_facts(self) -> list[Fact]:
        return [
            Fact(codes.VERSION, "ok", f"allegro {__version__}", "program"),
            *self._key_facts(),
            self._disk_fact(),
            *self._freeze_facts(),
            self._change_token_fact(),
        ]

    def _key_facts(self) -> list[Fact]:
        fleet, acting = self._fleet(), self._settings.house.acting
        seat = f"number {fleet.seat}" + ("" if acting else ", following read-only")
        keys = f"sovereign key {fleet.sovereign_number}, house key {fleet.house_number}"
        encrypted = b"ENCRYPTED" in _read(self._files.sovereign)
        open_key = "without a passphrase: who reads this disk can approve"
        words = "behind a passphrase" if encrypted else open_key
        state: FactState = "ok" if encrypted else "warn"
        return [
            Fact(codes.HOUSE_SEAT, "ok" if acting else "warn", seat, "fleet.json"),
            Fact(codes.HOUSE_KEYS, "ok", keys, "fleet.json"),
            Fact(codes.SOVEREIGN_KEY, state, words, "sovereign.key"),
        ]

    def _disk_fact(self) -> Fact:
        free = shutil.disk_usage(self._files.folder).free
        words = f"{free // 1_000_000} MB free"
        return Fact(codes.HOUSE_DISK, "bad" if free < LOW_DISK_BYTES else "ok", words, "statvfs")

    def _freeze_facts(self) -> list[Fact]:
        freezes = self._freezes()
        if freezes.is_thawed:
            return []
        words = f"frozen: {', '.join(freeze.id for freeze in freezes.active)}"
        return [Fact(codes.FROZEN, "warn", words, "ledger")]

    def _change_token_fact(self) -> Fact:
        if not self._settings.forge.change_token_file:
            words = "not configured: no code changes"
            return Fact(codes.CHANGE_TOKEN, "warn", words, "house.toml")
        reach = "could push branches and open pull requests; never to protected branches"
        return Fact(codes.CHANGE_TOKEN_REACH, "warn", reach, "scopes")

    async def _trouble_facts(self) -> list[Fact]:
        """Say which lanes get no orders, what was set aside, and whether both stores fit."""
        fault, aside = self._troubles.fault, await self._ledger.all_set_aside()
        fit = fault.value if fault else "belong together"
        count = f"{len(aside)} items could not be handled"
        return [
            Fact(codes.STORES, "bad" if fault else "ok", fit, "archive, ledger"),
            Fact(codes.SET_ASIDE, "warn" if aside else "ok", count, "ledger"),
            *(
                Fact(
                    codes.LANE_SUSPENDED,
                    "bad",
                    f"suspended: {one.reason}",
                    "ledger",
                    one.lane,
                )
                for one in self._troubles.suspended.described()
            ),
        ]

    def _request_facts(self) -> list[Fact]:
        now_s = self._clock.now_s()
        stuck = [
            request
            for request in self._ledger.requests.values()
            if request.state in {State.ORDERED, State.SENT, State.UNKNOWN, State.APPROVED}
            and now_s - (request.history[-1].at_s if request.history else request.created_s) > 300
        ]
        named = ", ".join(f"{r.id[:8]} {r.state.value}" for r in stuck[:5]) or "none"
        failing = [r for r in stuck if r.doubts >= FAILING]
        words = "; ".join(
            f"{r.id[:8]} after {r.doubts} of {MOST_DOUBTS}: {r.detail[:200]}" for r in failing[:3]
        )
        words = one_line(words, MAX_TEXT) or "none"
        return [
            Fact(codes.REQUEST_FAILING, "warn" if failing else "ok", words, "ledger"),
            Fact(codes.REQUEST_STUCK, "warn" if stuck else "ok", named, "ledger"),
        ]

    async def _lane_facts(self, lane: Mapping[str, Any]) -> list[FactPage]:
        """Return what the house knows of a lane, then what the lane answers of itself."""
        name, now_s = lane["name"], self._clock.now_s()
        link = next((link for other, _, link in self._lanes.linked() if other == name), None)
        facts = link_facts(lane, now_s)
        answer: object = None
        if lane["linked"] and link is not None:
            try:
                answer = await link.ask(QueryName.DOCTOR, {}, ASK_S)
            except EdgeError as error:
                facts.append(Fact(codes.LANE_DOCTOR, "bad", str(error), "link"))
        pages = [of_lane(fact_page(fact, now_s), name) for fact in facts]
        return pages if answer is None else [*pages, *answered_facts(name, answer, now_s)]

    async def _lane_status(self, name: str) -> LaneStatus | None:
        for link_name, _, link in self._lanes.linked():
            if link_name == name:
                try:
                    status = read_status(await link.ask(QueryName.STATUS, {}, 3.0))
                except EdgeError as error:
                    return UnknownStatus(error=text_of(str(error)))
                if isinstance(status, Unreadable):
                    return UnknownStatus(error=f"its status cannot be read: {status}")
                return status
        return None


def _held_ids(detail: LaneStatus | None) -> list[str]:
    """Return the freezes a lane says it holds, as far as the house could thaw them."""
    freezes = detail.freezes if detail is not None else ()
    return [id_ for id_ in freezes if sound_id(id_) == id_][:MAX_ACTIVE]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
