"""Sits between a transport and its protocol: hears every byte, and knows when writes have left.

A WebSocket tells of whole messages only; a long one on a slow line looks like silence. The
transport's protocol is called for each chunk, so that is where life is judged.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Callable, Iterator

from allegro.link.timing import UNSENT_BYTES

_IPPROTO_TCP = 6
_NOTSENT_LOWAT = {"linux": 25, "darwin": 0x201}.get(sys.platform)
_REARM_S = 0.25


class Tap(asyncio.Protocol):
    """Made by `on`. `is_dead` says that the connection was ended for silence.

    A watcher is called with all that arrives, before it is passed on.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        inner = transport.get_protocol()
        assert isinstance(inner, asyncio.Protocol)
        self._inner = inner
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._drained = asyncio.Event()
        self._drained.set()
        self._dead_s = 0.0
        self._armed_s = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self.is_shut = False
        self.is_dead = False
        self._watcher: Callable[[bytes], None] | None = None

    @classmethod
    def on(cls, transport: asyncio.BaseTransport | None) -> Tap:
        """Put a tap on an open transport, and let little pile up behind it."""
        if not isinstance(transport, asyncio.Transport):
            raise ConnectionResetError("the connection is closed")
        tap = cls(transport)
        transport.set_protocol(tap)
        transport.set_write_buffer_limits(high=UNSENT_BYTES)
        plug = transport.get_extra_info("socket")
        if plug is not None and _NOTSENT_LOWAT is not None:
            with contextlib.suppress(OSError):  # a Unix socket has no such thing
                plug.setsockopt(_IPPROTO_TCP, _NOTSENT_LOWAT, UNSENT_BYTES)
        return tap

    def show_to(self, watcher: Callable[[bytes], None] | None) -> None:
        """Call `watcher` with all that arrives from now on, nobody if it is None."""
        self._watcher = watcher

    def watch(self, dead_s: float) -> None:
        """From now on end the connection when no byte arrives for `dead_s` seconds."""
        self._dead_s = dead_s
        self._arm()

    def unwatch(self) -> None:
        """Judge no more."""
        self._dead_s = 0.0
        if self._timer is not None:
            self._timer.cancel()

    @contextlib.contextmanager
    def unjudged(self) -> Iterator[None]:
        """Do not judge meanwhile: it is we who do not read."""
        dead_s = self._dead_s
        self.unwatch()
        try:
            yield
        finally:
            self.watch(dead_s)

    def shut(self) -> None:
        """Take nothing in any more: what still arrives is dropped, and the sender is slowed down."""
        self.is_shut = True
        self._transport.pause_reading()

    def abort(self) -> None:
        """End the connection at once, whatever still waits to be sent."""
        self._transport.abort()

    async def drained(self) -> None:
        """Wait until little is left that the kernel would not take."""
        await self._drained.wait()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._armed_s = self._loop.time()
        self._timer = self._loop.call_later(self._dead_s, self._die)

    def _die(self) -> None:
        self.is_dead = True
        self._transport.abort()

    # --- asyncio.Protocol
    def data_received(self, data: bytes) -> None:
        if self._dead_s and self._loop.time() - self._armed_s > _REARM_S:
            self._arm()
        if self._watcher is not None:
            self._watcher(data)
        if not self.is_shut:
            self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        return self._inner.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self.unwatch()
        self._drained.set()
        self._inner.connection_lost(exc)

    def pause_writing(self) -> None:
        self._drained.clear()
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._drained.set()
        self._inner.resume_writing()
