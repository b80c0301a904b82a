"""A council as a lane sees it over time: what fails is tried again, for as long as an election lasts.

On a busy machine servers elect another leader at any moment, and twice in a row. No case may assume
who leads, nor that one call is answered at once, unless just that is what it shows.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from tests.patience import patient

from allegro.core.authority.lease import Record, Slot
from allegro.core.base.errors import EdgeError
from allegro.core.ports import Council
from allegro.core.protocol.pages import Page

T = TypeVar("T")
ELECTED_S = 30.0
"""Two elections of 4 to 9 s, and what a busy machine adds."""


async def answered(call: Callable[[], Awaitable[T]], within_s: float = ELECTED_S) -> T:
    """Return the first answer to a call that is made again while it is refused as transient."""
    until_s = time.monotonic() + patient(within_s)
    while True:
        try:
            return await call()
        except EdgeError as error:
            if not error.transient or time.monotonic() > until_s:
                raise
        await asyncio.sleep(0.1)


async def becomes(
    call: Callable[[], Awaitable[T]], wanted: Callable[[T], bool], within_s: float = ELECTED_S
) -> T:
    """Return the first answer that is as wanted, else the last one, for the case to show.

    A leader that was followed by another may answer a read for a moment more.
    """
    until_s = time.monotonic() + patient(within_s)
    while True:
        found = await answered(call, within_s)
        if wanted(found) or time.monotonic() > until_s:
            return found
        await asyncio.sleep(0.1)


class Steady:
    """The Council port through elections. A write whose answer was lost is looked for first."""

    def __init__(self, council: Council) -> None:
        self._council = council

    async def read(self, role: str) -> Slot:
        return await answered(lambda: self._council.read(role))

    async def write(self, role: str, record: Record, expected: int) -> int | None:
        tries = 0

        async def once() -> int | None:
            nonlocal tries
            tries += 1
            revision = await self._council.write(role, record, expected)
            if revision is not None or tries == 1:
                return revision
            slot = await self._council.read(role)
            return slot.revision if slot.record == record and slot.revision > expected else None

        return await answered(once)

    async def publish(self, page: Page) -> None:
        await answered(lambda: self._council.publish(page))

    async def page(self, lane: str) -> tuple[int, Page | None]:
        return await answered(lambda: self._council.page(lane))

    async def close(self) -> None:
        await self._council.close()
