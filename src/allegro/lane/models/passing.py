"""Reads from a provider within limits of time and size, and passes a stream on as it comes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable
from typing import TypeVar

from aiohttp import web

from allegro.core.base.errors import EdgeError
from allegro.core.models.answers import MAX_REFUSAL, Answer, read_answer
from allegro.core.models.ladder import Trouble
from allegro.core.models.stream import StreamReader
from allegro.core.ports import Upstream

MAX_ANSWER = 32 * 1024 * 1024
REFUSAL_S = 10.0
TAIL_S = 5.0
"""How long the end of a stream is waited for once its finish reason came."""

_T = TypeVar("_T")


async def within(until_s: float, work: Awaitable[_T]) -> _T:
    """Await until a moment of the event loop's time. Raises EdgeError `stalled` after it."""
    try:
        async with asyncio.timeout_at(until_s):
            return await work
    except TimeoutError as error:
        raise EdgeError("no word came", transient=True, kind="stalled") from error


def silence(error: EdgeError, otherwise: Trouble) -> Trouble:
    """Return what an error of a provider's connection means: silence, or something else."""
    return Trouble.STALLED if error.kind == "stalled" else otherwise


async def pass_on(
    response: web.StreamResponse,
    upstream: Upstream,
    reader: StreamReader,
    held: bytes,
    first_word_s: float,
) -> str:
    """Pass a stream on to its end: what was `held` back, then each piece as it comes.

    Return `ok`, or why it did not come to its end: `half`, `broken`, `stalled`.
    """
    clock = asyncio.get_running_loop().time
    answer, chunk, size, seen = reader.answer, held, 0, -1
    until_s = clock() + first_word_s
    while True:
        if chunk:
            await response.write(chunk)
        if answer.is_done:
            return await _finished(response, answer, chunk)
        if answer.text_bytes != seen:  # a sign of life is no word
            seen, until_s = answer.text_bytes, clock() + first_word_s
        if answer.end:  # all is said but perhaps its use
            until_s = min(until_s, clock() + TAIL_S)
        try:
            raw = await within(until_s, upstream.read())
        except EdgeError as error:
            if answer.is_whole:
                return "ok"
            return "stalled" if error.kind == "stalled" else "broken"
        if not raw:
            reader.finish()
            return "ok" if answer.is_whole else "half"
        chunk, size = reader.feed(raw), size + len(raw)
        if answer.failure is not None or size > MAX_ANSWER:
            return "broken"


async def _finished(response: web.StreamResponse, answer: Answer, last: bytes) -> str:
    """End the last event where its provider did not, so that its reader takes it."""
    if not answer.is_whole:
        return "broken"
    if not last.endswith((b"\n\n", b"\n\r\n", b"\r\r")):
        await response.write(b"\n\n")
    return "ok"


async def pass_whole(response: web.StreamResponse, events: bytes) -> str:
    """Pass on an answer that was whole before its first word was sent."""
    await response.write(events)
    return "ok"


async def read_to_the_end(upstream: Upstream, until_s: float) -> bytes:
    """Return an answer whole, at most MAX_ANSWER bytes of it. Raises EdgeError.

    An answer that is complete is not waited for any longer though its connection stays open.
    """
    clock, raw = asyncio.get_running_loop().time, bytearray()
    while len(raw) < MAX_ANSWER:
        may_be_all = raw[-64:].rstrip().endswith(b"}")
        limit_s = min(until_s, clock() + TAIL_S) if may_be_all else until_s
        try:
            chunk = await within(limit_s, upstream.read())
        except EdgeError:
            if may_be_all and read_answer(bytes(raw))[1].failure is None:
                break
            if clock() < limit_s or limit_s >= until_s:
                raise
            continue
        if not chunk:
            break
        raw += chunk
    return bytes(raw[:MAX_ANSWER])


async def read_refusal(upstream: Upstream) -> str:
    """Return the words of a refusal, as far as they came: its status says the most."""
    raw = bytearray()
    until_s = asyncio.get_running_loop().time() + REFUSAL_S
    with contextlib.suppress(EdgeError):
        while len(raw) < MAX_REFUSAL and (chunk := await within(until_s, upstream.read())):
            raw += chunk
    return raw[:MAX_REFUSAL].decode("utf-8", "replace")
