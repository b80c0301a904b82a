"""A bug belongs to its item: it is tried twice, set aside, told, and the next item is handled."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from allegro.adapters.sqlite.archive import SqliteArchive, open_archive
from allegro.adapters.sqlite.ledger import SqliteLedger, open_ledger
from allegro.core.base.errors import EdgeError, Refusal, Unholdable
from allegro.core.base.events import Event, decode_event, encode_event
from allegro.core.base.sequence import Kept
from allegro.core.stores import Archived, Place, SetAside
from allegro.runtime.consumer import (
    DIED,
    TRIES,
    Items,
    Outcome,
    ReaderPorts,
)
from allegro.runtime.duties import keep_running
from allegro.runtime.reader import Reader
from allegro.testing.virtual import VirtualClock

TIME = "2030-01-01T00:00:00Z"


class Killed(BaseException):
    """The process is gone at this point, as far as the disk knows."""


class Desk:
    """Real stores, a duty that notes what it read, and what was set aside."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = VirtualClock()
        self.read: list[str] = []
        self.given: list[str] = []
        self.aside: list[SetAside] = []
        self.faults: dict[str, list[BaseException]] = {}
        self.count = 0

    async def open(self) -> None:
        self.archive: SqliteArchive = open_archive(self.folder / "a.db", quota_bytes=10**8)
        self.ledger: SqliteLedger = open_ledger(self.folder / "l.db")
        self.reader = self.made()
        self.items = Items("mirror", self.ledger, self.clock, self._set_aside)

    async def close(self) -> None:
        await self.archive.close()
        await self.ledger.close()

    async def restart(self) -> None:
        await self.close()
        await self.open()

    def made(self) -> Reader:
        ports = ReaderPorts(self.archive, self.ledger, self.clock, self._set_aside)
        return Reader("test", ("x.",), self._one, ports)

    async def _set_aside(self, aside: SetAside, _: bytes) -> None:
        self.aside.append(aside)

    async def _one(self, archived: Archived) -> None:
        id_ = decode_event(archived.stored).id
        self.given.append(id_)
        if self.faults.get(id_):
            raise self.faults[id_].pop(0)
        self.read.append(id_)

    async def bring(self, *ids: str, type_: str = "x.y") -> None:
        bodies = [Kept(encode_event(Event(id_, type_, "lane:a", TIME))) for id_ in ids]
        taken = await self.archive.take("a", "j", self.count + 1, bodies, 1.0)
        assert not isinstance(taken, Refusal)
        self.count += len(ids)


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    made = Desk(tmp_path)
    await made.open()
    yield made
    await made.close()


@pytest.mark.parametrize("error", [
    ValueError("bad"), KeyError("k"), RecursionError(), MemoryError(), TypeError("t"),
    Unholdable("no row"), EdgeError("never", transient=False), ZeroDivisionError(),
])  # fmt: skip
async def test_an_event_that_raises_twice_is_set_aside_and_the_next_is_read(
    desk: Desk, error: Exception
) -> None:
    desk.faults["b"] = [error, error]
    await desk.bring("a", "b", "c")
    await desk.reader.read_on()
    assert desk.read == ["a", "c"]
    assert desk.given == ["a", "b", "b", "c"]
    assert [(one.item, one.lane, one.duty) for one in desk.aside] == [("2", "a", "test")]
    assert await desk.ledger.all_set_aside() == desk.aside
    await desk.restart()
    await desk.bring("d")
    await desk.reader.read_on()
    assert desk.read == ["a", "c", "d"]


async def test_an_event_that_raises_once_is_read_at_its_second_try(desk: Desk) -> None:
    desk.faults["b"] = [ValueError("once")]
    await desk.bring("a", "b", "c")
    await desk.reader.read_on()
    assert desk.read == ["a", "b", "c"]
    assert desk.aside == []


async def test_a_disk_that_refuses_sets_nothing_aside_however_often(desk: Desk) -> None:
    desk.faults["b"] = [EdgeError("full", transient=True) for _ in range(10)]
    await desk.bring("a", "b", "c")
    for _ in range(10):
        with pytest.raises(EdgeError):
            await desk.reader.read_on()
    await desk.reader.read_on()
    assert desk.read == ["a", "b", "c"]
    assert desk.aside == []


async def test_a_death_in_bulk_reads_that_stretch_again_and_blames_nobody(desk: Desk) -> None:
    desk.faults["b"] = [Killed()]
    await desk.bring("a", "b", "c")
    with pytest.raises(Killed):
        await desk.reader.read_on()
    await desk.restart()
    await desk.reader.read_on()
    assert desk.read == ["a", "a", "b", "c"]
    assert desk.aside == []


async def test_an_event_that_kills_the_program_is_set_aside_after_two_deaths_by_itself(
    desk: Desk,
) -> None:
    desk.faults["b"] = [Killed() for _ in range(9)]
    await desk.bring("a", "b", "c")
    deaths = 0
    for _ in range(9):
        try:
            await desk.reader.read_on()
            break
        except Killed:
            deaths += 1
            await desk.restart()
    assert deaths == 1 + TRIES
    assert [one.reason for one in desk.aside] == [DIED]
    assert desk.read[-1] == "c"
    assert desk.given.count("a") == 2


async def test_a_raise_and_a_death_are_two_tries(desk: Desk) -> None:
    desk.faults["b"] = [ValueError("x"), Killed(), Killed()]
    await desk.bring("b", "c")
    with pytest.raises(Killed):
        await desk.reader.read_on()
    await desk.restart()
    await desk.reader.read_on()
    assert desk.read == ["c"]
    assert len(desk.aside) == 1


async def test_a_clean_stop_is_no_try(desk: Desk) -> None:
    desk.faults["b"] = [asyncio.CancelledError() for _ in range(6)]
    await desk.bring("a", "b", "c")
    for _ in range(6):
        with pytest.raises(asyncio.CancelledError):
            await desk.reader.read_on()
        await desk.restart()
    await desk.reader.read_on()
    assert desk.read[-2:] == ["b", "c"]
    assert desk.aside == []


async def test_a_place_of_before_is_taken_over(desk: Desk) -> None:
    await desk.bring("a", "b", "c")
    await desk.ledger.set_number("test", 2)
    await desk.reader.read_on()
    assert desk.read == ["c"]


async def test_in_bulk_a_place_is_written_once_for_many_events(desk: Desk) -> None:
    await desk.bring(*(f"e{n}" for n in range(1_000)))
    kept: list[Place] = []

    class Counting(SqliteLedger):
        async def keep_place(self, name: str, place: Place) -> None:
            kept.append(place)
            await super().keep_place(name, place)

    desk.ledger.__class__ = Counting
    await desk.reader.read_on()
    assert len(desk.read) == 1_000
    assert len(kept) <= 6
    assert await desk.ledger.place("test") == Place(1_000, 1_000)


async def test_what_a_duty_does_not_follow_costs_no_commit(desk: Desk) -> None:
    await desk.bring("a")
    await desk.reader.read_on()
    before = await desk.ledger.place("test")
    await desk.bring(*(f"n{n}" for n in range(100)), type_="other.kind")
    await desk.reader.read_on()
    assert await desk.ledger.place("test") == before
    assert desk.reader.row == 101


# --- items that come from elsewhere -----------------------------------------------------------


def failing(*errors: BaseException) -> Callable[[], Awaitable[None]]:
    left = list(errors)

    async def work() -> None:
        if left:
            raise left.pop(0)

    return work


async def test_an_item_that_fails_twice_is_set_aside_and_others_go_on(desk: Desk) -> None:
    work = failing(ValueError("x"), ValueError("x"))
    assert await desk.items.handle("r1", work, lane="a") is Outcome.AGAIN
    assert await desk.items.handle("r2", failing()) is Outcome.DONE
    assert await desk.items.handle("r1", work, lane="a") is Outcome.SET_ASIDE
    assert [(one.item, one.lane) for one in desk.aside] == [("r1", "a")]
    assert await desk.items.handle("r1", work) is Outcome.DONE


async def test_an_items_edge_errors_are_the_dutys_own_and_count_as_no_try(desk: Desk) -> None:
    for _ in range(5):
        with pytest.raises(EdgeError):
            await desk.items.handle("r1", failing(EdgeError("away", transient=True)))
    assert await desk.ledger.begun("mirror") == {}
    assert await desk.items.handle("r1", failing()) is Outcome.DONE


async def test_an_item_that_kills_the_program_twice_is_set_aside_untried(desk: Desk) -> None:
    for _ in range(TRIES):
        with pytest.raises(Killed):
            await desk.items.handle("r1", failing(Killed()))
        await desk.restart()
    assert await desk.items.handle("r1", failing()) is Outcome.SET_ASIDE
    assert desk.aside[0].reason == DIED


async def test_a_task_that_serves_one_lane_is_begun_again_after_its_bug(desk: Desk) -> None:
    failed: list[str] = []
    work = failing(ValueError("x"), KeyError("y"))
    running = asyncio.create_task(
        keep_running("link a", work, desk.clock, lambda _: 1.0, failed.append)
    )
    for _ in range(100):
        desk.clock.advance(1.0)
        await asyncio.sleep(0)
    await running
    assert len(failed) == 2
