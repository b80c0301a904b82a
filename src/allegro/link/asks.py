"""What the house has asked one lane and not been answered yet."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Iterator
from typing import TypeVar

from allegro.core.base.errors import EdgeError
from allegro.core.protocol.messages import Challenge, OrderAnswer, Reply

MAX_ASK_S = 600.0
"""No answer takes longer, however many pieces of it still come."""
Answer = Reply | Challenge | OrderAnswer
A = TypeVar("A", Reply, Challenge, OrderAnswer)


class Ask:
    """One question under way. `id` is what its answer will carry."""

    def __init__(self, id_: int, lane: str) -> None:
        self.id = id_
        self._lane = lane
        self.future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self.has_moved = False

    async def answer(self, type_: type[A], timeout_s: float) -> A:
        """Wait for the answer. Raises EdgeError after `timeout_s` without a piece of it."""
        try:
            async with asyncio.timeout(max(MAX_ASK_S, timeout_s)):
                reply = await self._within(timeout_s)
        except TimeoutError as error:
            raise EdgeError(f"lane {self._lane} did not answer", transient=True) from error
        if not isinstance(reply, type_):
            raise EdgeError("the lane answered something else", transient=False)
        return reply

    async def _within(self, timeout_s: float) -> Answer:
        while True:
            self.has_moved = False
            done, _ = await asyncio.wait({self.future}, timeout=timeout_s)
            if done:
                return self.future.result()
            if not self.has_moved:
                raise TimeoutError


class Asks:
    """All questions to one lane, over every connection."""

    def __init__(self, lane: str) -> None:
        self._lane = lane
        self._open: dict[int, Ask] = {}
        self._ids = itertools.count(1)

    @contextlib.contextmanager
    def begin(self) -> Iterator[Ask]:
        """Open a question; it is forgotten at the end of the block."""
        ask = Ask(next(self._ids), self._lane)
        self._open[ask.id] = ask
        try:
            yield ask
        finally:
            del self._open[ask.id]
            if ask.future.done() and not ask.future.cancelled():
                ask.future.exception()  # looked at: nobody may be waiting any more

    def moved(self, id_: int) -> None:
        """Note that a piece of this answer came."""
        if (ask := self._open.get(id_)) is not None:
            ask.has_moved = True

    def answered(self, reply: Answer) -> None:
        """Hand over an answer; one that nobody waits for is dropped."""
        ask = self._open.get(reply.id)
        if ask is not None and not ask.future.done():
            ask.future.set_result(reply)

    def lost(self, error: EdgeError) -> None:
        """End every question that is open."""
        for ask in self._open.values():
            if not ask.future.done():
                ask.future.set_exception(error)
