"""A lane expects the duties of its house: a dead one is said within the grace, a sleeping one never."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from allegro.core.base.errors import EdgeError
from allegro.core.health import codes
from allegro.core.health.duty_runs import DutyPlan
from allegro.core.protocol.queries import Inform
from allegro.core.protocol.statement import MAX_PLANS, HouseStatement
from allegro.lane.context.house_word import HouseWord
from allegro.lane.folder.alerts import HeardStatement, load_statement, save_statement
from allegro.lane.schedule.house_duties import HouseDuties
from allegro.testing.virtual import VirtualClock

HOUR_S, DAY_S = 3600.0, 86_400.0


class Lane:
    """A lane's expectations; `house_up` is whether the house is heard."""

    def __init__(self, folder: Path, clock: VirtualClock) -> None:
        self.file, self.clock = folder / "statement.json", clock
        self.house_up = True
        self._heard_s: float | None = None
        self.start()

    def start(self) -> None:
        kept = load_statement(self.file)
        self.duties = HouseDuties(kept.statement if kept else None, self._heard, self.clock)
        self.word = HouseWord()
        self.word.on_statement(self.duties.hear)

    def _heard(self) -> float | None:
        if self.house_up:
            self._heard_s = self.clock.boot_s()
        return self._heard_s

    async def hear(self, *plans: DutyPlan, may_sleep: bool = False) -> None:
        expected: Any = "whenever" if may_sleep else "always"
        statement = HouseStatement(at_s=self.clock.now_s(), expected=expected, duties=plans)
        assert await self.word.hear(Inform(statement=statement).params())
        save_statement(self.file, HeardStatement(statement, self.clock.now_s()))

    def live(self, seconds: float) -> None:
        until_s = self.clock.boot_s() + seconds
        while self.clock.boot_s() < until_s:
            self.duties.look()
            self.clock.advance(5)

    def bad(self) -> list[str]:
        return [fact.subject for fact in self.duties.facts() if fact.state == "bad"]


@pytest.fixture
def lane(tmp_path: Path) -> Lane:
    return Lane(tmp_path, VirtualClock())


def plan_at(due_s: float, **more: Any) -> DutyPlan:
    return DutyPlan(duty="morning-report", cron="0 7 * * *", grace_s=HOUR_S, due_s=due_s, **more)


async def test_a_dead_house_that_never_may_sleep_is_said_within_the_grace_of_its_duty(
    lane: Lane,
) -> None:
    await lane.hear(plan_at(lane.clock.now_s() + HOUR_S))
    lane.house_up = False
    lane.live(2 * HOUR_S - 60)
    assert lane.bad() == []
    lane.live(120)
    assert lane.bad() == ["morning-report of the house"]
    (fact,) = lane.duties.facts()
    assert fact.code is codes.DUTY_MISSED
    lane.start()
    assert lane.bad() == ["morning-report of the house"], "also when the lane was restarted"


async def test_thirty_nights_of_a_house_that_sleeps_raise_nothing(lane: Lane) -> None:
    for _ in range(30):
        await lane.hear(plan_at(lane.clock.now_s() + 20 * HOUR_S), may_sleep=True)
        lane.live(16 * HOUR_S)
        lane.house_up = False
        for _ in range(8):
            lane.live(HOUR_S)
            assert lane.bad() == []
        lane.house_up = True
        lane.live(30 * 60)  # it catches up within its grace after it woke
        assert lane.bad() == []


async def test_a_house_that_woke_and_does_not_run_its_duty_is_said_after_its_grace(
    lane: Lane,
) -> None:
    await lane.hear(plan_at(lane.clock.now_s() + HOUR_S), may_sleep=True)
    lane.house_up = False
    lane.live(5 * HOUR_S)
    lane.house_up = True
    lane.live(HOUR_S - 60)
    assert lane.bad() == []
    lane.live(120)
    assert lane.bad() == ["morning-report of the house"]
    await lane.hear(plan_at(lane.clock.now_s() + DAY_S), may_sleep=True)
    assert lane.bad() == []


async def test_what_is_off_or_belongs_to_a_role_is_not_expected_of_the_house(lane: Lane) -> None:
    past_s = lane.clock.now_s() - DAY_S
    off = DutyPlan(duty="off", due_s=past_s)
    of_role = plan_at(past_s, role="forge", served_s=past_s)
    await lane.hear(off, of_role)
    assert lane.duties.facts() == []
    assert lane.duties.served_s("forge", "morning-report") == past_s
    assert lane.duties.served_s("hermes", "morning-report") == 0.0


async def test_what_cannot_be_read_is_refused_and_what_was_said_before_stays(lane: Lane) -> None:
    await lane.hear(plan_at(lane.clock.now_s() - DAY_S))
    bent: tuple[Any, ...] = (
        5,
        [{}],
        [{"duty": "x"}] * (MAX_PLANS + 1),
        [{"duty": "x", "due_s": 1e20}],
    )
    for duties in bent:
        with pytest.raises(EdgeError, match="bad parameters"):
            await lane.word.hear({"statement": {"at_s": 5.0, "duties": duties}})
    assert lane.bad() == ["morning-report of the house"]
