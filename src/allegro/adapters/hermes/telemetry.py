"""Receives the plugin's datagrams and turns them into agent events.

The kernel tells which process sent each one. The first sender is Hermes itself: it says hello
while it starts, before any tool can run. Whatever another process sends is forged and dropped.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

from allegro.adapters.hermes.frames import read_object, stamp_of, tamed
from allegro.core.agent.sessions import AgentEvent, Gap, ToolBegan, ToolEnded, UsageClaimed
from allegro.core.base.untrusted import Unreadable, real_of, text_of
from allegro.core.models.usage import usage_of

MAX_DATAGRAM = 1 << 18
AT_ONCE = 128
_CREDENTIALS = struct.Struct("iII")
Datagram = dict[str, Any]
"""One hook of the agent's plugin, as JSON holds it."""
_SO_PASSCRED = getattr(socket, "SO_PASSCRED", None)
_SCM_CREDENTIALS = getattr(socket, "SCM_CREDENTIALS", 2)


class Telemetry:
    """One gateway's datagram socket. `forged` counts what was dropped, `unread` what said nothing.

    `tell` gets each event and when the agent told it, by the clock its stream is stamped with.
    """

    def __init__(self, path: Path, tell: Callable[[AgentEvent, float], None]) -> None:
        self._path = path
        self._tell = tell
        self._sender: int | None = None
        self._door: socket.socket | None = None
        self.hello = asyncio.Event()
        self.forged = 0
        self.unread = 0

    def open(self) -> None:
        """Bind the socket; the agent may connect from now on."""
        door = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        door.setblocking(False)
        door.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        if _SO_PASSCRED is not None:
            door.setsockopt(socket.SOL_SOCKET, _SO_PASSCRED, 1)
        door.bind(str(self._path))
        self._path.chmod(0o666)
        self._door = door
        asyncio.get_running_loop().add_reader(door.fileno(), self.read)

    def close(self) -> None:
        if self._door is not None:
            asyncio.get_running_loop().remove_reader(self._door.fileno())
            self._door.close()
            self._door = None
        self._path.unlink(missing_ok=True)

    def read(self) -> None:
        """Take what has come; a flood is taken in parts, so that it holds nobody up."""
        for _ in range(AT_ONCE):
            if self._door is None:
                return
            try:
                raw, ancillary, _, _ = self._door.recvmsg(MAX_DATAGRAM, 256)
            except (BlockingIOError, InterruptedError):
                return
            if not self._is_agent(ancillary):
                self.forged += 1
                continue
            fact = read_object(raw)
            if isinstance(fact, Unreadable):
                self._cannot_read(fact)
            else:
                self._take(fact)

    def _is_agent(self, ancillary: list[tuple[int, int, bytes]]) -> bool:
        """Whether the process that said hello sent this. Without credentials nobody is believed."""
        for level, kind, raw in ancillary:
            if level == socket.SOL_SOCKET and kind == _SCM_CREDENTIALS:
                pid, _, _ = _CREDENTIALS.unpack_from(raw)
                if self._sender is None:
                    self._sender = pid
                return bool(pid == self._sender and pid > 0)
        return _SO_PASSCRED is None

    def _cannot_read(self, fact: Unreadable) -> None:
        """Tell once that the agent's own datagram says nothing; a flood of them is one gap."""
        self.unread += 1
        if self.unread == 1:
            self._tell(Gap(f"a datagram of the agent cannot be read: {fact}"[:200]), 0.0)

    def _take(self, fact: Datagram) -> None:
        if fact.get("hook") == "hello":
            self.hello.set()
        event = event_of(fact)
        if event is not None:
            self._tell(event, stamp_of(fact.get("at_s")))


def event_of(fact: Datagram) -> AgentEvent | None:
    """Return what a datagram tells, None for what the stream tells better."""
    hook = fact.get("hook")
    read = READERS.get(hook) if isinstance(hook, str) else None
    return None if read is None else read(fact)


def _tool_began(fact: Datagram) -> AgentEvent:
    words = {"args": tamed(fact.get("args"))}
    return ToolBegan(_name(fact.get("tool_name")), _name(fact.get("tool_call_id")), words)


def _tool_ended(fact: Datagram) -> AgentEvent:
    words = {"result": tamed(fact.get("result")), "error": tamed(fact.get("error_message"))}
    ok = fact.get("status") == "ok" and not fact.get("exit_code")
    return ToolEnded(
        _name(fact.get("tool_name")),
        _name(fact.get("tool_call_id")),
        ok,
        real_of(fact.get("duration_ms")),
        words,
    )


def _usage(fact: Datagram) -> AgentEvent:
    counts = usage_of(fact.get("usage"))
    usage = (counts.input, counts.output) if counts else (None, None)
    return UsageClaimed(_name(fact.get("response_model") or fact.get("model")), *usage)


READERS = {
    "pre_tool_call": _tool_began,
    "post_tool_call": _tool_ended,
    "post_api_request": _usage,
}
"""Every hook whose datagram is read; `hello` names the sender, the rest the stream tells better."""


def _name(value: Any) -> str:
    return text_of(value, 200)
