"""The lane's end of the link as a process of its own, for a network namespace: see link_trials."""

from __future__ import annotations

import random
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from bench.child import obey

from allegro.core.authority.freeze import Freeze
from allegro.core.base.events import Event
from tests.duties.link_ends import TIME, Lane, open_lane

AT_ONCE = 500


class Frozen(list[Freeze]):
    """Notes when each freeze came."""

    def __init__(self) -> None:
        super().__init__()
        self.at_s: dict[str, float] = {}

    def append(self, freeze: Freeze) -> None:
        super().append(freeze)
        self.at_s[freeze.id] = time.monotonic()


class Node:
    """What the driver may ask for."""

    def __init__(self) -> None:
        self._stack = AsyncExitStack()
        self._frozen = Frozen()
        self._lane: Lane

    async def open(self, folder: str, address: str) -> dict[str, Any]:
        opened = open_lane(Path(folder), f"{address}:0")
        self._lane, listener = await self._stack.enter_async_context(opened)
        self._lane.freezes = self._frozen
        self._lane.answers["show"] = "x" * 2_000
        return {"port": listener.port}

    async def record(self, count: int, size: int, seed: int) -> dict[str, Any]:
        """Journal events of about `size` bytes."""
        dice = random.Random(seed)
        for first in range(0, count, AT_ONCE):
            await self._lane.record(*(
                Event(f"e{n}", "x.kept", "lane:a", TIME, data={"x": dice.randbytes(size // 2).hex()})
                for n in range(first, min(count, first + AT_ONCE))
            ))  # fmt: skip
        return {}

    async def frozen(self) -> dict[str, Any]:
        """Return when each freeze came, by id (seconds of the machine's monotonic clock)."""
        return {"at_s": self._frozen.at_s}


if __name__ == "__main__":
    obey(Node)
