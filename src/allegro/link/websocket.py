"""The house's WebSocket with a tap on its transport, and how a lane's address is dialled."""

from __future__ import annotations

from typing import Any

import aiohttp

from allegro.core.base.errors import EdgeError
from allegro.link.tap import Tap
from allegro.link.timing import DEAD_S
from allegro.link.traffic import lost


class LinkSocket(aiohttp.ClientWebSocketResponse):
    """Made by a ClientSession. `tap` hears every byte that arrives."""

    def __init__(
        self, reader: Any, writer: Any, protocol: Any, response: Any, *more: Any, **options: Any
    ) -> None:
        super().__init__(reader, writer, protocol, response, *more, **options)
        connection = response.connection
        self.tap = Tap.on(connection.transport if connection is not None else None)

    async def frame(self) -> bytes:
        """Return the next message's bytes. Raises EdgeError when the connection ends."""
        message = await self.receive()
        if message.type is aiohttp.WSMsgType.ERROR:
            raise EdgeError(f"the lane sent what is no message: {message.data}", transient=True)
        if message.type is not aiohttp.WSMsgType.BINARY:
            why = f"nothing came from the lane for {DEAD_S:g} s" if self.tap.is_dead else ""
            raise EdgeError(why or "the lane hung up", transient=True)
        data: bytes = message.data
        return data

    async def write(self, frame: bytes) -> None:
        """Send one frame. Raises EdgeError when the connection is lost."""
        try:
            await self.send_bytes(frame)
        except (ConnectionError, aiohttp.ClientError) as error:
            raise lost(f"link lost: {error}") from error


def connector_of(url: str) -> tuple[str, aiohttp.BaseConnector]:
    """Return what to ask for and how to reach it: `ws+unix://PATH`, `ws://` or `wss://`."""
    if url.startswith("ws+unix://"):
        path = url.removeprefix("ws+unix://")
        return "http://lane/link", aiohttp.UnixConnector(path=path)
    return url.rstrip("/") + "/link", aiohttp.TCPConnector()


def words_of(error: Exception) -> str:
    """Return why there is no link; aiohttp's own words tell objects of its inside."""
    if isinstance(error, aiohttp.ClientConnectorError) and error.port:
        why = error.os_error.strerror or str(error.os_error) or type(error.os_error).__name__
        return f"cannot connect to {error.host}:{error.port}: {why}"
    return str(error) or type(error).__name__
