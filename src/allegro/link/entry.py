"""Bounds what a peer may send before it is let in: bytes, frames and time.

Until its log-in holds, anybody may be at the other end. What was sent is counted where it arrives,
before a message is put together or queued.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from allegro.core.base.errors import ProtocolError
from allegro.link.tap import Tap
from allegro.link.timing import HANDSHAKE_S

ENTRY_BYTES = 4 * 1024 * 1024
"""A log-in with every certificate, freeze and thaw that a house keeps is shorter."""
ALL_BYTES = 12 * 1024 * 1024
"""What all connections may have sent that are not let in yet."""
FRAME_BYTES = 256
"""A frame costs so much more than its bytes: an empty one is kept in memory too."""
MAX_ENTERING = 64

T = TypeVar("T")


class FrameCount:
    """Counts the WebSocket frames (RFC 6455, 5.2) in a stream of bytes."""

    def __init__(self) -> None:
        self.count = 0
        self._head = bytearray()
        self._left = 0

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the stream."""
        at = 0
        while at < len(data):
            if self._left:
                step = min(self._left, len(data) - at)
                self._left, at = self._left - step, at + step
                continue
            self._head.append(data[at])
            at += 1
            if len(self._head) > 1 and len(self._head) == self._head_bytes():
                self._left = self._payload_bytes()
                self._head.clear()
                self.count += 1

    def _head_bytes(self) -> int:
        second = self._head[1]
        return 2 + {126: 2, 127: 8}.get(second & 127, 0) + (4 if second & 128 else 0)

    def _payload_bytes(self) -> int:
        length = self._head[1] & 127
        if length < 126:
            return length
        return int.from_bytes(self._head[2 : 4 if length == 126 else 10])


class Entering:
    """The connections of one listener that are not let in yet.

    One that sends more than ENTRY_BYTES is ended; where all together are too much, the one that
    sent most; where there are more than MAX_ENTERING, the one that waits longest. A house that
    logs in sends little, and soon.
    """

    def __init__(self) -> None:
        self._newcomers: list[Newcomer] = []

    @property
    def count(self) -> int:
        """How many are not let in yet."""
        return len(self._newcomers)

    @property
    def cost_bytes(self) -> int:
        """What all of them cost in memory."""
        return sum(newcomer.cost_bytes for newcomer in self._newcomers)

    def add(self, newcomer: Newcomer) -> None:
        self._newcomers.append(newcomer)
        if len(self._newcomers) > MAX_ENTERING:
            self._newcomers[0].end("too many connections have not logged in: the oldest is ended")

    def remove(self, newcomer: Newcomer) -> None:
        if newcomer in self._newcomers:
            self._newcomers.remove(newcomer)

    def arrived(self, newcomer: Newcomer) -> None:
        """Judge after more of one connection arrived."""
        if newcomer.cost_bytes > ENTRY_BYTES:
            newcomer.end(f"more than {ENTRY_BYTES // 1024} KiB came before the log-in")
        elif self.cost_bytes > ALL_BYTES:
            largest = max(self._newcomers, key=lambda one: one.cost_bytes)
            largest.end("connections that have not logged in send too much: the largest is ended")


class Newcomer:
    """One connection before its log-in. `tap` is its tap."""

    def __init__(self, tap: Tap, among: Entering) -> None:
        self._tap = tap
        self._among = among
        self._frames = FrameCount()
        self._bytes = 0
        self._limit: asyncio.Timeout | None = None
        self._why = ""

    @property
    def cost_bytes(self) -> int:
        return self._bytes + FRAME_BYTES * self._frames.count

    async def within(self, work: Awaitable[T]) -> T:
        """Do the handshake. Raises ProtocolError when it takes too long, or too much comes."""
        self._tap.show_to(self._arrived)
        self._among.add(self)
        try:
            async with asyncio.timeout(HANDSHAKE_S) as self._limit:
                return await work
        except TimeoutError as error:
            why = self._why or f"no log-in within {HANDSHAKE_S:g} s"
            raise ProtocolError(why) from error
        finally:
            self._among.remove(self)
            self._tap.show_to(None)

    def end(self, why: str) -> None:
        """Take nothing more, and end the handshake with a reason."""
        self._among.remove(self)
        if not self._why and self._limit is not None and not self._limit.expired():
            self._why = why
            self._tap.shut()
            self._limit.reschedule(asyncio.get_running_loop().time())

    def _arrived(self, data: bytes) -> None:
        self._bytes += len(data)
        self._frames.feed(data)
        self._among.arrived(self)
