"""The archive is read lane by lane: what one lane floods holds up nobody else's events."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from allegro.adapters.sqlite.archive import open_archive
from allegro.adapters.sqlite.ledger import open_ledger
from allegro.core.base.errors import EdgeError, Refusal
from allegro.core.base.events import Event, decode_event, encode_event
from allegro.core.base.sequence import Kept
from allegro.core.stores import Archived, Place, SetAside
from allegro.runtime.consumer import ReaderPorts
from allegro.runtime.reader import CHUNK, MOST_ROWS, Reader
from allegro.testing.virtual import VirtualClock

TIME = "2030-01-01T00:00:00Z"


class Killed(BaseException):
    """The process is gone at this point, as far as the disk knows."""


class House:
    """Real stores and a reader that notes what it was given."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = VirtualClock()
        self.given: list[str] = []
        self.faults: dict[str, BaseException] = {}
        self._seq: dict[str, int] = {}

    async def open(self) -> None:
        self.archive = open_archive(self.folder / "a.db", quota_bytes=10**8)
        self.ledger = open_ledger(self.folder / "l.db")
        ports = ReaderPorts(self.archive, self.ledger, self.clock, self._set_aside)
        self.reader = Reader("test", ("x.",), self._one, ports)

    async def close(self) -> None:
        await self.archive.close()
        await self.ledger.close()

    async def restart(self) -> None:
        await self.close()
        await self.open()

    async def _set_aside(self, aside: SetAside, stored: bytes) -> None:
        raise AssertionError(aside.reason)

    async def _one(self, archived: Archived) -> None:
        id_ = decode_event(archived.stored).id
        self.given.append(id_)
        if (fault := self.faults.pop(id_, None)) is not None:
            raise fault

    async def bring(self, lane: str, count: int) -> None:
        """Archive so many events of a lane, named by lane and number."""
        first = self._seq.get(lane, 0) + 1
        self._seq[lane] = first + count - 1
        bodies = [
            Kept(encode_event(Event(f"{lane}{first + n}", "x.y", f"lane:{lane}", TIME)))
            for n in range(count)
        ]
        taken = await self.archive.take(lane, f"j-{lane}", first, bodies, 1.0)
        assert not isinstance(taken, Refusal)

    def of(self, lane: str) -> list[str]:
        return [id_ for id_ in self.given if id_.startswith(lane)]

    def all_of(self, lane: str) -> list[str]:
        return [f"{lane}{n + 1}" for n in range(self._seq[lane])]


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    made = House(tmp_path)
    await made.open()
    yield made
    await made.close()


async def test_a_flood_of_one_lane_holds_up_the_others_for_one_turn(house: House) -> None:
    await house.bring("thief", 3_000)
    await house.bring("honest", 1)
    assert await house.reader.read_share()
    assert len(house.of("thief")) == CHUNK
    assert house.of("honest") == ["honest1"]
    assert (house.reader.waits("thief"), house.reader.waits("honest")) == (True, False)
    await house.bring("honest", 2)
    await house.reader.read_share()
    assert house.of("honest") == ["honest1", "honest2", "honest3"]
    assert len(house.of("thief")) == 2 * CHUNK
    await house.reader.read_on()
    assert house.of("thief") == house.all_of("thief")
    assert await house.ledger.place("test") == Place(3_003, 3_003)


async def test_more_than_stands_in_memory_is_read_whole_and_in_order(house: House) -> None:
    await house.bring("thief", MOST_ROWS + 500)
    await house.bring("honest", 1)
    await house.bring("thief", 500)
    await house.reader.read_share()
    assert house.of("honest") == ["honest1"]
    await house.reader.read_on()
    assert house.of("thief") == house.all_of("thief")
    assert house.of("honest") == ["honest1"]


async def test_after_a_death_each_lane_goes_on_from_its_own_place(house: House) -> None:
    await house.bring("thief", 5 * CHUNK)
    await house.bring("honest", CHUNK + 1)
    for _ in range(2):
        await house.reader.read_share()
    await house.bring("honest", 1)
    house.faults[f"thief{2 * CHUNK + 5}"] = Killed()
    with pytest.raises(Killed):
        await house.reader.read_share()
    await house.restart()
    house.given.clear()
    await house.reader.read_on()
    assert house.of("thief") == house.all_of("thief")[2 * CHUNK :]
    assert house.of("honest") == house.all_of("honest")[CHUNK:]


async def test_a_lane_whose_event_meets_a_refusing_disk_holds_up_no_other(house: House) -> None:
    await house.bring("thief", 10)
    await house.bring("honest", 10)
    house.faults["thief3"] = EdgeError("full", transient=True)
    with pytest.raises(EdgeError):
        await house.reader.read_share()
    assert house.of("honest") == house.all_of("honest")
    await house.reader.read_on()
    assert house.of("thief") == ["thief1", "thief2", "thief3", *house.all_of("thief")[2:]]


async def test_a_place_of_a_release_before_is_gone_on_from_by_every_lane(house: House) -> None:
    await house.bring("a", 3)
    await house.bring("b", 3)
    await house.ledger.keep_place("test", Place(2, 5, 3, 1))
    await house.reader.read_on()
    assert house.given == ["a3", "b1", "b2", "b3"]


async def test_a_lane_begins_anew_only_where_nothing_of_it_was_read(house: House) -> None:
    assert await house.reader.begins_anew("thief")
    await house.bring("thief", 2 * CHUNK + 1)
    for _ in range(2):
        await house.reader.read_share()
    await house.restart()
    assert not await house.reader.begins_anew("thief")
    assert await house.reader.begins_anew("honest")
    await house.reader.read_on()
    assert not await house.reader.begins_anew("honest")
