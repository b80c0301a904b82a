"""Scheduled duties run once for each due time, end in a record, and hurt nothing when they fail."""

from __future__ import annotations

import asyncio
import datetime
from collections import Counter
from zoneinfo import ZoneInfo

import pytest

from allegro.core.base.errors import ConfigError, EdgeError
from allegro.core.health import codes
from allegro.core.health.duty_runs import ENDED_MEANWHILE, Ending
from allegro.core.health.schedule import Punctuality
from allegro.runtime.scheduled_duty import DutyResult
from allegro.testing.virtual import VirtualClock

from .scheduled import Machine

BERLIN = ZoneInfo("Europe/Berlin")
HOUR_S, DAY_S = 3600.0, 86_400.0


def at(text: str) -> float:
    return datetime.datetime.fromisoformat(text).replace(tzinfo=BERLIN).timestamp()


def machine_at(text: str, *, may_sleep: bool = False) -> Machine:
    return Machine(VirtualClock(at(text)), BERLIN, may_sleep=may_sleep)


async def test_a_due_time_leaves_one_record_with_all_that_is_to_be_known() -> None:
    machine = machine_at("2026-06-01T12:00")
    machine.add("sweep", "30 12 * * *")
    machine.start()
    await machine.live(HOUR_S)
    (run,) = machine.book.runs
    assert (run.ending, run.punctuality) == (Ending.RAN, Punctuality.ON_TIME)
    assert (run.due_s, run.result, run.figures) == (at("2026-06-01T12:30"), "done", {"items": 1.0})
    assert run.begun_s - run.due_s < 6


async def test_what_raises_or_finds_something_bad_has_failed_and_ends_nothing_else() -> None:
    async def bug() -> DutyResult:
        raise KeyError("x")

    async def edge() -> DutyResult:
        raise EdgeError("the disk is gone", transient=True)

    async def person() -> DutyResult:
        raise ConfigError(("no such zone",))

    async def bad() -> DutyResult:
        return DutyResult("two gaps", {"gaps": 2}, is_good=False)

    async def cancelled() -> DutyResult:
        raise asyncio.CancelledError

    machine = machine_at("2026-06-01T12:00")
    works = {"bug": bug, "edge": edge, "person": person, "bad": bad, "cancelled": cancelled}
    for name, work in works.items():
        machine.add(name, "30 12 * * *", work)
    machine.add("well", "30 12 * * *")
    machine.start()
    await machine.live(HOUR_S)
    found = {run.duty: (run.ending, run.result) for run in machine.book.runs}
    assert found == {
        "bug": (Ending.FAILED, "bug: KeyError: 'x'"),
        "edge": (Ending.FAILED, "the disk is gone"),
        "person": (Ending.FAILED, "no such zone"),
        "bad": (Ending.FAILED, "two gaps"),
        "cancelled": (Ending.FAILED, "something that it waited for was cancelled"),
        "well": (Ending.RAN, "done"),
    }
    facts = {fact.subject: fact.state for fact in machine.timetable.facts()}
    assert {name for name, state in facts.items() if state == "bad"} == set(works)
    assert all(fact.code is codes.DUTY_FAILED for fact in machine.timetable.facts())


async def test_a_run_that_hangs_has_failed_at_its_limit_also_where_it_takes_no_cancellation() -> (
    None
):
    never = asyncio.Event()

    async def hangs() -> DutyResult:
        while not never.is_set():
            try:
                await never.wait()
            except asyncio.CancelledError:
                continue
        return DutyResult("too late")

    machine = machine_at("2026-06-01T12:00")
    machine.add("hangs", "30 12 * * *", hangs, limit_s=60.0)
    machine.add("well", "45 12 * * *")
    machine.start()
    await machine.live(HOUR_S)
    found = {run.duty: (run.ending.value, run.result) for run in machine.book.runs}
    assert found == {
        "hangs": ("failed", "it did not end within 60 s"), "well": ("ran", "done"),
    }  # fmt: skip
    assert 60 <= machine.book.runs[0].duration_s < 70
    never.set()
    await asyncio.sleep(0)


async def test_a_program_that_is_killed_in_the_middle_says_so_at_its_next_start() -> None:
    endless = asyncio.Event()

    async def long() -> DutyResult:
        await endless.wait()
        return DutyResult("never")

    machine = machine_at("2026-06-01T12:00")
    machine.add("long", "30 12 * * *", long)
    machine.start()
    await machine.live(2000)
    assert len(machine.begun) == 1
    await machine.kill()
    machine.start()
    await machine.live(600)
    (run,) = machine.book.runs
    assert (run.ending, run.result) == (Ending.FAILED, ENDED_MEANWHILE)
    assert run.due_s == at("2026-06-01T12:30")
    assert len(machine.begun) == 1, "its due time was stood for"
    await machine.live(DAY_S, 60)
    assert len(machine.begun) == 2


async def test_a_record_that_the_disk_refused_is_written_once_it_takes_it() -> None:
    machine = machine_at("2026-06-01T12:00")

    async def fills() -> DutyResult:
        machine.book.full = True
        return DutyResult("done")

    machine.add("sweep", "30 12 * * *", fills)
    machine.start()
    await machine.live(1900)
    assert machine.book.runs == []
    machine.book.full = False
    await machine.look()
    assert machine.endings() == ["ran"]
    await machine.live(600)
    assert len(machine.begun) == 1


async def test_nothing_begins_that_cannot_be_stored_before() -> None:
    machine = machine_at("2026-06-01T12:29")
    machine.add("sweep", "30 12 * * *")
    machine.start()
    await machine.look()
    machine.book.full = True
    machine.clock.advance(120)
    await machine.look()
    assert machine.begun == []
    machine.book.full = False
    await machine.look()
    assert len(machine.begun) == 1


async def test_a_house_that_sleeps_eight_hours_every_night_misses_nothing_in_thirty_days() -> None:
    machine = machine_at("2026-03-15T08:00", may_sleep=True)  # over the night of 23 hours
    machine.add("daily", "10 2 * * *")
    machine.add("at three", "0 3 * * *")
    machine.add("by day", "0 12 * * *")
    machine.add("weekly", "0 5 * * 1")
    machine.start()
    for _ in range(30):
        await machine.live(16 * HOUR_S, 30)
        machine.sleep(8 * HOUR_S)
    await machine.live(HOUR_S, 30)
    endings = Counter((run.duty, run.ending, run.punctuality) for run in machine.book.runs)
    late, on_time = Punctuality.LATE, Punctuality.ON_TIME
    assert endings == {
        ("daily", Ending.RAN, late): 30, ("at three", Ending.RAN, late): 30,
        ("by day", Ending.RAN, on_time): 30, ("weekly", Ending.RAN, late): 5,
    }  # fmt: skip
    assert all(fact.state == "ok" for fact in machine.timetable.facts())


async def test_a_machine_that_never_may_sleep_says_that_it_missed_what_it_runs_late() -> None:
    machine = machine_at("2026-06-01T12:00")
    machine.add("sweep", "30 12 * * *")
    machine.start()
    await machine.look()
    machine.sleep(3 * DAY_S + 2 * HOUR_S)
    await machine.live(600)
    assert machine.endings() == ["missed", "ran"]
    gone, run = machine.book.runs
    assert (gone.begun_s, gone.skipped, run.punctuality) == (0.0, 3, Punctuality.MISSED)
    assert len(machine.begun) == 1, "caught up once, never in a burst"


@pytest.mark.parametrize("forward_h", [1, 5])
async def test_a_clock_put_forward_and_back_lets_nothing_run_twice(forward_h: int) -> None:
    machine = machine_at("2026-06-01T12:00")
    machine.add("sweep", "30 12 * * *")
    machine.start()
    await machine.look()
    machine.clock.set_wall(machine.clock.now_s() + forward_h * HOUR_S)
    await machine.live(60)
    machine.clock.set_wall(machine.clock.now_s() - forward_h * HOUR_S)
    await machine.live(2 * HOUR_S, 60)
    assert len(machine.begun) == 1
    await machine.live(DAY_S, 60)
    assert len(machine.begun) == 2


@pytest.mark.parametrize("day", ["2026-03-29", "2026-10-25"])
async def test_days_of_23_and_25_hours_have_each_duty_once(day: str) -> None:
    machine = machine_at("2026-03-26T12:00" if day < "2026-06" else "2026-10-22T12:00")
    for hour in range(5):
        machine.add(f"at {hour}", f"30 {hour} * * *")
    machine.start()
    await machine.live(7 * DAY_S, 60)
    zoned = (datetime.datetime.fromtimestamp(at_s, BERLIN).date() for _, at_s in machine.begun)
    assert set(Counter(zoned).values()) == {5}
    assert set(machine.endings()) == {"ran"}


async def test_two_due_times_never_run_beside_each_other() -> None:
    gate = asyncio.Event()

    async def slow() -> DutyResult:
        await gate.wait()
        return DutyResult("done")

    machine = machine_at("2026-06-01T12:00")
    machine.add("slow", "*/10 * * * *", slow, limit_s=7200.0)
    machine.start()
    await machine.live(HOUR_S)
    assert len(machine.begun) == 1
    gate.set()
    await machine.live(60)
    assert len(machine.begun) == 2, "what fell due meanwhile is stood for by one run"


async def test_a_person_may_run_a_duty_at_any_time_and_its_schedule_stays() -> None:
    machine = machine_at("2026-06-01T12:00")
    machine.add("sweep", "30 12 * * *")
    machine.add("never", "", off="none configured")
    machine.start()
    await machine.look()
    due_s = machine.timetable.view("sweep").plan.due_s
    for name in ("sweep", "never"):
        begun = await machine.timetable.run_now(name)
        await begun
    assert machine.endings() == ["ran", "ran"]
    assert all(run.due_s == 0 for run in machine.book.runs)
    assert machine.timetable.view("sweep").plan.due_s == due_s
    assert machine.timetable.view("never").off == "none configured"
    with pytest.raises(EdgeError, match="no duty is named"):
        _ = await machine.timetable.run_now("unknown")


async def test_who_asks_for_a_run_that_is_under_way_joins_it() -> None:
    gate = asyncio.Event()

    async def slow() -> DutyResult:
        await gate.wait()
        return DutyResult("done")

    machine = machine_at("2026-06-01T12:00")
    machine.add("slow", "30 12 * * *", slow)
    machine.start()
    first = await machine.timetable.run_now("slow")
    second = await machine.timetable.run_now("slow")
    assert first is second
    gate.set()
    await first
    assert len(machine.begun) == 1


async def test_a_schedule_is_announced_once_and_again_when_it_changes() -> None:
    machine = machine_at("2026-06-01T12:00")
    machine.add("sweep", "30 12 * * *")
    machine.start()
    await machine.live(HOUR_S)
    machine.start()
    await machine.live(60)
    (plan,) = machine.book.announced
    assert (plan.cron, plan.due_s) == ("30 12 * * *", at("2026-06-01T12:30"))
    machine.duties.clear()
    machine.add("sweep", "")
    machine.start()
    await machine.look()
    assert machine.book.announced[-1].cron == ""


async def test_what_belongs_to_a_role_is_run_by_its_holder_and_served_once_after_a_take_over() -> (
    None
):
    clock = VirtualClock(at("2026-06-01T12:00"))
    first, second = Machine(clock, BERLIN), Machine(clock, BERLIN)
    holder = "first"
    told_s = 0.0
    first.add("sweep", "30 12 * * *", role="forge", may_run=lambda: holder == "first")
    second.add(
        "sweep", "30 12 * * *", role="forge", may_run=lambda: holder == "second",
        served_s=lambda: told_s,
    )  # fmt: skip
    for one in (first, second):
        one.start()
    for _ in range(35):
        await first.look()
        await second.look()
        clock.advance(60)
    assert (len(first.begun), len(second.begun)) == (1, 0)
    told_s, holder = at("2026-06-01T12:30"), "second"
    await second.live(HOUR_S, 60)
    assert second.begun == []
    await second.live(DAY_S, 60)
    assert second.endings() == ["ran"]
    with pytest.raises(EdgeError, match="holds the role"):
        _ = await first.timetable.run_now("sweep")


async def test_a_lane_without_the_role_lets_due_times_pass_and_accuses_nobody_later() -> None:
    machine = machine_at("2026-06-01T12:00")
    held = False
    machine.add("sweep", "30 12 * * *", role="forge", may_run=lambda: held)
    machine.start()
    await machine.live(5 * DAY_S, 300)
    held = True
    await machine.live(60)
    assert machine.book.runs == []
    await machine.live(DAY_S, 60)
    assert machine.endings() == ["ran"]


async def test_within_the_grace_a_new_holder_serves_what_the_dead_one_did_not() -> None:
    machine = machine_at("2026-06-01T12:00")
    held = False
    machine.add("sweep", "30 12 * * *", role="forge", may_run=lambda: held)
    machine.start()
    await machine.live(40 * 60)
    held = True
    await machine.live(60)
    (run,) = machine.book.runs
    assert (run.ending, run.punctuality) == (Ending.RAN, Punctuality.ON_TIME)


async def test_a_served_time_from_a_wrong_clock_holds_up_nothing() -> None:
    machine = machine_at("2026-06-01T12:00")
    machine.add("sweep", "30 12 * * *", role="forge", served_s=lambda: at("2036-01-01T00:00"))
    machine.start()
    await machine.live(HOUR_S)
    assert machine.endings() == ["ran"]


async def test_a_person_who_asks_at_the_due_time_gets_the_one_run_of_it() -> None:
    gate = asyncio.Event()

    async def slow() -> DutyResult:
        await gate.wait()
        return DutyResult("done")

    for asked_first in (True, False):
        machine = machine_at("2026-06-01T12:29")
        machine.add("slow", "30 12 * * *", slow)
        machine.start()
        await machine.look()
        machine.clock.advance(61)
        both = [machine.timetable.step(), machine.timetable.run_now("slow")]
        await asyncio.gather(*(both[::-1] if asked_first else both))
        await machine.look()
        assert len(machine.begun) == 1
        gate.set()
        await machine.timetable.idle()
        assert machine.endings() == ["ran"]
        assert machine.timetable.view("slow").last is not None
        gate.clear()
