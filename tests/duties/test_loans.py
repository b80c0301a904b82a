"""Model calls over the link: no question to a lane waits as long as a provider may."""

from __future__ import annotations

import asyncio

import pytest

from allegro.core.base.errors import EdgeError
from allegro.lane.models.loans import FORGOTTEN_S, MAX_CALLS, Answer, Loans
from allegro.testing.virtual import SeededDice

from .agents import LoopClock, hurried

ASKED = {"path": "/v1/chat/completions", "authorization": "Bearer x", "body": b"{}"}


class Slow:
    """An answer of the proxy."""

    status = 200
    content_type = "text/event-stream"
    retry_after = "38"

    def __init__(self, *pieces: bytes) -> None:
        self.pieces = list(pieces)
        self.closed = False

    async def read(self) -> bytes:
        await asyncio.sleep(40)
        return self.pieces.pop(0) if self.pieces else b""

    async def close(self) -> None:
        self.closed = True


class Proxy:
    def __init__(self, first_s: float, *pieces: bytes) -> None:
        self.first_s = first_s
        self.answer = Slow(*pieces)
        self.calls = 0
        self.cancelled = 0

    async def __call__(self, method: str, path: str, authorization: str, body: bytes) -> Answer:
        self.calls += 1
        try:
            await asyncio.sleep(self.first_s)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.first_s > 1000:
            raise EdgeError("gone", transient=True)
        return self.answer


def loans(proxy: Proxy) -> Loans:
    return Loans(proxy, LoopClock(), SeededDice(1))


@hurried
async def test_a_provider_that_takes_its_time_is_waited_for_in_steps() -> None:
    proxy = Proxy(100.0, b"roses")
    duty, loop = loans(proxy), asyncio.get_running_loop()
    begun = said = await duty.begin(ASKED)
    call, pieces = {"call": begun.call}, b""
    while not said.done:
        asked_s = loop.time()
        said = await duty.next(call)
        assert loop.time() - asked_s <= 16
        begun = said if said.status is not None else begun
        pieces += said.piece
    assert (begun.status, begun.type, pieces) == (200, "text/event-stream", b"roses")
    assert (proxy.calls, proxy.answer.closed) == (1, True)


@hurried
async def test_an_answer_that_comes_at_once_is_told_at_once() -> None:
    told = await loans(Proxy(0.0)).begin(ASKED)
    assert (told.status, told.retry_after) == (200, "38")


@hurried
async def test_a_call_that_nobody_fetches_is_dropped_by_the_clock() -> None:
    proxy = Proxy(10_000.0)
    duty = loans(proxy)
    told = await duty.begin(ASKED)
    await asyncio.sleep(2 * FORGOTTEN_S)
    assert proxy.cancelled == 1
    with pytest.raises(EdgeError, match="no such call"):
        await duty.next({"call": told.call})


@hurried
async def test_there_are_no_more_calls_than_so_many_at_once() -> None:
    duty = loans(Proxy(0.0))
    for _ in range(MAX_CALLS):
        await duty.begin(ASKED)
    with pytest.raises(EdgeError, match="too many"):
        await duty.begin(ASKED)
    await duty.close()
    assert (await duty.begin(ASKED)).status == 200


@hurried
async def test_a_piece_that_is_asked_for_twice_at_once_is_given_once() -> None:
    held = loans(Proxy(0, b"one", b"two"))
    begun = await held.begin(ASKED)
    first = asyncio.ensure_future(held.next({"call": begun.call}))
    await asyncio.sleep(1)
    with pytest.raises(EdgeError, match="already"):
        await held.next({"call": begun.call})
    told = await first
    pieces = [told.piece]
    while not told.done:
        told = await held.next({"call": begun.call})
        pieces.append(told.piece)
    assert b"".join(pieces) == b"onetwo"
    await held.close()
