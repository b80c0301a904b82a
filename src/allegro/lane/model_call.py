"""One attempt of a model call on one rung: record, send, pass on, record (H6)."""

from __future__ import annotations

import asyncio
import contextlib
import math
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

import msgspec
import structlog
from aiohttp import web

from allegro.core.errors import EdgeError
from allegro.core.models import (
    BYTES_PER_TOKEN,
    Ladder,
    Spend,
    Trouble,
    cost_usd,
    estimated_tokens,
    retry_after_s,
    usage_of,
)
from allegro.core.ports import Clock, Providers, Upstream
from allegro.core.settings import Rung

_log = structlog.get_logger()
MAX_ANSWER = 32 * 1024 * 1024
MAX_LINE = 1024 * 1024
TOLD = 2_000
STARTS_BYTES = 6
_LONG_WORD = re.compile(r"[A-Za-z0-9_+/=.-]{20,}")
_FAR_FEWER = 8
_STARTS = (b"data:", b":", b"event:", b"id:", b"retry:", b"\n", b"\r")

Record = Callable[[str, str, dict[str, Any], Any], Awaitable[None]]
"""(holder, event type, clear data, words) -> when it is on disk. Raises EdgeError."""


class Grant(msgspec.Struct):
    """What one token may do. `holder` is a session's or loan's id; a canary costs nothing."""

    holder: str
    model: str
    until_boot_s: float
    own_tokens: int
    is_canary: bool = False
    spend: Spend = Spend()
    reserved: Spend = Spend()
    calls: int = 0
    measured: bool = True
    is_revoked: bool = False
    tasks: set[asyncio.Task[Any]] = msgspec.field(default_factory=set)


class Usage(msgspec.Struct):
    """What one answer is seen to use while it passes."""

    tokens_in: int = 0
    tokens_out: int = 0
    told: bool = False
    text_bytes: int = 0
    finished: bool = False
    failed: bool = False


_MIDWAY = {
    "half": Trouble.BROKEN, "broken": Trouble.BROKEN, "stalled": Trouble.STALLED,
}  # fmt: skip


class Proxy(Protocol):
    """What a call needs of the proxy it belongs to."""

    ladder: Ladder
    providers: Providers
    clock: Clock
    record: Record
    spent: Callable[[int, float | None], None]

    async def told_apart(self, rung: Rung, status: int, told: str) -> Trouble: ...


class Call:
    """One attempt on one rung: record, send, pass on, record."""

    def __init__(
        self, proxy: Proxy, grant: Grant, rung: Rung, began_s: float,
        tried: list[tuple[Rung, Trouble]], size: int, max_tokens: int,
    ) -> None:  # fmt: skip
        self._proxy = proxy
        self._grant = grant
        self._rung = rung
        self._began_s = began_s
        self._first_s: float | None = None
        self._tried = tried
        self._size = size
        self._max_tokens = max_tokens
        self._may_cost = False
        self._number = grant.calls
        self._is_done = False
        self.usage = Usage()

    def _data(self) -> dict[str, Any]:
        return {
            "call": self._number, "provider": self._rung.provider, "asked": self._grant.model,
            "used": self._rung.upstream or self._rung.model, "rung": len(self._tried) + 1,
            "source": "measured",
        }  # fmt: skip

    async def begin(self) -> None:
        """Write down that a call is about to be made. Raises EdgeError: then it is not made."""
        await self._proxy.record(self._grant.holder, "model.call", self._data(), None)

    async def carry(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse | None:
        """Send the call and pass its answer on. None when the next rung is to be tried."""
        proxy, rung = self._proxy, self._rung
        sent = msgspec.json.encode({**body, "model": rung.upstream or rung.model})
        self._may_cost = True
        try:
            upstream = await proxy.providers.call(rung, sent)
        except EdgeError as error:
            self._may_cost = error.sent
            stalled = error.kind == "stalled"
            return await self._next_rung(Trouble.STALLED if stalled else Trouble.UNREACHABLE)
        try:
            if upstream.status != 200:
                self._may_cost = False
                return await self._refused(upstream)
            if body.get("stream"):
                return await self._stream(request, upstream)
            return await self._whole(upstream)
        finally:
            await upstream.close()

    async def _refused(self, upstream: Upstream) -> web.StreamResponse | None:
        try:
            raw = await _read_some(upstream, TOLD)
        except EdgeError:
            return await self._next_rung(Trouble.BROKEN)
        return await self._refused_with(upstream, upstream.status, raw.decode("utf-8", "replace"))

    async def _refused_with(
        self, upstream: Upstream, status: int, told: str
    ) -> web.StreamResponse | None:
        trouble = await self._proxy.told_apart(self._rung, status, told)
        if trouble is Trouble.BAD_REQUEST:
            await self.done(trouble.value, Usage())
            error = {"message": scrubbed(told), "type": "provider", "code": None}
            return web.json_response({"error": error}, status=status)
        after_s = retry_after_s(trouble, upstream.headers, self._proxy.clock.now_s())
        return await self._next_rung(trouble, after_s)

    async def _next_rung(
        self, trouble: Trouble, after_s: float | None = None
    ) -> web.StreamResponse | None:
        proxy = self._proxy
        proxy.ladder.failed(self._rung, trouble, proxy.clock.boot_s(), after_s)
        await self.done(trouble.value, Usage(), reset_s=after_s)
        self._tried.append((self._rung, trouble))
        return None

    async def _whole(self, upstream: Upstream) -> web.StreamResponse | None:
        try:
            raw = await _read_some(upstream, MAX_ANSWER)
            told = msgspec.json.decode(raw, type=dict[str, Any])
        except (EdgeError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            stalled = isinstance(error, EdgeError) and error.kind == "stalled"
            return await self._next_rung(Trouble.STALLED if stalled else Trouble.BROKEN)
        self._first_s = self._proxy.clock.boot_s()
        if (status := error_in(told)) is not None:
            return await self._refused_with(upstream, status, raw[:TOLD].decode("utf-8", "replace"))
        usage = Usage(text_bytes=len(raw), finished=True)
        _note_usage(usage, told)
        self._proxy.ladder.worked(self._rung)
        await self.done("ok", usage)
        return web.json_response(told)

    async def _stream(self, request: web.Request, upstream: Upstream) -> web.StreamResponse | None:
        try:
            first = await upstream.read()
            while first and b"\n" not in first and len(first) < MAX_LINE:
                if len(first) >= STARTS_BYTES and not first.startswith(_STARTS):
                    break
                more = await upstream.read()
                first += more
                if not more:
                    break
        except EdgeError as error:
            stalled = error.kind == "stalled"
            return await self._next_rung(Trouble.STALLED if stalled else Trouble.BROKEN)
        if not first.startswith(_STARTS):
            return await self._next_rung(Trouble.BROKEN)
        line, _, _ = first.partition(b"\n")
        if (status := error_in(_told(line) or {})) is not None:
            told = line.removeprefix(b"data:")[:TOLD].decode("utf-8", "replace")
            return await self._refused_with(upstream, status, told)
        self._first_s = self._proxy.clock.boot_s()
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        usage, reason = self.usage, ""
        try:
            await response.prepare(request)
            reason = await self._pass_on(response, upstream, first, usage)
        except ConnectionError:
            reason = "reader_gone"
        if reason == "ok":
            self._proxy.ladder.worked(self._rung)
            await self.done("ok", usage)
            with contextlib.suppress(ConnectionError):  # it has all it needs, and hung up
                await response.write_eof()
        else:
            trouble = _MIDWAY.get(reason)
            if trouble is not None:
                self._proxy.ladder.failed(self._rung, trouble, self._proxy.clock.boot_s())
            await self.done(reason, usage)
            if request.transport is not None:
                request.transport.abort()  # half an answer must not look like a whole one
        return response

    async def _pass_on(
        self, response: web.StreamResponse, upstream: Upstream, first: bytes, usage: Usage
    ) -> str:
        rest, chunk, size = b"", first, 0
        while chunk:
            *lines, rest = (rest + chunk).split(b"\n")
            if len(rest) > MAX_LINE:  # too long to be read along: it counts by its size
                usage.text_bytes += len(rest)
                rest = b""
            for line in lines:
                _note_line(usage, line)
            size += len(chunk)
            if usage.failed or size > MAX_ANSWER:
                return "broken"
            await response.write(chunk)
            try:
                chunk = await upstream.read()
            except EdgeError as error:
                return "stalled" if error.kind == "stalled" else "broken"
        _note_line(usage, rest)
        return "ok" if usage.finished else "half"

    async def left(self) -> None:
        """Write down that nobody waits for the answer any more: its token went, or its reader."""
        if self.usage.finished:  # all was said; a reader may hang up before the connection ends
            self._proxy.ladder.worked(self._rung)
            await self.done("ok", self.usage)
            return
        if self._may_cost and self._first_s is None:  # it may come to its end without us
            self.usage.text_bytes = math.floor(self._max_tokens * BYTES_PER_TOKEN)
        await self.done("revoked" if self._grant.is_revoked else "reader_gone", self.usage)

    async def done(self, result: str, usage: Usage, reset_s: float | None = None) -> None:
        """Write down what came of the call and what it cost, once."""
        if self._is_done:
            return
        self._is_done = True
        proxy, grant = self._proxy, self._grant
        if self._may_cost:
            self._estimate(usage)
        tokens = usage.tokens_in + usage.tokens_out
        cost = cost_usd(self._rung, usage.tokens_in, usage.tokens_out)
        cost = 0.0 if self._rung.local or not tokens else cost
        grant.spend = grant.spend.plus(tokens, cost)
        grant.measured = grant.measured and (usage.told or not tokens)
        proxy.spent(tokens, cost)
        now_s = proxy.clock.boot_s()
        data = {
            **self._data(), "result": result, "tokens_in": usage.tokens_in,
            "tokens_out": usage.tokens_out, "tokens": "told" if usage.told else "estimated",
            "cost_usd": "unknown" if cost is None else round(cost, 8),
            "latency_ms": round((now_s - self._began_s) * 1000, 3),
            "first_ms": None if self._first_s is None
            else round((self._first_s - self._began_s) * 1000, 3),
        }  # fmt: skip
        if reset_s is not None:
            data["reset_s"] = reset_s
        try:
            await proxy.record(grant.holder, "model.result", data, None)
        except EdgeError as error:
            _log.error("model.unrecorded", error=str(error))

    def _estimate(self, usage: Usage) -> None:
        """Count what nobody told, or what was told before its end or of much more text."""
        least_in, least_out = estimated_tokens(self._size), estimated_tokens(usage.text_bytes)
        doubtful = not usage.finished or usage.tokens_out * _FAR_FEWER < least_out
        if not usage.told:
            usage.tokens_in, usage.tokens_out = least_in, least_out
        elif doubtful:
            usage.tokens_in = max(usage.tokens_in, least_in)
            usage.tokens_out = max(usage.tokens_out, least_out)
            usage.told = False


async def _read_some(upstream: Upstream, limit: int) -> bytes:
    raw = b""
    while len(raw) < limit:
        chunk = await upstream.read()
        if not chunk:
            break
        raw += chunk
    return raw[:limit]


def _note_line(usage: Usage, line: bytes) -> None:
    """Learn from one line of a stream what it says of use and end."""
    if line.strip() == b"data: [DONE]" or line.strip() == b"data:[DONE]":
        usage.finished = True
        return
    told = _told(line)
    if told is None:
        return
    _note_usage(usage, told)
    usage.failed = usage.failed or error_in(told) is not None
    choices = told.get("choices")
    for choice in choices if isinstance(choices, list) else ():
        if isinstance(choice, dict):
            usage.text_bytes += _text_size(choice.get("delta"))
            usage.finished = usage.finished or bool(choice.get("finish_reason"))


def _told(line: bytes) -> dict[str, Any] | None:
    """Return the object in one line of a stream, None where there is none."""
    line = line.strip()
    if not line.startswith(b"data:"):
        return None
    try:
        return msgspec.json.decode(line[5:], type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _text_size(delta: Any) -> int:
    """Return the bytes of all text in a piece of an answer."""
    if isinstance(delta, str):
        return len(delta.encode())
    inner = delta.values() if isinstance(delta, dict) else delta if isinstance(delta, list) else ()
    return sum(_text_size(one) for one in inner)


def error_in(told: Mapping[str, Any]) -> int | None:
    """Return the status of an error inside an answer that was sent as a good one; None without."""
    error = told.get("error")
    if not error:
        return None
    code = error.get("code") if isinstance(error, dict) else None
    code = int(code) if isinstance(code, str) and code.isdecimal() and len(code) == 3 else code
    return code if isinstance(code, int) and 400 <= code < 600 else 500


def _note_usage(usage: Usage, told: dict[str, Any]) -> None:
    counts = usage_of(told.get("usage"))
    if counts is not None:
        usage.tokens_in, usage.tokens_out = counts
        usage.told = True


def scrubbed(told: str) -> str:
    """Return a provider's words without anything that could be a key it echoes."""
    return _LONG_WORD.sub("[…]", told[:600])
