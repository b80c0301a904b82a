"""Stands between a lane and its agent gateways, so that a fault can happen there.

A fault strikes the first session of the lane and no later one, so that a fleet can be used on. The
canary, which a gateway plays before it has a session, is left alone.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any, cast

from allegro.core.agent.sessions import AgentEvent, Gap
from allegro.core.base.errors import EdgeError
from allegro.core.ports import AgentGateway, AgentHost, GatewaySpec, Run

STEALS = ("before", "beside", "between")
CANARY = "canary-"


class Trouble:
    """What is to happen to one session: its begin's answer is lost, or its stream is stolen.

    `lose_after_s` is how long Hermes works before its answer counts as lost. `steal` says when the
    second reader reads: `before` the lane does and not after the first event, `beside` it to the
    end, or `between`: beside it for `events` events, then it goes.
    """

    def __init__(
        self, *, lose_after_s: float | None = None, steal: str = "", events: int = 1
    ) -> None:
        self.lose_after_s = lose_after_s
        self.steal = steal
        self.events = events
        self._session = ""

    def host(self, host: AgentHost) -> AgentHost:
        """Return the same host; where there is trouble, its gateways have it."""
        if self.lose_after_s is None and not self.steal:
            return host
        return cast(AgentHost, _Host(host, self))

    def strikes(self, run: Run) -> bool:
        """Say whether this run is of the one session; the first one asked about is."""
        if not self._session and not run.session.startswith(CANARY):
            self._session = run.session
        return run.session == self._session


class _Host:
    """An agent host of which all but `start` is as it was."""

    def __init__(self, host: AgentHost, trouble: Trouble) -> None:
        self._host = host
        self._trouble = trouble

    def __getattr__(self, name: str) -> Any:
        return getattr(self._host, name)

    async def start(self, spec: GatewaySpec) -> AgentGateway:
        gateway = await self._host.start(spec)
        return cast(AgentGateway, _Gateway(gateway, self._trouble))


class _Gateway:
    """A gateway of which all but the beginning and the stream is as it was."""

    def __init__(self, gateway: AgentGateway, trouble: Trouble) -> None:
        self._gateway = gateway
        self._trouble = trouble
        self._stolen = ""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._gateway, name)

    async def begin(self, run: Run) -> str:
        begun = await self._gateway.begin(run)
        if not self._trouble.strikes(run):
            return begun
        if self._trouble.lose_after_s is not None:
            await asyncio.sleep(self._trouble.lose_after_s)
            raise EdgeError("the answer was lost on its way, on purpose", transient=True)
        if self._trouble.steal:
            self._stolen = begun
        return begun

    def events(self, run: str) -> AsyncIterator[AgentEvent]:
        return self._shared(run) if run == self._stolen else self._gateway.events(run)

    async def _shared(self, run: str) -> AsyncIterator[AgentEvent]:
        if self._trouble.steal == "before":
            await self._steal(run, self._trouble.events)
            await asyncio.sleep(0.2)  # an old Hermes sees with its next event that a reader went
        thief: asyncio.Task[None] | None = None
        try:
            async for event in self._gateway.events(run):
                yield event
                if thief is None and self._trouble.steal != "before":
                    most = None if self._trouble.steal == "beside" else self._trouble.events
                    thief = asyncio.create_task(self._steal(run, most))
        finally:
            if thief is not None:
                thief.cancel()

    async def _steal(self, run: str, most: int | None) -> None:
        """Read the same stream over a connection of its own, so many events or to its end."""
        wire = cast(Any, self._gateway).wire
        stream: AsyncGenerator[AgentEvent]
        async with contextlib.aclosing(wire.events(run)) as stream:
            taken = 0
            async for event in stream:
                taken += 1
                if taken == most or isinstance(event, Gap):
                    return
