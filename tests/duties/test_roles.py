"""Three lanes keep one council in virtual time: who polls, who takes over, who stands down."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from allegro.adapters.council import LocalCouncil, Registers
from allegro.core.authority.freeze import Freeze, contains
from allegro.core.authority.lease import ANYBODY, MAX_EPOCH, Me, holds
from allegro.core.base.errors import EdgeError
from allegro.core.forge.marks import Mark
from allegro.core.protocol.pages import MAX_FREEZES, Page
from allegro.lane.context.role_work import RoleWork, Workers
from allegro.lane.context.state import HOUSE_S
from allegro.lane.fleet.lease_memory import Epochs, Memory, Written
from allegro.lane.fleet.peers import ASIDE_S, SILENT_S
from allegro.lane.fleet.roles import Pace, Roles, Terms
from allegro.lane.forge.polling.watches import newest_home

from .small_fleet import LEASE_S, RETURN_S, Fleet, opened


@pytest.fixture
async def fleet(tmp_path: Path) -> AsyncIterator[Fleet]:
    async with opened(tmp_path) as made:
        yield made


async def test_the_preferred_lane_holds_the_role_and_keeps_it(fleet: Fleet) -> None:
    for _ in range(20):
        assert fleet.holders() == ["a"]
        await fleet.live(1)


async def test_a_dead_lanes_role_goes_to_the_next_and_is_told_once_with_its_times(
    fleet: Fleet,
) -> None:
    a, b = fleet.lanes["a"], fleet.lanes["b"]
    a.alive = False
    await fleet.live(7)
    assert fleet.holders() == ["b"]
    await b.roles.acted("forge")
    await b.roles.acted("forge")
    (told,) = await b.told("role.taken")
    assert (told["before"], told["why"], told["epoch"]) == ("a", "expired", 2)
    assert told["silent_s"] == LEASE_S
    assert b.kept == {"forge": 2}


async def test_a_take_over_whose_answer_was_lost_is_noted_like_any(fleet: Fleet) -> None:
    b = fleet.lanes["b"]
    b.council.loses_answers = 1
    fleet.lanes["a"].alive = False
    await fleet.live(3 * LEASE_S)
    assert fleet.holders() == ["b"]
    assert b.council.loses_answers == 0
    assert "forge" in b.roles.taken


async def test_a_lane_that_came_back_waits_until_it_was_well_for_a_while(fleet: Fleet) -> None:
    a = fleet.lanes["a"]
    a.alive = False
    await fleet.live(10)
    a.alive = True
    await fleet.live(RETURN_S - 5)
    assert fleet.holders() == ["b"]
    await fleet.live(10)
    assert fleet.holders() == ["a"]


async def test_a_lane_that_was_away_for_a_moment_is_offered_nothing_at_once(fleet: Fleet) -> None:
    """Its last page is still fresh, and it was well for long before: it must be well anew."""
    await fleet.live(RETURN_S)
    a = fleet.lanes["a"]
    await a.roles.leave()
    a.alive = False
    await fleet.live(2)
    assert fleet.holders() == ["b"]
    for _ in range(10):
        await fleet.live(1)
        assert fleet.holders() == ["b"], "never offered to a lane that is gone"
    a.alive = True
    a.roles._asked.clear()
    await fleet.live(RETURN_S - 5)
    assert fleet.holders() == ["b"]


async def test_a_holder_that_cannot_work_hands_over_at_once(fleet: Fleet) -> None:
    fleet.lanes["a"].is_ready = False
    await fleet.live(3)
    assert fleet.holders() == ["b"]


async def test_nobody_who_can_work_leaves_the_role_where_it_is(fleet: Fleet) -> None:
    fleet.lanes["b"].is_ready = fleet.lanes["c"].is_ready = False
    await fleet.live(5)
    fleet.lanes["a"].is_ready = False
    await fleet.live(20)
    assert fleet.holders() == ["a"]


async def test_offered_to_one_that_cannot_either_the_role_goes_to_the_first_that_can(
    fleet: Fleet,
) -> None:
    for lane in fleet.lanes.values():
        lane.is_ready = False
    await fleet.live(20)
    assert fleet.holders() == []
    fleet.lanes["c"].is_ready = True
    await fleet.live(2)
    assert fleet.holders() == ["c"]


async def test_a_lane_cut_off_from_the_council_stands_down_by_itself(fleet: Fleet) -> None:
    a = fleet.lanes["a"]
    a.council.away = True
    fleet.clock.advance(LEASE_S * 0.85)
    assert not a.holds
    await fleet.live(7)
    assert fleet.holders() == ["b"]
    assert len(await a.told("council.lost")) == 1
    a.council.away = False
    await fleet.live(3)
    assert len(await a.told("council.back")) == 1
    assert fleet.holders() == ["b"]


async def test_a_lane_that_rests_hands_over_and_gets_nothing_back_meanwhile(fleet: Fleet) -> None:
    for lane in fleet.lanes.values():
        lane.siblings.rest("a", "forge", 200)
    await fleet.live(3)
    assert fleet.holders() == ["b"]
    await fleet.live(150)
    assert fleet.holders() == ["b"]
    await fleet.live(60 + RETURN_S)
    assert fleet.holders() == ["a"]


async def test_asked_for_by_name_the_role_goes_there(fleet: Fleet) -> None:
    fleet.lanes["a"].roles.hand_over("forge", "c")
    await fleet.live(3)
    assert fleet.holders() == ["c"]


async def test_work_under_way_ends_before_the_role_is_offered(fleet: Fleet) -> None:
    a = fleet.lanes["a"]
    seen: list[tuple[bool, str]] = []

    async def drain() -> None:
        slot = await a.council.read("forge")
        seen.append((a.holds, slot.record.offered if slot.record else ""))

    a.workers.enter("forge", RoleWork(lambda: True, drain=drain))
    a.roles.hand_over("forge", "b")
    await a.roles.step("forge")
    assert seen == [(False, "")], "the lease was given up, and nothing offered yet"


async def test_a_lane_that_ends_offers_its_roles_to_anybody(fleet: Fleet) -> None:
    a = fleet.lanes["a"]
    await a.roles.leave()
    slot = await a.council.read("forge")
    assert slot.record is not None
    assert slot.record.offered == ANYBODY
    a.alive = False
    await fleet.live(2)
    assert fleet.holders() == ["b"]


async def test_the_role_of_a_revoked_lane_is_taken_at_once(fleet: Fleet) -> None:
    fleet.banned = frozenset({"a"})
    fleet.lanes["a"].alive = False
    await fleet.live(2)
    assert fleet.holders() == ["b"]


async def test_without_a_house_a_role_is_held_and_nothing_is_done_under_it(fleet: Fleet) -> None:
    state = fleet.lanes["a"].state
    assert fleet.lanes["a"].holds
    assert state.acting_lease("forge") is None
    state.heard_house(fleet.clock.now_s())
    assert holds(state.acting_lease("forge"), fleet.clock.boot_s())
    await fleet.live(HOUSE_S + 1)
    assert fleet.lanes["a"].holds
    assert not holds(state.acting_lease("forge"), fleet.clock.boot_s())


async def test_a_freeze_of_one_lane_reaches_all_through_the_council(fleet: Fleet) -> None:
    fleet.lanes["c"].state.freeze(Freeze("f1", 1.0, "chat", "stop"))
    await fleet.live(5)
    assert all(not lane.state.freezes.is_thawed for lane in fleet.lanes.values())
    assert fleet.holders() == ["a"], "reading goes on"
    fleet.lanes["c"].state.thaw(("f1",))
    await fleet.live(5)
    assert not fleet.lanes["a"].state.freezes.is_thawed, "no thaw comes through the council"


async def test_marks_that_are_home_are_known_to_the_others(fleet: Fleet) -> None:
    fleet.lanes["a"].state.home_marks["acme/web"] = Mark(500, 501.0)
    fleet.lanes["b"].state.home_marks["acme/web"] = Mark(400, 401.0)
    await fleet.live(5)
    assert fleet.lanes["b"].state.sibling_marks["a"] == {"acme/web": Mark(500, 501.0)}


@pytest.mark.parametrize("wall_s", [0.0, 1e300, -1e300])
async def test_a_mark_counts_on_our_own_clock_and_never_ahead_of_the_forge(wall_s: float) -> None:
    known = ({"w": Mark(400, 400.0)}, {"w": Mark(500, wall_s)}, {"w": Mark(10**9, wall_s)})
    assert newest_home(known, "w", 600, 1_000.0) == Mark(500, 900.0)
    assert newest_home(known, "other", 600, 1_000.0) is None


async def test_freezes_without_end_stop_being_taken(fleet: Fleet) -> None:
    thief, a = fleet.lanes["c"], fleet.lanes["a"]
    for number in range(10):
        many = tuple(Freeze(f"{number}-{n}", 1.0, "x", "y") for n in range(60))
        await thief.council.publish(Page("c", 1.0, freezes=many))
        await a.siblings.step()
    assert len(a.state.freezes.active) == MAX_FREEZES, "one lane adds so many and no more"
    b, house = fleet.lanes["b"], Freeze("stop", 2.0, "house", "stop")
    b.state.freeze(house)
    await b.siblings.step()
    await a.siblings.step()
    assert contains(a.state.freezes, house.id), "another lane's stop is still taken over"


async def test_a_page_in_anothers_name_is_not_believed(fleet: Fleet) -> None:
    forged = Page("b", 1.0, ("forge",), freezes=(Freeze("f", 1.0, "x", "y"),))
    fleet.lanes["b"].alive = False
    await fleet.live(10)

    async def liar(lane: str) -> tuple[int, Page | None]:
        return 10**9, forged

    fleet.lanes["a"].council.page = liar  # type: ignore[method-assign]
    await fleet.lanes["a"].siblings.step()
    told = {one.lane: one.heard for one in fleet.lanes["a"].siblings.describe()}
    assert told == {"b": True, "c": False}
    assert fleet.lanes["a"].state.freezes.is_thawed is False


async def watched(fleet: Fleet, seconds: float) -> None:
    """Let the fleet live, and the first lane look out for the others as it does in truth."""
    for _ in range(int(seconds / 2)):
        await fleet.live(2)
        await fleet.lanes["a"].siblings._note_silence()


async def test_a_lane_that_is_not_heard_is_told_once_and_once_when_it_is_back(
    fleet: Fleet,
) -> None:
    a, b = fleet.lanes["a"], fleet.lanes["b"]
    b.alive = False
    await watched(fleet, SILENT_S + 10)
    (missing,) = await a.told("beat.missing")
    assert missing["lane"] == "b"
    b.alive = True
    await watched(fleet, 10)
    (back,) = await a.told("beat.back")
    assert isinstance(back["silent_s"], float)
    assert back["silent_s"] > SILENT_S


async def test_a_lane_that_slept_takes_nobody_for_silent(fleet: Fleet) -> None:
    a = fleet.lanes["a"]
    await watched(fleet, 10)
    a.alive = False  # it is stopped, and the others go on
    await fleet.live(2 * SILENT_S)
    a.alive = True
    await a.siblings._note_silence()
    await watched(fleet, 10)
    assert await a.told("beat.missing") == []
    fleet.lanes["b"].alive = False
    await watched(fleet, SILENT_S + 10)
    assert [one["lane"] for one in await a.told("beat.missing")] == ["b"]


@pytest.mark.parametrize("epoch", [0, 1, 2, 7])
async def test_a_lane_that_is_alone_takes_its_role_at_once_at_every_start(
    fleet: Fleet, epoch: int
) -> None:
    a, epochs = fleet.lanes["a"], Epochs({"forge": epoch} if epoch else {}, _drop)
    alone = LocalCouncil(Registers(), "a", alone=True, highest=epochs.highest)
    a.state.leases.clear()
    terms = Terms(
        me=Me("a", "a9"), roles=("forge",), pace=Pace(30.0, RETURN_S), order=lambda role: ("a",),
        banned=frozenset, ready=a.ready,
    )  # fmt: skip
    memory = Memory(epochs, Written({}, _drop))
    roles = Roles(a.ctx, alone, a.siblings, terms, memory, Workers())
    await roles.step("forge")
    assert a.holds
    assert epochs.highest("forge") == max(1, epoch) + 1


async def nobody_s(fleet: Fleet, seconds: int) -> int:
    """Live on, and return how many of these seconds nobody held the role."""
    nobody = 0
    for _ in range(seconds):
        await fleet.live(1)
        nobody += not fleet.holders()
    return nobody


async def test_a_preferred_lane_that_says_ready_and_takes_nothing_is_offered_less_and_less(
    fleet: Fleet,
) -> None:
    """A thief's page alone: it is read as ready, and no record is ever written for it."""
    await fleet.live(RETURN_S)
    a = fleet.lanes["a"]
    a.roles.step = idle  # type: ignore[method-assign]
    assert await nobody_s(fleet, 900) < 60
    assert fleet.holders() in (["b"], ["c"])
    del a.roles.step
    assert await nobody_s(fleet, 3_700) < 30
    assert fleet.holders() == ["a"], "a lane that takes what it is offered is forgiven"


async def test_an_offer_left_once_costs_one_rest_however_often_it_was_looked_at(
    fleet: Fleet,
) -> None:
    """A lane that starts slowly leaves one offer: it stands until its lease is over."""
    await fleet.live(RETURN_S)
    a = fleet.lanes["a"]
    a.roles.step = idle  # type: ignore[method-assign]
    await fleet.live(RETURN_S + 4 * LEASE_S)
    del a.roles.step
    await fleet.live(4 * RETURN_S)
    assert fleet.holders() == ["a"]


async def idle(role: str) -> float:
    del role
    return float("inf")


async def forge(fleet: Fleet, **words: Any) -> None:
    """Write a record as a stolen lane may: with any words in it."""
    council = fleet.lanes["c"].council
    slot = await council.read("forge")
    assert slot.record is not None
    record = msgspec.structs.replace(slot.record, **words)
    assert await council.write("forge", record, slot.revision)


@pytest.mark.parametrize("words", [
    {"epoch": MAX_EPOCH}, {"epoch": 1, "beat": 7}, {"holder": "b", "process": "b1"},
    {"holder": "zz", "lease_s": 60.0}, {"lease_s": 60.0}, {"holder": "c", "epoch": 9},
])  # fmt: skip
async def test_after_a_forged_record_somebody_holds_the_role_again_soon(
    fleet: Fleet, words: dict[str, Any]
) -> None:
    before = fleet.lanes["a"].roles._epochs.highest("forge")
    for _ in range(3):
        await forge(fleet, **words)
        assert not (await held_at_once(fleet, words.get("holder", "a"))), "nobody holds by it"
        await fleet.live(2 * LEASE_S)
        assert len(fleet.holders()) == 1
    assert before < fleet.lanes["a"].roles._epochs.highest("forge") < 1_000


async def held_at_once(fleet: Fleet, name: str) -> bool:
    """Let each lane read the register once; say whether the named one holds then."""
    for lane in fleet.lanes.values():
        await lane.roles.step("forge")
    return name in fleet.lanes and fleet.lanes[name].holds


async def test_a_council_that_takes_no_page_is_still_read(fleet: Fleet) -> None:
    a, c = fleet.lanes["a"], fleet.lanes["c"]

    async def refuse(page: Page) -> None:
        raise EdgeError("maximum payload", transient=True)

    a.council.publish = refuse  # type: ignore[method-assign]
    c.state.freeze(Freeze("f1", 1.0, "chat", "stop"))
    await fleet.live(20)
    assert contains(a.state.freezes, "f1")
    assert not a.siblings.has_quorum()
    assert fleet.holders() == ["a"]


async def test_a_page_that_meets_a_bug_is_set_aside_and_the_next_is_read(fleet: Fleet) -> None:
    a = fleet.lanes["a"]
    good = a.council.page

    async def page(lane: str) -> tuple[int, Page | None]:
        if lane == "b":
            raise RecursionError("a reader without its guard")
        return await good(lane)

    a.council.page = page  # type: ignore[method-assign]
    fleet.lanes["c"].state.freeze(Freeze("f1", 1.0, "chat", "stop"))
    for _ in range(10):
        await fleet.live(2)
    assert contains(a.state.freezes, "f1")
    assert [one["lane"] for one in await a.told("council.page_aside")] == ["b"]
    a.council.page = good  # type: ignore[method-assign]
    fleet.clock.advance(ASIDE_S)
    await fleet.live(2)
    assert [one.heard for one in a.siblings.describe()] == [True, True]


async def test_of_a_lane_that_is_revoked_while_its_page_is_read_nothing_is_taken(
    fleet: Fleet,
) -> None:
    a = fleet.lanes["a"]
    a.state.sibling_marks.clear()
    good, names = a.council.page, a.siblings.names

    async def page(lane: str) -> tuple[int, Page | None]:
        if lane == "c":
            a.siblings.names = lambda: ("b",)
        return await good(lane)

    a.council.page = page  # type: ignore[method-assign]
    stop = (Freeze("f1", 1.0, "x", "y"),)
    await fleet.lanes["c"].council.publish(
        Page("c", 1.0, freezes=stop, marks={"acme/web": Mark(5, 1)})
    )
    await a.siblings.step()
    assert a.state.freezes.is_thawed
    assert "c" not in a.state.sibling_marks
    a.siblings.names = names


async def test_marks_of_what_we_do_not_watch_are_nobodys(fleet: Fleet) -> None:
    many = {f"acme/{n}": Mark(5, 5.0) for n in range(150)} | {"acme/web": Mark(5, 5.0)}
    await fleet.lanes["c"].council.publish(Page("c", 1.0, marks=many))
    await fleet.lanes["a"].siblings.step()
    assert fleet.lanes["a"].state.sibling_marks["c"] == {"acme/web": Mark(5, 5.0)}


def _drop(value: object) -> None:
    del value
