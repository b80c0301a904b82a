"""What a peer may send before it is let in: bounded in bytes, frames, connections and time."""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st

from allegro.adapters.clock import SystemClock, SystemDice
from allegro.core.protocol.messages import PROTOCOL, Hello
from allegro.link.dial import LaneLink
from allegro.link.entry import ALL_BYTES, ENTRY_BYTES, FRAME_BYTES, MAX_ENTERING, FrameCount
from allegro.link.frames import encode
from allegro.link.listen import LinkListener
from tests.patience import patient

from .link_ends import House, Lane, dialling, open_lane, until

SOCKETS_BYTES = 2 * 1024 * 1024
"""What the kernel keeps of one connection at most, beside what was taken in."""
MASKED_EMPTY = b"\x82\x80\0\0\0\0"
PING = b"\x89\x80\0\0\0\0"
FRAGMENT = b"\x00\xfe\x10\x00\0\0\0\0" + bytes(4096)
GIANT = b"\x82\xff" + (2**40).to_bytes(8) + bytes(4) + bytes(65_536)


def masked(payload: bytes) -> bytes:
    """Return a short binary frame as a client sends it."""
    assert len(payload) < 126
    return bytes([0x82, 0x80 | len(payload), 0, 0, 0, 0]) + payload


class RawPeer:
    """A client that did no more than open the WebSocket; `sent` counts its bytes since."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self.sent = 0
        self.heard = b""

    @classmethod
    async def at(cls, path: Path) -> RawPeer:
        reader, writer = await asyncio.open_unix_connection(str(path))
        key = base64.b64encode(bytes(16)).decode()
        writer.write(
            f"GET /link HTTP/1.1\r\nHost: lane\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        await reader.readuntil(b"\r\n\r\n")
        return cls(reader, writer)

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()
        self.sent += len(data)

    async def flood(self, first: bytes, piece: bytes, most: int) -> None:
        """Send without end until the other side ends it."""
        listening = asyncio.ensure_future(self.listen())
        with contextlib.suppress(ConnectionError):
            await self.send(first)
            while self.sent < most and not listening.done():
                await self.send(piece)
        await asyncio.wait_for(listening, patient(20))

    async def listen(self) -> None:
        with contextlib.suppress(ConnectionError):
            while chunk := await self._reader.read(65_536):
                self.heard += chunk

    def close(self) -> None:
        self._writer.transport.abort()


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[tuple[Path, Lane, LinkListener]]:
    async with open_lane(tmp_path, f"unix:{tmp_path / 's'}") as (lane, listener):
        yield tmp_path / "s", lane, listener


HELLO = masked(encode(Hello(PROTOCOL, "h")))


@pytest.mark.parametrize("piece", [MASKED_EMPTY * 2_000, PING * 2_000, FRAGMENT * 4, GIANT])
@pytest.mark.parametrize("first", [b"", HELLO, HELLO + b"\x02\x81\0\0\0\0x"])
async def test_endless_frames_before_a_log_in_end_their_connection_and_no_other(
    served: tuple[Path, Lane, LinkListener],
    first: bytes,
    piece: bytes,
) -> None:
    path, _, listener = served
    async with dialling(House(f"ws+unix://{path}")) as link:
        peer = await RawPeer.at(path)
        await peer.flood(first, piece, most=20 * ENTRY_BYTES)
        assert peer.sent <= ENTRY_BYTES + SOCKETS_BYTES
        assert await link.ask("echo", {"x": 1}) == {"x": 1}
        await until(lambda: listener.entering.count == 0)
        peer.close()


async def test_who_sends_too_much_is_told_why(served: tuple[Path, Lane, LinkListener]) -> None:
    path, _, _ = served
    peer = await RawPeer.at(path)
    await peer.flood(b"\x02\x81\0\0\0\0x", FRAGMENT, most=ENTRY_BYTES + 1)
    assert b"before the log-in" in peer.heard
    peer.close()


async def test_many_that_send_much_are_bounded_together_and_a_house_gets_in(
    served: tuple[Path, Lane, LinkListener],
) -> None:
    path, _, listener = served
    peers = [await RawPeer.at(path) for _ in range(8)]
    highest = 0
    for peer in peers:  # one after the other, so that the largest is never the newest
        with contextlib.suppress(ConnectionError):
            await peer.send(b"\x02\x81\0\0\0\0x")
            while peer.sent < ENTRY_BYTES - 500_000:
                await peer.send(FRAGMENT * 16)
                highest = max(highest, listener.entering.cost_bytes)
                await asyncio.sleep(0)
    async with dialling(House(f"ws+unix://{path}")) as link:
        assert await link.ask("echo", {}) == {}
    assert ALL_BYTES / 2 < highest <= ALL_BYTES + 300_000
    assert listener.entering.count < len(peers)
    for peer in peers:
        peer.close()


async def test_of_too_many_that_say_nothing_the_oldest_is_ended_and_a_house_gets_in(
    served: tuple[Path, Lane, LinkListener],
) -> None:
    path, _, listener = served
    peers = [await RawPeer.at(path) for _ in range(MAX_ENTERING)]
    await until(lambda: listener.entering.count == MAX_ENTERING)
    async with dialling(House(f"ws+unix://{path}")) as link:
        assert await link.ask("echo", {}) == {}
    await asyncio.wait_for(peers[0].listen(), patient(5))
    assert b"the oldest is ended" in peers[0].heard
    assert listener.entering.count < MAX_ENTERING
    for peer in peers:
        peer.close()


@contextlib.asynccontextmanager
async def flooding_lane(path: Path, first: bytes, piece: bytes) -> AsyncIterator[Callable[[], int]]:
    """Serve what opens the WebSocket and then sends frames without end; count the bytes sent."""
    sent = 0

    async def serve(request: web.Request) -> web.WebSocketResponse:
        nonlocal sent
        socket = web.WebSocketResponse(compress=False)
        await socket.prepare(request)
        line = request.transport
        assert isinstance(line, asyncio.Transport)
        line.write(first)
        while sent < 20 * ENTRY_BYTES and not line.is_closing():
            if line.get_write_buffer_size() < len(piece):
                line.write(piece)
                sent += len(piece)
            await asyncio.sleep(0)
        line.abort()
        return socket

    app = web.Application()
    app.router.add_get("/link", serve)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.UnixSite(runner, str(path)).start()
    yield lambda: sent
    await runner.cleanup()


@pytest.mark.parametrize(
    ("first", "piece", "why"),
    [
        (b"", b"\x89\x00" * 8_000, "before the log-in"),
        (b"\x02\x01x", b"\x00\x00" * 8_000, "before the log-in"),
        (b"\x02\x01x", b"\x00\x7e\x10\x00" + bytes(4096), "no message"),
    ],
)
async def test_a_house_takes_no_more_from_a_lane_that_has_not_greeted(
    served: tuple[Path, Lane, LinkListener], tmp_path: Path, first: bytes, piece: bytes, why: str
) -> None:
    path, _, _ = served
    async with flooding_lane(tmp_path / "bad", first, piece) as sent:
        flooded = LaneLink(House(f"ws+unix://{tmp_path / 'bad'}"), SystemClock(), SystemDice())
        dials = asyncio.create_task(flooded.run())
        async with dialling(House(f"ws+unix://{path}")) as link:
            await until(lambda: why in flooded.trouble, patient(20))
            assert await link.ask("echo", {}) == {}
        dials.cancel()
        await asyncio.gather(dials, return_exceptions=True)
        assert sent() <= 4 * (ENTRY_BYTES + SOCKETS_BYTES)  # it is dialled again meanwhile


@settings(deadline=None, max_examples=30)
@given(
    sizes=st.lists(st.sampled_from([0, 1, 125, 126, 300, 65_536]), max_size=5),
    mask=st.booleans(),
    cut=st.sampled_from([3, 7, 1_000, 9_000]),
)
def test_frames_are_counted_however_the_bytes_are_cut(
    sizes: list[int], mask: bool, cut: int
) -> None:
    raw = b""
    for size in sizes:
        short = size if size < 126 else 126 if size < 65_536 else 127
        raw += bytes([0x82, short | (0x80 if mask else 0)])
        raw += b"" if size < 126 else size.to_bytes(2 if short == 126 else 8)
        raw += bytes(4 if mask else 0) + bytes(size)
    count = FrameCount()
    for at in range(0, len(raw), cut):
        count.feed(raw[at : at + cut])
    assert count.count == len(sizes)
    assert FRAME_BYTES * 4_000 < ENTRY_BYTES
