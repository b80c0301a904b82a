"""A Hermes whose every answer is bytes that a test chose: no server of HTTP stands between."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any

RUN = "run_1"
GOOD: dict[str, Any] = {
    "GET /health": {"status": "ok", "platform": "hermes-agent", "version": "0.22.2"},
    "GET /v1/capabilities": {"features": {"runs_idempotency": {"supported": True}}},
    "GET /v1/toolsets": {"data": [{"name": "terminal", "enabled": True}]},
    "GET /v1/models": {"data": [{"id": "m1"}]},
    "POST /v1/runs": {"run_id": RUN, "status": "started"},
    "GET /v1/runs/": {"status": "completed", "output": "ok", "usage": {"total_tokens": 1}},
    "POST /v1/runs/approval": {"choice": "once", "resolved": 1},
    "POST /v1/runs/stop": {"status": "stopping"},
    "GET /api/sessions/": {
        "session": {
            "api_call_count": 2,
            "tool_call_count": 1,
            "input_tokens": 10,
            "output_tokens": 5,
        },
    },
    "PATCH /api/sessions/": {"object": "hermes.session"},
    "DELETE /api/sessions/": {"deleted": True},
}


def good(name: str) -> bytes:
    return json.dumps(GOOD[name]).encode()


class RawHermes:
    """`answers` are bodies by name of the call, `stream` what the next reader of events gets.

    A stream is given once: who comes back for the same run is told that there is none.
    """

    def __init__(self) -> None:
        self.answers: dict[str, bytes] = {}
        self.statuses: dict[str, int] = {}
        self.stream = b""
        self.headers: list[dict[str, str]] = []
        self.asked: list[str] = []
        self.bodies: list[bytes] = []
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.url = ""

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(OSError, EOFError):
                while await self._answer(reader, writer):
                    pass
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        first = (await reader.readline()).decode().split()
        if not first:
            return False
        headers: dict[str, str] = {}
        while line := (await reader.readline()).strip():
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.lower()] = value.strip()
        self.bodies.append(await reader.readexactly(int(headers.get("content-length", "0"))))
        name = name_of(first[0], first[1])
        self.asked.append(name)
        self.headers.append(headers)
        if name == "GET /v1/runs/events":
            status, body, self.stream = (
                (200, self.stream, b"") if self.stream else (404, b"{}", b"")
            )
            writer.write(_head(status, "text/event-stream", None) + body)
            await writer.drain()
            return False
        body = self.answers.get(name, good(name))
        writer.write(_head(self.statuses.get(name, 200), "application/json", len(body)) + body)
        await writer.drain()
        return True


def name_of(method: str, path: str) -> str:
    """Name a call without the ids in it."""
    parts = path.strip("/").split("/")
    if parts[:2] == ["v1", "runs"] and len(parts) > 2:
        return f"{method} /v1/runs/{parts[3] if len(parts) > 3 else ''}"
    return f"{method} /api/sessions/" if parts[:2] == ["api", "sessions"] else f"{method} {path}"


def frame(raw: bytes, number: int | None = None) -> bytes:
    """Return a frame of the stream; with a number on the newer wire."""
    name = b"" if number is None else b"id: %d\n" % number
    return name + b"data: " + raw + b"\n\n"


def _head(status: int, kind: str, size: int | None) -> bytes:
    length = "" if size is None else f"Content-Length: {size}\r\n"
    close = "Connection: close\r\n" if size is None else ""
    return f"HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\n{length}{close}\r\n".encode()
