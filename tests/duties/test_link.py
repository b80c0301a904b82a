"""The two shells of the link over a real Unix socket, with small fakes on both ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import get_args

import aiohttp
import pytest

from allegro.adapters.clock import SystemClock, SystemDice
from allegro.core.base.errors import EdgeError
from allegro.core.base.events import Event
from allegro.core.protocol.messages import (
    MAX_LANE_FRAME,
    Batch,
    Bulk,
    FromHouse,
    FromLane,
    GiveOrder,
    Greet,
    Hello,
    LogIn,
    Query,
    Refused,
    Reply,
    Welcome,
)
from allegro.link.dial import LaneLink
from allegro.link.frames import decode_from_lane, encode

from .link_ends import TIME, House, Lane, Pair, dialling, open_lane, until


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


class EarlierLane(Lane):
    """A lane of the release before: it refuses a newer protocol and knows nothing of pieces."""

    def greet(self, hello: Hello) -> tuple[Greet | Refused, str]:
        if hello.protocol != 1:
            return Refused("wrong_protocol", "this lane speaks 1, update the older side"), ""
        return Greet(1, hello.challenge, "0"), "c"

    async def answer(self, message: FromHouse) -> FromLane | None:
        assert not isinstance(message, get_args(Bulk))
        return await super().answer(message)


async def test_a_lane_of_the_release_before_gets_whole_messages(tmp_path: Path) -> None:
    at = tmp_path / "s"
    async with (
        open_lane(tmp_path, f"unix:{at}", EarlierLane) as (lane, _),
        dialling(House(f"ws+unix://{at}")) as link,
    ):
        await lane.tell(1, 2)
        await lane.record(Event("big", "x.kept", "lane:a", TIME, data={"x": "x" * 900_000}))
        content = bytes(500_000)
        assert await link.send_ahead(content) is None
        answer = await link.order(lambda id_: GiveOrder(id_, "o", content, None, "", "", None))
        assert answer.reason == ""
        assert lane.orders == [content]
        assert await link.ask("echo", {"x": "y" * 500_000}) == {"x": "y" * 500_000}
        await until(lambda: lane.journal.acked == lane.journal.head)


async def test_a_house_of_the_release_before_gets_whole_messages(tmp_path: Path) -> None:
    async with open_lane(tmp_path, f"unix:{tmp_path / 's'}") as (lane, _):
        await lane.record(Event("big", "x.kept", "lane:a", TIME, data={"x": "x" * 900_000}))
        lane.answers["show"] = "x" * 500_000
        connector = aiohttp.UnixConnector(path=str(tmp_path / "s"))
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            session.ws_connect("http://lane/link", max_msg_size=MAX_LANE_FRAME) as socket,
        ):
            for message in (
                Hello(1, "h"),
                LogIn("c", (), (), (), (), (), 0.0),
                Query(7, "show", {}),
            ):
                await socket.send_bytes(encode(message))
            heard = [decode_from_lane(await socket.receive_bytes()) for _ in range(4)]
    assert {type(one) for one in heard} == {Greet, Welcome, Batch, Reply}
    assert isinstance(heard[0], Greet)
    assert heard[0].protocol == 1


async def test_the_same_long_question_twice_at_once_is_answered_twice(pair: Pair) -> None:
    params = {"x": "y" * 100_000}
    asked = await asyncio.gather(*(pair.link.ask("echo", params) for _ in range(5)))
    assert asked == [params] * 5


async def test_long_messages_of_both_sides_cross_beside_each_other(pair: Pair) -> None:
    events = [Event(f"b{n}", "x.kept", "lane:a", TIME, data={"x": "x" * 400_000}) for n in range(5)]
    asked = [pair.link.ask("echo", {"n": n, "x": "y" * 150_000}) for n in range(12)]
    answers = asyncio.gather(*asked, pair.link.send_ahead(bytes(2_000_000)))
    for event in events:
        await pair.lane.record(event)
        await pair.lane.tell(len(pair.house.ids))
    await answers
    await until(lambda: pair.lane.journal.acked == pair.lane.journal.head)
    assert [id_ for id_ in pair.house.ids if id_.startswith("b")] == [event.id for event in events]


async def test_an_answer_longer_than_a_house_reads_is_an_error_of_its_own(pair: Pair) -> None:
    pair.lane.answers["show"] = "x" * (MAX_LANE_FRAME + 1)
    with pytest.raises(EdgeError, match="too large for the link"):
        await pair.link.ask("show", {})
    assert await pair.link.ask("echo", {}) == {}
