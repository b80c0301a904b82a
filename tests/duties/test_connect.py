"""The only way out of a sandbox: listed names, public addresses, CONNECT, and nothing else."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from allegro.adapters.sandbox.connect import MAX_HEAD, ConnectProxy
from tests.patience import patient

from .test_inside import arrival

BREAK = b"break\n"


class Nearby(ConnectProxy):
    """The proxy in a world where `far.example.org` is this machine: no test leaves it."""

    port = 0

    async def _dial(
        self, place: tuple[str, int]
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        if place != ("far.example.org", 443):
            return await super()._dial(place)
        return await asyncio.open_connection("127.0.0.1", self.port)


class Out:
    """A proxy and the one server behind it, which answers each line with itself."""

    def __init__(self, folder: Path) -> None:
        self.door = folder / "connect"
        self.reached = 0
        self.echoing = 0
        self.proxy: Nearby
        self.server: asyncio.Server

    async def start(self) -> None:
        self.server = await asyncio.start_server(self._echo, "127.0.0.1", 0)
        port = self.server.sockets[0].getsockname()[1]
        self.proxy = Nearby((f"localhost:{port}", f"127.0.0.1:{port}", "Far.example.org:443"))
        self.proxy.port = port
        await self.proxy.start(self.door)

    async def _echo(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reached += 1
        self.echoing += 1
        try:
            while line := await reader.readline():
                if line == BREAK:
                    near = writer.transport.get_extra_info("socket")
                    near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    writer.transport.abort()
                    return
                writer.write(line)
        except ConnectionError:
            pass
        finally:
            self.echoing -= 1
            writer.close()

    async def ask(self, head: bytes, then: bytes = b"") -> bytes:
        """Send a head, and what follows once it was answered; return all that came back."""
        reader, writer = await asyncio.open_unix_connection(str(self.door))
        writer.write(head)
        answer = b""
        if then:
            answer = await reader.readuntil(b"\r\n\r\n")
            writer.write(then)
            writer.write_eof()
        try:
            return answer + await asyncio.wait_for(reader.read(), 5)
        except ConnectionError:
            return answer
        finally:
            writer.close()

    async def free(self) -> None:
        """Wait until the proxy carries nothing, and its far end serves nobody."""
        async with asyncio.timeout(patient(5)):
            while self.proxy._open or self.echoing:
                await asyncio.sleep(0.01)

    async def stop(self) -> None:
        await self.proxy.stop()
        self.server.close()


@pytest.fixture
async def out(tmp_path: Path) -> AsyncIterator[Out]:
    made = Out(tmp_path)
    await made.start()
    yield made
    await made.stop()


def connect(place: str) -> bytes:
    return f"CONNECT {place} HTTP/1.1\r\nHost: {place}\r\n\r\n".encode()


@pytest.mark.parametrize("name", ["far.example.org", "FAR.example.org"])
async def test_a_listed_destination_is_reached_and_both_ways_are_open(out: Out, name: str) -> None:
    answer = await out.ask(connect(f"{name}:443"), b"hello\nworld\n")
    head, _, rest = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    assert rest == b"hello\nworld\n"
    assert out.proxy.refused == 0


@pytest.mark.parametrize("place", [
    "other.example.org:443", "far.example.org:80", "far.example.org", "far.example.org.:443",
    "xfar.example.org:443", "far.example.org:443.evil.org:443", ":443", "",
])  # fmt: skip
async def test_what_is_not_on_the_list_is_refused(out: Out, place: str) -> None:
    assert (await out.ask(connect(place))).startswith(b"HTTP/1.1 403")
    assert (out.proxy.refused, out.reached) == (1, 0)


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1"])
async def test_a_listed_name_whose_address_is_not_public_is_refused(out: Out, name: str) -> None:
    answer = await out.ask(connect(f"{name}:{out.proxy.port}"))
    assert answer.startswith(b"HTTP/1.1 403")
    assert (out.proxy.refused, out.reached) == (1, 0)


@pytest.mark.parametrize("method", ["GET", "POST", "connect", "PUT"])
async def test_only_connect_is_spoken(out: Out, method: str) -> None:
    answer = await out.ask(f"{method} far.example.org:443 HTTP/1.1\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 403")
    url = await out.ask(f"{method} http://far.example.org:443/ HTTP/1.1\r\n\r\n".encode())
    assert url.startswith(b"HTTP/1.1 403")
    assert out.reached == 0


async def test_a_head_that_is_too_long_reaches_nothing(out: Out) -> None:
    head = b"CONNECT far.example.org:443 HTTP/1.1\r\nX: " + b"x" * 2 * MAX_HEAD + b"\r\n\r\n"
    assert b"200" not in await out.ask(head)
    assert out.reached == 0


async def test_a_head_that_ends_too_soon_reaches_nothing(out: Out) -> None:
    reader, writer = await asyncio.open_unix_connection(str(out.door))
    writer.write(b"CONNECT far.example.org:443 HTTP/1.1\r\n")
    writer.write_eof()
    assert b"200" not in await asyncio.wait_for(reader.read(), 5)
    writer.close()
    assert out.reached == 0


async def test_where_a_far_end_breaks_the_near_one_is_broken_off_and_its_place_is_free(
    out: Out,
) -> None:
    reader, writer = await asyncio.open_unix_connection(str(out.door))
    writer.write(connect("far.example.org:443"))
    await reader.readuntil(b"\r\n\r\n")

    writer.write(BREAK)

    with contextlib.suppress(ConnectionError):
        assert await asyncio.wait_for(reader.read(), patient(5)) == b""
    await out.free()
    writer.close()


async def test_where_the_near_end_breaks_the_far_one_is_broken_off_and_its_place_is_free(
    out: Out,
) -> None:
    near = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    near.connect(str(out.door))
    near.setblocking(False)
    near.send(connect("far.example.org:443") + b"hello\n")
    await arrival(near)
    assert near.recv(12).startswith(b"HTTP/1.1 200")
    await arrival(near)

    near.close()  # with something unread: a reset, no end

    await out.free()
    assert out.reached == 1
