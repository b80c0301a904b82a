"""What a lane tells of itself: health in public, details over the link, doctor's facts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from aiohttp import web
from prometheus_client import CollectorRegistry, Gauge, generate_latest

from allegro import __version__
from allegro.core.base.errors import EdgeError
from allegro.core.health.facts import Fact
from allegro.core.ports import ForgeReader
from allegro.core.settings import LaneSettings
from allegro.lane.state import LaneState
from allegro.runtime.duties import Failing


class Sources(msgspec.Struct, frozen=True, kw_only=True):
    """Where a running lane's other parts are asked.

    `journal_bytes` and `journal_lag` are bytes and events that wait for the house, `facts` the
    lines of doctor of all duties, `failing` the duties that failed of late. `reader` is None while
    the forge was not reached; `sessions` returns None where no agent runs.
    """

    reader: Callable[[], ForgeReader | None] = lambda: None
    journal_bytes: Callable[[], int] = lambda: 0
    journal_lag: Callable[[], int] = lambda: 0
    is_linked: Callable[[], bool] = lambda: False
    failing: Callable[[], dict[str, Failing]] = dict
    facts: Callable[[], list[Fact]] = list
    sessions: Callable[[], dict[str, Any] | None] = lambda: None


class Status:
    """Collects facts from state, journal and audits; asks nothing twice."""

    def __init__(
        self, state: LaneState, settings: LaneSettings, sources: Sources | None = None
    ) -> None:
        self._sources = sources or Sources()
        self._state = state
        self._settings = settings
        self._registry = CollectorRegistry()
        self._gauges = {
            name: Gauge(f"allegro_lane_{name}", text, registry=self._registry)
            for name, text in (
                ("frozen", "1 while effects are stopped"),
                ("linked", "1 while a house is linked"),
                ("journal_bytes", "bytes waiting in the journal"),
                ("journal_waiting", "events not yet acknowledged"),
                ("forge_reachable", "1 while the forge answers"),
            )
        }

    def healthy(self) -> bool:
        return (
            not self._state.forge_trouble and self._state.has_room
            and not self._state.safe_mode and self._state.clock_trusted and not self._sources.failing()
        )  # fmt: skip

    async def status(self) -> dict[str, Any]:
        """Return the lane's state in plain values: for `allegro status`."""
        state = self._state
        return {
            "name": self._settings.lane.name,
            "version": __version__,
            "healthy": self.healthy(),
            "frozen": not state.freezes.is_thawed,
            "freezes": [freeze.id for freeze in state.freezes.active],
            "safe_mode": state.safe_mode,
            "shadow": self._settings.forge.shadow,
            "done": state.done.what,
            "done_s": state.done.at_s,
            "forge": state.forge,
            "forge_trouble": state.forge_trouble,
            "room": state.has_room,
            "journal_bytes": self._sources.journal_bytes(),
            "journal_waiting": self._sources.journal_lag(),
            "clock_trusted": state.clock_trusted,
            "failure_domain": self._settings.lane.failure_domain,
            "sessions": self._sources.sessions(),
        }

    async def doctor(self) -> list[dict[str, Any]]:
        """Return doctor's facts as plain values."""
        return [msgspec.to_builtins(fact) for fact in await self.facts()]

    async def facts(self) -> list[Fact]:
        facts = [
            Fact("version", "ok", f"allegro {__version__}", "program"),
            self._clock_fact(),
            self._disk_fact(),
            self._freeze_fact(),
            *([await self._forge_fact()] if self._settings.forge.url else []),
            *self._label_facts(),
        ]
        facts += self._sources.facts()
        facts += [
            Fact(
                f"duty {name}", "bad", f"{one.why} ({one.times} times in a row)", "this program",
                mend="it begins again by itself; its log says `item.failed` with the place: report it",
            )
            for name, one in sorted(self._sources.failing().items())
        ]  # fmt: skip
        if self._state.safe_mode:
            facts.append(
                Fact(
                    "safe mode",
                    "bad",
                    "three bugs or crashes in a minute; acts are off",
                    "lane state",
                    mend="read the log, then start with --leave-safe-mode",
                )
            )
        if self._settings.forge.shadow:
            facts.append(
                Fact(
                    "shadow mode",
                    "warn",
                    "nothing is written to the forge",
                    "lane.toml",
                    mend="set forge.shadow = false",
                )
            )
        return facts

    def _label_facts(self) -> list[Fact]:
        """Say where the house expects another label than this lane would set: it sets none."""
        forge, named = self._settings.forge, self._state.home_label.named
        if not forge.url or not forge.triage or named in {None, forge.triage_label}:
            return []
        told = f"no issue is marked as seen: {forge.triage_label!r} here, {named!r} in house.toml"
        mend = f"write triage_label = {forge.triage_label!r} into [forge] of house.toml"
        return [Fact("triage label", "bad", told, "the house", mend=mend)]

    def _clock_fact(self) -> Fact:
        state = self._state
        offsets = {"house": state.house_offset_s, "forge": state.forge_offset_s}
        told = ", ".join(
            f"{who}: {'unknown' if off is None else f'{off:+.1f} s'}"
            for who, off in offsets.items()
        )
        if state.clock_trusted:
            return Fact("clock", "ok", told, "link beats and the forge's Date")
        return Fact(
            "clock",
            "bad",
            told,
            "link beats and the forge's Date",
            mend="set the clock (timedatectl set-ntp true); approvals are refused until then",
        )

    def _disk_fact(self) -> Fact:
        waiting = f"{self._sources.journal_lag()} events, {self._sources.journal_bytes() // 1024} KiB wait for the house"
        if self._state.has_room:
            return Fact("disk and journal", "ok", waiting, "journal")
        if self._state.disk_ok:
            return Fact(
                "disk and journal",
                "bad",
                waiting + "; the journal is full",
                "journal",
                mend="link the lane to its house, or raise journal.cap_mb; it resumes by itself",
            )
        return Fact(
            "disk and journal",
            "bad",
            waiting + "; the disk is nearly full",
            "statvfs",
            mend="free space; the lane resumes by itself",
        )

    def _freeze_fact(self) -> Fact:
        active = self._state.freezes.active
        if self._state.freezes.is_thawed:
            return Fact("freeze", "ok", "not frozen", "freeze set")
        told = (
            f"{len(active)} freezes"
            if self._state.freezes.known
            else "freeze set unknown: counts as frozen"
        )
        return Fact(
            "freeze",
            "warn",
            told,
            "freeze set",
            mend="at home: allegro thaw --all --config house.toml, once the reason is gone",
        )

    async def _forge_fact(self) -> Fact:
        reader = self._sources.reader()
        if self._state.forge_trouble or reader is None:
            return Fact(
                "forge",
                "bad",
                self._state.forge_trouble or "not reached yet",
                "last request",
                mend="check forge.url, the network and the token",
            )
        try:
            server = await reader.server()
        except EdgeError as error:
            return Fact("forge", "bad", str(error), "GET /version", mend="check forge.url")
        return Fact("forge", "ok", f"{server.flavour} {server.version}", "GET /version")

    def routes(self) -> web.Application:
        """Return the loopback pages: `/healthz` bare, `/metrics` for Prometheus."""
        app = web.Application()
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/metrics", self._metrics)
        return app

    async def _healthz(self, _: web.Request) -> web.Response:
        good = self.healthy()
        return web.Response(text="ok\n" if good else "unhealthy\n", status=200 if good else 503)

    async def _metrics(self, _: web.Request) -> web.Response:
        gauges, state = self._gauges, self._state
        gauges["frozen"].set(not state.freezes.is_thawed)
        gauges["linked"].set(self._sources.is_linked())
        gauges["journal_bytes"].set(self._sources.journal_bytes())
        gauges["journal_waiting"].set(self._sources.journal_lag())
        gauges["forge_reachable"].set(not state.forge_trouble)
        return web.Response(body=generate_latest(self._registry), content_type="text/plain")
