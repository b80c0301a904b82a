"""What the house notices stops the fleet at once, whatever lanes report or do not listen to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from allegro.adapters.sqlite.ledger import SqliteLedger, open_ledger
from allegro.core.authority.freeze import MAX_ACTIVE, Freeze
from allegro.core.health import codes
from allegro.core.health.alerts import sentence_of
from allegro.house.freezes import AT_ONCE, MAX_LANE_FREEZES, MAX_NOTICED, PACE_S, Freezes
from allegro.testing.virtual import SeededDice, VirtualClock
from tests.duties.alerts import noted


class Fleet:
    """Freezes on a real ledger; its lanes listen while `listens` is set."""

    def __init__(self, folder: Path) -> None:
        self.ledger: SqliteLedger = open_ledger(folder / "l.db")
        self.listens = asyncio.Event()
        self.listens.set()
        self.stopped: list[str] = []
        self.alerts: list[tuple[str, str]] = []
        self.clock = VirtualClock()
        self.freezes = Freezes(
            self.ledger, self.clock, SeededDice(3), noted(self.alerts), self._stop_all
        )

    async def _stop_all(self, freeze: Freeze) -> int:
        await self.listens.wait()
        self.stopped.append(freeze.id)
        return 1

    def active(self) -> set[str]:
        return {freeze.id for freeze in self.freezes.now.active}


@pytest.fixture
async def fleet(tmp_path: Path) -> AsyncIterator[Fleet]:
    made = Fleet(tmp_path)
    await made.freezes.resume(None)
    await made.freezes.thaw(tuple(made.active()), "a token")
    yield made
    await made.ledger.close()


def made(count: int, name: str) -> list[Freeze]:
    return [Freeze(f"{name}{n}", 1.0, "a lane", "stop") for n in range(count)]


async def test_a_lane_that_does_not_listen_holds_up_no_freeze(fleet: Fleet) -> None:
    fleet.listens.clear()
    for freeze in made(AT_ONCE - 1, "f"):
        await asyncio.wait_for(fleet.freezes.join((freeze,)), 1.0)
    await asyncio.wait_for(fleet.freezes.notice(Freeze("own", 1.0, "house", "seen"), "a"), 1.0)
    assert len(fleet.active()) == AT_ONCE
    assert {freeze.id for freeze in (await fleet.ledger.freezes()).active} == fleet.active()
    fleet.listens.set()
    await fleet.freezes.idle()
    assert set(fleet.stopped) == fleet.active()


async def test_stops_without_end_reach_lanes_at_a_pace_that_leaves_them_time(fleet: Fleet) -> None:
    for freeze in made(AT_ONCE + 5, "f"):
        fleet.freezes.report(freeze)
    for _ in range(20):
        await asyncio.sleep(0)
    assert len(fleet.stopped) == AT_ONCE
    await fleet.freezes.thaw(("f22",), "a token")
    for _ in range(5):
        fleet.clock.advance(PACE_S)
        for _ in range(20):
            await asyncio.sleep(0)
    await asyncio.wait_for(fleet.freezes.idle(), 1.0)
    assert set(fleet.stopped) == {f"f{n}" for n in range(AT_ONCE + 5)} - {"f22"}


async def test_stops_that_lanes_report_leave_room_for_what_the_house_notices(fleet: Fleet) -> None:
    many = made(2 * MAX_ACTIVE, "f")
    for at in range(0, len(many), MAX_LANE_FREEZES):
        await fleet.freezes.join(tuple(many[at : at + MAX_LANE_FREEZES]))
    assert len(fleet.active()) == MAX_ACTIVE
    await fleet.freezes.notice(Freeze("own", 1.0, "house", "a write by nobody"), "honest")
    assert "own" in fleet.active()


async def test_what_one_lane_shows_freezes_within_its_share_and_leaves_the_others_theirs(
    fleet: Fleet,
) -> None:
    for freeze in made(3 * MAX_NOTICED, "t"):
        await fleet.freezes.notice(freeze, "thief")
    assert len(fleet.active()) == MAX_NOTICED
    await fleet.freezes.notice(Freeze("own", 1.0, "house", "a write by nobody"), "honest")
    assert "own" in fleet.active()
    await fleet.freezes.thaw(tuple(fleet.active()), "a token")
    await fleet.freezes.notice(Freeze("later", 1.0, "house", "another"), "thief")
    assert fleet.active() == {"later"}


async def test_the_end_of_a_freeze_is_told_once_nothing_of_the_same_person_holds(
    fleet: Fleet,
) -> None:
    fleet.alerts.clear()
    await fleet.freezes.join((Freeze("a", 1.0, "rosa", "stop"), Freeze("b", 1.0, "rosa", "stop")))
    await fleet.freezes.thaw(("a",), "a token")
    assert [words for _, words in fleet.alerts] == [
        sentence_of(codes.FROZEN, "rosa", "", {"reason": "stop"})
    ] * 2
    await fleet.freezes.thaw(("b",), "a token")
    assert fleet.alerts[-1][1] == sentence_of(codes.THAWED, "rosa", "", {})
