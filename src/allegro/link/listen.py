"""The lane's end of the link: listens, lets a house in, and serves one house at a time.

A thin shell: the rules of entry are `handshake`'s.
"""

from __future__ import annotations

import ssl
from collections.abc import Awaitable
from pathlib import Path

import aiohttp
import structlog
from aiohttp import web

from allegro.core.base.errors import EdgeError, ProtocolError
from allegro.core.protocol.messages import (
    MAX_HOUSE_FRAME,
    Hello,
    LogIn,
    Refused,
    Welcome,
)
from allegro.link.blobs import LANE_BYTES, Blobs
from allegro.link.connection import Connection
from allegro.link.ends import LaneEnd
from allegro.link.entry import Entering, Newcomer
from allegro.link.tap import Tap
from allegro.runtime.consumer import as_edge_error

_log = structlog.get_logger()


class LinkListener:
    """Serves `/link`. One house at a time: a newer log-in that holds ends the older.

    `blobs` keeps what a house sends in pieces, over its connections.
    """

    def __init__(self, end: LaneEnd, blobs: Blobs | None = None) -> None:
        self._end = end
        self._blobs = Blobs(LANE_BYTES) if blobs is None else blobs
        self.entering = Entering()
        self._current: Connection | None = None
        self._runner: web.AppRunner | None = None
        self.port = 0

    @property
    def is_linked(self) -> bool:
        return self._current is not None and self._current.is_open

    async def start(self, listen: str, tls: ssl.SSLContext | None) -> None:
        """Listen on host:port or unix:/path. Raises EdgeError when that cannot be had."""
        app = web.Application()
        app.router.add_get("/link", self._serve)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        try:
            await self._site(listen, tls).start()
        except OSError as error:
            raise EdgeError(f"cannot listen on {listen}: {error}", transient=False) from error
        addresses = self._runner.addresses
        if addresses and isinstance(addresses[0], tuple):
            self.port = addresses[0][1]

    async def stop(self) -> None:
        if self._current is not None:
            await self._current.close()
        if self._runner is not None:
            await self._runner.cleanup()

    def _site(self, listen: str, tls: ssl.SSLContext | None) -> web.BaseSite:
        assert self._runner is not None
        if listen.startswith("unix:"):
            path = Path(listen.removeprefix("unix:"))
            path.unlink(missing_ok=True)
            return web.UnixSite(self._runner, str(path))
        host, _, port = listen.rpartition(":")
        return web.TCPSite(self._runner, host.strip("[]"), int(port), ssl_context=tls)

    async def _serve(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(max_msg_size=MAX_HOUSE_FRAME, compress=False)
        await socket.prepare(request)
        session = Connection(socket, self._end, self._blobs, Tap.on(request.transport))
        try:
            await as_edge_error("link", "a connection", self._attend(session))
        except EdgeError as error:
            _log.warning("link.stopped", reason=str(error))
        finally:
            if self._current is session:
                self._current = None
                _log.info("link.closed")
            await session.close()
        return socket

    async def _attend(self, session: Connection) -> None:
        """Let a house in, and serve it to the end of its connection."""
        try:
            welcome = await Newcomer(session.tap, self.entering).within(self._enter(session))
            if welcome is None:
                return
            previous, self._current = self._current, session
            if previous is not None:
                await previous.close()
            _log.info("link.open", after=welcome.after.seq, head=welcome.head)
            await _ungrouped(session.run(welcome))
        except ProtocolError as error:
            _log.warning("link.broken", reason=str(error))
            await session.close(str(error))
        except (ConnectionError, aiohttp.ClientError) as error:
            _log.info("link.lost", reason=str(error) or type(error).__name__)

    async def _enter(self, session: Connection) -> Welcome | None:
        hello = await session.receive()
        if not isinstance(hello, Hello):
            raise ProtocolError("the first message must be a hello")
        session.protocol = hello.protocol
        greeting, challenge = self._end.greet(hello)
        await session.send(greeting)
        if isinstance(greeting, Refused):
            return None
        login = await session.receive()
        if not isinstance(login, LogIn):
            raise ProtocolError("the second message must be a log-in")
        answer = await self._end.log_in(login, challenge)
        if isinstance(answer, Refused):
            _log.warning("link.refused", reason=answer.reason, detail=answer.detail)
            await session.send(answer)
            return None
        await session.send(answer)
        return answer


async def _ungrouped(work: Awaitable[None]) -> None:
    """Raise the one error a task group ended with as itself."""
    try:
        await work
    except* (EdgeError, ProtocolError, ConnectionError, aiohttp.ClientError) as group:
        found: BaseException = group
        while isinstance(found, BaseExceptionGroup):
            found = found.exceptions[0]
        raise found from None
