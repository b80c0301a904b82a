"""The house's side as a process: the product's link, lane endpoint and archive."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

from allegro.adapters.clock import SystemClock, SystemDice
from allegro.adapters.crypto.signatures import SealingKey, SigningKey, verify
from allegro.adapters.sqlite.archive import open_archive
from allegro.adapters.sqlite.ledger import open_ledger
from allegro.core.authority.freeze import Freeze, FreezeSet
from allegro.core.base.errors import Refusal
from allegro.core.protocol.messages import Ack, Batch, Greet, Hello, LogIn
from allegro.house.endpoint import House, LaneEndpoint
from allegro.house.files import Fleet, KnownLane
from allegro.link.dial import LaneLink
from bench.child import obey

QUOTA_BYTES = 100_000_000_000


class TimedEndpoint(LaneEndpoint):
    """The product's endpoint; it notes when each take was on disk, and checks no signature."""

    def __init__(self, house: House, lane: KnownLane) -> None:
        super().__init__(house, lane)
        self._archive = house.archive
        self.takes: list[tuple[int, int, int]] = []
        self.took = asyncio.Event()

    async def log_in(self, greeting: Greet, hello: Hello) -> LogIn | Refusal:
        del greeting, hello
        cursors = await self._archive.cursors(self.name)
        return LogIn("bench", (), (), (), cursors, (), time.time())

    async def take(self, batches: list[Batch]) -> Ack | Refusal:
        answer = await super().take(batches)
        done_ns = time.monotonic_ns()
        assert isinstance(answer, Ack), answer
        self.takes.append((batches[0].first_seq, answer.position.seq, done_ns))
        self.took.set()
        return answer


class BenchHouse:
    """What the driver may ask for."""

    def __init__(self) -> None:
        self._end: TimedEndpoint | None = None
        self._task: asyncio.Task[None] | None = None

    async def open(self, folder: str) -> dict[str, Any]:
        at = Path(folder)
        self._clock, self._dice = SystemClock(), SystemDice()
        self._archive = open_archive(at / "archive.db", quota_bytes=QUOTA_BYTES)
        self._key = SigningKey.make()
        fleet = _fleet(self._key.public)

        async def lane_froze(freezes: tuple[Freeze, ...]) -> None:
            del freezes

        self._house = House(
            self._archive, open_ledger(at / "ledger.db"), self._clock, self._dice,
            fleet=lambda: fleet, freezes=FreezeSet, sign=self._key.sign, verify=verify,
            archived=lambda: None, lane_froze=lane_froze,
        )  # fmt: skip
        return {"sealing": SealingKey.make().public.hex()}

    async def link(self, port: int, pin: str) -> dict[str, Any]:
        """Start to dial; return when that was."""
        lane = KnownLane("bench", self._key.public, f"wss://127.0.0.1:{port}", bytes.fromhex(pin))
        self._end = TimedEndpoint(self._house, lane)
        link = LaneLink(self._end, self._clock, self._dice)
        began_ns = time.monotonic_ns()
        self._task = asyncio.create_task(link.run())
        return {"at_ns": began_ns}

    async def unlink(self) -> dict[str, Any]:
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        return {}

    async def reach(self, seq: int) -> dict[str, Any]:
        """Wait until everything up to `seq` is archived; return (first, last, when) of each take."""
        end = self._end
        assert end is not None
        while not end.takes or end.takes[-1][1] < seq:
            end.took.clear()
            await asyncio.wait_for(end.took.wait(), 60)
        takes, end.takes = end.takes, []
        return {"takes": takes, "at_ns": takes[-1][2]}


def _fleet(key: bytes) -> Fleet:
    return Fleet(
        "bench", 0.0, key, 1, key, key, 1, "", 1, "", SealingKey.make().public, b"s" * 32, b"m" * 32
    )  # fmt: skip


if __name__ == "__main__":
    obey(BenchHouse)
