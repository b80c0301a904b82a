"""The port of the coordination store that the lanes of a fleet share."""

from __future__ import annotations

from typing import Protocol

from allegro.core.authority.lease import Record, Slot
from allegro.core.protocol.pages import Page


class Council(Protocol):
    """The coordination store: a register for each role, a page for each lane.

    `write` is compare-and-set on the revision last read, 0 for a register never written: it
    returns the new revision, or None when somebody was faster. `page` returns (revision, page),
    None for a page that is missing or unreadable. All raise EdgeError; after one that may have
    been sent, only reading tells whether it was stored. What a council says can only make a lane
    act less.
    """

    async def read(self, role: str) -> Slot: ...
    async def write(self, role: str, record: Record, expected: int) -> int | None: ...
    async def publish(self, page: Page) -> None: ...
    async def page(self, lane: str) -> tuple[int, Page | None]: ...
    async def close(self) -> None: ...
