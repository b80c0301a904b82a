"""Hermes' HTTP API: begin a run, read its stream, answer, stop. Speaks 0.19 and the newer wire.

A stream that breaks, or that is silent while its run is over, is not opened again (an older Hermes
gives its rest to nobody); the run is then asked for until it ends. An end whose answer holds words
that the stream did not tell comes after a Gap as well.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import aiohttp
import msgspec
from aiohttp.http_exceptions import HttpProcessingError  # a line of a stream that is too long

from allegro.adapters.bodies import read_whole
from allegro.adapters.hermes.heard import MAX_OUTPUT, Heard
from allegro.adapters.hermes.lines import told_lines
from allegro.core.errors import EdgeError
from allegro.core.sessions import (
    AgentEvent,
    Answered,
    Asked,
    End,
    Ended,
    Gap,
    TextDelta,
    ToolBegan,
    ToolEnded,
)

ANSWER_S = 15.0
SILENCE_S = 95.0  # Hermes sends a keepalive every 30 s
LOOK_WITHIN_S = 5.0
POLL_S = 0.5
_ENDS = {
    "completed": End.COMPLETED,
    "failed": End.FAILED,
    "cancelled": End.STOPPED,
    "interrupted": End.LOST,
}


class Capabilities(msgspec.Struct, frozen=True):
    """What this Hermes can do, as it says itself."""

    version: str
    is_idempotent: bool


class HermesWire:
    """One Hermes at `base` (http://host:port); `socket` is its Unix socket where it has one."""

    def __init__(self, base: str, key: str, *, socket: str = "") -> None:
        self._base = base.rstrip("/")
        connector = aiohttp.UnixConnector(path=socket) if socket else aiohttp.TCPConnector()
        self._session = aiohttp.ClientSession(
            connector=connector, headers={"Authorization": f"Bearer {key}"}, read_bufsize=1 << 20
        )
        self.capabilities = Capabilities("", False)

    async def close(self) -> None:
        await self._session.close()

    async def is_up(self) -> bool:
        """Whether it answers; learns the version on the way."""
        try:
            told = await self._call("GET", "/health", within_s=2.0)
        except EdgeError:
            return False
        version = str(told.get("version", ""))
        self.capabilities = Capabilities(version[:40], False)
        return True

    async def learn(self) -> Capabilities:
        """Ask which wire this is."""
        told = await self._call("GET", "/v1/capabilities")
        features = told.get("features", {})
        once = features.get("runs_idempotency") if isinstance(features, dict) else None
        is_idempotent = once.get("supported") is True if isinstance(once, dict) else once is True
        self.capabilities = Capabilities(self.capabilities.version, is_idempotent)
        return self.capabilities

    async def toolsets(self) -> list[str]:
        """Return the names of the toolsets that are on."""
        told = await self._call("GET", "/v1/toolsets")
        rows = told.get("data", told.get("toolsets", []))
        return [
            str(row.get("name")) for row in rows if isinstance(row, dict) and row.get("enabled")
        ]

    async def models(self) -> list[str]:
        told = await self._call("GET", "/v1/models")
        return [str(row.get("id")) for row in told.get("data", []) if isinstance(row, dict)]

    async def begin(self, body: dict[str, Any], session: str) -> str:
        """Begin a run and return its id. `sent` of the error is false only where nothing left us."""
        told = await self._call(
            "POST", "/v1/runs", body, headers={"Idempotency-Key": session}, within_s=60.0
        )
        run = told.get("run_id")
        if not isinstance(run, str) or not run:
            raise EdgeError("Hermes gave no run id", transient=False, kind="garbage")
        return run

    async def state(self, run: str, within_s: float = ANSWER_S) -> dict[str, Any] | None:
        """Return the status of a run, None when Hermes does not know it."""
        try:
            return await self._call("GET", f"/v1/runs/{run}", within_s=within_s)
        except EdgeError as error:
            if error.status == 404:
                return None
            raise

    async def answer(self, run: str, choice: str) -> None:
        """Answer the question that is pending: `once` or `deny`, never more."""
        if choice not in {"once", "deny"}:
            raise ValueError(f"not an answer of ours: {choice}")
        body = {"choice": choice}  # one run has one question: it needs no name
        await self._call("POST", f"/v1/runs/{run}/approval", body)

    async def stop(self, run: str) -> None:
        await self._call("POST", f"/v1/runs/{run}/stop", {}, within_s=5.0)

    async def forget(self, session: str) -> None:
        """Delete a session from Hermes' own store."""
        with contextlib.suppress(EdgeError):
            await self._call("PATCH", f"/api/sessions/{session}", {"end_reason": "done"})
        await self._call("DELETE", f"/api/sessions/{session}")

    async def events(self, run: str) -> AsyncIterator[AgentEvent]:
        """Yield what the stream tells, to its end; where it breaks, a Gap and then the end."""
        async for event, _ in self.stamped(run):
            yield event

    async def stamped(self, run: str) -> AsyncIterator[tuple[AgentEvent, float]]:
        """Yield the same, each with Hermes' own time of it; 0 where Hermes told none."""
        heard = Heard()
        try:
            async for frame in self._frames(run):
                event = event_of(frame)
                if event is None:
                    continue
                at_s = frame.get("timestamp")
                stamp = at_s if isinstance(at_s, int | float) else 0.0
                if isinstance(event, Ended) and heard.lacks(event):
                    yield Gap("the stream did not tell all words of the answer"), stamp
                yield event, stamp
                if isinstance(event, Ended):
                    return
                heard.hear(event)
            reason = "the stream ended without an end"
        except EdgeError as error:
            reason = str(error)
        yield Gap(reason[:200]), 0.0
        yield await self._polled(run), 0.0

    async def _polled(self, run: str) -> Ended:
        """Ask until the run is over. A run that is not known any more is lost."""
        failures = 0
        while True:
            try:
                told = await self.state(run)
                failures = 0
            except EdgeError as error:
                failures += 1
                if failures > 20:
                    return Ended(End.LOST, "", f"Hermes does not answer: {error}", {})
                told = {}
            if told is None:
                return Ended(End.LOST, "", "Hermes does not know this run any more", {})
            end = _ENDS.get(str(told.get("status")))
            if end is not None:
                return _ended(end, told)
            await asyncio.sleep(POLL_S)

    async def _is_over(self, run: str) -> bool:
        """Look whether a run has ended, or is not known any more; no answer is a no."""
        try:
            told = await self.state(run, LOOK_WITHIN_S)
        except EdgeError:
            return False
        return told is None or str(told.get("status")) in _ENDS

    async def _frames(self, run: str) -> AsyncIterator[dict[str, Any]]:
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=ANSWER_S, sock_read=SILENCE_S)
        try:
            async with self._session.get(
                f"{self._base}/v1/runs/{run}/events", timeout=timeout
            ) as response:
                if response.status != 200:
                    raise EdgeError(
                        f"the stream answered {response.status}", transient=True,
                        status=response.status,
                    )  # fmt: skip
                look = partial(self._is_over, run)
                async for line in told_lines(response.content.readline, look):
                    with contextlib.suppress(ValueError):
                        yield plain(line.strip())
        except (
            aiohttp.ClientError, HttpProcessingError, OSError, TimeoutError, ValueError,
            RuntimeError,
        ) as error:  # fmt: skip
            raise EdgeError(f"the stream broke: {error!r}", transient=True) from error

    async def _call(
        self, method: str, path: str, body: Any = None, *, within_s: float = ANSWER_S,
        headers: dict[str, str] | None = None,
    ) -> dict[str, Any]:  # fmt: skip
        try:
            async with self._session.request(
                method, self._base + path, json=body, headers=headers,
                timeout=aiohttp.ClientTimeout(total=within_s),
            ) as response:  # fmt: skip
                raw = await read_whole(response, 4 * MAX_OUTPUT)
        except aiohttp.ClientConnectorError as error:
            raise EdgeError(
                f"Hermes is not reachable: {error}", transient=True, sent=False
            ) from error
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise EdgeError(f"Hermes gave no answer: {error!r}", transient=True) from error
        except RuntimeError as error:  # aiohttp's word for a session that was closed
            raise EdgeError("this gateway was ended", transient=True, sent=False) from error
        if response.status >= 300:
            told = raw.decode("utf-8", "replace")[:300]
            refused = response.status in {400, 401, 403, 404, 413, 422, 429, 503}
            raise EdgeError(
                f"Hermes answered {response.status}: {told}", transient=response.status >= 429,
                status=response.status, sent=not refused, kind="refused" if refused else "broken",
            )  # fmt: skip
        try:
            return plain(raw or b"{}")
        except ValueError as error:
            raise EdgeError(
                "Hermes' answer is not JSON", transient=False, kind="garbage"
            ) from error


def plain(raw: bytes) -> dict[str, Any]:
    """Return a JSON object. Raises ValueError when it is none.

    Python writes half of a character where a text was cut within one: it becomes a replacement.
    """
    try:
        return msgspec.json.decode(raw, type=dict[str, Any])
    except msgspec.DecodeError:
        told = json.loads(raw)
    except RecursionError as error:
        raise ValueError("too deep") from error
    if not isinstance(told, dict):
        raise ValueError("not an object")
    return {key: _mended(value) for key, value in told.items()}


def _mended(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [_mended(one) for one in value]
    if isinstance(value, dict):
        return {key: _mended(one) for key, one in value.items()}
    return value


def event_of(frame: dict[str, Any]) -> AgentEvent | None:
    """Return what one frame of the stream tells, None for what others tell better."""
    match frame.get("event"):
        case "message.delta":
            return TextDelta(_text(frame.get("delta")))
        case "approval.request":
            patterns = frame.get("pattern_keys")
            keys = (
                tuple(str(one)[:200] for one in patterns[:20]) if isinstance(patterns, list) else ()
            )
            return Asked(_text(frame.get("command")), _text(frame.get("description")), keys)
        case "approval.responded":
            return Answered(_text(frame.get("choice"))[:20])
        case "tool.started":
            return ToolBegan(_text(frame.get("tool"))[:200], "", {"preview": frame.get("preview")})
        case "tool.completed":
            seconds = frame.get("duration")
            ms = seconds * 1000.0 if isinstance(seconds, int | float) else None
            ok = frame.get("error") is False
            return ToolEnded(_text(frame.get("tool"))[:200], "", ok, ms, {})
        case "run.completed":
            return _ended(End.COMPLETED, frame)
        case "run.failed":
            return _ended(End.FAILED, frame)
        case "run.cancelled":
            return _ended(End.STOPPED, frame)
        case "run.interrupted":
            return _ended(End.LOST, frame)
    return None


def _ended(end: End, told: dict[str, Any]) -> Ended:
    usage = told.get("usage")
    numbers = usage if isinstance(usage, dict) else {}
    claimed = {
        str(name)[:40]: value
        for name, value in list(numbers.items())[:10]
        if isinstance(value, int) and not isinstance(value, bool)
    }
    error = told.get("error")
    error = error.get("message", "") if isinstance(error, dict) else error
    return Ended(end, _text(told.get("output"))[:MAX_OUTPUT], _text(error)[:4000], claimed)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
