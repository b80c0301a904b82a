"""Keeps agent gateways ready: started fresh, tried with a canary, used for one session, ended."""

from __future__ import annotations

import asyncio
import contextlib

import msgspec
import structlog

from allegro.core.agent.tools import REFUSED, why_refused
from allegro.core.base.backoff import GATEWAY
from allegro.core.base.errors import EdgeError
from allegro.core.ports import AgentGateway, AgentHost, Clock, Dice, GatewaySpec
from allegro.core.settings import HermesSettings
from allegro.lane.agent.check_at_start import CANARY_S, CheckFailed, check
from allegro.lane.models.proxy import ModelProxy
from allegro.runtime.consumer import as_edge_error
from allegro.runtime.tasks import Soon

_log = structlog.get_logger()
MAX_AGE_S = 86_400.0
KEEP_S = 120.0
LOOK_S = 1.0
NEED_TERMINAL = frozenset({"code_execution"})


class Wanted(msgspec.Struct, frozen=True):
    """What a session needs of its gateway."""

    session: str
    tools: tuple[str, ...]
    network: bool


class Ready(msgspec.Struct):
    """A gateway that waits for its one session. `kept_for` is the only session that may have it
    until `kept_until_s`: that one asked for its tools, and its next order is on the way."""

    gateway: AgentGateway
    token: str
    tools: tuple[str, ...]
    network: bool
    born_s: float
    is_ended: bool = False
    watch: asyncio.Task[None] | None = None
    kept_for: str = ""
    kept_until_s: float = 0.0


class Gateways:
    """`take` gives a ready gateway, `done` ends it and makes room for the next."""

    def __init__(
        self,
        host: AgentHost,
        proxy: ModelProxy,
        clock: Clock,
        dice: Dice,
        settings: HermesSettings,
    ) -> None:
        self._host = host
        self._proxy = proxy
        self._clock = clock
        self._dice = dice
        self._settings = settings
        self._ready: list[Ready] = []
        self._changed = asyncio.Condition()
        self._busy = 0
        self._starting = 0
        self._starts: dict[str, tuple[Wanted, asyncio.Task[None]]] = {}
        self._off: dict[str, str] = {}
        self._watches = Soon("gateways")
        self.version = ""
        self.trouble = ""
        self.all_off = ""

    @property
    def size(self) -> int:
        return self._settings.gateways

    @property
    def ready(self) -> int:
        return len(self._ready)

    @property
    def plays_check(self) -> bool:
        """Whether a gateway is tried when it starts: not one that somebody else runs."""
        return self._host.is_ours

    @property
    def sandbox_trouble(self) -> str:
        return self._host.sandbox_trouble

    def tools(self) -> tuple[str, ...]:
        """Return the tools that sessions may have now: none without a sandbox or a question."""
        return tuple(sorted(name for name in set(self._settings.tools) if not self.why_off(name)))

    def why_off(self, tool: str) -> str:
        """Return why no session may have a toolset now; empty where it may."""
        wanted = self._settings.tools
        if self._host.sandbox_trouble:
            return self._host.sandbox_trouble
        if refused := REFUSED.get(tool, ""):
            return refused
        if tool not in wanted:
            return "not in hermes.tools of this lane"
        if tool in NEED_TERMINAL and "terminal" not in wanted:
            return "the check at start needs the terminal to see that the agent asks"
        return self.all_off or why_refused(tool) or self._off.get(tool, "")

    def off(self) -> dict[str, str]:
        """Return the toolsets of the configuration that are off, with the reason."""
        return {
            name: why for name in sorted(set(self._settings.tools)) if (why := self.why_off(name))
        }

    async def run(self) -> None:
        """Keep gateways ready until cancelled; then end them."""
        failures = 0
        try:
            while True:
                await self._retire()
                if len(self._ready) + self._busy + self._starting < self.size:
                    wanted = Wanted("", self.tools(), bool(self._settings.destinations))
                    try:
                        await as_edge_error("gateways", "a gateway", self._add(wanted))
                        failures, self.trouble = 0, ""
                    except EdgeError as error:
                        self._failed(error)
                        await asyncio.sleep(GATEWAY.delay_s(failures, self._dice.fraction))
                        failures += 1
                    continue
                with contextlib.suppress(TimeoutError):
                    async with self._changed, asyncio.timeout(60.0):
                        await self._changed.wait()
        finally:
            await self._end_all()

    async def _end_all(self) -> None:
        starts = [task for _, task in self._starts.values()]
        for task in starts:
            task.cancel()
        await asyncio.gather(*starts, return_exceptions=True)
        for ready in list(self._ready):
            self._leave(ready)
            await self._close(ready.gateway)

    async def _close(self, gateway: AgentGateway, session: str = "") -> None:
        """End a gateway; what goes wrong with it is logged, and holds up no other."""
        with contextlib.suppress(EdgeError):
            await as_edge_error("gateways", "the end of a gateway", gateway.close(session))

    def _failed(self, error: EdgeError) -> None:
        self.trouble = str(error)
        _log.warning("hermes.not_started", error=str(error))

    async def take(self, wanted: Wanted, within_s: float) -> Ready | None:
        """Return a gateway with exactly these tools, None when there is none in time.

        One that is started for a session outlives the order that asked for it: what is not ready
        in time is kept for that session's next order, and nothing is begun anew.
        """
        until_s = self._clock.boot_s() + within_s
        while True:
            async with self._changed:
                found = self._find(wanted)
                if found is not None:
                    self._leave(found)
                    self._busy += 1
                    return found
                victim = self._victim(wanted)
                if victim is not None:
                    self._leave(victim)
                    self._begin(wanted)
            if victim is not None:
                await self._close(victim.gateway)
            left_s = until_s - self._clock.boot_s()
            if left_s <= 0:
                return None
            was_starting = wanted.session in self._starts
            with contextlib.suppress(TimeoutError):
                async with self._changed, asyncio.timeout(min(left_s, LOOK_S)):
                    await self._changed.wait()
            has_ended = was_starting and wanted.session not in self._starts
            if has_ended and self._find(wanted) is None:
                return None  # it did not start: the next order tries again

    def _find(self, wanted: Wanted) -> Ready | None:
        """Return a gateway that this session may have, the one that is kept for it first."""
        fits = [
            one
            for one in self._ready
            if (one.tools, one.network) == (wanted.tools, wanted.network)
            and self._may_have(one, wanted.session)
        ]
        return min(fits, key=lambda one: one.kept_for != wanted.session, default=None)

    def _may_have(self, ready: Ready, session: str) -> bool:
        is_kept = self._clock.boot_s() < ready.kept_until_s
        return not is_kept or ready.kept_for == session

    def _victim(self, wanted: Wanted) -> Ready | None:
        """Return a ready gateway to be replaced by one with other tools, None where none may be."""
        if wanted.session in self._starts:
            return None
        free = (one for one in self._ready if self._may_have(one, wanted.session))
        return next(free, None)

    def _begin(self, wanted: Wanted) -> None:
        """Start a gateway for a session, in the background."""
        self._starting += 1
        task = self._watches.task(f"for {wanted.session}", self._start_for(wanted))
        self._starts[wanted.session] = (wanted, task)

    async def _start_for(self, wanted: Wanted) -> None:
        try:
            await as_edge_error("gateways", wanted.session, self._start_kept(wanted))
            self.trouble = ""
        except EdgeError as error:
            self._failed(error)
        finally:
            self._starting -= 1
            self._starts.pop(wanted.session, None)
        await self._notify()

    async def _start_kept(self, wanted: Wanted) -> None:
        ready = await self._start(wanted)
        ready.kept_for = wanted.session
        ready.kept_until_s = self._clock.boot_s() + KEEP_S
        ready.watch = self._watches.task("a gateway that waits", self._watch(ready))
        self._ready.append(ready)

    async def done(self, ready: Ready, session: str) -> None:
        """End a gateway after its session, and make room for the next."""
        await self.end(ready, session)
        self._busy -= 1
        await self._notify()

    async def end(self, ready: Ready, session: str) -> None:
        """End a gateway at once; what it had is gone with it."""
        self._proxy.revoke(ready.token)
        if not ready.is_ended:
            ready.is_ended = True
            await self._close(ready.gateway, session)

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def renew(self) -> bool:
        """Replace a gateway that waits by a fresh one, tried as at start; False where none waits.

        Raises EdgeError where the fresh one did not start or failed its check.
        """
        wanted = Wanted("", self.tools(), bool(self._settings.destinations))
        old = next((one for one in self._ready if self._may_have(one, "")), None)
        if old is None:
            return False
        self._leave(old)
        try:
            await as_edge_error("gateways", "a gateway", self._add(wanted, old.gateway))
        except EdgeError as error:
            self._failed(error)
            await self._notify()
            raise
        self.trouble = ""
        return True

    async def _add(self, wanted: Wanted, old: AgentGateway | None = None) -> None:
        """Start a gateway and let it wait for its session; `old` is ended before, to make room."""
        self._starting += 1
        try:
            if old is not None:
                await self._close(old)
            ready = await self._start(wanted)
        finally:
            self._starting -= 1
        ready.watch = self._watches.task("a gateway that waits", self._watch(ready))
        self._ready.append(ready)
        await self._notify()

    async def _retire(self) -> None:
        """End gateways that waited too long: for anybody, since processes grow with age, or for a
        session that did not come back for the tools it wanted."""
        now_s = self._clock.boot_s()
        usual = self.tools()
        for ready in list(self._ready):
            is_left = ready.kept_for and now_s >= ready.kept_until_s and ready.tools != usual
            if now_s - ready.born_s > MAX_AGE_S or is_left:
                self._leave(ready)
                await self._close(ready.gateway)

    def _leave(self, ready: Ready) -> None:
        """Take a gateway from those that wait."""
        self._ready.remove(ready)
        if ready.watch is not None:
            ready.watch.cancel()

    async def _watch(self, ready: Ready) -> None:
        """Replace a gateway that ended while it waited, or that cannot be watched."""
        try:
            await as_edge_error("gateways", "watching a gateway", ready.gateway.died())
        except EdgeError as error:
            self._failed(error)
        _log.warning("hermes.died_idle")
        ready.watch = None
        if ready in self._ready:
            self._leave(ready)
        await self._notify()
        await self._close(ready.gateway)

    async def _start(self, wanted: Wanted) -> Ready:
        token = self._dice.token(24).hex()
        spec = GatewaySpec(token, wanted.tools, self._proxy.ladder.models(), wanted.network)
        gateway = await self._host.start(spec)
        self.version = gateway.version
        ready = Ready(gateway, token, wanted.tools, wanted.network, self._clock.boot_s())
        try:
            if self._host.is_ours:
                name = f"canary-{self._dice.token(6).hex()}"
                until_s = self._clock.boot_s() + CANARY_S
                await asyncio.wait_for(check(self._proxy, spec, gateway, name, until_s), CANARY_S)
        except CheckFailed as error:
            await self._close(gateway)
            self._switch_off(error, wanted.tools)
            raise
        except (EdgeError, TimeoutError) as error:
            await self._close(gateway)
            why = str(error) or f"the check at start took more than {CANARY_S:g} s"
            raise EdgeError(why, transient=True) from error
        except BaseException:
            await self._close(gateway)
            raise
        return ready

    def _switch_off(self, error: CheckFailed, tools: tuple[str, ...]) -> None:
        """Let in no more what the check found unsafe; without tools there is nothing to let in."""
        if error.tool:
            self._off[error.tool] = str(error)
        elif tools:
            self.all_off = str(error)
