"""The council in this process: registers and pages in memory, always in agreement with itself."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from allegro.core.authority.lease import ANYBODY, Record, Slot
from allegro.core.protocol.pages import MAX_VALUE, Page, page_bytes, parsed, read_page


class Registers:
    """What a council stores. Several lanes in one process may share it."""

    def __init__(self) -> None:
        self.revision = 0
        self.values: dict[str, tuple[int, bytes]] = {}

    def write(self, key: str, value: bytes) -> int:
        self.revision += 1
        self.values[key] = (self.revision, value)
        return self.revision


class LocalCouncil:
    """The Council port without a broker: the default of a lane that is alone.

    `alone`: nobody else can hold a role, so each is on offer from the start; `highest` is the
    highest epoch known of a role, so that this offer is no older than what the lane remembers.
    """

    def __init__(
        self,
        registers: Registers,
        lane: str,
        *,
        alone: bool,
        highest: Callable[[str], int] = lambda role: 0,
    ) -> None:
        self._registers = registers
        self._lane = lane
        self._alone = alone
        self._highest = highest

    async def read(self, role: str) -> Slot:
        revision, value = self._registers.values.get("role." + role, (0, b""))
        if not value:
            if not self._alone:
                return Slot(revision, None)
            epoch = max(1, self._highest(role))
            return Slot(revision, Record(self._lane, "nobody", epoch, offered=ANYBODY))
        return Slot(revision, parsed(value, Record))

    async def write(self, role: str, record: Record, expected: int) -> int | None:
        key = "role." + role
        if self._registers.values.get(key, (0, b""))[0] != expected:
            return None
        return self._registers.write(key, msgspec.json.encode(record))

    async def publish(self, page: Page) -> None:
        self._registers.write("page." + page.lane, page_bytes(page, MAX_VALUE))

    async def page(self, lane: str) -> tuple[int, Page | None]:
        revision, value = self._registers.values.get("page." + lane, (0, b""))
        return revision, read_page(value, lane)

    async def close(self) -> None:
        return None
