"""What one side of an open connection sends and takes in, urgent and in bulk.

Urgent messages are short and leave at once. Bulk (batches, pieces) leaves frame by frame, each
sender in its turn, while the window has room; so what is urgent waits behind one window at most.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from allegro.core.base.errors import EdgeError, Refusal
from allegro.core.protocol.messages import (
    Bulk,
    Declined,
    FromHouse,
    FromLane,
    Got,
    Offer,
    Piece,
    Want,
)
from allegro.link.blobs import LIFE_S, Blobs
from allegro.link.frames import encode
from allegro.link.tap import Tap
from allegro.link.timing import STALL_S
from allegro.link.window import REPORT_BYTES, Window

LOST = "the link was lost"
LINK_LOST = "link_lost"
"""The kind of an EdgeError after which the same may be tried once the link is up again."""


def lost(why: str = LOST) -> EdgeError:
    """Return the error of what was under way when the connection ended."""
    return EdgeError(why, transient=True, kind=LINK_LOST)


class Arrived(NamedTuple):
    """A message that came in pieces, with the id that was offered for it."""

    id: int
    raw: bytes


class Traffic:
    """One connection after its handshake. `moved` is called with the id of what comes in pieces.

    With `receipts` the other side tells what it got (protocol 2); without, nothing is held back.
    """

    def __init__(
        self,
        write: Callable[[bytes], Awaitable[None]],
        tap: Tap,
        blobs: Blobs,
        *,
        receipts: bool,
        moved: Callable[[int], None] = lambda id_: None,
    ) -> None:
        self._write = write
        self._tap = tap
        self._blobs = blobs
        self.has_receipts = receipts
        self._moved = moved
        self._loop = asyncio.get_running_loop()
        self.window = Window()
        self._turn = asyncio.Lock()
        self._room = asyncio.Event()
        self._closed = False
        self._outgoing: dict[str, _Outgoing] = {}
        self._incoming: dict[str, Offer] = {}
        self._got = 0
        self._reported = 0
        self._expiry: asyncio.TimerHandle | None = None

    # --- sending
    async def say(self, message: FromHouse | FromLane) -> None:
        """Send a short message at once. Raises EdgeError for one that no frame can hold."""
        await self._write(encode(message))

    async def send_bulk(self, frame: bytes) -> None:
        """Send a frame of bulk in its turn. Raises EdgeError when nothing arrives any more."""
        async with self._turn:
            if self.has_receipts:
                await self._wait_for_room(len(frame))
                self.window.sent(len(frame), self._loop.time())
            await self._tap.drained()
            await self._write(frame)

    async def send_whole(self, id_: int, raw: bytes, *, keep: bool = False) -> None:
        """Send bytes in pieces, from where the other side stands, until it has all of them.

        Raises EdgeError, always transient: the next try goes on where this one stopped.
        """
        digest = hashlib.sha256(raw).hexdigest()
        while (same := self._outgoing.get(digest)) is not None:
            await same.ended.wait()
        outgoing = self._outgoing[digest] = _Outgoing(len(raw))
        try:
            self._check_open()
            await self.say(Offer(id_, digest, len(raw), keep))
            await outgoing.until(lambda: outgoing.wanted >= 0)
            offset = outgoing.wanted
            while offset < len(raw) and not outgoing.declined:
                data = raw[offset : offset + self.window.piece_bytes]
                await self.send_bulk(encode(Piece(digest, offset, data)))
                offset += len(data)
            await outgoing.until(lambda: outgoing.wanted == len(raw))
        finally:
            del self._outgoing[digest]
            outgoing.ended.set()

    async def _wait_for_room(self, count: int) -> None:
        while not self.window.has_room(count):
            self._check_open()
            self._room.clear()
            try:
                await asyncio.wait_for(self._room.wait(), STALL_S)
            except TimeoutError as error:
                raise EdgeError("the other side takes nothing in", transient=True) from error
        self._check_open()

    def _check_open(self) -> None:
        if self._closed:
            raise lost()

    def close(self) -> None:
        """End every sending."""
        self._closed = True
        self._room.set()
        for outgoing in self._outgoing.values():
            outgoing.lose()

    # --- taking in
    async def got_bulk(self, count: int) -> None:
        """Note that a batch of so many bytes arrived, and tell the other side now and then."""
        self._got += count
        if self.has_receipts and self._got - self._reported >= REPORT_BYTES:
            self._reported = self._got
            await self.say(Got(self._got))

    async def hear(self, message: Bulk, frame_bytes: int) -> Arrived | None:
        """Take in what is about bulk. Returns a message once the last of its pieces came."""
        match message:
            case Got():
                self.window.received(message.received, self._loop.time())
                self._room.set()
            case Want():
                if (outgoing := self._outgoing.get(message.digest)) is not None:
                    outgoing.want(message.offset)
            case Declined():
                if (outgoing := self._outgoing.get(message.digest)) is not None:
                    outgoing.decline(message.reason)
            case Offer():
                return await self._offered(message)
            case Piece():
                await self.got_bulk(frame_bytes)
                return await self._take_piece(message)
        return None

    async def _offered(self, offer: Offer) -> Arrived | None:
        here = self._blobs.offer(offer.digest, offer.size, self._loop.time())
        if isinstance(here, Refusal):
            await self.say(Declined(offer.digest, str(here)))
            return None
        self._incoming[offer.digest] = offer
        self._expiry = self._expiry or self._loop.call_later(LIFE_S, self._expire)
        self._moved(offer.id)
        if here == offer.size:
            return await self._ended(offer)
        await self.say(Want(offer.digest, here))
        return None

    async def _take_piece(self, piece: Piece) -> Arrived | None:
        offer = self._incoming.get(piece.digest)
        held: int | Refusal = Refusal("not_offered", "nothing of this digest was offered here")
        if offer is not None:
            held = self._blobs.add(piece.digest, piece.offset, piece.data, self._loop.time())
        if isinstance(held, Refusal):
            self._incoming.pop(piece.digest, None)
            await self.say(Declined(piece.digest, str(held)))
            return None
        assert offer is not None
        self._moved(offer.id)
        return await self._ended(offer) if held == offer.size else None

    async def _ended(self, offer: Offer) -> Arrived | None:
        del self._incoming[offer.digest]
        await self.say(Want(offer.digest, offer.size))
        if offer.keep:
            return None
        raw = self._blobs.take(offer.digest)
        return None if raw is None else Arrived(offer.id, raw)

    def _expire(self) -> None:
        """Forget old blobs also where nobody sends any more."""
        self._blobs.expire(self._loop.time())
        later = self._loop.call_later(LIFE_S / 10, self._expire) if self._blobs.count else None
        self._expiry = later


class _Outgoing:
    """Bytes under way. `wanted` is what the other side asked for last, -1 before it did."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._moved = asyncio.Event()
        self.wanted = -1
        self.declined = ""
        self._is_lost = False
        self.ended = asyncio.Event()

    def want(self, offset: int) -> None:
        if offset > self._size:
            self.decline("more was asked for than there is")
        self.wanted = max(self.wanted, offset)
        self._moved.set()

    def decline(self, reason: str) -> None:
        self.declined = reason or "declined"
        self._moved.set()

    def lose(self) -> None:
        self._is_lost = True
        self._moved.set()

    async def until(self, ready: Callable[[], bool]) -> None:
        while True:
            if self._is_lost:
                raise lost()
            if self.declined:
                raise EdgeError(self.declined, transient=True)
            if ready():
                return
            self._moved.clear()
            try:
                await asyncio.wait_for(self._moved.wait(), STALL_S)
            except TimeoutError as error:
                raise EdgeError("the other side takes nothing in", transient=True) from error
