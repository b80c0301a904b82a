"""Each due time is served once: after sleep, on days of 23 and 25 hours, on changed clocks."""

from __future__ import annotations

import datetime
from collections import Counter
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allegro.core.base.errors import Refusal
from allegro.core.health import codes
from allegro.core.health.schedule import (
    MAX_SKIPPED,
    Plan,
    Presence,
    Punctuality,
    Run,
    Schedule,
    next_due,
    planned,
    ran,
    read_schedule,
    replanned,
    run_due,
    served,
    watched,
)

BERLIN = ZoneInfo("Europe/Berlin")
DAILY = Schedule("30 2 * * *")
ALWAYS = Presence(0.0)
DAY_S = 86_400.0


def at(text: str) -> float:
    return datetime.datetime.fromisoformat(text).replace(tzinfo=BERLIN).timestamp()


class Machine:
    """A duty's owner that looks at the clock when told to, and runs what is due."""

    def __init__(self, schedule: Schedule, now_s: float, *, may_sleep: bool = False) -> None:
        self.schedule = schedule
        self.plan = planned(schedule, now_s, BERLIN)
        self.presence = Presence(now_s, may_sleep)
        self.runs: list[tuple[float, Run]] = []

    def wake(self, now_s: float) -> None:
        self.presence = Presence(now_s, self.presence.may_sleep)

    def look(self, now_s: float) -> None:
        self.plan = replanned(self.plan, self.schedule, now_s, BERLIN)
        run = run_due(self.plan, self.schedule, self.presence, now_s, BERLIN)
        if run is not None:
            self.runs.append((now_s, run))
            self.plan = served(self.plan, run, self.schedule, now_s, BERLIN)

    def live(self, start_s: float, end_s: float, step_s: float = 600.0) -> None:
        for n in range(int((end_s - start_s) // step_s) + 1):
            self.look(start_s + n * step_s)


@pytest.mark.parametrize("hour", ["0", "1", "2", "3", "12"])
def test_days_of_23_and_25_hours_have_each_duty_once(hour: str) -> None:
    machine = Machine(Schedule(f"30 {hour} * * *"), at("2026-01-01T00:00"))
    machine.live(at("2026-01-01T00:00"), at("2026-12-31T23:59"), 1800)
    days = Counter(
        datetime.datetime.fromtimestamp(now_s, BERLIN).date() for now_s, _ in machine.runs
    )
    assert set(days.values()) == {1}
    assert len(days) == 365
    assert {run.punctuality for _, run in machine.runs} == {Punctuality.ON_TIME}


def test_after_ten_days_of_sleep_a_duty_runs_once_and_says_what_it_skipped() -> None:
    machine = Machine(DAILY, at("2026-06-01T12:00"), may_sleep=True)
    machine.wake(at("2026-06-11T12:00"))
    machine.live(at("2026-06-11T12:00"), at("2026-06-11T20:00"), 60)
    ((_, run),) = machine.runs
    assert (run.punctuality, run.skipped) == (Punctuality.LATE, 9)
    assert run.due_s == at("2026-06-11T02:30")


def test_a_machine_that_wakes_in_the_doubled_hour_serves_the_due_time_before_it() -> None:
    machine = Machine(DAILY, at("2026-10-23T12:00"), may_sleep=True)
    woke_s = at("2026-10-25T02:59:59")
    machine.wake(woke_s)
    machine.look(woke_s)
    ((_, run),) = machine.runs
    assert (run.due_s, run.skipped) == (at("2026-10-25T02:30"), 1)


def test_a_duty_of_every_minute_does_not_burst_after_a_year() -> None:
    machine = Machine(Schedule("* * * * *"), at("2026-01-01T00:00"))
    machine.look(at("2026-12-31T00:00:30"))
    machine.look(at("2026-12-31T00:00:40"))
    ((_, run),) = machine.runs
    assert run.skipped == MAX_SKIPPED


def test_the_grace_counts_from_wake_only_where_the_house_may_sleep() -> None:
    due_s, woke_s = at("2026-06-02T02:30"), at("2026-06-02T09:00")
    plan = Plan(due_s)
    for may_sleep, expected in ((True, Punctuality.LATE), (False, Punctuality.MISSED)):
        run = run_due(plan, DAILY, Presence(woke_s, may_sleep), woke_s + 600, BERLIN)
        assert run is not None
        assert run.punctuality is expected


def test_a_run_long_after_wake_is_missed_also_where_the_house_may_sleep() -> None:
    run = run_due(
        Plan(at("2026-06-02T02:30")),
        DAILY,
        Presence(at("2026-06-02T04:00"), may_sleep=True),
        at("2026-06-02T12:00"),
        BERLIN,
    )
    assert run is not None
    assert run.punctuality is Punctuality.MISSED


@pytest.mark.parametrize("forward_h", [1, 5])
def test_a_clock_put_forward_and_back_lets_no_duty_run_twice(forward_h: int) -> None:
    machine = Machine(DAILY, at("2026-06-01T12:00"))
    machine.live(at("2026-06-02T02:00"), at("2026-06-02T02:40"), 60)
    machine.live(at("2026-06-02T02:40") - forward_h * 3600, at("2026-06-03T12:00"), 60)
    assert len(machine.runs) == 2


def test_a_clock_that_was_a_year_ahead_leaves_tomorrow_its_duty() -> None:
    machine = Machine(DAILY, at("2026-06-01T12:00"))
    machine.look(at("2027-06-01T12:00"))
    machine.live(at("2026-06-01T12:10"), at("2026-06-04T12:00"))
    assert len(machine.runs) == 1 + 3


def test_a_first_plan_made_by_a_wrong_clock_is_made_anew() -> None:
    machine = Machine(DAILY, at("2036-06-01T12:00"))
    machine.live(at("2026-06-01T12:00"), at("2026-06-03T12:00"))
    assert len(machine.runs) == 2


def test_a_changed_schedule_holds_at_once() -> None:
    plan, now_s = Plan(at("2026-06-02T02:30")), at("2026-06-02T01:10")
    assert replanned(plan, Schedule("0 1 * * *"), now_s, BERLIN).due_s == at("2026-06-03T01:00")
    assert replanned(plan, Schedule("0 2 * * *"), now_s, BERLIN).due_s == at("2026-06-02T02:00")


def test_a_due_time_that_passed_stays_due_whatever_the_schedule_says_now() -> None:
    plan = Plan(at("2026-06-02T02:30"))
    assert replanned(plan, Schedule("0 6 * * *"), at("2026-06-02T02:40"), BERLIN) == plan


@given(
    naps=st.lists(
        st.tuples(st.floats(60, 3 * DAY_S), st.floats(60, 3 * DAY_S)), min_size=1, max_size=8
    ),
    cron=st.sampled_from(["30 2 * * *", "*/30 * * * *", "0 0 1 * *", "15 6 * * 1", "0 * * * *"]),
)
def test_every_due_time_is_covered_by_exactly_one_run_however_the_machine_sleeps(
    naps: list[tuple[float, float]], cron: str
) -> None:
    now_s = start_s = at("2026-10-20T00:00")
    machine = Machine(Schedule(cron), start_s, may_sleep=True)
    for awake_s, asleep_s in naps:
        machine.live(now_s, now_s + awake_s, 900)
        now_s += awake_s + asleep_s
        machine.wake(now_s)
    machine.look(now_s)
    covered = sum(1 + run.skipped for _, run in machine.runs)
    due, due_s = 0, start_s
    while (due_s := next_due(machine.schedule, due_s, BERLIN)) <= now_s:
        due += 1
    assert covered == due
    assert Punctuality.MISSED not in {run.punctuality for _, run in machine.runs}


@pytest.mark.parametrize("wrong", ["", "* * * *", "* * * * * *", "61 * * * *", "0 0 31 2 *", "x"])
def test_what_is_no_schedule_or_never_comes_is_refused(wrong: str) -> None:
    assert isinstance(read_schedule(wrong), Refusal)


def test_a_schedule_is_taken() -> None:
    assert read_schedule("30 2 * * *", 60.0) == Schedule("30 2 * * *", 60.0)


NIGHT = Plan(at("2026-06-02T02:30"))
MORNING = at("2026-06-02T08:00")


@pytest.mark.parametrize(
    ("presence", "now_s", "state"),
    [
        (ALWAYS, NIGHT.due_s + 3600, "ok"),
        (ALWAYS, NIGHT.due_s + 3601, "bad"),
        (Presence(float("nan"), may_sleep=True), MORNING, "ok"),
        (Presence(float("nan"), may_sleep=False), MORNING, "bad"),
        (Presence(MORNING - 60, may_sleep=True), MORNING, "ok"),
        (Presence(MORNING - 3601, may_sleep=True), MORNING, "bad"),
    ],
)
def test_another_node_misses_a_duty_only_while_its_owner_should_have_run_it(
    presence: Presence, now_s: float, state: str
) -> None:
    fact = watched("report", NIGHT, DAILY, presence, now_s)
    assert (fact.code, fact.subject, fact.state) == (codes.DUTY_MISSED, "report", state)


def test_a_duty_that_failed_is_a_fact_about_it() -> None:
    assert ran("report", is_good=False, detail="disk", now_s=1.0).state == "bad"
    fact = ran("report", is_good=True, detail="0.4 s", now_s=1.0)
    assert (fact.code, fact.state) == (codes.DUTY_FAILED, "ok")
