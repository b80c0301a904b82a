"""Where the council's contract is tried: three lanes' councils over the same registers."""

from __future__ import annotations

from typing import Protocol

from allegro.adapters.council import LocalCouncil, Registers
from allegro.core.ports import Council

NAMES = ("a", "b", "c")


class Hall(Protocol):
    """`lanes` are the councils by lane. `scribble` writes as no adapter would."""

    lanes: dict[str, Council]

    async def scribble(self, lane: str, key: str, value: bytes) -> None: ...
    async def delete(self, lane: str, key: str) -> None: ...


class LocalHall:
    def __init__(self) -> None:
        self._registers = Registers()
        self.lanes: dict[str, Council] = {
            name: LocalCouncil(self._registers, name, alone=False) for name in NAMES
        }

    async def scribble(self, lane: str, key: str, value: bytes) -> None:
        self._registers.write(key, value)

    async def delete(self, lane: str, key: str) -> None:
        await self.scribble(lane, key, b"")
