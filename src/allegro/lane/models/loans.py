"""Model calls of the house's programs, carried over the link piece by piece (H10)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Protocol

import msgspec

from allegro.core.base.errors import EdgeError
from allegro.core.ports import Clock, Dice
from allegro.core.protocol.answers.models import ModelAnswer
from allegro.core.protocol.queries import ModelBegin, ModelNext, Params, read_query
from allegro.runtime.consumer import as_edge_error
from allegro.runtime.tasks import Soon

MAX_CALLS = 16
PATHS = {"/v1/chat/completions": "POST", "/v1/models": "GET"}
WAIT_S = 15.0
FORGOTTEN_S = 60.0
SILENT = ModelAnswer(done=False)


class Answer(Protocol):
    """A call to the proxy that has begun. `retry_after` is its header, empty where it has none."""

    status: int
    content_type: str
    retry_after: str

    async def read(self) -> bytes: ...
    async def close(self) -> None: ...


Call = Callable[[str, str, str, bytes], Awaitable[Answer]]
"""(method, path, authorization, body) -> the proxy's answer."""


class Held:
    """One call: `opening` is its answer once it began, `reading` the next piece of it."""

    def __init__(self, opening: asyncio.Task[Answer], at_s: float) -> None:
        self.opening = opening
        self.reading: asyncio.Task[bytes] | None = None
        self.has_begun = False
        self.is_asked = False
        self.at_s = at_s


class Loans:
    """`begin` opens a call, `next` gives its beginning and then its pieces.

    Neither waits as long as a provider may take: the link asks for an answer sooner. What nobody
    fetches is dropped.
    """

    def __init__(self, call: Call, clock: Clock, dice: Dice) -> None:
        self._call = call
        self._clock = clock
        self._dice = dice
        self._held: dict[str, Held] = {}
        self._dropping = Soon("loans")
        self._is_dropping = False

    async def begin(self, params: Params) -> ModelAnswer:
        """Begin a call with a loan's token. Raises EdgeError when there are too many."""
        asked = read_query(params, ModelBegin)
        if asked.path not in PATHS:
            raise EdgeError(f"{asked.path[:80]!r} is no path of a lent model", transient=False)
        if len(self._held) >= MAX_CALLS:
            raise EdgeError("too many model calls at once", transient=True)
        id_ = self._dice.token(8).hex()
        opening = asyncio.ensure_future(as_edge_error("loans", asked.path, self._open(asked)))
        self._held[id_] = Held(opening, self._clock.boot_s())
        if not self._is_dropping:
            self._is_dropping = True
            self._dropping.begin("what nobody fetches", self._drop_forgotten())
        return msgspec.structs.replace(await self._begun(id_), call=id_)

    async def _open(self, asked: ModelBegin) -> Answer:
        return await self._call(PATHS[asked.path], asked.path, asked.authorization, asked.body)

    async def next(self, params: Params) -> ModelAnswer:
        """Return how a call began, once, then each piece; `done` with its end.

        None of these while it is silent. Raises EdgeError when it broke off, and when it is asked
        again before it answered: a piece is given once.
        """
        id_ = read_query(params, ModelNext).call
        held = self._held.get(id_)
        if held is None:
            raise EdgeError("no such call", transient=False)
        if held.is_asked:
            raise EdgeError("its next piece is being fetched already", transient=True)
        held.at_s, held.is_asked = self._clock.boot_s(), True
        try:
            return await (self._piece(id_, held) if held.has_begun else self._begun(id_))
        finally:
            held.is_asked = False

    async def _piece(self, id_: str, held: Held) -> ModelAnswer:
        answer = held.opening.result()
        held.reading = held.reading or asyncio.ensure_future(
            as_edge_error("loans", "an answer", answer.read())
        )
        done, _ = await asyncio.wait({held.reading}, timeout=WAIT_S)
        if not done:
            return SILENT
        reading, held.reading = held.reading, None
        try:
            piece = reading.result()
        except EdgeError:
            await self.end(id_)
            raise
        if not piece:
            await self.end(id_)
        return ModelAnswer(piece=piece, done=not piece)

    async def _begun(self, id_: str) -> ModelAnswer:
        held = self._held[id_]
        done, _ = await asyncio.wait({held.opening}, timeout=WAIT_S)
        if not done:
            return SILENT
        try:
            answer = held.opening.result()
        except EdgeError:
            await self.end(id_)
            raise
        held.has_begun = True
        return ModelAnswer(
            status=answer.status,
            type=answer.content_type,
            retry_after=answer.retry_after,
            done=False,
        )

    async def end(self, id_: str) -> None:
        """Close a call, wherever it stands."""
        held = self._held.pop(id_, None)
        if held is None:
            return
        if held.reading is not None:
            held.reading.cancel()
        if not held.opening.done():
            held.opening.cancel()
        elif not held.opening.cancelled() and held.opening.exception() is None:
            await held.opening.result().close()

    async def _drop_forgotten(self) -> None:
        try:
            while self._held:
                await self._clock.sleep(FORGOTTEN_S / 4)
                before_s = self._clock.boot_s() - FORGOTTEN_S
                for id_ in [id_ for id_, held in self._held.items() if held.at_s < before_s]:
                    with contextlib.suppress(EdgeError):
                        await as_edge_error("loans", id_, self.end(id_))
        finally:
            self._is_dropping = False

    async def close(self) -> None:
        """End every call."""
        await self._dropping.stop()
        for id_ in list(self._held):
            with contextlib.suppress(EdgeError):
                await self.end(id_)
