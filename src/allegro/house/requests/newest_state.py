"""Brings what is shown on the forge to its newest state, item by item; none holds up the others."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

import msgspec
import structlog

from allegro.core.base.errors import EdgeError
from allegro.core.ports import Clock
from allegro.core.stores import SetAside, WorkBook
from allegro.runtime.consumer import Items, OnSetAside, Outcome

_log = structlog.get_logger()
RETRY_S = 2.0


class ItemPorts(msgspec.Struct, frozen=True):
    """What a duty needs that works item by item: where it notes how far it is, and who takes the rest."""

    book: WorkBook
    clock: Clock
    on_set_aside: OnSetAside


class Homes:
    """Calls `show` with each id that was put, once for its newest state.

    What cannot be shown now (no lane, no forge) is shown later; what never can be, and a bug met
    twice, is set aside with a sentence.
    """

    def __init__(self, name: str, show: Callable[[str], Awaitable[None]], ports: ItemPorts) -> None:
        self._name = name
        self._show = show
        self._clock = ports.clock
        self._on_set_aside = ports.on_set_aside
        self._items = Items(name, ports.book, ports.clock, ports.on_set_aside)
        self._queue: asyncio.Queue[str] = asyncio.Queue()
        self._queued: set[str] = set()
        self._under_work = 0
        self._later: set[asyncio.Task[None]] = set()
        self._postponed: dict[str, str] = {}

    @property
    def waiting(self) -> int:
        """How many ids are not shown yet."""
        return len(self._queued) + self._under_work + len(self._later)

    def put(self, id_: str) -> None:
        """Show this one's newest state."""
        if id_ not in self._queued:
            self._queued.add(id_)
            self._queue.put_nowait(id_)

    async def run(self) -> None:
        """Show what was put until cancelled."""
        try:
            while True:
                id_ = await self._queue.get()
                self._queued.discard(id_)
                self._under_work, is_done = 1, False
                try:
                    await self._one(id_)
                    is_done = True
                finally:
                    self._under_work = 0
                    if not is_done:
                        self._again(id_)
        finally:
            for task in self._later:
                task.cancel()

    async def _one(self, id_: str) -> None:
        try:
            outcome = await self._items.handle(id_, partial(self._show, id_))
        except EdgeError as error:
            if error.transient:
                self._note_postponed(id_, str(error))
                self._again(id_)
                return
            self._postponed.pop(id_, None)
            now_s = self._clock.now_s()
            aside = SetAside(
                duty=self._name, item=id_, lane="", reason=str(error)[:300], at_s=now_s
            )
            await self._on_set_aside(aside, b"")
            return
        self._postponed.pop(id_, None)
        if outcome is Outcome.AGAIN:
            self._again(id_)

    def _note_postponed(self, id_: str, why: str) -> None:
        """Log why an item waits, once for each new reason."""
        if self._postponed.get(id_) != why:
            self._postponed[id_] = why
            _log.info("home.postponed", duty=self._name, item=id_, error=why)

    def _again(self, id_: str) -> None:
        """Show it after a pause; at once where showing begins again, so that none is left out."""
        task = asyncio.ensure_future(self._clock.sleep(RETRY_S))
        self._later.add(task)
        task.add_done_callback(self._later.discard)
        task.add_done_callback(lambda _: self.put(id_))
