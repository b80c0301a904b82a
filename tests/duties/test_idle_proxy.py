"""The link through a proxy that closes connections on which nothing moves."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from allegro.adapters.clock import SystemClock, SystemDice
from allegro.link.dial import LaneLink
from allegro.link.timing import BEAT_S
from tests.patience import patient

from .link_ends import House, open_lane, until

pytestmark = pytest.mark.slow  # real seconds pass


class IdleProxy:
    """Passes bytes on, and closes a connection that was silent in both directions for `idle_s`."""

    def __init__(self, port: int, idle_s: float) -> None:
        self._port = port
        self._idle_s = idle_s
        self.opened = 0
        self.closed = 0

    @contextlib.asynccontextmanager
    async def served(self) -> AsyncIterator[int]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.opened += 1
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._port)
        moved = asyncio.Event()
        pumps = [
            asyncio.ensure_future(self._pump(reader, far_writer, moved)),
            asyncio.ensure_future(self._pump(far_reader, writer, moved)),
        ]
        try:
            while not any(pump.done() for pump in pumps):
                moved.clear()
                await asyncio.wait_for(moved.wait(), self._idle_s)
        except TimeoutError:
            self.closed += 1
        finally:
            for pump in pumps:
                pump.cancel()
            for end in (writer, far_writer):
                end.transport.abort()

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, moved: asyncio.Event
    ) -> None:
        with contextlib.suppress(ConnectionError):
            while chunk := await reader.read(65_536):
                moved.set()
                writer.write(chunk)
                await writer.drain()
        moved.set()


@contextlib.asynccontextmanager
async def through(folder: Path, idle_s: float) -> AsyncIterator[tuple[LaneLink, House, IdleProxy]]:
    async with open_lane(folder, "127.0.0.1:0") as (_, listener):
        proxy = IdleProxy(listener.port, idle_s)
        async with proxy.served() as port:
            house = House(f"ws://127.0.0.1:{port}")
            link = LaneLink(house, SystemClock(), SystemDice())
            running = asyncio.create_task(link.run())
            try:
                await until(lambda: link.is_up, patient(10))
                yield link, house, proxy
            finally:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)


async def test_an_idle_link_stays_up_where_silence_is_cut_after_a_beat_and_a_half(
    tmp_path: Path,
) -> None:
    """Beats pass both ways every 2 s, so that 60 s of silence never come."""
    async with through(tmp_path, 1.5 * BEAT_S) as (link, _, proxy):
        await asyncio.sleep(3 * BEAT_S)
        assert (link.is_up, proxy.opened, proxy.closed) == (True, 1, 0)


async def test_a_link_that_is_cut_again_and_again_heals_and_loses_nothing(tmp_path: Path) -> None:
    async with open_lane(tmp_path, "127.0.0.1:0") as (lane, listener):
        proxy = IdleProxy(listener.port, 0.7)
        async with proxy.served() as port:
            house = House(f"ws://127.0.0.1:{port}")
            link = LaneLink(house, SystemClock(), SystemDice())
            running = asyncio.create_task(link.run())
            for number in range(4):
                await lane.tell(number)
                await asyncio.sleep(1.1)
            await until(lambda: house.ids == [f"e{n}" for n in range(4)], patient(10))
            await until(lambda: lane.journal.acked == lane.journal.head, patient(10))
            assert proxy.closed >= 2
            await until(lambda: link.is_up, patient(10))
            assert await link.ask("echo", {"x": 1}) == {"x": 1}
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
