"""What a token may do, and what one attempt of a call needs of the proxy it belongs to."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import msgspec

from allegro.core.models.dialect import Manner
from allegro.core.models.ladder import Ladder, Spend, Trouble
from allegro.core.ports import Clock, Providers
from allegro.core.protocol.payloads.sessions import Talk
from allegro.core.settings import Rung
from allegro.lane.models.canary import CanarySeen

Record = Callable[[str, Talk], Awaitable[None]]
"""(holder, event type, clear data, words) -> when it is on disk. Raises EdgeError."""


class Grant(msgspec.Struct):
    """What one token may do. `holder` is a session's or loan's id; a canary costs nothing.

    `seen` takes in what the agent sends during a canary.
    """

    holder: str
    model: str
    until_boot_s: float
    own_tokens: int
    is_canary: bool = False
    spend: Spend = Spend()
    reserved: Spend = Spend()
    calls: int = 0
    measured: bool = True
    is_revoked: bool = False
    tasks: set[asyncio.Task[Any]] = msgspec.field(default_factory=set)
    seen: CanarySeen | None = None


class Proxy(Protocol):
    """What a call needs of the proxy it belongs to. `first_word_s` bounds the time to each word."""

    ladder: Ladder
    providers: Providers
    clock: Clock
    record: Record
    spent: Callable[[int, float | None], None]
    first_word_s: float

    async def meaning_of(
        self, rung: Rung, status: int, text: str, wait_s: float | None
    ) -> Trouble: ...


class Attempt(msgspec.Struct, frozen=True):
    """Which rung is asked and in which manner; `tried` rungs were given up before it."""

    rung: Rung
    manner: Manner
    tried: int
