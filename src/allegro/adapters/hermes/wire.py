"""Hermes' HTTP API: begin a run, read its stream, answer, stop. Speaks 0.19 and the newer wire.

Which wire it is shows in what is answered, never in a version. A stream whose frames carry numbers
is opened again behind the last one that came. A stream without numbers that breaks, or that is
silent while its run is over, is not (an older Hermes gives its rest to nobody); the run is then
asked for until it ends. Whatever was lost is told as a Gap.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import aiohttp
import msgspec
from aiohttp.http_exceptions import HttpProcessingError  # a line of a stream that is too long

from allegro.adapters.bodies import read_whole
from allegro.adapters.hermes.completeness import MAX_OUTPUT
from allegro.adapters.hermes.frames import Frame, end_of_status, read_object, stamp_of
from allegro.adapters.hermes.position import Place
from allegro.adapters.hermes.stream_lines import data_lines
from allegro.core.agent.sessions import AgentEvent, Asked, End, Ended, Gap
from allegro.core.agent.tallies import AgentTally
from allegro.core.base.errors import EdgeError
from allegro.core.base.untrusted import Unreadable, number_of, text_of
from allegro.core.effects.render import one_line

ANSWER_S = 15.0
SILENCE_S = 95.0  # Hermes sends a keepalive every 30 s
LOOK_WITHIN_S = 5.0
TALLY_S = 3.0
POLL_S = 0.5
POLL_FAILURES = 20
AGAIN_S = (0.1, 0.3, 1.0, 2.0, 4.0)
MAX_ROWS = 1_000
_OVER = frozenset({404, 409})
_RUN_ID = re.compile(r"[A-Za-z0-9_:-][A-Za-z0-9_.:-]{0,199}")


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
        self._question = ""

    async def close(self) -> None:
        await self._session.close()

    async def is_up(self) -> bool:
        """Whether it answers; learns the version on the way."""
        try:
            response = await self._call("GET", "/health", within_s=2.0)
        except EdgeError:
            return False
        self.capabilities = Capabilities(one_line(response.get("version") or "")[:40], False)
        return True

    async def learn(self) -> Capabilities:
        """Ask which wire this is."""
        response = await self._call("GET", "/v1/capabilities")
        features = response.get("features")
        once = features.get("runs_idempotency") if isinstance(features, dict) else None
        is_idempotent = once.get("supported") is True if isinstance(once, dict) else once is True
        self.capabilities = Capabilities(self.capabilities.version, is_idempotent)
        return self.capabilities

    async def toolsets(self) -> list[str]:
        """Return the names of the toolsets that are on. Raises EdgeError when it tells no list."""
        response = await self._call("GET", "/v1/toolsets")
        rows = _rows(response.get("data", response.get("toolsets")))
        return [text_of(row.get("name"), 200) for row in rows if row.get("enabled")]

    async def models(self) -> list[str]:
        """Return the names of its models. Raises EdgeError when it tells no list."""
        response = await self._call("GET", "/v1/models")
        return [text_of(row.get("id"), 200) for row in _rows(response.get("data"))]

    async def begin(self, body: dict[str, Any], session: str) -> str:
        """Begin a run and return its id. `sent` of the error is false only where nothing left us."""
        response = await self._call(
            "POST", "/v1/runs", body, headers={"Idempotency-Key": session}, within_s=60.0
        )
        run = response.get("run_id")
        if not isinstance(run, str) or _RUN_ID.fullmatch(run) is None:
            raise EdgeError("Hermes gave no run id", transient=False, kind="garbage")
        self._question = ""
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
        """Answer the question that is pending: `once` or `deny`, never more.

        A yes names its question where this Hermes names them, so that it can meet no other; a no
        is for whatever waits.
        """
        if choice not in {"once", "deny"}:
            raise ValueError(f"not an answer of ours: {choice}")
        named = {"request_id": self._question} if choice == "once" and self._question else {}
        await self._call("POST", f"/v1/runs/{run}/approval", {"choice": choice, **named})

    async def stop(self, run: str) -> None:
        """Stop a run; one that is over, which versions answer differently, is stopped already."""
        try:
            await self._call("POST", f"/v1/runs/{run}/stop", {}, within_s=5.0)
        except EdgeError as error:
            if error.status not in _OVER:
                raise

    async def tally(self, session: str) -> AgentTally | None:
        """Return what Hermes' own store says of a session, None where it holds none."""
        try:
            response = await self._call("GET", f"/api/sessions/{session}", within_s=TALLY_S)
        except EdgeError as error:
            if error.status == 404:
                return None
            raise
        held = response.get("session", response)
        row = held if isinstance(held, dict) else {}
        return AgentTally(
            calls=number_of(row.get("api_call_count")),
            tools=number_of(row.get("tool_call_count")),
            tokens_in=number_of(row.get("input_tokens")),
            tokens_out=number_of(row.get("output_tokens")),
        )

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
        place, tries = Place(), 0
        while True:
            before = place.last
            try:
                async for event, at_s in self._from(run, place):
                    yield event, at_s
                    if isinstance(event, Ended):
                        return
                reason, is_gone = "the stream ended without an end", False
            except EdgeError as error:
                reason, is_gone = str(error), error.status == 404 or error.kind == "garbage"
            tries = 0 if place.last != before else tries + 1
            if place.last is None or is_gone or tries >= len(AGAIN_S):
                break
            await asyncio.sleep(AGAIN_S[tries])
        yield Gap(one_line(reason)[:200]), 0.0
        yield await self._polled(run), 0.0

    async def _from(self, run: str, place: Place) -> AsyncIterator[tuple[AgentEvent, float]]:
        """Read a run's stream behind a place, to its end or its break. Raises EdgeError."""
        async for number, frame in self._frames(run, place.last):
            at_s = 0.0 if isinstance(frame, Unreadable) else stamp_of(frame.get("timestamp"))
            for event in place.take(number, frame):
                if isinstance(event, Asked):
                    self._question = event.request_id
                yield event, at_s

    async def _polled(self, run: str) -> Ended:
        """Ask until the run is over. A run that is not known any more is lost."""
        failures = 0
        while True:
            try:
                status = await self.state(run)
                failures = 0
            except EdgeError as error:
                failures += 1
                if failures > POLL_FAILURES:
                    return Ended(End.LOST, "", f"Hermes does not answer: {error}", {})
                status = {}
            if status is None:
                return Ended(End.LOST, "", "Hermes does not know this run any more", {})
            if (end := end_of_status(status)) is not None:
                return end
            await asyncio.sleep(POLL_S)

    async def _is_over(self, run: str) -> bool:
        """Look whether a run has ended, or is not known any more; no answer is a no."""
        try:
            status = await self.state(run, LOOK_WITHIN_S)
        except EdgeError:
            return False
        return status is None or end_of_status(status) is not None

    async def _frames(
        self, run: str, after: int | None
    ) -> AsyncIterator[tuple[int | None, Frame | Unreadable]]:
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=ANSWER_S, sock_read=SILENCE_S)
        headers = {} if after is None else {"Last-Event-ID": str(after)}
        try:
            async with self._session.get(
                f"{self._base}/v1/runs/{run}/events", timeout=timeout, headers=headers
            ) as response:
                if response.status != 200:
                    raise EdgeError(
                        f"the stream answered {response.status}",
                        transient=True,
                        status=response.status,
                    )
                look = partial(self._is_over, run)
                async for number, line in data_lines(response.content.readline, look):
                    frame = read_object(line.strip())
                    yield number_in(number, frame), frame
        except (HttpProcessingError, ValueError) as error:  # the same comes again
            raise EdgeError(
                f"the stream cannot be read on: {error!r}", transient=False, kind="garbage"
            ) from error
        except (aiohttp.ClientError, OSError, TimeoutError, RuntimeError) as error:
            raise EdgeError(f"the stream broke: {error!r}", transient=True) from error

    async def _call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        within_s: float = ANSWER_S,
        headers: dict[str, str] | None = None,
    ) -> dict[str, Any]:
        try:
            async with self._session.request(
                method,
                self._base + path,
                json=body,
                headers=headers,
                timeout=aiohttp.ClientTimeout(total=within_s),
            ) as response:
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
            detail = raw.decode("utf-8", "replace")[:300]
            refused = response.status in {400, 401, 403, 404, 413, 422, 429, 503}
            raise EdgeError(
                f"Hermes answered {response.status}: {detail}",
                transient=response.status >= 429,
                status=response.status,
                sent=not refused,
                kind="refused" if refused else "broken",
            )
        found = read_object(raw or b"{}")
        if isinstance(found, Unreadable):
            raise EdgeError(
                f"Hermes' answer is no JSON object: {found}", transient=False, kind="garbage"
            )
        return found


def number_in(line: int | None, frame: Frame | Unreadable) -> int | None:
    """Return a frame's number: of its `id:` line, else its own `seq`; None where it has none."""
    if line is not None or isinstance(frame, Unreadable) or "seq" not in frame:
        return line
    seq = frame["seq"]
    return number_of(seq) if seq == number_of(seq) and not isinstance(seq, bool) else None


def _rows(value: object) -> list[dict[str, Any]]:
    """Return the objects of a list of an answer. Raises EdgeError where it is no list."""
    if not isinstance(value, list):
        raise EdgeError("Hermes' answer holds no list", transient=False, kind="garbage")
    return [row for row in value[:MAX_ROWS] if isinstance(row, dict)]
