"""A CONNECT proxy with a list: the only way out of a sandbox, to destinations named in words."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from pathlib import Path

CHUNK = 65_536
HEAD_S = 10.0
DIAL_S = 10.0
MAX_HEAD = 8_192
MAX_OPEN = 64

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class ConnectProxy:
    """Serves a Unix socket. `allowed` are "host:port"; an address that is not global is refused."""

    def __init__(self, allowed: tuple[str, ...]) -> None:
        self._allowed = {entry.lower() for entry in allowed}
        self._server: asyncio.Server | None = None
        self._open = 0
        self.refused = 0

    async def start(self, path: Path) -> None:
        self._server = await asyncio.start_unix_server(self._serve, str(path), limit=MAX_HEAD)
        path.chmod(0o666)  # noqa: ASYNC240 (once, at start)

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._open >= MAX_OPEN:
            writer.transport.abort()
            return
        self._open += 1
        try:
            place = await asyncio.wait_for(self._asked(reader), HEAD_S)
            far = await self._dial(place) if place else None
            if far is None:
                self.refused += 1
                writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
                await writer.drain()
                return
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            await _joined((reader, writer), far)
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        finally:
            self._open -= 1
            writer.close()

    async def _asked(self, reader: asyncio.StreamReader) -> tuple[str, int] | None:
        """Return the place of a CONNECT that is on the list, None for anything else."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        method, _, rest = head.partition("\r\n")[0].partition(" ")
        place = rest.partition(" ")[0].lower()
        if method != "CONNECT" or place not in self._allowed:
            return None
        host, _, port = place.rpartition(":")
        return host, int(port)

    async def _dial(self, place: tuple[str, int]) -> Stream | None:
        """Connect to a destination by an address that is on the public network."""
        loop = asyncio.get_running_loop()
        found = await asyncio.wait_for(loop.getaddrinfo(*place, type=socket.SOCK_STREAM), DIAL_S)
        for *_, address in found:
            if ipaddress.ip_address(address[0]).is_global:
                return await asyncio.wait_for(
                    asyncio.open_connection(str(address[0]), int(address[1])), DIAL_S
                )
        return None


async def _joined(near: Stream, far: Stream) -> None:
    """Carry bytes both ways until both are done. Where one breaks, the other is broken off too."""
    try:
        await asyncio.gather(_pump(near[0], far[1]), _pump(far[0], near[1]))
    except OSError:
        far[1].transport.abort()
        near[1].transport.abort()
    finally:
        far[1].close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while chunk := await reader.read(CHUNK):
        writer.write(chunk)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()
