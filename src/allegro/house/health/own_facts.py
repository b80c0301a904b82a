"""What the house states of itself: keys, disk, stores, lanes that get no orders, stuck requests."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import msgspec

from allegro import __version__
from allegro.core.authority.freeze import FreezeSet
from allegro.core.base.store_ties import Fault
from allegro.core.base.untrusted import MAX_TEXT
from allegro.core.effects.render import one_line
from allegro.core.health import codes
from allegro.core.health.duty_runs import DutyPlan
from allegro.core.health.facts import Fact
from allegro.core.health.facts import State as FactState
from allegro.core.requests.decisions import Decision
from allegro.core.requests.lifecycle import MOST_DOUBTS, State
from allegro.core.requests.requests import Request
from allegro.core.settings import HouseSettings
from allegro.house.archive.suspended import Suspended
from allegro.house.files import Fleet, files_of
from allegro.house.lanes import Lanes
from allegro.house.ports import Ports

LOW_DISK_BYTES = 500_000_000
FAILING = 3
"""So many orders without a clear answer are told by doctor."""


class Troubles(NamedTuple):
    """What the house found wrong: lanes that get no orders, its two stores."""

    suspended: Suspended
    fault: Fault | None


class HouseNow(msgspec.Struct, frozen=True):
    """What holds in the house at this moment; each is asked anew.

    `alone_since` is when the last lane was linked (Unix s), None while one is; `blocked` says what
    holds orders up, empty for nothing; `duties` says how scheduled duties are,
    `plans` which of them lanes are to expect; `proposed` and `questions` are what waits for its
    owner's decision, oldest first.
    """

    fleet: Callable[[], Fleet]
    freezes: Callable[[], FreezeSet]
    alone_since: Callable[[], float | None]
    blocked: Callable[[], str]
    duties: Callable[[], list[Fact]] = list
    plans: Callable[[], list[DutyPlan]] = list
    proposed: Callable[[], list[Request]] = list
    questions: Callable[[], list[Decision]] = list


class OwnFacts:
    """Collects what the house itself states; lanes answer for themselves."""

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
        self._duties = now.duties
        self._troubles = troubles

    async def facts(self) -> list[Fact]:
        """Return all facts of the moment. Raises EdgeError of the stores."""
        return [
            *self._own_facts(),
            *self._request_facts(),
            *await self._trouble_facts(),
            *self._domain_facts(),
            *await self._archive_facts(),
            *self._duties(),
        ]

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


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
