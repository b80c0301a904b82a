"""Small fakes for both ends of the link, and a way to open them over a socket."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from allegro.adapters.clock import SystemClock, SystemDice
from allegro.adapters.sqlite.journal import SqliteJournal, open_journal
from allegro.core.authority.freeze import Freeze
from allegro.core.base.errors import Refusal
from allegro.core.base.events import Event, decode_event
from allegro.core.base.sequence import Kept, Position, follow, start
from allegro.core.ports import Journal
from allegro.core.protocol.messages import (
    PROTOCOL,
    Ack,
    Batch,
    Challenge,
    ChallengeWanted,
    FromHouse,
    FromLane,
    GiveOrder,
    Greet,
    Hello,
    HouseBeat,
    LaneBeat,
    LogIn,
    OrderAnswer,
    Query,
    Refused,
    Reply,
    Stop,
    Welcome,
)
from allegro.link.blobs import LANE_BYTES, Blobs
from allegro.link.dial import LaneLink
from allegro.link.listen import LinkListener

TIME = "2030-01-01T00:00:00Z"


class Lane:
    """A LaneEnd that lets everybody in and answers each question with its own words."""

    def __init__(self, journal: SqliteJournal) -> None:
        self.journal: Journal = journal
        self.grew = asyncio.Event()
        self.blobs = Blobs(LANE_BYTES)
        self.freezes: list[Freeze] = []
        self.orders: list[bytes | None] = []
        self.answers: dict[str, Any] = {}

    def greet(self, hello: Hello) -> tuple[Greet | Refused, str]:
        return Greet(hello.protocol, hello.challenge, "0"), "c"

    async def log_in(self, message: LogIn, challenge: str) -> Welcome | Refused:
        if message.token != challenge:
            return Refused("wrong_challenge", "try again")
        after = message.cursors[0] if message.cursors else start(self.journal.head.journal)
        return Welcome(after, self.journal.head.seq, ())

    async def answer(self, message: FromHouse) -> FromLane | None:
        match message:
            case ChallengeWanted():
                return Challenge(message.id, "challenge")
            case GiveOrder():
                named = message.content is not None
                content = self.blobs.find(message.content or "") if named else message.action
                self.orders.append(content)
                return OrderAnswer(message.id, "" if content is not None else "missing", "")
            case Stop():
                self.freezes.append(message.freeze)
            case Query() if message.method == "echo":
                return Reply(message.id, message.params)
            case Query() if message.method in self.answers:
                return Reply(message.id, self.answers[message.method])
        return None

    async def heard(self, beat: HouseBeat) -> None:
        pass

    def beat(self) -> LaneBeat:
        return LaneBeat(self.journal.head.seq, "")

    async def tell(self, *numbers: int) -> None:
        await self.record(*(Event(f"e{n}", "x.kept", "lane:a", TIME) for n in numbers))

    async def record(self, *events: Event) -> None:
        await self.journal.append(list(events))
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

    def __init__(self, lane: Lane, house: House, link: LaneLink, listener: LinkListener) -> None:
        self.lane, self.house, self.link, self.listener = lane, house, link, listener


async def until(check: Callable[[], Any], within_s: float = 10) -> None:
    async with asyncio.timeout(within_s):
        while not check():
            await asyncio.sleep(0.005)


@contextlib.asynccontextmanager
async def open_lane(
    folder: Path, listen: str, make: Callable[[SqliteJournal], Lane] = Lane
) -> AsyncIterator[tuple[Lane, LinkListener]]:
    """Serve the link with an empty journal."""
    journal = await open_journal(
        folder / "j.db", cap_bytes=10**9, reserved_share=0.1, new_id="j", now_s=lambda: 0.0,
        gap_event=lambda *told: Event("g", "journal.gap", "lane:a", TIME),
    )  # fmt: skip
    lane = make(journal)
    listener = LinkListener(lane, lane.blobs)
    await listener.start(listen, None)
    try:
        yield lane, listener
    finally:
        await listener.stop()
        await journal.close()


@contextlib.asynccontextmanager
async def dialling(house: House) -> AsyncIterator[LaneLink]:
    """Keep a house's link to its lane up meanwhile."""
    link = LaneLink(house, SystemClock(), SystemDice())
    running = asyncio.create_task(link.run())
    try:
        await until(lambda: link.is_up)
        yield link
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
