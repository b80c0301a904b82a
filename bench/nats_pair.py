"""Producer, server and consumer as three processes: the same questions as to our own pair."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from bench.child import Child
from bench.measure import Lag, lag_ms
from bench.nats_server import server
from bench.pair import lags


class NatsPair:
    """Make it with `nats_pair`."""

    def __init__(self, lane: Child, house: Child, *, batches: bool) -> None:
        self._batches = batches
        self._lane = lane
        self._house = house

    async def link(self) -> int:
        return int((await self._house.ask("link"))["at_ns"])

    async def unlink(self) -> None:
        await self._house.ask("unlink")

    async def lag(self, rate: float, seconds: float) -> Lag:
        born = await self._lane.ask("pace", rate=rate, seconds=seconds, batches=self._batches)
        answer = await self._house.ask("reach", seq=born["head"])
        return lag_ms(lags(born["births"], answer["takes"]))

    async def ingest(self, count: int) -> tuple[float, int]:
        """Return events a second into the stream, and its new end."""
        answer = await self._lane.ask("fill", count=count)
        return count / float(answer["took_s"]), int(answer["head"])

    async def catch_up(self, head: int) -> float:
        began_ns = await self.link()
        answer = await self._house.ask("reach", seq=head)
        await self.unlink()
        return (int(answer["at_ns"]) - began_ns) / 1e9


@contextlib.asynccontextmanager
async def nats_pair(folder: Path, *, sync_always: bool) -> AsyncIterator[NatsPair]:
    """Start all three with empty stores in one folder."""
    async with (
        server(folder, sync_always=sync_always) as url,
        Child("bench.nats_lane") as lane,
        Child("bench.nats_house") as house,
    ):
        await lane.ask("open", url=url)
        await house.ask("open", url=url, folder=str(folder))
        yield NatsPair(lane, house, batches=sync_always)
