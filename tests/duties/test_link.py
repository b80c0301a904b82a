"""The two shells of the link over a real Unix socket, with small fakes on both ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from allegro.adapters.clock import SystemClock, SystemDice
from allegro.core.errors import EdgeError
from allegro.link.dial import LaneLink

from .link_ends import House, Pair, dialling, open_lane, until


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[Pair]:
    async with open_lane(tmp_path, f"unix:{tmp_path / 's'}") as (lane, listener):
        house = House(f"ws+unix://{tmp_path / 's'}")
        async with dialling(house) as link:
            yield Pair(lane, house, link, listener)


async def test_the_journal_crosses_in_order_and_is_acknowledged(pair: Pair) -> None:
    for first in range(0, 3000, 500):
        await pair.lane.tell(*range(first, first + 500))

    await until(lambda: pair.lane.journal.acked == pair.lane.journal.head)

    assert pair.house.ids == [f"e{n}" for n in range(3000)]


async def test_questions_find_their_answers_whatever_the_order(pair: Pair) -> None:
    asked = [pair.link.ask("echo", {"n": n}) for n in range(50)]
    assert await asyncio.gather(*asked) == [{"n": n} for n in range(50)]
    with pytest.raises(EdgeError, match="did not answer"):
        await pair.link.ask("silence", {}, timeout_s=0.05)


async def test_a_newer_house_ends_the_older_and_goes_on_where_it_was(pair: Pair) -> None:
    await pair.lane.tell(1, 2)
    await until(lambda: len(pair.house.ids) == 2)
    other = House(pair.house.url)
    other.at = pair.house.at
    link = LaneLink(other, SystemClock(), SystemDice())
    running = asyncio.create_task(link.run())
    await until(lambda: link.is_up)
    await pair.lane.tell(3)
    await until(lambda: "e3" in other.ids or "e3" in pair.house.ids)
    assert "e1" not in other.ids
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_refused_house_is_told_why_and_tries_again(pair: Pair) -> None:
    other = House(pair.house.url)
    other.token = "wrong"
    link = LaneLink(other, SystemClock(), SystemDice())
    running = asyncio.create_task(link.run())
    await until(lambda: "wrong_challenge" in link.trouble)
    other.token = "c"
    await until(lambda: link.is_up)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
