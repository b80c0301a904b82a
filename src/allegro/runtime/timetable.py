"""Runs scheduled duties: each at its times of the clock, once for each due time.

What is due is decided by `allegro.core.health.schedule`; here it is run and recorded. Order rule
of one run: that it began is on disk before its first effect; its record is on disk before the begin
is forgotten. So a program that is killed in the middle finds the begin at its next start and
records that the run failed, and a record that could not be written (full disk) is written later,
by the same begin. A record may be written twice; who keeps it keeps the first.

A run that raises or hangs has failed; one that cannot be cancelled holds up nothing but itself.
"""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import Awaitable, Sequence

import msgspec
import structlog

from allegro.core.base.errors import EdgeError
from allegro.core.health.duty_runs import (
    ENDED_MEANWHILE,
    Begun,
    DutyPlan,
    DutyRun,
    DutyState,
    DutyView,
    Ending,
    announcement,
    missed,
    over,
    sound_figures,
)
from allegro.core.health.facts import Fact
from allegro.core.health.freshness import STEP_S, Tick
from allegro.core.health.schedule import (
    Plan,
    Presence,
    Punctuality,
    Run,
    advanced,
    planned,
    ran,
    replanned,
    run_due,
    served,
)
from allegro.core.ports import Clock
from allegro.runtime.scheduled_duty import DutyBook, ScheduledDuty, bounded
from allegro.runtime.tasks import Soon

_log = structlog.get_logger()
LOOK_S = 5.0
SLEPT_S = 30.0
"""Two looks further apart than this on the boot clock: the machine slept in between."""


class Timetable:
    """Runs until cancelled. `may_sleep`: nobody expects this machine to be awake all the time."""

    def __init__(
        self,
        duties: Sequence[ScheduledDuty],
        book: DutyBook,
        clock: Clock,
        zone: datetime.tzinfo,
        *,
        may_sleep: bool = False,
    ) -> None:
        self._duties = {duty.name: duty for duty in duties}
        self._book = book
        self._clock = clock
        self._zone = zone
        self._may_sleep = may_sleep
        self._states: dict[str, DutyState] | None = None
        self._runs: dict[str, asyncio.Task[None]] = {}
        self._unrecorded: dict[str, DutyRun] = {}
        self._tasks = Soon("scheduled duties")
        self._awake_boot_s = clock.boot_s()
        self._looked: Tick | None = None
        self._is_to_replan = True
        self._turn = asyncio.Lock()  # looking at a duty and beginning it is one thing

    async def run(self) -> None:
        """Look at the clock every LOOK_S, for ever."""
        while True:
            await self.step()
            await self._clock.sleep(LOOK_S)

    async def idle(self) -> None:
        """Wait until no run is under way."""
        await self._tasks.idle()

    async def stop(self) -> None:
        """Cancel what runs. The next start records that it failed."""
        await self._tasks.stop()

    async def step(self) -> None:
        """Begin what is due now. Where the book refuses, what is due stays due."""
        self._note_clocks()
        if not await self._tried("", self._resume()):
            return
        for name, run in list(self._unrecorded.items()):
            if name not in self._runs:  # else its own task records it now
                await self._tried(name, self._record(name, run))
        for duty in self._duties.values():
            await self._tried(duty.name, self._look(duty))

    def _note_clocks(self) -> None:
        """See whether the machine slept, and whether its wall clock was set, since the last look."""
        tick, before = Tick(self._clock.now_s(), self._clock.boot_s()), self._looked
        self._looked = tick
        if before is None:
            return
        passed_s = tick.boot_s - before.boot_s
        if passed_s > SLEPT_S:
            self._awake_boot_s = tick.boot_s
        self._is_to_replan = not abs(tick.now_s - before.now_s - passed_s) <= STEP_S

    async def _tried(self, name: str, work: Awaitable[None]) -> bool:
        try:
            async with self._turn:
                await work
        except EdgeError as error:
            _log.error("schedule.blocked", duty=name, error=str(error))
            return False
        return True

    async def run_now(self, name: str) -> asyncio.Task[None]:
        """Begin a duty that a person asks for, or join the run that is under way; return its task.

        Wait for it with `asyncio.wait`: to cancel the task ends the run. Raises EdgeError for an
        unknown name, and where another program holds the duty's role.
        """
        duty = self._known(name)
        async with self._turn:
            await self._resume()
            if name in self._runs:
                return self._runs[name]
            if not duty.may_run():
                why = f"{name} is run by the lane that holds the role {duty.role}"
                raise EdgeError(why, transient=False, kind="no_role")
            run = Run(0.0, Punctuality.ON_TIME)
            return await self._begin(duty, self._state(name), run)

    def under_way(self, name: str) -> asyncio.Task[None] | None:
        """Return the task of the run that is under way, None where none is."""
        return self._runs.get(name)

    def view(self, name: str) -> DutyView:
        """Return one duty as it is now. Raises EdgeError for an unknown name."""
        return self._view(self._known(name))

    def views(self) -> list[DutyView]:
        """Return each duty as it is now, in the order in which they were given."""
        return [self._view(duty) for duty in self._duties.values()]

    def facts(self) -> list[Fact]:
        """Return one fact for each duty whose last run is known, which is bad where it failed."""
        found = []
        for name, state in (self._states or {}).items():
            last = state.last
            if last is not None and name in self._duties:
                is_good = last.ending is Ending.RAN
                detail = f"{last.ending}: {last.result}"
                found.append(ran(name, is_good=is_good, detail=detail, now_s=last.at_s))
        return found

    # --- looking --------------------------------------------------------------------------------

    async def _resume(self) -> None:
        """Read what is on disk once; a run that was under way there has failed."""
        if self._states is not None:
            return
        states = await self._book.states()
        for name, state in states.items():
            if state.begun is not None:
                run = over(name, state.begun, Ending.FAILED, ENDED_MEANWHILE)
                await self._book.record(run, self._plan_of(name, state))
                state = msgspec.structs.replace(state, begun=None, last=run)  # noqa: PLW2901
                await self._book.keep(name, state)
                states[name] = state
        self._states = states

    async def _look(self, duty: ScheduledDuty) -> None:
        if duty.name in self._runs or duty.name in self._unrecorded:
            return
        before = self._state(duty.name)
        state = await self._announced(duty, self._replanned(duty, before))
        if state != before:
            await self._keep(duty.name, state)
        if state.plan is None or duty.schedule is None or not duty.may_run():
            return
        now_s = self._clock.now_s()
        run = run_due(state.plan, duty.schedule, self._presence(), now_s, self._zone)
        if run is not None:
            if run.punctuality is Punctuality.MISSED:
                why = "it was not run in time; it runs now"
                await self._book.record(
                    missed(duty.name, run, why), self._plan_of(duty.name, state)
                )
            _ = await self._begin(duty, state, run)

    def _replanned(self, duty: ScheduledDuty, state: DutyState) -> DutyState:
        """Return the state with the plan as it holds now.

        A program that does not hold the duty's role lets due times pass once their grace is over:
        the holder serves them, and who expects the duty says where nobody did.
        """
        schedule, now_s = duty.schedule, self._clock.now_s()
        if schedule is None:
            return msgspec.structs.replace(state, plan=None)
        plan = state.plan or planned(schedule, now_s, self._zone)
        if self._is_to_replan:
            plan = replanned(plan, schedule, now_s, self._zone)
        plan = advanced(plan, schedule, duty.served_s(), now_s, self._zone)
        if duty.role and not duty.may_run() and now_s - plan.due_s > schedule.grace_s:
            plan = Plan(planned(schedule, now_s, self._zone).due_s, plan.served_s)
        return msgspec.structs.replace(state, plan=plan)

    async def _announced(self, duty: ScheduledDuty, state: DutyState) -> DutyState:
        words = announcement(duty.schedule, duty.role)
        if state.announced == words:
            return state
        await self._book.announce(self._plan_of(duty.name, state))
        return msgspec.structs.replace(state, announced=words)

    def _presence(self) -> Presence:
        awake_for_s = self._clock.boot_s() - self._awake_boot_s
        return Presence(self._clock.now_s() - awake_for_s, self._may_sleep)

    # --- running --------------------------------------------------------------------------------

    async def _begin(self, duty: ScheduledDuty, state: DutyState, run: Run) -> asyncio.Task[None]:
        """Store that a run began, then begin it."""
        now_s = self._clock.now_s()
        plan, schedule = state.plan, duty.schedule
        if run.due_s and plan is not None and schedule is not None:
            plan = served(plan, run, schedule, now_s, self._zone)
        begun = Begun(run, now_s)
        await self._keep(duty.name, msgspec.structs.replace(state, plan=plan, begun=begun))
        task = self._tasks.task(duty.name, self._see_through(duty, begun))
        self._runs[duty.name] = task
        task.add_done_callback(lambda _: self._runs.pop(duty.name, None))
        return task

    async def _see_through(self, duty: ScheduledDuty, begun: Begun) -> None:
        boot_s = self._clock.boot_s()
        result = await bounded(duty, self._clock)
        took_s = self._clock.boot_s() - boot_s
        ending = Ending.RAN if result.is_good else Ending.FAILED
        run = over(duty.name, begun, ending, result.text, duration_s=took_s)
        run = msgspec.structs.replace(run, figures=sound_figures(result.figures))
        _log.info("duty.ended", duty=duty.name, ending=ending.value, result=run.result)
        self._unrecorded[duty.name] = run
        await self._record(duty.name, run)

    async def _record(self, name: str, run: DutyRun) -> None:
        state = self._state(name)
        await self._book.record(run, self._plan_of(name, state))
        await self._keep(name, msgspec.structs.replace(state, begun=None, last=run))
        self._unrecorded.pop(name, None)

    # --- what is known --------------------------------------------------------------------------

    def _known(self, name: str) -> ScheduledDuty:
        duty = self._duties.get(name)
        if duty is None:
            raise EdgeError(f"no duty is named {name[:80]}", transient=False, kind="not_found")
        return duty

    def _state(self, name: str) -> DutyState:
        return (self._states or {}).get(name, DutyState())

    async def _keep(self, name: str, state: DutyState) -> None:
        await self._book.keep(name, state)
        assert self._states is not None
        self._states[name] = state

    def _plan_of(self, name: str, state: DutyState) -> DutyPlan:
        duty, plan = self._duties.get(name), state.plan
        schedule = duty.schedule if duty is not None else None
        return DutyPlan(
            duty=name,
            role=duty.role if duty is not None else "",
            cron=schedule.cron if schedule else "",
            grace_s=schedule.grace_s if schedule else 0.0,
            due_s=plan.due_s if plan and schedule else 0.0,
            served_s=plan.served_s if plan else 0.0,
        )

    def _view(self, duty: ScheduledDuty) -> DutyView:
        state = self._state(duty.name)
        return DutyView(
            plan=self._plan_of(duty.name, state),
            is_running=duty.name in self._runs,
            last=state.last,
            off=duty.off if duty.schedule is None else "",
        )
