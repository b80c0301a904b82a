"""What carries bytes in and out of a sandbox: where one end breaks, the other learns of it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from allegro.adapters.sandbox.inside import door_to
from tests.patience import patient

REQUEST = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"
SEEN_S = 5.0


class Way:
    """A way from the agent's loopback to a socket of the lane, whose far end the test plays."""

    def __init__(self, folder: Path) -> None:
        self._path = str(folder / "models")
        self.far = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.far.bind(self._path)
        self.far.listen(4)
        self.far.setblocking(False)
        self._server: asyncio.Server

    async def open(self) -> None:
        self._server = await asyncio.start_server(door_to(self._path), "127.0.0.1", 0)

    async def dial(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect as the agent does, and send a request."""
        near = await asyncio.open_connection("127.0.0.1", self._server.sockets[0].getsockname()[1])
        near[1].write(REQUEST)
        return near

    async def taken(self, *, read: bool) -> socket.socket:
        """Accept what waits once its request has arrived; `read` takes the request out."""
        taken, _ = await asyncio.get_running_loop().sock_accept(self.far)
        await arrival(taken)
        if read:
            assert taken.recv(4096) == REQUEST
        return taken

    async def close(self) -> None:
        self._server.close()
        self.far.close()


@pytest.fixture
async def way(tmp_path: Path) -> AsyncIterator[Way]:
    made = Way(tmp_path)
    await made.open()
    yield made
    await made.close()


async def arrival(far: socket.socket) -> None:
    """Wait until something can be read, and leave it there."""
    loop = asyncio.get_running_loop()
    arrived = asyncio.Event()
    loop.add_reader(far, arrived.set)
    await arrived.wait()
    loop.remove_reader(far)


async def rest(reader: asyncio.StreamReader) -> bytes:
    """Return what comes to the end of a stream. Raises TimeoutError when it has none."""
    with contextlib.suppress(ConnectionError):
        return await asyncio.wait_for(reader.read(), patient(SEEN_S))
    return b""


async def test_a_request_that_the_lane_refuses_unread_ends_for_the_agent(way: Way) -> None:
    reader, writer = await way.dial()

    (await way.taken(read=False)).close()  # a connection too many: the kernel resets it

    assert await rest(reader) == b""
    writer.close()


async def test_an_answer_that_breaks_off_ends_for_the_agent(way: Way) -> None:
    reader, writer = await way.dial()
    far = await way.taken(read=True)
    far.send(b"HTTP/1.1 200 OK\r\n\r\nhalf")
    assert (await reader.readexactly(4)) == b"HTTP"
    writer.write(REQUEST)
    await arrival(far)

    far.close()  # with something unread: a reset, no end

    assert (await rest(reader)).endswith(b"half")
    writer.close()


async def test_an_agent_that_breaks_its_call_off_ends_it_for_the_lane(way: Way) -> None:
    _, writer = await way.dial()
    far = await way.taken(read=True)
    near = writer.transport.get_extra_info("socket")
    near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset

    writer.transport.abort()

    loop = asyncio.get_running_loop()
    with contextlib.suppress(ConnectionError):
        assert await asyncio.wait_for(loop.sock_recv(far, 10), patient(SEEN_S)) == b""
    far.close()


async def test_one_that_only_stops_sending_still_gets_its_answer(way: Way) -> None:
    reader, writer = await way.dial()
    far = await way.taken(read=True)
    writer.write_eof()
    loop = asyncio.get_running_loop()
    assert await asyncio.wait_for(loop.sock_recv(far, 10), patient(SEEN_S)) == b""

    far.send(b"all of it")
    far.close()

    assert await rest(reader) == b"all of it"
    writer.close()
