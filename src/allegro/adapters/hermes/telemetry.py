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

import msgspec

from allegro.core.provider_usage import usage_of
from allegro.core.sessions import AgentEvent, ToolBegan, ToolEnded, UsageClaimed

MAX_DATAGRAM = 1 << 18
AT_ONCE = 128
_CREDENTIALS = struct.Struct("iII")
_SO_PASSCRED = getattr(socket, "SO_PASSCRED", None)
_SCM_CREDENTIALS = getattr(socket, "SCM_CREDENTIALS", 2)


class Telemetry:
    """One gateway's datagram socket. `forged` counts what was dropped.

    `tell` gets each event and when the agent told it, by the clock its stream is stamped with.
    """

    def __init__(self, path: Path, tell: Callable[[AgentEvent, float], None]) -> None:
        self._path = path
        self._tell = tell
        self._sender: int | None = None
        self._door: socket.socket | None = None
        self.hello = asyncio.Event()
        self.forged = 0

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
            try:
                fact = msgspec.json.decode(raw, type=dict[str, Any])
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                continue
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

    def _take(self, fact: dict[str, Any]) -> None:
        if fact.get("hook") == "hello":
            self.hello.set()
        event = event_of(fact)
        if event is not None:
            at_s = fact.get("at_s")
            self._tell(event, at_s if isinstance(at_s, int | float) else 0.0)


def event_of(fact: dict[str, Any]) -> AgentEvent | None:
    """Return what a datagram tells, None for what the stream tells better."""
    tool, call = _text(fact.get("tool_name")), _text(fact.get("tool_call_id"))
    match fact.get("hook"):
        case "pre_tool_call":
            return ToolBegan(tool, call, {"args": fact.get("args")})
        case "post_tool_call":
            ms = fact.get("duration_ms")
            words = {"result": fact.get("result"), "error": fact.get("error_message")}
            ok = fact.get("status") == "ok" and not fact.get("exit_code")
            return ToolEnded(
                tool, call, ok, float(ms) if isinstance(ms, int | float) else None, words
            )
        case "post_api_request":
            told = fact.get("usage")
            counts = usage_of(told)
            usage = (counts.input, counts.output) if counts else (None, None)
            return UsageClaimed(_text(fact.get("response_model") or fact.get("model")), *usage)
    return None


def _text(value: Any) -> str:
    return value[:200] if isinstance(value, str) else ""
