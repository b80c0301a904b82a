"""One attempt of a model call on one rung: record, send, pass on, record (H6)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Any

import structlog
from aiohttp import web

from allegro.core.base.errors import EdgeError
from allegro.core.base.untrusted import Unreadable
from allegro.core.models.answers import (
    Answer,
    as_events,
    encoded,
    read_answer,
)
from allegro.core.models.dialect import Body, Manner, adapted, blames_ours, spoken
from allegro.core.models.ladder import Trouble
from allegro.core.models.refusals import error_for_caller
from allegro.core.models.stream import MAX_LINE, StreamReader
from allegro.core.models.waits import retry_after_s
from allegro.core.ports import Upstream
from allegro.lane.models.call_record import CallRecord
from allegro.lane.models.grants import Attempt, Grant, Proxy
from allegro.lane.models.passing import (
    pass_on,
    pass_whole,
    read_refusal,
    read_to_the_end,
    silence,
    within,
)

_log = structlog.get_logger()
_FOR_THE_CALLER = frozenset({Trouble.BAD_REQUEST, Trouble.OVERFLOW})
_MIDWAY = {
    "half": Trouble.BROKEN,
    "broken": Trouble.BROKEN,
    "stalled": Trouble.STALLED,
}


class Call:
    """One attempt on one rung: record, send, pass on, record.

    `size` is the request in bytes. After `carry` returned None, `next_manner` says how to ask the
    same rung once more; None means the next rung. `refusal` is then for the caller, where no rung
    answers.
    """

    def __init__(self, proxy: Proxy, grant: Grant, attempt: Attempt, *, size: int) -> None:
        self._proxy = proxy
        self._grant = grant
        self._rung = attempt.rung
        self._manner = attempt.manner
        self._record = CallRecord(proxy, grant, attempt, size=size)
        self._answer = Answer()
        self.trouble: Trouble | None = None
        self.refusal: web.Response | None = None
        self.next_manner: Manner | None = None

    async def begin(self) -> None:
        """Write down that a call is about to be made. Raises EdgeError: then it is not made."""
        await self._record.begin()

    async def carry(self, request: web.Request, body: Body) -> web.StreamResponse | None:
        """Send the call and pass its answer on. None where this rung had no word for the caller."""
        rung = self._rung
        asked = spoken(body, self._manner)
        sent = encoded({**asked, "model": rung.upstream or rung.model})
        if isinstance(sent, Unreadable):
            await self._ended(Trouble.BAD_REQUEST)
            error = {"message": str(sent), "type": "allegro", "param": None, "code": "bad_request"}
            return web.json_response({"error": error}, status=400)
        until_s = self._until_s()
        self._record.note_cost(may_cost=True)
        try:
            upstream = await within(until_s, self._proxy.providers.call(rung, sent))
        except EdgeError as error:
            self._record.note_cost(may_cost=error.sent)
            await self._failed(silence(error, Trouble.UNREACHABLE))
            return None
        try:
            if upstream.status != 200:
                self._record.note_cost(may_cost=False)
                raw = await read_refusal(upstream)
                return await self._refused(body, asked, upstream, upstream.status, raw)
            if body.get("stream"):
                return await self._stream(request, body, asked, upstream, until_s)
            return await self._whole(body, asked, upstream, until_s)
        finally:
            await upstream.close()

    def _until_s(self) -> float:
        """When the next word must have come, in the time of the event loop."""
        return asyncio.get_running_loop().time() + self._proxy.first_word_s

    async def _refused(
        self,
        body: Mapping[str, Any],
        asked: Mapping[str, Any],
        upstream: Upstream,
        status: int,
        text: str,
    ) -> web.StreamResponse | None:
        """Take a refusal: ask in another manner, go on to the next rung, or hand it to the caller."""
        proxy, now_s = self._proxy, self._proxy.clock.now_s()
        self._record.note_cost(may_cost=self._answer.counts is not None)
        self.next_manner = adapted(self._manner, asked, status, text)
        if self.next_manner is not None:
            await self._record.done(Trouble.PARAMETER.value, self._answer)
            return None
        wait_s = retry_after_s(Trouble.QUOTA, upstream.headers, now_s, text)
        trouble = await proxy.meaning_of(self._rung, status, text, wait_s)
        if trouble is Trouble.BAD_REQUEST and blames_ours(body, asked, text):
            trouble = Trouble.PARAMETER
        if trouble in _FOR_THE_CALLER:
            await self._ended(trouble)
            error = error_for_caller(trouble, text)
            self.refusal = web.json_response({"error": error}, status=status)
            return None if _is_about_size(status, trouble) else self.refusal
        await self._failed(trouble, retry_after_s(trouble, upstream.headers, now_s, text))
        return None

    async def _failed(self, trouble: Trouble, after_s: float | None = None) -> None:
        """Pass this rung over for a while."""
        proxy = self._proxy
        proxy.ladder.failed(self._rung, trouble, proxy.clock.boot_s(), after_s)
        await self._ended(trouble, after_s)

    async def _ended(self, trouble: Trouble, after_s: float | None = None) -> None:
        self.trouble = trouble
        await self._record.done(trouble.value, self._answer, reset_s=after_s)

    def _worked(self) -> None:
        self._proxy.ladder.worked(self._rung)
        self._proxy.ladder.learn(self._rung, self._manner.dialect)

    async def _said_no(
        self, body: Mapping[str, Any], asked: Mapping[str, Any], upstream: Upstream
    ) -> web.StreamResponse | None:
        """Take an answer of status 200 that failed before a word of it was passed on."""
        failure = self._answer.failure
        if failure is None or not failure.is_refusal:
            await self._failed(Trouble.BROKEN)
            return None
        return await self._refused(body, asked, upstream, failure.status, failure.text)

    async def _whole(
        self, body: Mapping[str, Any], asked: Mapping[str, Any], upstream: Upstream, until_s: float
    ) -> web.StreamResponse | None:
        try:
            raw = await read_to_the_end(upstream, until_s)
        except EdgeError as error:
            await self._failed(silence(error, Trouble.BROKEN))
            return None
        value, self._answer = read_answer(raw)
        if self._answer.failure is not None:
            return await self._said_no(body, asked, upstream)
        self._record.first_word()
        self._worked()
        await self._record.done("ok", self._answer)
        return web.json_response(value)

    async def _stream(
        self,
        request: web.Request,
        body: Mapping[str, Any],
        asked: Mapping[str, Any],
        upstream: Upstream,
        until_s: float,
    ) -> web.StreamResponse | None:
        """Hold a stream back until its first word, then pass it on to its end."""
        reader = StreamReader()
        answer = self._answer = reader.answer
        held = b""
        try:
            while not answer.is_settled and len(held) <= MAX_LINE:
                chunk = await within(until_s, upstream.read())
                if not chunk:
                    reader.finish()
                    break
                held += reader.feed(chunk)
        except EdgeError as error:
            await self._failed(silence(error, Trouble.BROKEN))
            return None
        if not answer.is_settled and held.lstrip()[:1] in (b"{", b"["):
            held = self._streamed(held)
        answer = self._answer
        if answer.failure is not None:
            return await self._said_no(body, asked, upstream)
        if not (answer.has_words or answer.is_whole):
            await self._failed(Trouble.BROKEN)
            return None
        self._record.first_word()
        return await self._passed_on(request, upstream, reader, held)

    def _streamed(self, raw: bytes) -> bytes:
        """Read an answer that came whole though a stream was asked for; return it as one."""
        value, answer = read_answer(raw)
        events = as_events(value) if answer.failure is None else b""
        if not isinstance(events, Unreadable):
            self._answer = answer
            return events
        return b""

    async def _passed_on(
        self, request: web.Request, upstream: Upstream, reader: StreamReader, held: bytes
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        proxy = self._proxy
        try:
            await response.prepare(request)
            if reader.answer is self._answer:
                result = await pass_on(response, upstream, reader, held, proxy.first_word_s)
            else:
                result = await pass_whole(response, held)
        except ConnectionError:
            result = "ok" if self._answer.is_whole else "reader_gone"
        if result == "ok":
            self._worked()
            await self._record.done("ok", self._answer)
            with contextlib.suppress(ConnectionError):  # it has all it needs, and hung up
                await response.write_eof()
            return response
        if result in _MIDWAY:
            proxy.ladder.failed(self._rung, _MIDWAY[result], proxy.clock.boot_s())
        await self._record.done(result, self._answer)
        if request.transport is not None:
            request.transport.abort()  # half an answer must not look like a whole one
        return response

    async def left(self) -> None:
        """Write down that nobody waits for the answer any more: its token went, or its reader."""
        if self._answer.is_whole:  # all was said; a reader may hang up before the connection ends
            self._worked()
            await self._record.done("ok", self._answer)
            return
        await self._record.done(
            "revoked" if self._grant.is_revoked else "reader_gone", self._answer
        )

    async def broke(self) -> None:
        """Write down that the proxy itself failed."""
        await self._record.done("broken", self._answer)


def _is_about_size(status: int, trouble: Trouble) -> bool:
    """Whether another rung may take a request that this one finds too large."""
    return status == 413 and trouble is Trouble.BAD_REQUEST
