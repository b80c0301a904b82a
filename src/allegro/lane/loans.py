"""Model calls of the house's programs, carried over the link piece by piece (H10)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from allegro.core.errors import EdgeError
from allegro.core.ports import Clock, Dice

MAX_CALLS = 16
PATHS = {"/v1/chat/completions": "POST", "/v1/models": "GET"}
WAIT_S = 15.0
FORGOTTEN_S = 60.0


class Answer(Protocol):
    """A call to the proxy that has begun."""

    status: int
    content_type: str

    async def read(self) -> bytes: ...
    async def close(self) -> None: ...


Call = Callable[[str, str, str, bytes], Awaitable[Answer]]
"""(method, path, authorization, body) -> the proxy's answer."""


class Loans:
    """`begin` opens a call, `next` gives its next piece; what nobody fetches is dropped."""

    def __init__(self, call: Call, clock: Clock, dice: Dice) -> None:
        self._call = call
        self._clock = clock
        self._dice = dice
        self._open: dict[str, tuple[Answer, float]] = {}
        self._reading: dict[str, asyncio.Task[bytes]] = {}

    async def begin(self, params: dict[str, Any]) -> dict[str, Any]:
        """Begin a call with a loan's token. Raises EdgeError when there are too many."""
        await self._drop_forgotten()
        path = str(params["path"])
        if path not in PATHS:
            raise EdgeError(f"{path} is no path of a lent model", transient=False)
        if len(self._open) >= MAX_CALLS:
            raise EdgeError("too many model calls at once", transient=True)
        answer = await self._call(
            PATHS[path], path, str(params["authorization"]), bytes(params["body"])
        )
        id_ = self._dice.token(8).hex()
        self._open[id_] = (answer, self._clock.boot_s())
        return {"call": id_, "status": answer.status, "type": answer.content_type}

    async def next(self, params: dict[str, Any]) -> dict[str, Any]:
        """Return the next piece of a call; `done` with its end, none of both while it is silent."""
        id_ = str(params["call"])
        held = self._open.get(id_)
        if held is None:
            raise EdgeError("no such call", transient=False)
        answer, _ = held
        self._open[id_] = (answer, self._clock.boot_s())
        reading = self._reading.get(id_) or asyncio.ensure_future(answer.read())
        self._reading[id_] = reading
        done, _ = await asyncio.wait({reading}, timeout=WAIT_S)
        if not done:
            return {"piece": b"", "done": False}
        self._reading.pop(id_, None)
        try:
            piece = reading.result()
        except EdgeError:
            await self.end(id_)
            raise
        if not piece:
            await self.end(id_)
        return {"piece": piece, "done": not piece}

    async def end(self, id_: str) -> None:
        held = self._open.pop(id_, None)
        reading = self._reading.pop(id_, None)
        if reading is not None:
            reading.cancel()
        if held is not None:
            await held[0].close()

    async def _drop_forgotten(self) -> None:
        before_s = self._clock.boot_s() - FORGOTTEN_S
        for id_ in [id_ for id_, (_, at_s) in self._open.items() if at_s < before_s]:
            await self.end(id_)

    async def close(self) -> None:
        for id_ in list(self._open):
            with contextlib.suppress(EdgeError):
                await self.end(id_)
