"""What a lane tells of itself: health in public, details over the link, doctor's facts."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec
from aiohttp import web
from prometheus_client import CollectorRegistry, Gauge, generate_latest

from allegro import __version__
from allegro.core.base.errors import EdgeError
from allegro.core.health import codes
from allegro.core.health.facts import ORDER, Fact, FactPage, fact_page
from allegro.core.ports import Clock, ForgeReader
from allegro.core.protocol.answers.lane import LaneSessions, LaneStatus
from allegro.core.settings import LaneSettings
from allegro.lane.context.state import LaneState
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
    sessions: Callable[[], LaneSessions | None] = lambda: None


class Status:
    """Collects facts from state, journal and audits; asks nothing twice."""

    def __init__(
        self,
        state: LaneState,
        settings: LaneSettings,
        clock: Clock,
        sources: Sources | None = None,
    ) -> None:
        self._sources = sources or Sources()
        self._state = state
        self._settings = settings
        self._clock = clock
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
        self._states = Gauge(
            "allegro_lane_fact",
            "worst fact of each health code: 0 ok, 1 unknown, 2 warn, 3 bad",
            ("code",),
            registry=self._registry,
        )

    def kept_bytes(self) -> int:
        """Return the bytes that wait in the journal for the house."""
        return self._sources.journal_bytes()

    def healthy(self) -> bool:
        return (
            not self._state.forge_trouble
            and self._state.has_room
            and not self._state.safe_mode
            and self._state.clock_trusted
            and not self._sources.failing()
        )

    def status(self) -> LaneStatus:
        """Return the lane's state: for `allegro status`."""
        state = self._state
        return LaneStatus(
            name=self._settings.lane.name,
            version=__version__,
            healthy=self.healthy(),
            frozen=not state.freezes.is_thawed,
            freezes=tuple(freeze.id for freeze in state.freezes.active),
            safe_mode=state.safe_mode,
            shadow=self._settings.forge.shadow,
            done=state.done.what,
            done_s=state.done.at_s,
            forge=state.forge,
            forge_trouble=state.forge_trouble,
            room=state.has_room,
            journal_bytes=self._sources.journal_bytes(),
            journal_waiting=self._sources.journal_lag(),
            clock_trusted=state.clock_trusted,
            failure_domain=self._settings.lane.failure_domain,
            sessions=self._sources.sessions(),
        )

    async def doctor(self, *, asks_forge: bool = True) -> list[FactPage]:
        """Return the pages of doctor's facts, which a house of the release before reads too."""
        now_s = self._clock.now_s()
        return [fact_page(fact, now_s) for fact in await self.facts(asks_forge=asks_forge)]

    async def facts(self, *, asks_forge: bool = True) -> list[Fact]:
        """Return every fact of this lane; with `asks_forge` false without a request to the forge."""
        facts = [
            Fact(codes.VERSION, "ok", f"allegro {__version__}", "program"),
            self._clock_fact(),
            self._disk_fact(),
            self._freeze_fact(),
            *([await self._forge_fact(asks_forge=asks_forge)] if self._settings.forge.url else []),
            *self._label_facts(),
        ]
        facts += self._sources.facts()
        return facts + self._duty_facts() + self._mode_facts()

    def _duty_facts(self) -> list[Fact]:
        return [
            Fact(
                codes.LANE_DUTY,
                "bad",
                f"{one.why} ({one.times} times in a row)",
                "this program",
                name,
            )
            for name, one in sorted(self._sources.failing().items())
        ]

    def _mode_facts(self) -> list[Fact]:
        facts = []
        if self._state.safe_mode:
            words = "three bugs or crashes in a minute; acts are off"
            facts.append(Fact(codes.SAFE_MODE, "bad", words, "lane state"))
        if self._settings.forge.shadow:
            facts.append(Fact(codes.SHADOW, "warn", "nothing is written to the forge", "lane.toml"))
        return facts

    def _label_facts(self) -> list[Fact]:
        """Say where the house expects another label than this lane would set: it sets none."""
        forge, named = self._settings.forge, self._state.home_label.named
        if not forge.url or not forge.triage or named in {None, forge.triage_label}:
            return []
        words = f"no issue is marked as seen: {forge.triage_label!r} here, {named!r} in house.toml"
        return [Fact(codes.LABEL, "bad", words, "the house")]

    def _clock_fact(self) -> Fact:
        state = self._state
        offsets = {"house": state.house_offset_s, "forge": state.forge_offset_s}
        words = ", ".join(
            f"{who}: {'unknown' if off is None else f'{off:+.1f} s'}"
            for who, off in offsets.items()
        )
        source = "link beats and the forge's Date"
        return Fact(codes.LANE_CLOCK, "ok" if state.clock_trusted else "bad", words, source)

    def _disk_fact(self) -> Fact:
        lag, kib = self._sources.journal_lag(), self._sources.journal_bytes() // 1024
        waiting = f"{lag} events, {kib} KiB wait for the house"
        if self._state.has_room:
            return Fact(codes.LANE_JOURNAL, "ok", waiting, "journal")
        if self._state.disk_ok:
            return Fact(codes.LANE_JOURNAL, "bad", f"{waiting}; the journal is full", "journal")
        return Fact(codes.LANE_DISK, "bad", f"{waiting}; the disk is nearly full", "statvfs")

    def _freeze_fact(self) -> Fact:
        freezes = self._state.freezes
        if freezes.is_thawed:
            return Fact(codes.FROZEN, "ok", "not frozen", "freeze set")
        unknown = "freeze set unknown: counts as frozen"
        words = f"{len(freezes.active)} freezes" if freezes.known else unknown
        return Fact(codes.FROZEN, "warn", words, "freeze set")

    async def _forge_fact(self, *, asks_forge: bool) -> Fact:
        trouble, reader = self._state.forge_trouble, self._sources.reader()
        if trouble or reader is None:
            return Fact(codes.FORGE, "bad", trouble or "not reached yet", "last request")
        if not asks_forge:
            return Fact(codes.FORGE, "ok", "answers", "last request")
        try:
            server = await reader.server()
        except EdgeError as error:
            return Fact(codes.FORGE, "bad", str(error), "GET /version")
        return Fact(codes.FORGE, "ok", f"{server.flavour} {server.version}", "GET /version")

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
        self._states.clear()
        for code, worst in worst_states(await self.facts(asks_forge=False)).items():
            self._states.labels(code).set(worst)
        return web.Response(body=generate_latest(self._registry), content_type="text/plain")


def worst_states(facts: Iterable[Fact]) -> dict[str, int]:
    """Return for each code the place in ORDER of its worst fact."""
    worst: dict[str, int] = {}
    for fact in facts:
        worst[fact.code.code] = max(worst.get(fact.code.code, 0), ORDER.index(fact.state))
    return worst
