"""A model provider of raw bytes, and the real proxy and provider adapter in front of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
from aiohttp import web

from allegro.adapters.providers.openai import HttpProviders
from allegro.core.models.ladder import Spend
from allegro.core.protocol.payloads.sessions import Talk
from allegro.core.settings import ModelSettings, Rung
from allegro.lane.models.grants import Grant
from allegro.lane.models.proxy import ModelProxy
from allegro.testing.virtual import VirtualClock

LIMIT_S = 30.0
USAGE = {"prompt_tokens": 9, "completion_tokens": 5, "total_tokens": 14}
MESSAGE = {"role": "assistant", "content": "good words"}
WHOLE = {"id": "a", "object": "chat.completion", "created": 1, "model": "m", "usage": USAGE,
         "choices": [{"index": 0, "message": MESSAGE, "finish_reason": "stop"}]}  # fmt: skip
PIECE = {"id": "a", "object": "chat.completion.chunk", "created": 1, "model": "m", "usage": USAGE,
         "choices": [{"index": 0, "delta": MESSAGE, "finish_reason": None}]}  # fmt: skip
REQUEST: dict[str, Any] = {
    "model": "m", "messages": [{"role": "user", "content": "hello"}], "stream": False,
    "max_tokens": 50, "max_completion_tokens": 60, "temperature": 0.5, "top_p": 1, "stop": ["x"],
    "tools": [{"type": "function", "function": {"name": "terminal", "parameters": {}}}],
    "tool_choice": "auto", "parallel_tool_calls": True, "response_format": {"type": "text"},
    "seed": 1, "presence_penalty": 0, "frequency_penalty": 0, "reasoning_effort": "low",
    "reasoning": {"effort": "low"},
}  # fmt: skip


class Case(NamedTuple):
    """One answer of a provider, byte for byte. `stays`: the connection is left open after it."""

    name: str
    raw: bytes
    stream: bool = False
    stays: bool = False


def http(body: bytes, *, status: str = "200 OK", headers: bytes = b"", sized: bool = True) -> bytes:
    """Return an HTTP answer around a body."""
    size = b"Content-Length: %d\r\n" % len(body) if sized else b""
    head = b"HTTP/1.1 " + status.encode() + b"\r\nContent-Type: application/json\r\n"
    return head + size + headers + b"\r\n" + body


def event(payload: bytes) -> bytes:
    return b"data: " + payload + b"\n\n"


LAST = event(json.dumps({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}).encode())
DONE = b"data: [DONE]\n\n"


class RawProvider:
    """Answers each request with `case`, whatever is asked; without one as a good provider."""

    def __init__(self) -> None:
        self.case: Case | None = None
        self.asked = 0
        self.port = 0

    async def __aenter__(self) -> RawProvider:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = int(self._server.sockets[0].getsockname()[1])
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            size = next((int(line.split(b":")[1]) for line in head.lower().split(b"\r\n")
                         if line.startswith(b"content-length:")), 0)  # fmt: skip
            body = await reader.readexactly(size)
            self.asked += 1
            writer.write(self.case.raw if self.case else _good(b'"stream":true' in body))
            await writer.drain()
            if self.case is not None and self.case.stays:
                await reader.read()
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        finally:
            writer.close()


def _good(stream: bool) -> bytes:
    if not stream:
        return http(json.dumps(WHOLE).encode())
    return http(event(json.dumps(PIECE).encode()) + LAST + DONE, sized=False)


class Border:
    """The real proxy with two rungs: a provider of raw bytes, then a good one."""

    def __init__(self, bad: RawProvider, good: RawProvider, path: str) -> None:
        rungs = tuple(
            Rung(model="m", provider=name, base_url=f"http://127.0.0.1:{one.port}/v1",
                 input_usd=1.0, output_usd=2.0)
            for name, one in (("bad", bad), ("good", good))
        )  # fmt: skip
        self.settings = ModelSettings(
            rungs=rungs,
            stall_s=0.5,
            first_word_s=1.0,
            max_tokens=100,
            usd_per_day=1e6,
            usd_per_session=1e6,
            tokens_per_day=10**12,
            tokens_per_session=10**12,
        )
        self.bad = bad
        self.path = path
        self.records: list[tuple[str, dict[str, Any]]] = []
        self.providers = HttpProviders(self.settings, lambda _: "")
        self.proxy = ModelProxy(
            self.settings, self.providers, VirtualClock(), self._record, Spend, lambda *_: None
        )
        self.grant = Grant("s1", "m", 1e12, 10**12)
        self.proxy.grant("token", self.grant)
        self.http: aiohttp.ClientSession

    async def _record(self, holder: str, payload: Talk) -> None:
        self.records.append((payload.type_, payload.clear()))

    async def ask(self, body: bytes, token: str = "token") -> tuple[int, bytes, bool]:
        """Return status, body and whether it broke off. Raises TimeoutError for a blocked caller."""
        headers = {"Authorization": f"Bearer {token}"}
        url = "http://lane/v1/chat/completions"
        status, raw = 0, bytearray()
        async with asyncio.timeout(LIMIT_S):
            try:
                async with self.http.post(url, data=body, headers=headers) as response:
                    status = response.status
                    async for piece in response.content.iter_any():
                        raw += piece
            except aiohttp.ClientError:
                return status, bytes(raw), True
        return status, bytes(raw), False

    async def play(self, case: Case) -> list[str]:
        """Play one case, then a good call; return what was wrong."""
        self.bad.case, wrong = case, []
        self.records.clear()
        body = json.dumps({"model": "m", "messages": [], "stream": case.stream}).encode()
        try:
            status, raw, broken = await self.ask(body)
        except TimeoutError:
            return [f"{case.name}: the caller is blocked"]
        if status == 500 or (status == 0 and not broken):
            wrong.append(f"{case.name}: {status} without a reason: {raw[:200]!r}")
        if status >= 400 and not broken and b'"message"' not in raw:
            wrong.append(f"{case.name}: {status} without words")
        wrong += [f"{case.name}: {one}" for one in self._uncounted(raw if status == 200 else b"")]
        self.bad.case = None
        self.proxy.ladder.cooling.clear()
        self.proxy.ladder.dialects.clear()
        try:
            status, raw, broken = await self.ask(body)
        except TimeoutError:
            return [*wrong, f"{case.name}: the next good call is blocked"]
        if status != 200 or broken or b"good words" not in raw:
            wrong.append(f"{case.name}: the next good call fails: {status} {raw[:200]!r}")
        return wrong

    def _uncounted(self, raw: bytes) -> list[str]:
        """Return calls without a result, and words that cost nothing."""
        begun = sum(type_ == "model.call" for type_, _ in self.records)
        ended = [facts for type_, facts in self.records if type_ == "model.result"]
        wrong = [f"{begun} calls, {len(ended)} results"] if begun != len(ended) else []
        if b"good words" in raw and not sum(one["tokens_out"] for one in ended):
            wrong.append("words free of charge")
        return wrong


@asynccontextmanager
async def border(folder: Path) -> AsyncIterator[Border]:
    async with RawProvider() as bad, RawProvider() as good:
        made = Border(bad, good, str(folder / "models"))
        runner = web.AppRunner(made.proxy.routes(), access_log=None, handler_cancellation=True,
                               shutdown_timeout=0.1)  # fmt: skip
        await runner.setup()
        await web.UnixSite(runner, made.path).start()
        try:
            async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(made.path)) as http_:
                made.http = http_
                yield made
        finally:
            await runner.cleanup()
            await made.providers.close()
