"""The two shells of the link over a real Unix socket, with small fakes on both ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from allegro.adapters.clock import SystemClock, SystemDice
from allegro.adapters.sqlite.journal import SqliteJournal, open_journal
from allegro.core.errors import EdgeError, Refusal
from allegro.core.events import Event, decode_event
from allegro.core.messages import (
    PROTOCOL,
    Ack,
    Batch,
    FromHouse,
    FromLane,
    Greet,
    Hello,
    HouseBeat,
    LaneBeat,
    LogIn,
    Query,
    Refused,
    Reply,
    Welcome,
)
from allegro.core.ports import Journal
from allegro.core.sequence import Kept, Position, follow, start
from allegro.link.dial import LaneLink
from allegro.link.listen import LinkListener

TIME = "2030-01-01T00:00:00Z"


class Lane:
    """A LaneEnd that lets everybody in and answers each question with its own words."""

    def __init__(self, journal: SqliteJournal) -> None:
        self.journal: Journal = journal
        self.grew = asyncio.Event()

    def greet(self, hello: Hello) -> tuple[Greet | Refused, str]:
        return Greet(PROTOCOL, hello.challenge, "0"), "c"

    async def log_in(self, message: LogIn, challenge: str) -> Welcome | Refused:
        if message.token != challenge:
            return Refused("wrong_challenge", "try again")
        after = message.cursors[0] if message.cursors else start(self.journal.head.journal)
        return Welcome(after, self.journal.head.seq, ())

    async def answer(self, message: FromHouse) -> FromLane | None:
        assert isinstance(message, Query)
        return Reply(message.id, message.params) if message.method == "echo" else None

    async def heard(self, beat: HouseBeat) -> None:
        pass

    def beat(self) -> LaneBeat:
        return LaneBeat(self.journal.head.seq, "")

    async def tell(self, *numbers: int) -> None:
        events = [Event(f"e{n}", "x.kept", "lane:a", TIME) for n in numbers]
        await self.journal.append(events)
        self.grew.set()


class House:
    """A HouseEnd that keeps everything in memory."""

    def __init__(self, url: str) -> None:
        self.name = "a"
        self.pin: bytes | None = None
        self.url = url
        self.token = "c"
        self.at: Position | None = None
        self.ids: list[str] = []

    def hello(self) -> Hello:
        return Hello(PROTOCOL, "h")

    async def log_in(self, greeting: Greet, hello: Hello) -> LogIn | Refusal:
        cursors = () if self.at is None else (self.at,)
        return LogIn(self.token, (), (), (), cursors, (), 0.0)

    async def welcomed(self, welcome: Welcome) -> None:
        self.at = self.at or welcome.after

    async def take(self, batches: list[Batch]) -> Ack | Refusal:
        for batch in batches:
            assert self.at is not None
            moved = follow(self.at, batch.first_seq, batch.entries)
            if isinstance(moved, Refusal):
                return moved
            self.at = moved
            self.ids += [
                decode_event(entry.body).id for entry in batch.entries if isinstance(entry, Kept)
            ]
        assert self.at is not None
        return Ack(self.at)

    async def hear(self, message: FromLane) -> None:
        pass

    def beat(self) -> HouseBeat:
        return HouseBeat(0.0)


class Pair:
    """Both ends, linked."""

    def __init__(self, lane: Lane, house: House, link: LaneLink) -> None:
        self.lane, self.house, self.link = lane, house, link


async def until(check: Callable[[], Any]) -> None:
    async with asyncio.timeout(10):
        while not check():
            await asyncio.sleep(0.005)


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[Pair]:
    journal = await open_journal(
        tmp_path / "j.db", cap_bytes=10**8, reserved_share=0.1, new_id="j", now_s=lambda: 0.0,
        gap_event=lambda *told: Event("g", "journal.gap", "lane:a", TIME),
    )  # fmt: skip
    lane = Lane(journal)
    listener = LinkListener(lane)
    await listener.start(f"unix:{tmp_path / 's'}", None)
    house = House(f"ws+unix://{tmp_path / 's'}")
    link = LaneLink(house, SystemClock(), SystemDice())
    running = asyncio.create_task(link.run())
    await until(lambda: link.is_up)
    yield Pair(lane, house, link)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await listener.stop()
    await journal.close()


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
