"""The scheduled duties of the house and what it knows of those of its lanes, as one part."""

from __future__ import annotations

import asyncio

from allegro.core.base.errors import EdgeError
from allegro.core.base.untrusted import Unreadable, read_value
from allegro.core.health.duty_runs import DutyPlan, DutyView, Ending
from allegro.core.health.duty_watch import WatchedDuty
from allegro.core.health.facts import Fact
from allegro.core.ports import Clock
from allegro.core.protocol.answers.duties import DutyWord, ShownDuty
from allegro.core.protocol.queries import RunDuty
from allegro.core.stores import HOUSE
from allegro.house.lanes import Lanes
from allegro.house.schedule.watch import DutyWatch
from allegro.runtime.duties import Duty
from allegro.runtime.timetable import Timetable

ANSWER_S = 45.0


class ScheduleWing:
    """Lists all duties, runs one that a person asks for, states what is wrong with them."""

    def __init__(
        self,
        timetable: Timetable,
        watch: DutyWatch,
        lanes: Lanes,
        clock: Clock,
    ) -> None:
        self.timetable = timetable
        self.watch = watch
        self._lanes = lanes
        self._clock = clock

    def duties(self) -> list[Duty]:
        """Return what runs while the house acts."""
        return [
            Duty(name="schedule", run=self.timetable.run, stop=self.timetable.stop),
            Duty(name="duty watch", run=self.watch.run),
        ]

    def facts(self) -> list[Fact]:
        """Return how all scheduled duties are: own ones that failed, those of lanes that are due."""
        return [*self.timetable.facts(), *self.watch.facts()]

    def plans(self) -> list[DutyPlan]:
        """Return what lanes are to know: the house's own duties, and what roles have served."""
        own = [view.plan for view in self.timetable.views() if view.plan.cron]
        return [*own, *(one.plan for one in self.watch.duties() if one.plan.role)]

    def shown(self) -> tuple[ShownDuty, ...]:
        """Return every duty for a screen, the house's own first."""
        own = [_shown(HOUSE, view) for view in self.timetable.views()]
        return (*own, *map(self._shown_watched, self.watch.duties()))

    async def run_now(self, name: str) -> tuple[ShownDuty, ...]:
        """Run a duty at each owner that has one of this name; wait ANSWER_S for the end.

        `NAME@OWNER` names one owner. Raises EdgeError where nobody has such a duty.
        """
        wanted, _, of_owner = name.partition("@")
        named = [duty for duty in self.shown() if duty.name == wanted]
        found = [
            await self._run_at(duty)
            for duty in named
            if of_owner in {"", duty.owner, duty.owner.partition(" ")[2]}
        ]
        if not found:
            raise EdgeError(f"no duty is named {name[:80]}", transient=False, kind="not_found")
        return tuple(found)

    async def _run_at(self, duty: ShownDuty) -> ShownDuty:
        if duty.owner == HOUSE:
            task = await self.timetable.run_now(duty.name)
            await asyncio.wait({task}, timeout=ANSWER_S)
            return _shown(HOUSE, self.timetable.view(duty.name))
        view = await self._at_lane(duty, self._lane_of(duty.owner))
        return _shown(duty.owner, view)

    def _lane_of(self, owner: str) -> str:
        """Return the lane that runs the duties of an owner now. Raises EdgeError for nobody."""
        kind, _, name = owner.partition(" ")
        if kind == "lane":
            return name
        for lane, _, _ in self._lanes.linked():
            if name in self._lanes.roles_of(lane):
                return lane
        raise EdgeError(f"no linked lane holds the role {name}", transient=True, kind="not_linked")

    async def _at_lane(self, duty: ShownDuty, lane: str) -> DutyView:
        begun_s, until_s = 0.0, self._clock.boot_s() + ANSWER_S
        while True:
            query = RunDuty(duty=duty.name, begun_s=begun_s)
            raw = await self._lanes.ask_lane(lane, query.name, query.params())
            view = read_value(raw, DutyView)
            if isinstance(view, Unreadable):
                why = f"the answer of lane {lane} cannot be read: {view}"
                raise EdgeError(why, transient=False, kind="unreadable")
            if not view.is_running or self._clock.boot_s() >= until_s:
                return view
            begun_s = self._clock.now_s()

    def _shown_watched(self, duty: WatchedDuty) -> ShownDuty:
        fact, plan = self.watch.fact_of(duty), duty.plan
        state: DutyWord = "planned" if duty.last is None else _ended_word(duty.last.ending)
        note = ""
        if fact is None:
            state, note = "off", "off in the configuration"
        elif fact.state != "ok":
            state, note = ("missed" if fact.state == "bad" else "unknown"), fact.detail
        return ShownDuty(
            name=plan.duty, owner=duty.owner, schedule=plan.cron, grace_s=plan.grace_s,
            due_s=plan.due_s, state=state, note=note, last=duty.last,
        )  # fmt: skip


def _shown(owner: str, view: DutyView) -> ShownDuty:
    plan, last = view.plan, view.last
    state: DutyWord = "planned" if last is None else _ended_word(last.ending)
    if view.is_running:
        state = "running"
    elif view.off and last is None:
        state = "off"
    return ShownDuty(
        name=plan.duty, owner=owner, schedule=plan.cron, grace_s=plan.grace_s, due_s=plan.due_s,
        state=state, note=view.off, last=last,
    )  # fmt: skip


def _ended_word(ending: Ending) -> DutyWord:
    words: dict[Ending, DutyWord] = {
        Ending.RAN: "ok",
        Ending.FAILED: "failed",
        Ending.MISSED: "missed",
    }
    return words[ending]
