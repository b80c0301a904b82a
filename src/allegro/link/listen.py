"""The lane's end of the link: accepts a house, sends the journal, answers questions.

A thin shell: what to answer is the LaneEnd's, the rules of entry are `handshake`'s.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Awaitable
from pathlib import Path
from typing import Protocol

import aiohttp
import structlog
from aiohttp import web

from allegro.core.errors import EdgeError, ProtocolError
from allegro.core.messages import (
    BATCH_BYTES,
    BATCH_ENTRIES,
    MAX_HOUSE_FRAME,
    Ack,
    Batch,
    FromHouse,
    FromLane,
    Greet,
    Hello,
    HouseBeat,
    LaneBeat,
    LogIn,
    Refused,
    Welcome,
)
from allegro.core.ports import Journal
from allegro.link.frames import decode_from_house, encode
from allegro.link.timing import DEAD_S, HANDSHAKE_S, WINDOW_BATCHES

_log = structlog.get_logger()


class LaneEnd(Protocol):
    """What a lane answers. `grew` is set whenever the journal got longer."""

    journal: Journal
    grew: asyncio.Event

    def greet(self, hello: Hello) -> tuple[Greet | Refused, str]: ...
    async def log_in(self, message: LogIn, challenge: str) -> Welcome | Refused: ...
    async def answer(self, message: FromHouse) -> FromLane | None: ...
    async def heard(self, beat: HouseBeat) -> None: ...
    def beat(self) -> LaneBeat: ...


class LinkListener:
    """Serves `/link`. One house at a time: a newer log-in that holds ends the older."""

    def __init__(self, end: LaneEnd) -> None:
        self._end = end
        self._current: _Session | None = None
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

    def send(self, message: FromLane) -> None:
        """Send a message to the house if one is linked; it is not kept otherwise."""
        if self._current is not None:
            self._current.post(message)

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
        session = _Session(socket, self._end)
        try:
            welcome = await asyncio.wait_for(self._enter(session), HANDSHAKE_S)
            if welcome is not None:
                previous, self._current = self._current, session
                if previous is not None:
                    await previous.close()
                _log.info("link.open", after=welcome.after.seq, head=welcome.head)
                await _ungrouped(session.run(welcome))
        except EdgeError as error:
            _log.warning("link.stopped", reason=str(error))
        except (ProtocolError, TimeoutError) as error:
            _log.warning("link.broken", reason=str(error) or type(error).__name__)
        except (ConnectionError, aiohttp.ClientError) as error:
            _log.info("link.lost", reason=str(error) or type(error).__name__)
        finally:
            if self._current is session:
                self._current = None
                _log.info("link.closed")
            await session.close()
        return socket

    async def _enter(self, session: _Session) -> Welcome | None:
        hello = await session.receive()
        if not isinstance(hello, Hello):
            raise ProtocolError("the first message must be a hello")
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


class _Session:
    def __init__(self, socket: web.WebSocketResponse, end: LaneEnd) -> None:
        self._socket = socket
        self._end = end
        self._outbox: asyncio.Queue[FromLane] = asyncio.Queue(maxsize=1000)
        self._in_flight = 0
        self._may_send = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def is_open(self) -> bool:
        return not self._socket.closed

    def post(self, message: FromLane) -> None:
        with contextlib.suppress(asyncio.QueueFull):
            self._outbox.put_nowait(message)

    async def send(self, message: FromLane) -> None:
        await self._socket.send_bytes(encode(message))

    async def receive(self) -> FromHouse:
        message = await self._socket.receive()
        if message.type is not aiohttp.WSMsgType.BINARY:
            raise ConnectionResetError("the house hung up")
        return decode_from_house(message.data)

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        with contextlib.suppress(ConnectionError, TimeoutError):
            await asyncio.wait_for(self._socket.close(), 1.0)

    async def run(self, welcome: Welcome) -> None:
        async with asyncio.TaskGroup() as group:
            try:
                sender = group.create_task(self._send_journal(welcome.after.seq))
                speaker = group.create_task(self._speak())
                await self._listen()
            finally:
                sender.cancel()
                speaker.cancel()
                for task in self._tasks:
                    task.cancel()

    async def _listen(self) -> None:
        while True:
            try:
                message = await asyncio.wait_for(self.receive(), DEAD_S)
            except (ConnectionError, TimeoutError):
                return
            if isinstance(message, Ack):
                await self._acknowledge(message)
                self._in_flight = max(0, self._in_flight - 1)
                self._may_send.set()
            elif isinstance(message, HouseBeat):
                await self._end.heard(message)
                self.post(self._end.beat())
            else:
                task = asyncio.create_task(self._answer(message))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def _acknowledge(self, message: Ack) -> None:
        try:
            await self._end.journal.acknowledge(message.position)
        except EdgeError as error:  # a full disk keeps what was acknowledged a little longer
            _log.warning("journal.not_acknowledged", error=str(error))

    async def _answer(self, message: FromHouse) -> None:
        answer = await self._end.answer(message)
        if answer is not None:
            with contextlib.suppress(ConnectionError):
                await self.send(answer)

    async def _speak(self) -> None:
        while True:
            message = await self._outbox.get()
            with contextlib.suppress(ConnectionError):
                await self.send(message)

    async def _send_journal(self, sent: int) -> None:
        journal = self._end.journal
        name = journal.head.journal
        while journal.head.journal == name:
            self._end.grew.clear()
            entries = await journal.read(sent, BATCH_BYTES, BATCH_ENTRIES)
            if not entries:
                await self._end.grew.wait()
                continue
            with contextlib.suppress(ConnectionError):
                await self.send(Batch(name, sent + 1, tuple(entries), journal.head.seq))
            sent += len(entries)
            self._in_flight += 1
            while self._in_flight >= WINDOW_BATCHES:
                self._may_send.clear()
                await self._may_send.wait()
