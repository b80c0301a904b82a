"""Model providers that answer as they are told, and the real proxy served in front of them."""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
from aiohttp import web

from allegro.core.base.errors import EdgeError
from allegro.core.models.ladder import Spend
from allegro.core.protocol.payloads.sessions import Talk
from allegro.core.settings import ModelSettings, Rung
from allegro.lane.models.grants import Grant
from allegro.lane.models.proxy import ModelProxy
from allegro.testing.virtual import VirtualClock

LIVES_S = 86_400.0
TOKEN, KEY = "one-session", "sk-the-key-of-a-provider"
STALLED = EdgeError("nothing came", transient=True, kind="stalled")
AWAY = EdgeError("nobody listens", transient=True, kind="unreachable", sent=False)
USAGE = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}
Piece = bytes | EdgeError | asyncio.Event
"""What a provider sends, how it fails, or what it waits for before the next piece."""


class Answer(msgspec.Struct):
    """One answer of a provider: the Upstream port."""

    status: int = 200
    pieces: list[Piece] = []
    headers: Mapping[str, str] = {}
    closed: bool = False

    async def read(self) -> bytes:
        while self.pieces:
            piece = self.pieces.pop(0)
            if isinstance(piece, asyncio.Event):
                await piece.wait()
            elif isinstance(piece, EdgeError):
                raise piece
            else:
                return piece
        return b""

    async def close(self) -> None:
        self.closed = True


class ScriptedProviders:
    """The Providers port: each provider gives its next answer; with none left it says ok."""

    def __init__(self) -> None:
        self.answers: defaultdict[str, deque[Answer | EdgeError]] = defaultdict(deque)
        self.probed: dict[str, int | EdgeError] = {}
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.probes: list[str] = []

    @property
    def called(self) -> list[str]:
        return [provider for provider, _ in self.calls]

    async def call(self, rung: Rung, body: bytes) -> Answer:
        asked = msgspec.json.decode(body, type=dict[str, Any])
        self.calls.append((rung.provider, asked))
        answers = self.answers[rung.provider]
        answer = answers.popleft() if answers else said(stream=bool(asked.get("stream")))
        if isinstance(answer, EdgeError):
            raise answer
        return answer

    async def probe(self, rung: Rung) -> tuple[int, str]:
        self.probes.append(rung.provider)
        answer = self.probed.get(rung.provider, 200)
        if isinstance(answer, EdgeError):
            raise answer
        return answer, ""


def chunk(text: str = "", *, finish: str | None = None, usage: Any = None) -> bytes:
    """Return one event of a stream."""
    choices = [{"index": 0, "delta": {"content": text}, "finish_reason": finish}]
    told = {"choices": [] if usage else choices, **({"usage": usage} if usage else {})}
    return b"data: " + msgspec.json.encode(told) + b"\n\n"


DONE = b"data: [DONE]\n\n"


def said(text: str = "ok", *, stream: bool = False, usage: Any = USAGE) -> Answer:
    """Return a whole answer."""
    if stream:
        last = [chunk(usage=usage)] if usage else []
        return Answer(pieces=[chunk(text), chunk(finish="stop"), *last, DONE])
    message = {"role": "assistant", "content": text}
    told = {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
    return Answer(pieces=[msgspec.json.encode(told | ({"usage": usage} if usage else {}))])


def refusal(status: int, message: str = "no", **headers: str) -> Answer:
    raw = msgspec.json.encode({"error": {"message": message}})
    return Answer(status, [raw], {name.replace("_", "-"): v for name, v in headers.items()})


def rung(provider: str, model: str = "m1", **changes: Any) -> Rung:
    values: dict[str, Any] = {
        "model": model, "provider": provider, "base_url": f"http://{provider}.invalid/v1",
        "key_file": f"{provider}.key", "input_usd": 1.0, "output_usd": 2.0,
    }  # fmt: skip
    return Rung(**{**values, **changes})


LADDER = (rung("first"), rung("second"), rung("home", "local", local=True, key_file=""))


class Served:
    """The real proxy on a Unix socket, as a lane serves it. `day` is what the day has used."""

    def __init__(self, **changes: Any) -> None:
        self.clock = VirtualClock()
        self.providers = ScriptedProviders()
        self.records: list[tuple[str, str, dict[str, Any]]] = []
        self.record_faults: set[str] = set()
        self.day = Spend()
        values: dict[str, Any] = {"rungs": LADDER, "last": "local", "max_tokens": 100}
        settings = ModelSettings(**{**values, **changes})
        self.proxy = ModelProxy(
            settings, self.providers, self.clock, self._record, lambda: self.day, self._spent
        )
        self.http: aiohttp.ClientSession

    async def _record(self, holder: str, payload: Talk) -> None:
        if payload.type_ in self.record_faults:
            raise EdgeError("the disk is full", transient=True)
        self.records.append((holder, payload.type_, payload.clear()))

    def _spent(self, tokens: int, usd: float | None) -> None:
        self.day = self.day.plus(tokens, usd)

    def grant(self, token: str = TOKEN, **changes: Any) -> Grant:
        until_s = self.clock.boot_s() + LIVES_S
        values: dict[str, Any] = {
            "holder": "s1", "model": "m1", "until_boot_s": until_s, "own_tokens": 10**12,
        }  # fmt: skip
        grant = Grant(**{**values, **changes})
        self.proxy.grant(token, grant)
        return grant

    async def ask(self, token: str = TOKEN, **body: Any) -> tuple[int, bytes]:
        """Ask for a completion; return status and body. Raises where the answer broke off."""
        async with self.open(token, **body) as response:
            return response.status, await response.read()

    @asynccontextmanager
    async def open(self, token: str = TOKEN, **body: Any) -> AsyncIterator[aiohttp.ClientResponse]:
        asked = {"model": "m1", "messages": [{"role": "user", "content": "hello"}], **body}
        headers = {"Authorization": f"Bearer {token}"}
        url = "http://lane/v1/chat/completions"
        async with self.http.post(url, json=asked, headers=headers) as response:
            yield response

    def results(self) -> list[tuple[str, str]]:
        """Return provider and result of each call that ended, in order."""
        return [(d["provider"], d["result"]) for _, t, d in self.records if t == "model.result"]

    def result(self) -> dict[str, Any]:
        """Return what was recorded of the newest call that ended."""
        return next(d for _, t, d in reversed(self.records) if t == "model.result")


@asynccontextmanager
async def served(folder: Path, **changes: Any) -> AsyncIterator[Served]:
    proxy = Served(**changes)
    app = proxy.proxy.routes()
    runner = web.AppRunner(
        app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True
    )  # fmt: skip
    await runner.setup()
    path = str(folder / "models")
    await web.UnixSite(runner, path).start()
    try:
        async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(path=path)) as http:
            proxy.http = http
            yield proxy
    finally:
        await runner.cleanup()
