"""The network between house and lane: a TCP proxy that can cut, hold and read along."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable

SPAN = 65_536
PACKET = 1_400
LATE_S = 0.1
QUEUE_BYTES = 16_384
"""What a slow line's router holds each way; the kernel doubles it."""


class Line:
    """One direction of a path: `bytes_s` a second (None is no limit), each after `delay_s`.

    `stall_until_s` (loop time) holds everything back, as a lost packet does until it is sent again.
    """

    def __init__(self, bytes_s: float | None = None, delay_s: float = 0.0) -> None:
        self.bytes_s = bytes_s
        self.delay_s = delay_s
        self.stall_until_s = 0.0
        self.carried = 0
        self._free_s = 0.0

    async def carry(self, count: int) -> float:
        """Wait until a packet of so many bytes is on the line; return when it arrives."""
        now_s = asyncio.get_running_loop().time()
        self.carried += count
        # a busy machine wakes this late: the line itself went on meanwhile
        self._free_s = max(self._free_s, now_s - LATE_S, self.stall_until_s)
        self._free_s += count / self.bytes_s if self.bytes_s else 0.0
        if self._free_s - now_s > 0.002:
            await asyncio.sleep(self._free_s - now_s)
        return self._free_s + self.delay_s


class Pathway:
    """Forwards from its own port to the lane's.

    `cut` resets every connection and refuses new ones; `hold` lets bytes pile up unseen, as a
    dead path does; `mend` undoes both. Only where it is told that the link is `plain` it reads
    along: `watch` is told the tag of each message the house sends before it is forwarded, and
    what it returns false for ends the connection; messages with a tag in `swallowed` are lost on
    the way, and nothing else is. `up` is the line from the house to the lane, `down` the one back.
    """

    def __init__(
        self, to_port: int, *, plain: bool = False, up: Line | None = None, down: Line | None = None
    ) -> None:
        self._to_port = to_port
        self._plain = plain
        self._up = up
        self._down = down
        self._span = SPAN if up is None else 4 * PACKET
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._open = asyncio.Event()
        self._open.set()
        self.refusing = False
        self.port = 0
        self.connections = 0
        self.watch: Callable[[str], bool] = lambda tag: True
        self.swallowed: frozenset[str] = frozenset()

    def lead_to(self, port: int) -> None:
        """Say where it ends, where that is known only later."""
        self._to_port = port

    async def start(self) -> None:
        plug = socket.socket()
        self._shorten(plug)
        plug.bind(("127.0.0.1", 0))
        self._server = await asyncio.start_server(self._serve, sock=plug, limit=self._span)
        self.port = self._server.sockets[0].getsockname()[1]

    def cut(self) -> None:
        self.refusing = True
        for writer in list(self._writers):
            _reset(writer)

    def hold(self) -> None:
        self._open.clear()

    def mend(self) -> None:
        self.refusing = False
        self._open.set()

    async def stop(self) -> None:
        self.cut()
        if self._server is not None:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if self.refusing:
            _reset(writer)
            return
        self.connections += 1
        plug = socket.socket()
        plug.setblocking(False)
        self._shorten(plug)
        try:
            await asyncio.get_running_loop().sock_connect(plug, ("127.0.0.1", self._to_port))
            there, back = await asyncio.open_connection(sock=plug, limit=self._span)
        except OSError:
            plug.close()
            _reset(writer)
            return
        self._writers |= {writer, back}
        frames = Frames() if self._plain else None
        try:
            async with asyncio.TaskGroup() as group:
                if self._up is None or self._down is None:
                    group.create_task(self._pump(reader, back, frames))
                    group.create_task(self._pump(there, writer, None))
                else:
                    group.create_task(self._crawl(reader, back, self._up))
                    group.create_task(self._crawl(there, writer, self._down))
        except* (ConnectionError, OSError):
            pass
        finally:
            for one in (writer, back):
                self._writers.discard(one)
                _reset(one)

    async def _pump(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, frames: Frames | None
    ) -> None:
        while True:
            data = await source.read(SPAN)
            await self._open.wait()
            if not data:
                raise ConnectionResetError("one side hung up")
            for tag, raw in frames.parts(data) if frames is not None else [("", data)]:
                if tag and not self.watch(tag):
                    raise ConnectionResetError("the watcher stopped it")
                if tag not in self.swallowed:
                    sink.write(raw)
            await sink.drain()

    async def _crawl(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, line: Line
    ) -> None:
        arriving: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        async with asyncio.TaskGroup() as group:
            group.create_task(_deliver(arriving, sink))
            while data := await source.read(PACKET):
                await self._open.wait()
                arriving.put_nowait((await line.carry(len(data)), data))
            raise ConnectionResetError("one side hung up")

    def _shorten(self, plug: socket.socket) -> None:
        """Let a slow line hold little: what does not fit waits at the sender."""
        if self._up is not None:
            plug.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, QUEUE_BYTES)


async def _deliver(
    arriving: asyncio.Queue[tuple[float, bytes]], sink: asyncio.StreamWriter
) -> None:
    loop = asyncio.get_running_loop()
    while True:
        due_s, data = await arriving.get()
        if due_s > loop.time():
            await asyncio.sleep(due_s - loop.time())
        sink.write(data)
        await sink.drain()


class Frames:
    """Parts a stream of masked WebSocket frames (RFC 6455), each with its message's tag."""

    def __init__(self) -> None:
        self._held = b""
        self._upgraded = False

    def parts(self, data: bytes) -> list[tuple[str, bytes]]:
        """Return what is whole now; the request before the frames has no tag."""
        self._held += data
        found = []
        if not self._upgraded:
            head, end, rest = self._held.partition(b"\r\n\r\n")
            if not end:
                return []
            self._upgraded, self._held = True, rest
            found.append(("", head + end))
        while (frame := self._frame()) is not None:
            found.append(frame)
        return found

    def _frame(self) -> tuple[str, bytes] | None:
        held = self._held
        if len(held) < 2:
            return None
        size, at = held[1] & 0x7F, 2
        if size in {126, 127}:
            width = 2 if size == 126 else 8
            if len(held) < at + width:
                return None
            size, at = int.from_bytes(held[at : at + width], "big"), at + width
        if len(held) < at + 4 + size:
            return None
        key, body = held[at : at + 4], held[at + 4 : at + 4 + min(size, 32)]
        self._held = held[at + 4 + size :]
        tag = _tag(bytes(byte ^ key[n % 4] for n, byte in enumerate(body)))
        return tag, held[: at + 4 + size]


def _tag(message: bytes) -> str:
    """Return the tag of a message: a map whose first key is `t` with a short text."""
    if message[1:3] != b"\xa1t" or len(message) < 4:
        return ""
    return message[4 : 4 + (message[3] & 0x1F)].decode("ascii", "replace")


def _reset(writer: asyncio.StreamWriter) -> None:
    found = writer.get_extra_info("socket")
    if found is not None:
        with contextlib.suppress(OSError):
            found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    with contextlib.suppress(RuntimeError):
        writer.transport.abort()
