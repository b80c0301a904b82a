"""Lane and house as two processes, linked over loopback TLS."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from bench.child import Child
from bench.measure import Lag, lag_ms


class Pair:
    """Make it with `pair`. Linked only between `link` and `unlink`."""

    def __init__(self, lane: Child, house: Child, port: int, pin: str) -> None:
        self.lane = lane
        self.house = house
        self._port = port
        self._pin = pin

    async def link(self) -> int:
        return int((await self.house.ask("link", port=self._port, pin=self._pin))["at_ns"])

    async def unlink(self) -> None:
        await self.house.ask("unlink")

    async def lag(self, rate: float, seconds: float) -> Lag:
        """Return the lag from an event's birth, sealing included, to its commit at the house."""
        born = await self.lane.ask("pace", rate=rate, seconds=seconds)
        answer = await self.house.ask("reach", seq=born["head"])
        return lag_ms(lags(born["births"], answer["takes"]))

    async def ingest(self, count: int, batch: int) -> float:
        """Return how many events a second the journal takes in batches."""
        answer = await self.lane.ask("fill", count=count, batch=batch)
        return count / float(answer["took_s"])

    async def singles(self, count: int, at_once: int = 256) -> float:
        """Return how many events a second the journal takes one by one from many tasks."""
        answer = await self.lane.ask("singles", count=count, at_once=at_once)
        return count / float(answer["took_s"])

    async def catch_up(self, head: int) -> float:
        """Dial, and return the seconds until everything up to `head` is archived."""
        began_ns = await self.link()
        answer = await self.house.ask("reach", seq=head)
        await self.unlink()
        return (int(answer["at_ns"]) - began_ns) / 1e9

    async def head(self) -> int:
        return int((await self.lane.ask("head"))["head"])


def lags(births: list[list[int]], takes: list[list[int]]) -> list[int]:
    """Match births (sequence, when) with takes (first, last, when); return the lags in ns."""
    done = {seq: at_ns for first, last, at_ns in takes for seq in range(first, last + 1)}
    return [done[seq] - birth_ns for seq, birth_ns in births]


@contextlib.asynccontextmanager
async def pair(folder: Path) -> AsyncIterator[Pair]:
    """Start both processes with empty stores in one folder."""
    folder.mkdir(parents=True)
    async with Child("bench.lane") as lane, Child("bench.house") as house:
        answer = await house.ask("open", folder=str(folder))
        listening = await lane.ask("open", folder=str(folder), sealing=answer["sealing"])
        yield Pair(lane, house, int(listening["port"]), str(listening["pin"]))
