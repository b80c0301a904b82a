"""The lane's heartbeat: what it last did, told home, and a dead-man switch outside (T1)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import structlog

from allegro.core.base.errors import EdgeError
from allegro.core.health import codes
from allegro.core.health.facts import Fact, State
from allegro.core.protocol.payloads.lane import LaneBeat
from allegro.lane.context import Context

_log = structlog.get_logger()
BEAT_S = 15.0

Peers = tuple[tuple[str, ...], tuple[str, ...]]
"""The other lanes of the council that are heard now, and those that are not."""


class Beats:
    """Tells of this lane, and lets a watcher outside miss it.

    `cycles` counts polls; `peers` are whom this lane sees; `kept_bytes` waits in the journal;
    `healthy` says whether all is well; `ping` calls the watcher's URL.
    """

    def __init__(
        self,
        ctx: Context,
        cycles: Callable[[], int],
        peers: Callable[[], Peers],
        kept_bytes: Callable[[], int],
        healthy: Callable[[], bool],
        ping: Callable[[str], Awaitable[None]],
    ) -> None:
        self._recorder = ctx.recorder
        self._state = ctx.state
        self._clock = ctx.ports.clock
        self._settings = ctx.settings.beat
        self._cycles = cycles
        self._peers = peers
        self._kept_bytes = kept_bytes
        self._cap_bytes = ctx.settings.journal.cap_mb * 1_000_000
        self._healthy = healthy
        self._ping = ping
        self.ping_trouble = ""

    async def tell_on(self) -> None:
        """Beat every 15 s until cancelled."""
        while True:
            await self.beat()
            await self._clock.sleep(BEAT_S)

    async def call_on(self) -> None:
        """Call the dead-man's URL until cancelled; return where none is configured."""
        while self._settings.url:
            await self.call()
            await self._clock.sleep(self._settings.every_s)

    async def beat(self) -> None:
        """Tell once what was last done. A journal that is full says so elsewhere."""
        done = self._state.done
        hears, misses = self._peers()
        heard_s = self._state.house_heard_s
        payload = LaneBeat(
            done=done.what[:200],
            done_s=done.at_s,
            cycles=self._cycles(),
            hears=hears,
            misses=misses,
            house_s=None if heard_s is None else round(self._clock.boot_s() - heard_s, 1),
            kept_bytes=self._kept_bytes(),
            cap_bytes=self._cap_bytes,
        )
        try:
            await self._recorder.tell(payload)
        except EdgeError as error:
            _log.info("beat.untold", error=str(error))

    async def call(self) -> None:
        """Call the dead-man's URL, unless something is wrong: then its watcher shall miss us."""
        if not self._healthy():
            self.ping_trouble = "not called: this lane is unhealthy"
            _log.warning("deadman.not_called", error=self.ping_trouble)
            return
        try:
            await self._ping(self._settings.url)
            self.ping_trouble = ""
        except EdgeError as error:
            self.ping_trouble = str(error)
            _log.warning("deadman.not_called", error=str(error))

    def facts(self) -> list[Fact]:
        """Return doctor's fact about the dead-man's switch; none where it is not configured."""
        if not self._settings.url:
            return []
        state: State = "bad" if self.ping_trouble else "ok"
        return [Fact(codes.DEAD_MAN, state, self.ping_trouble or "called", "last call")]
