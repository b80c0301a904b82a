"""One connection of a house at a lane: what comes is answered, and the journal is sent.

A thin shell: what to answer is the LaneEnd's; what may leave when is `traffic`'s.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import get_args

import aiohttp
import msgspec
import structlog
from aiohttp import WSCloseCode, web

from allegro.core.base.errors import EdgeError, ProtocolError
from allegro.core.base.sequence import Entry, Kept, Position
from allegro.core.protocol.messages import (
    BATCH_BYTES,
    BATCH_ENTRIES,
    MAX_LANE_FRAME,
    WHOLE_BYTES,
    Ack,
    Batch,
    Bulk,
    FromHouse,
    FromLane,
    HouseBeat,
    Query,
    Reply,
    Welcome,
)
from allegro.link.blobs import Blobs
from allegro.link.ends import LaneEnd
from allegro.link.frames import decode_from_house, encode
from allegro.link.tap import Tap
from allegro.link.timing import DEAD_S, WINDOW_BATCHES
from allegro.link.traffic import Arrived, Traffic
from allegro.runtime.consumer import as_edge_error
from allegro.runtime.tasks import Soon

_log = structlog.get_logger()
MAX_QUESTIONS = 256
RETRY_S = 1.0
CLOSE_S = 1.0
SHUT_S = 0.1
"""One that sent too much keeps its memory no longer than it takes to say why it is ended."""
MAX_CLOSE_WORDS = 120
_BULK = get_args(Bulk)


class Connection:
    """A house that is connected, from its first frame. `protocol` is what its hello asked for."""

    def __init__(self, socket: web.WebSocketResponse, end: LaneEnd, blobs: Blobs, tap: Tap) -> None:
        self._socket = socket
        self._end = end
        self._blobs = blobs
        self.tap = tap
        self.protocol = 0
        self._traffic: Traffic
        self._outbox: asyncio.Queue[FromLane] = asyncio.Queue(maxsize=1000)
        self._in_flight = 0
        self._may_send = asyncio.Event()
        self._acked: Position | None = None
        self._has_ack = asyncio.Event()
        self._answers = Soon("link")

    @property
    def is_open(self) -> bool:
        return not self._socket.closed

    async def send(self, message: FromLane) -> None:
        await self._socket.send_bytes(encode(message))

    async def receive(self) -> FromHouse:
        return decode_from_house(await self._frame())

    async def _frame(self) -> bytes:
        message = await self._socket.receive()
        if message.type is aiohttp.WSMsgType.ERROR:
            raise ConnectionResetError(f"the house sent what is no message: {message.data}")
        if message.type is not aiohttp.WSMsgType.BINARY:
            silent = f"nothing came from the house for {DEAD_S:g} s" if self.tap.is_dead else ""
            raise ConnectionResetError(silent or "the house hung up")
        data: bytes = message.data
        return data

    async def close(self, why: str = "") -> None:
        """End the connection; `why` is said to the other side where it broke the protocol."""
        self.tap.unwatch()
        self._answers.cancel()
        with contextlib.suppress(ConnectionError, TimeoutError):
            code = WSCloseCode.POLICY_VIOLATION if why else WSCloseCode.OK
            closing = self._socket.close(code=code, message=why.encode()[:MAX_CLOSE_WORDS])
            await asyncio.wait_for(closing, SHUT_S if self.tap.is_shut else CLOSE_S)
        if self.tap.is_shut:
            self.tap.abort()

    async def run(self, welcome: Welcome) -> None:
        self._traffic = Traffic(
            self._socket.send_bytes, self.tap, self._blobs, receipts=self.protocol > 1
        )
        self.tap.watch(DEAD_S)
        async with asyncio.TaskGroup() as group:
            work = (self._send_journal(welcome.after.seq), self._speak(), self._acknowledge())
            tasks = [group.create_task(one) for one in work]
            try:
                await self._listen()
            finally:
                self._traffic.close()
                self._answers.cancel()
                for task in tasks:
                    task.cancel()

    async def _listen(self) -> None:
        """Take in what comes. Waits for nothing else, so that silence is the other side's."""
        while True:
            try:
                frame = await self._frame()
            except ConnectionError as error:
                _log.info("link.ended", reason=str(error))
                return
            message = decode_from_house(frame)
            if isinstance(message, _BULK):
                arrived = await self._traffic.hear(message, len(frame))
                if arrived is None:
                    continue
                message = _whole(arrived)
            if isinstance(message, Ack):
                self._acked = message.position
                self._has_ack.set()
                self._in_flight = max(0, self._in_flight - 1)
                self._may_send.set()
            elif isinstance(message, HouseBeat):
                await self._end.heard(message)
                self._post(self._end.beat())
            else:
                self._begin(message)

    def _begin(self, message: FromHouse) -> None:
        """Answer beside what else comes."""
        if isinstance(message, Query) and self._answers.count >= MAX_QUESTIONS:
            self._post(Reply(message.id, None, "too many questions at once", transient=True))
            return
        self._answers.begin(type(message).__name__, self._answer(message))

    def _post(self, message: FromLane) -> None:
        with contextlib.suppress(asyncio.QueueFull):
            self._outbox.put_nowait(message)

    async def _acknowledge(self) -> None:
        while True:
            await self._has_ack.wait()
            self._has_ack.clear()
            assert self._acked is not None
            try:
                await self._end.journal.acknowledge(self._acked)
            except EdgeError as error:  # a full disk keeps what was acknowledged a little longer
                _log.warning("journal.not_acknowledged", error=str(error))

    async def _answer(self, message: FromHouse) -> None:
        """Answer one message. A question that meets a bug is answered so; an order stays in doubt."""
        name = type(message).__name__
        try:
            answer = await as_edge_error("link", name, self._end.answer(message))
        except EdgeError as error:
            _log.warning("link.unanswered", message=name, error=str(error))
            if not isinstance(message, Query):
                return
            answer = Reply(message.id, None, f"a fault in the lane: {error}", error.transient)
        if answer is not None:
            with contextlib.suppress(ConnectionError):
                await self._send_answer(answer)

    async def _send_answer(self, answer: FromLane) -> None:
        """Send an answer, a long one in pieces. One that cannot be sent is an error of its own."""
        try:
            frame = encode(answer)
            if not isinstance(answer, Reply) or len(frame) <= WHOLE_BYTES:
                await self._socket.send_bytes(frame)
            elif len(frame) > MAX_LANE_FRAME:
                raise EdgeError(
                    "the answer is too large for the link; ask for less", transient=False
                )
            elif self._traffic.has_receipts:
                raw = encode(msgspec.structs.replace(answer, id=0))
                await self._traffic.send_whole(answer.id, raw)
            else:
                await self._socket.send_bytes(frame)
        except EdgeError as error:
            _log.warning("link.unanswerable", message=type(answer).__name__, error=str(error))
            if isinstance(answer, Reply):
                await self.send(Reply(answer.id, None, f"unanswerable: {error}", error.transient))

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
            entries = await journal.read(sent, self._batch_bytes(), BATCH_ENTRIES)
            if not entries:
                await self._end.grew.wait()
                continue
            entries = self._split(entries)
            with contextlib.suppress(ConnectionError):
                await self._send_batch(Batch(name, sent + 1, tuple(entries), journal.head.seq))
            sent += len(entries)
            self._in_flight += 1
            while self._in_flight >= WINDOW_BATCHES:
                self._may_send.clear()
                await self._may_send.wait()

    def _batch_bytes(self) -> int:
        return self._traffic.window.batch_bytes if self._traffic.has_receipts else BATCH_BYTES

    def _split(self, entries: list[Entry]) -> list[Entry]:
        """Return the entries up to the first long one, or that one alone."""
        if not self._traffic.has_receipts:
            return entries
        limit = max(WHOLE_BYTES, self._batch_bytes())
        for at, entry in enumerate(entries):
            if isinstance(entry, Kept) and len(entry.body) > limit:
                return entries[: max(1, at)]
        return entries

    async def _send_batch(self, batch: Batch) -> None:
        """Send a batch; one that the line does not carry soon in pieces that resume."""
        frame = encode(batch)
        if not self._traffic.has_receipts or len(frame) <= 2 * max(
            WHOLE_BYTES, self._batch_bytes()
        ):
            await self._traffic.send_bulk(frame)
            return
        raw = encode(msgspec.structs.replace(batch, head=batch.first_seq))  # the same each time
        while True:
            try:
                await self._traffic.send_whole(0, raw)
            except EdgeError as error:
                if not self.is_open:
                    raise
                _log.warning("link.batch_declined", error=str(error))
                await asyncio.sleep(RETRY_S)
            else:
                return


def _whole(arrived: Arrived) -> Query:
    """Read a message that came in pieces."""
    message = decode_from_house(arrived.raw)
    if not isinstance(message, Query):
        raise ProtocolError("only queries of a house travel in pieces")
    return msgspec.structs.replace(message, id=arrived.id)
