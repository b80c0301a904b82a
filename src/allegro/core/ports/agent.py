"""The ports of agents and of the models they call."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Protocol

import msgspec

from allegro.core.agent.sessions import AgentEvent
from allegro.core.agent.tallies import AgentTally
from allegro.core.authority.actions.agent import Turn
from allegro.core.settings import Rung


class GatewaySpec(msgspec.Struct, frozen=True):
    """What a gateway is started with. `token` opens the model proxy for its one session."""

    token: str
    tools: tuple[str, ...]
    models: tuple[str, ...]
    network: bool


class Run(msgspec.Struct, frozen=True):
    """One run to begin: the whole prompt, with the conversation the house remembers."""

    session: str
    prompt: str
    instructions: str
    history: tuple[Turn, ...]
    model: str


class AgentGateway(Protocol):
    """One agent process that serves one session. All raise EdgeError.

    `died` returns once its process has ended; never where the process is somebody else's.
    `tally` is what the agent's own record says of a session that has ended, None where it has none.
    `forged` counts facts that somebody else sent in its name; none of them was believed.
    """

    @property
    def version(self) -> str: ...
    @property
    def forged(self) -> int: ...
    async def begin(self, run: Run) -> str: ...
    def events(self, run: str) -> AsyncIterator[AgentEvent]: ...
    async def answer(self, run: str, choice: str) -> None: ...
    async def stop(self, run: str) -> None: ...
    async def died(self) -> None: ...
    async def tally(self, session: str) -> AgentTally | None: ...
    async def close(self, session: str) -> None: ...


class AgentHost(Protocol):
    """Starts gateways. `sandbox_trouble` is empty where tools can be let in.

    `is_ours` says that its gateways call our model proxy, so that a canary can be played.
    """

    @property
    def sandbox_trouble(self) -> str: ...
    @property
    def is_ours(self) -> bool: ...
    async def start(self, spec: GatewaySpec) -> AgentGateway: ...


class Upstream(Protocol):
    """A provider's answer that has begun: status, headers, and its bytes as they come."""

    @property
    def status(self) -> int: ...
    @property
    def headers(self) -> Mapping[str, str]: ...
    async def read(self) -> bytes: ...
    async def close(self) -> None: ...


class Providers(Protocol):
    """Calls model providers. Raises EdgeError; kind `stalled` for silence."""

    async def call(self, rung: Rung, body: bytes) -> Upstream: ...
    async def probe(self, rung: Rung) -> tuple[int, str]: ...
