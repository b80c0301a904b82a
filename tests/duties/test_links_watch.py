"""What the house writes of its links, of what it looked at, and of requests that ended."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from allegro.adapters.crypto.signatures import verify
from allegro.adapters.sqlite.archive import SqliteArchive, open_archive
from allegro.core.authority.freeze import Freeze, FreezeSet
from allegro.core.base.errors import EdgeError
from allegro.core.base.events import Event, decode_event, encode_event
from allegro.core.base.sequence import Kept, start
from allegro.core.protocol.answers.house import LinkedLane
from allegro.core.protocol.messages import Batch, Welcome
from allegro.house.endpoint import House as Shared
from allegro.house.endpoint import LaneEndpoint
from allegro.house.files import KnownLane
from allegro.house.fleet.links import PROBE_S, LinkWatch
from allegro.house.lanes import Lanes
from allegro.house.measures.settled import SettledEvents
from allegro.house.ports import Ports
from allegro.testing.virtual import SeededDice, VirtualClock
from tests.core.builders import HOUSE, LANE

from .house import FLEET
from .house import House as Small


class TwoLanes:
    """What the watch asks of `Lanes`."""

    def __init__(self) -> None:
        self.lanes: dict[str, LinkedLane] = {}

    def set(self, name: str, **values: Any) -> None:
        held = self.lanes.get(name, LinkedLane(name=name))
        self.lanes[name] = msgspec.structs.replace(held, **values)

    def describe(self) -> list[LinkedLane]:
        return list(self.lanes.values())


class World:
    def __init__(self, small: Small, archive: SqliteArchive) -> None:
        self.small, self.archive, self.clock = small, archive, small.clock
        self.lanes = TwoLanes()
        self.ports = Ports(archive, small.ledger, self.clock, SeededDice(4), lambda event: None)
        self.links = LinkWatch(self.ports, cast(Lanes, self.lanes))
        self.settled = SettledEvents(self.ports, small.requests)

    async def written(self) -> list[tuple[str, dict[str, Any]]]:
        found, _ = await self.archive.scan(0, 10_000, ("link.", "fleet.probed", "request."))
        events = [decode_event(one.stored) for one in found]
        return [(event.type, event.data) for event in events]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    small = Small(tmp_path, VirtualClock())
    await small.start()
    archive = open_archive(tmp_path / "archive.db", quota_bytes=10**9)
    yield World(small, archive)
    await archive.close()
    await small.ledger.close()


async def test_a_link_that_catches_up_and_is_lost_is_written_once_each(
    world: World,
) -> None:
    world.lanes.set("a", linked=True, since_s=100.0, behind=7)
    await world.links.look()
    await world.links.look()
    world.lanes.set("a", caught_up_s=103.5)
    await world.links.look()
    world.lanes.set("a", linked=False, down_s=200.0)
    await world.links.look()
    await world.links.look()
    assert await world.written() == [
        ("link.caught_up", {"lane": "a", "took_s": 3.5, "entries": 7}),
        ("link.down", {"lane": "a", "since_s": 200.0}),
    ]


async def test_a_link_that_flaps_between_two_looks_is_written_as_lost(
    world: World,
) -> None:
    world.lanes.set("a", linked=True, since_s=100.0)
    await world.links.look()
    world.lanes.set("a", down_s=110.0, since_s=112.0)
    await world.links.look()
    assert [(type_, data["since_s"]) for type_, data in await world.written()] == [
        ("link.down", 110.0),
    ]  # fmt: skip


async def test_that_a_lane_is_linked_stands_in_the_archive_before_anything_it_tells(
    world: World,
) -> None:
    async def froze(_: tuple[Freeze, ...]) -> None:
        return

    small = world.small
    house = Shared(
        world.archive, small.ledger, world.clock, SeededDice(6), fleet=lambda: FLEET,
        freezes=lambda: small.frozen, sign=HOUSE.sign, verify=verify, archived=lambda: None,
        lane_froze=froze,
    )  # fmt: skip
    end = LaneEndpoint(house, KnownLane("a", LANE.public, "ws://127.0.0.1:1", None))
    await end.welcomed(Welcome(start("j1"), 1, ()))
    told = Event("e1", "lane.beat", "lane:a", "2030-01-01T00:00:00Z")
    await end.take([Batch("j1", 1, (Kept(encode_event(told)),), 1)])
    found = [decode_event(one.stored) for one in await world.archive.events(0, 10)]
    assert [one.type for one in found] == ["link.up", "lane.beat"]
    assert found[0].data == {"lane": "a", "since_s": world.clock.now_s(), "behind": 1}
    assert end.caught_up_s == world.clock.now_s()


async def test_who_is_silent_is_written_once_a_minute_and_nothing_while_all_are_linked(
    world: World,
) -> None:
    world.lanes.set("a", linked=True, since_s=100.0)
    world.lanes.set("b")
    for _ in range(26):
        world.clock.advance(5)
        await world.links.look()
    probes = [data for type_, data in await world.written() if type_ == "fleet.probed"]
    assert probes == [{"linked": ["a"], "silent": ["b"]}] * 2
    world.lanes.set("b", linked=True, since_s=300.0)
    for _ in range(26):
        world.clock.advance(5)
        await world.links.look()
    assert [type_ for type_, _ in await world.written()].count("fleet.probed") == 2


async def test_a_house_that_slept_looked_at_nobody_until_lanes_had_a_minute_to_come_back(
    world: World,
) -> None:
    world.lanes.set("b")
    world.clock.advance(8 * 3600)
    for _ in range(int(PROBE_S / 5) - 1):
        await world.links.look()
        world.clock.advance(5)
    assert await world.written() == []


async def test_what_the_disk_refused_is_written_at_the_next_look(world: World) -> None:
    world.lanes.set("a", linked=True, since_s=100.0)
    await world.links.look()
    world.lanes.set("a", linked=False, down_s=200.0)
    good = world.links._archive

    class Full:
        async def add(self, stored: Any, at_s: float) -> None:
            raise EdgeError("the disk is full", transient=True)

    world.links._archive = cast(Any, Full())
    with pytest.raises(EdgeError):
        await world.links.look()
    world.links._archive = good
    await world.links.look()
    assert [type_ for type_, _ in await world.written()] == ["link.down"]


async def test_a_request_that_ended_is_in_the_archive_once_also_after_a_restart(
    world: World,
) -> None:
    small = world.small
    done = await small.comment("one")
    small.frozen = FreezeSet()
    await small.requests.withdraw(done.id)
    await world.settled.write()
    await world.settled.write()
    other = await small.propose(kind="close_issue", issue=3)
    await small.requests.reject(other.id, "no")
    again = SettledEvents(world.ports, small.requests)  # killed before it wrote the second
    await again.write()
    written = await world.written()
    assert [(data["request"], data["state"]) for _, data in written] == [
        (done.id, "withdrawn"), (other.id, "rejected"),
    ]  # fmt: skip
    assert written[1][1]["settled_s"] == small.now(other).settled_s


async def test_what_the_house_asks_of_itself_is_not_told_as_a_request(world: World) -> None:
    small = world.small
    asked = await small.comment("one")
    mirror = await small.mirror(asked.id, "words")
    await small.requests.withdraw(mirror.id)
    await world.settled.write()
    assert await world.written() == []
