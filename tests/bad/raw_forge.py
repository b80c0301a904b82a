"""A forge of raw bytes: what it answers is up to the test, headers and all."""

from __future__ import annotations

import asyncio
import json
import urllib.parse
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from allegro.adapters.gitea.http import GiteaHttp


class Asked(NamedTuple):
    """One request: path without `/api/v1`, query and token as sent."""

    method: str
    path: str
    query: dict[str, str]
    token: str

    @property
    def page(self) -> int:
        return int(self.query.get("page", "1"))

    @property
    def limit(self) -> int:
        return int(self.query.get("limit", "50"))


class Said(NamedTuple):
    """One answer. `headers` may hold anything that fits on a header line."""

    body: bytes
    status: int = 200
    headers: Mapping[str, str] = {}


def said(value: Any, status: int = 200, /, **headers: str) -> Said:
    return Said(json.dumps(value).encode(), status, headers)


class RawForge:
    """Serves `answer` on a loopback port; `asked` are all requests."""

    def __init__(self, answer: Callable[[Asked], Said]) -> None:
        self.answer = answer
        self.asked: list[Asked] = []
        self.url = ""
        self._clients: list[GiteaHttp] = []

    def client(self, token: str, boot_s: Callable[[], float] | None = None) -> GiteaHttp:
        """Return a client of this forge, closed with it."""
        made = GiteaHttp(self.url, lambda: token, timeout_s=5.0, boot_s=boot_s)
        self._clients.append(made)
        return made

    async def __aenter__(self) -> RawForge:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        for client in self._clients:
            await client.close()
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                lines = head.decode("latin-1").split("\r\n")
                method, target, _ = lines[0].split(" ", 2)
                given = {
                    name.lower(): value.strip()
                    for name, _, value in (line.partition(":") for line in lines[1:])
                }
                await reader.readexactly(int(given.get("content-length", "0")))
                path, _, query = target.partition("?")
                asked = Asked(
                    method,
                    urllib.parse.unquote(path.removeprefix("/api/v1")),
                    dict(urllib.parse.parse_qsl(query)),
                    given.get("authorization", "").removeprefix("token "),
                )
                self.asked.append(asked)
                writer.write(_raw(self.answer(asked)))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


def _raw(answer: Said) -> bytes:
    headers = {
        "Content-Type": "application/json",
        **{name.replace("_", "-"): value for name, value in answer.headers.items()},
        "Content-Length": str(len(answer.body)),
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    head = f"HTTP/1.1 {answer.status} Odd\r\n{lines}\r\n"
    return head.encode("utf-8", "surrogateescape") + answer.body
