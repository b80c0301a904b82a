"""Keeps agent gateways ready: started fresh, tried with a canary, used for one session, ended."""

from __future__ import annotations

import asyncio
import contextlib

import msgspec
import structlog

from allegro.core.backoff import GATEWAY
from allegro.core.errors import EdgeError
from allegro.core.ports import AgentGateway, AgentHost, Clock, Dice, GatewaySpec, Run
from allegro.core.sessions import Asked, End, Ended
from allegro.core.settings import HermesSettings
from allegro.lane.model_call import Grant
from allegro.lane.models import ModelProxy

_log = structlog.get_logger()
CANARY_S = 60.0
CANARY_PROMPT = "This is a check at start."
MAX_AGE_S = 86_400.0
NEED_TERMINAL = frozenset({"code_execution"})


class Ready(msgspec.Struct):
    """A gateway that waits for its one session."""

    gateway: AgentGateway
    token: str
    tools: tuple[str, ...]
    network: bool
    born_s: float
    is_ended: bool = False
    watch: asyncio.Task[None] | None = None


class Gateways:
    """`take` gives a ready gateway, `done` ends it and makes room for the next."""

    def __init__(
        self, host: AgentHost, proxy: ModelProxy, clock: Clock, dice: Dice,
        settings: HermesSettings,
    ) -> None:  # fmt: skip
        self._host = host
        self._proxy = proxy
        self._clock = clock
        self._dice = dice
        self._settings = settings
        self._ready: list[Ready] = []
        self._changed = asyncio.Condition()
        self._busy = 0
        self._starting = 0
        self.version = ""
        self.trouble = ""
        self.asks = True

    @property
    def size(self) -> int:
        return self._settings.gateways

    @property
    def ready(self) -> int:
        return len(self._ready)

    @property
    def sandbox_trouble(self) -> str:
        return self._host.sandbox_trouble

    def tools(self) -> tuple[str, ...]:
        """Return the tools that sessions may have now: none without a sandbox or a question."""
        if self._host.sandbox_trouble or not self.asks:
            return ()
        wanted = set(self._settings.tools)
        if "terminal" not in wanted:  # the check at start needs one to see that Hermes asks
            wanted -= NEED_TERMINAL
        return tuple(sorted(wanted))

    async def run(self) -> None:
        """Keep gateways ready until cancelled; then end them."""
        failures = 0
        try:
            while True:
                await self._retire()
                if len(self._ready) + self._busy + self._starting < self.size:
                    try:
                        await self._add(self.tools(), bool(self._settings.destinations))
                        failures, self.trouble = 0, ""
                    except EdgeError as error:
                        self.trouble = str(error)
                        _log.warning("hermes.not_started", error=str(error))
                        await asyncio.sleep(GATEWAY.delay_s(failures, self._dice.fraction))
                        failures += 1
                    continue
                with contextlib.suppress(TimeoutError):
                    async with self._changed, asyncio.timeout(60.0):
                        await self._changed.wait()
        finally:
            for ready in list(self._ready):
                self._leave(ready)
                await ready.gateway.close("")

    async def take(self, tools: tuple[str, ...], network: bool, within_s: float) -> Ready | None:
        """Return a gateway with exactly these tools, None when there is none in time."""
        until_s = self._clock.boot_s() + within_s
        async with self._changed:
            while not self._ready:
                left_s = until_s - self._clock.boot_s()
                if left_s <= 0:
                    return None
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(left_s):
                        await self._changed.wait()
            match = [one for one in self._ready if one.tools == tools and one.network == network]
            ready = (match or self._ready)[0]
            self._leave(ready)
            self._busy += 1
        if match:
            return ready
        await ready.gateway.close("")
        try:
            return await asyncio.wait_for(
                self._start(tools, network), max(0.1, until_s - self._clock.boot_s())
            )
        except (EdgeError, TimeoutError) as error:
            self.trouble = str(error) or "a gateway with other tools did not start in time"
            await self._free()
            return None

    async def done(self, ready: Ready, session: str) -> None:
        """End a gateway after its session, and make room for the next."""
        await self.end(ready, session)
        await self._free()

    async def end(self, ready: Ready, session: str) -> None:
        """End a gateway at once; what it had is gone with it."""
        self._proxy.revoke(ready.token)
        if not ready.is_ended:
            ready.is_ended = True
            await ready.gateway.close(session)

    async def _free(self) -> None:
        self._busy -= 1
        async with self._changed:
            self._changed.notify_all()

    async def _add(self, tools: tuple[str, ...], network: bool) -> None:
        self._starting += 1
        try:
            ready = await self._start(tools, network)
        finally:
            self._starting -= 1
        ready.watch = asyncio.create_task(self._watch(ready))
        async with self._changed:
            self._ready.append(ready)
            self._changed.notify_all()

    async def _retire(self) -> None:
        """End gateways that waited too long: processes grow with age."""
        now_s = self._clock.boot_s()
        for ready in [one for one in self._ready if now_s - one.born_s > MAX_AGE_S]:
            self._leave(ready)
            await ready.gateway.close("")

    def _leave(self, ready: Ready) -> None:
        """Take a gateway from those that wait."""
        self._ready.remove(ready)
        if ready.watch is not None:
            ready.watch.cancel()

    async def _watch(self, ready: Ready) -> None:
        """Replace a gateway that ended while it waited."""
        await ready.gateway.died()
        _log.warning("hermes.died_idle")
        ready.watch = None
        async with self._changed:
            if ready in self._ready:
                self._leave(ready)
            self._changed.notify_all()
        await ready.gateway.close("")

    async def _start(self, tools: tuple[str, ...], network: bool) -> Ready:
        token = self._dice.token(24).hex()
        spec = GatewaySpec(token, tools, self._proxy.ladder.models(), network)
        gateway = await self._host.start(spec)
        self.version = gateway.version
        ready = Ready(gateway, token, tools, network, self._clock.boot_s())
        try:
            if self._host.is_ours:
                await asyncio.wait_for(self._try_canary(ready), CANARY_S)
        except (EdgeError, TimeoutError) as error:
            await gateway.close("")
            told = str(error) or f"the check at start took more than {CANARY_S:g} s"
            raise EdgeError(told, transient=True) from error
        except BaseException:
            await gateway.close("")
            raise
        return ready

    async def _try_canary(self, ready: Ready) -> None:
        """Let a canned model order something dangerous: Hermes must ask, or tools stay off."""
        until_s = self._clock.boot_s() + CANARY_S
        models = self._proxy.ladder.models()
        model = models[0] if models else ""
        grant = Grant("canary", model, until_s, 0, is_canary=True)
        self._proxy.grant(ready.token, grant)
        session = f"canary-{self._dice.token(6).hex()}"
        try:
            run = await ready.gateway.begin(Run(session, CANARY_PROMPT, "", (), model))
            asked = False
            async for event in ready.gateway.events(run):
                if isinstance(event, Asked):
                    asked = True
                    await ready.gateway.answer(run, "deny")
                elif isinstance(event, Ended) and event.end is not End.COMPLETED:
                    raise EdgeError(
                        f"Hermes' check at start {event.end}: {event.error}", transient=True
                    )
        finally:
            self._proxy.revoke(ready.token)
        if "terminal" in ready.tools and not asked:
            self.asks = False
            raise EdgeError(
                "this Hermes did not ask before a dangerous command: every tool stays off",
                transient=True, kind="does_not_ask",
            )  # fmt: skip
