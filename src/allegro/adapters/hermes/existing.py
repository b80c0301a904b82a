"""A Hermes that somebody else runs, used by its URL and key: no sandbox and no home of ours."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

from allegro.adapters.hermes.questions import unmasked
from allegro.adapters.hermes.wire import HermesWire
from allegro.core.agent.sessions import AgentEvent, Asked
from allegro.core.agent.tallies import AgentTally
from allegro.core.base.errors import EdgeError
from allegro.core.ports import GatewaySpec, Run
from allegro.core.settings import HermesSettings


class ExistingHermes:
    """Every gateway is the same Hermes; ending one deletes its session there."""

    def __init__(self, settings: HermesSettings, read_key: Callable[[], str]) -> None:
        self._settings = settings
        self._read_key = read_key

    @property
    def is_ours(self) -> bool:
        return False

    @property
    def sandbox_trouble(self) -> str:
        return "hermes.url is a Hermes of its own: allegro cannot put a sandbox around it"

    async def start(self, spec: GatewaySpec) -> ExistingGateway:
        """Reach it. Raises EdgeError when it does not answer or refuses the key."""
        wire = HermesWire(self._settings.url, self._read_key())
        try:
            if not await wire.is_up():
                raise EdgeError(f"no Hermes answers at {self._settings.url}", transient=True)
            await wire.learn()
            known = await wire.models()
        except BaseException:
            await wire.close()
            raise
        return ExistingGateway(wire, known)


class ExistingGateway:
    """One session's use of it."""

    def __init__(self, wire: HermesWire, models: list[str]) -> None:
        self._wire = wire
        self._models = models
        self._run = ""

    @property
    def version(self) -> str:
        return self._wire.capabilities.version

    @property
    def forged(self) -> int:
        return 0

    async def begin(self, run: Run) -> str:
        """Begin a run; a model that this Hermes has no route for is refused, never replaced."""
        if run.model and run.model not in self._models:
            raise EdgeError(
                f"that Hermes has no route for the model {run.model}; known: "
                f"{', '.join(self._models)}",
                transient=False,
                sent=False,
                kind="unknown_model",
            )
        body = {"input": run.prompt, "session_id": run.session, "model": run.model}
        if run.instructions:
            body["instructions"] = run.instructions
        history = [{"role": turn.role, "content": turn.text} for turn in run.history]
        whole = {**body, "conversation_history": history}
        self._run = await self._wire.begin(whole, run.session)
        return self._run

    async def events(self, run: str) -> AsyncIterator[AgentEvent]:
        async for event in self._wire.events(run):
            yield unmasked(event) if isinstance(event, Asked) else event

    async def answer(self, run: str, choice: str) -> None:
        await self._wire.answer(run, choice)

    async def stop(self, run: str) -> None:
        await self._wire.stop(run)

    async def died(self) -> None:
        await asyncio.Event().wait()

    async def tally(self, session: str) -> AgentTally | None:
        return await self._wire.tally(session)

    async def close(self, session: str) -> None:
        """Stop the run, which no end of a process of ours would, and delete its session there."""
        if self._run:
            with contextlib.suppress(EdgeError):  # it is over already
                await self._wire.stop(self._run)
        if session:
            with contextlib.suppress(EdgeError):
                await self._wire.forget(session)
        await self._wire.close()
