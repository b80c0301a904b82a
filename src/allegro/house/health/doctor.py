"""What the house tells of itself: status and doctor's facts, in plain values."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from allegro import __version__
from allegro.core.authority.freeze import MAX_ACTIVE, FreezeSet, sound_id
from allegro.core.base.errors import EdgeError
from allegro.core.base.store_ties import Fault
from allegro.core.base.timestamps import span
from allegro.core.base.untrusted import MAX_TEXT, Unreadable, text_of
from allegro.core.effects.render import one_line
from allegro.core.ports import Clock
from allegro.core.protocol.answers import read_facts, read_status
from allegro.core.protocol.queries import QueryName
from allegro.core.requests.lifecycle import MOST_DOUBTS, STAGES, State
from allegro.core.settings import HouseSettings
from allegro.core.stores import Archive, Ledger
from allegro.house.archive.suspended import Suspended
from allegro.house.files import Fleet, HouseFiles
from allegro.house.health.alerts import Alerts
from allegro.house.lanes import Lanes
from allegro.house.orders.arbiter import Orders

LOW_DISK_BYTES = 500_000_000
ASK_S = 5.0
FAILING = 3
"""So many orders without a clear answer are told by doctor."""


class Troubles(NamedTuple):
    """What the house found wrong: alerts, lanes that get no orders, its two stores."""

    alerts: Alerts
    suspended: Suspended
    fault: Fault | None


class Facts:
    """Collects what `allegro status` and `allegro doctor` show."""

    def __init__(
        self, settings: HouseSettings, files: HouseFiles, archive: Archive,
        ledger: Ledger, lanes: Lanes, orders: Orders, clock: Clock, *,
        fleet: Callable[[], Fleet], freezes: Callable[[], FreezeSet],
        troubles: Troubles,
        alone_since: Callable[[], float | None],
    ) -> None:  # fmt: skip
        self._settings = settings
        self._files = files
        self._archive = archive
        self._ledger = ledger
        self._lanes = lanes
        self._orders = orders
        self._clock = clock
        self._fleet = fleet
        self._freezes = freezes
        self._troubles = troubles
        self._alone_since = alone_since

    async def status(self) -> dict[str, Any]:
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
            "blocked": self._orders.blocked,
            "archive": await self._archive.counts(),
            "alerts": self._troubles.alerts.listed(),
            "alert_counts": self._troubles.alerts.counts(),
            "suspended": self._troubles.suspended.described(),
        }

    async def doctor(self) -> dict[str, Any]:
        """Return doctor's facts of house and lanes; `ok` is false when one of them is bad."""
        facts = [*self._own_facts(), *self._request_facts(), *await self._trouble_facts()]
        for found in await asyncio.gather(*map(self._lane_facts, self._lanes.describe())):
            facts += found
        facts += self._domain_facts()
        if not self._lanes.describe():
            facts.append(
                _fact(
                    "lanes", "bad", "none paired", "fleet.json", "run `allegro pair` on both sides"
                )
            )
        gaps = await self._archive.gaps()
        facts.append(
            _fact(
                "gaps",
                "warn" if gaps else "ok",
                f"{len(gaps)} named gaps",
                "archive",
                "see `allegro events --gaps`" if gaps else "",
            )
        )
        return {
            "schema": "allegro.doctor/1",
            "ok": all(fact["verdict"] != "bad" for fact in facts),
            "facts": facts,
        }

    def _domain_facts(self) -> list[dict[str, Any]]:
        """Say loudly where one outage would take more than one lane of the council (R6)."""
        roster = self._fleet().roster
        by_domain: dict[str, list[str]] = {}
        for member in roster.members if roster else ():
            if member.domain:
                by_domain.setdefault(member.domain, []).append(member.name)
        return [
            _fact(
                "failure domain",
                "bad",
                f"{', '.join(names)} share {domain}",
                "roster",
                "move a lane elsewhere: one outage there ends the council",
            )
            for domain, names in by_domain.items()
            if len(names) > 1
        ]

    def _own_facts(self) -> list[dict[str, Any]]:
        fleet, freezes = self._fleet(), self._freezes()
        facts = [
            _fact("version", "ok", f"allegro {__version__}", "program"),
            _fact(
                "seat",
                "ok" if self._settings.house.acting else "warn",
                f"number {fleet.seat}"
                + ("" if self._settings.house.acting else ", following read-only"),
                "fleet.json",
            ),
            _fact(
                "keys",
                "ok",
                f"sovereign key {fleet.sovereign_number}, house key {fleet.house_number}",
                "fleet.json",
            ),
        ]
        encrypted = b"ENCRYPTED" in _read(self._files.sovereign)
        facts.append(
            _fact(
                "sovereign key",
                "ok" if encrypted else "warn",
                "behind a passphrase"
                if encrypted
                else "without a passphrase: who reads this disk can approve",
                "sovereign.key",
                "" if encrypted else "allegro keys rotate sovereign --config house.toml",
            )
        )
        free = shutil.disk_usage(self._files.folder).free
        low = free < LOW_DISK_BYTES
        facts.append(
            _fact(
                "disk",
                "bad" if low else "ok",
                f"{free // 1_000_000} MB free",
                "statvfs",
                "free space: the archive cannot grow" if low else "",
            )
        )
        if not freezes.is_thawed:
            ids = ", ".join(f.id for f in freezes.active)
            facts.append(
                _fact(
                    "freeze",
                    "warn",
                    f"frozen: {ids}",
                    "ledger",
                    "allegro thaw --all --config house.toml",
                )
            )
        if not self._settings.forge.change_token_file:
            facts.append(
                _fact(
                    "change token",
                    "warn",
                    "not configured: no code changes",
                    "house.toml",
                    "set forge.change_token_file",
                )
            )
        else:
            facts.append(
                _fact(
                    "a thief of the change token",
                    "warn",
                    "could push branches and open pull requests; never to protected branches",
                    "scopes",
                    "delete the token at the forge",
                )
            )
        return facts

    async def _trouble_facts(self) -> list[dict[str, Any]]:
        """Say which lanes get no orders, what was set aside, and whether both stores fit."""
        fault, aside = self._troubles.fault, await self._ledger.all_set_aside()
        facts = [
            _fact(
                "stores", "bad" if fault else "ok", fault.value if fault else "belong together",
                "archive, ledger", "put back what is missing, or check requests and receipts",
            ),
            _fact(
                "set aside", "warn" if aside else "ok", f"{len(aside)} items could not be handled",
                "ledger", "see the alerts of `allegro status`, and update allegro",
            ),
        ]  # fmt: skip
        return facts + [
            _fact(
                f"lane {one['lane']}: orders", "bad", f"suspended: {one['reason']}", "ledger",
                f"allegro fleet resume {one['lane']}",
            )
            for one in self._troubles.suspended.described()
        ]  # fmt: skip

    def _request_facts(self) -> list[dict[str, Any]]:
        now_s = self._clock.now_s()
        stuck = [
            request
            for request in self._ledger.requests.values()
            if request.state in {State.ORDERED, State.SENT, State.UNKNOWN, State.APPROVED}
            and now_s - (request.history[-1].at_s if request.history else request.created_s) > 300
        ]
        told = ", ".join(f"{r.id[:8]} {r.state.value}" for r in stuck[:5]) or "none"
        failing = [r for r in stuck if r.doubts >= FAILING]
        words = "; ".join(f"{r.id[:8]} after {r.doubts}: {r.detail[:200]}" for r in failing[:3])
        return [
            _fact(
                "orders that keep failing",
                "warn" if failing else "ok",
                one_line(words, MAX_TEXT) or "none",
                "ledger",
                f"mend what the forge says; after {MOST_DOUBTS} orders the request ends"
                if failing
                else "",
            ),
            _fact(
                "stuck items",
                "warn" if stuck else "ok",
                told,
                "ledger",
                "allegro explain ID" if stuck else "",
            ),
        ]

    async def _lane_facts(self, lane: dict[str, Any]) -> list[dict[str, Any]]:
        name = f"lane {lane['name']}: "
        if not lane["linked"]:
            return [
                _fact(
                    name + "link",
                    "bad",
                    lane["trouble"],
                    "link",
                    _link_mend(lane["trouble"]),
                )
            ]
        since = span(self._clock.now_s() - lane["since_s"])
        version = lane["version"]
        facts = [
            _fact(name + "link", "ok", f"up for {since}", "link"),
            _fact(
                name + "journal",
                "ok" if lane["home"] >= lane["head"] else "warn",
                f"{max(0, lane['head'] - lane['home'])} events on the way",
                "link",
            ),
        ]
        if version != __version__:
            facts.append(
                _fact(
                    name + "version",
                    "warn",
                    f"{version}, the house has {__version__}",
                    "greeting",
                    "update the older side",
                )
            )
        for link_name, _, link in self._lanes.linked():
            if link_name == lane["name"]:
                try:
                    told = await link.ask(QueryName.DOCTOR, {}, ASK_S)
                except EdgeError as error:
                    return [*facts, _fact(name + "doctor", "bad", str(error), "link")]
                facts += told_facts(name, told)
        return facts

    async def _lane_status(self, name: str) -> Any:
        for link_name, _, link in self._lanes.linked():
            if link_name == name:
                try:
                    told = read_status(await link.ask(QueryName.STATUS, {}, 3.0))
                except EdgeError as error:
                    return {"error": text_of(str(error))}
                if isinstance(told, Unreadable):
                    return {"error": f"its status cannot be read: {told}"}
                return told
        return None


def _fact(what: str, verdict: str, told: str, source: str, mend: str = "") -> dict[str, Any]:
    return {
        "what": what, "verdict": verdict, "told": told, "source": source, "age_s": 0.0,
        "mend": mend,
    }  # fmt: skip


def told_facts(name: str, told: object) -> list[dict[str, Any]]:
    """Return what a lane told of itself; what cannot be read is said, and hides nothing else."""
    facts = read_facts(told)
    if isinstance(facts, Unreadable):
        facts = [facts]
    return [
        _fact(name + "doctor", "bad", f"its answer cannot be read: {fact}", "link")
        if isinstance(fact, Unreadable)
        else {**msgspec.to_builtins(fact), "what": name + fact.what}
        for fact in facts
    ]


_LINK_MENDS = {
    "house_behind": "read *Lost house* in the runbook before you take the seat",
    "wrong_seat": "on the house that is to act: allegro house --config house.toml take-seat",
    "old_key": "on the house that is to act: allegro house --config house.toml take-seat",
    "wrong_key": "pair anew, if you know why the keys changed",
    "bad_signature": "pair anew, if you know why the keys changed",
    "wrong_protocol": "update the older side",
}


def _link_mend(trouble: str) -> str:
    """Return what to do about a lane that is not linked, by the reason at the beginning."""
    return _LINK_MENDS.get(
        trouble.partition(":")[0], "check that the lane runs and its port is reachable"
    )


def _held_ids(detail: dict[str, Any] | None) -> list[str]:
    """Return the freezes a lane says it holds, as far as the house could thaw them."""
    return [id_ for id_ in (detail or {}).get("freezes", ()) if sound_id(id_) == id_][:MAX_ACTIVE]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
