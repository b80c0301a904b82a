"""Scheduled duties in virtual time: a book in memory that a restart finds, and a clock by hand."""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import Awaitable, Callable

import msgspec

from allegro.core.base.errors import EdgeError
from allegro.core.health.duty_runs import DutyPlan, DutyRun, DutyState
from allegro.core.health.schedule import Schedule
from allegro.runtime.scheduled_duty import DutyResult, ScheduledDuty
from allegro.runtime.timetable import LOOK_S, Timetable
from allegro.testing.virtual import VirtualClock


class Book:
    """The DutyBook port: what is kept is bytes, as on a disk. `full` refuses every write."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}
        self.runs: list[DutyRun] = []
        self.announced: list[DutyPlan] = []
        self.full = False

    async def states(self) -> dict[str, DutyState]:
        return {name: msgspec.json.decode(raw, type=DutyState) for name, raw in self.kept.items()}

    async def keep(self, duty: str, state: DutyState) -> None:
        self._refuse()
        self.kept[duty] = msgspec.json.encode(state)

    async def record(self, run: DutyRun, plan: DutyPlan) -> None:
        self._refuse()
        self.runs.append(run)

    async def announce(self, plan: DutyPlan) -> None:
        self._refuse()
        self.announced.append(plan)

    def _refuse(self) -> None:
        if self.full:
            raise EdgeError("the disk is full", transient=True, kind="disk_full")


class Machine:
    """One program with scheduled duties. `begun` are the wall times at which runs began."""

    def __init__(
        self,
        clock: VirtualClock,
        zone: datetime.tzinfo = datetime.UTC,
        *,
        may_sleep: bool = False,
    ) -> None:
        self.clock = clock
        self.zone = zone
        self.may_sleep = may_sleep
        self.book = Book()
        self.duties: list[ScheduledDuty] = []
        self.begun: list[tuple[str, float]] = []
        self.timetable: Timetable

    def add(
        self,
        name: str,
        cron: str,
        work: Callable[[], Awaitable[DutyResult]] | None = None,
        grace_s: float = 3600.0,
        **more: object,
    ) -> None:
        async def run() -> DutyResult:
            self.begun.append((name, self.clock.now_s()))
            return await work() if work is not None else DutyResult("done", {"items": 1})

        schedule = Schedule(cron, grace_s) if cron else None
        fields = {"name": name, "schedule": schedule, "run": run, **more}
        self.duties.append(ScheduledDuty(**fields))  # type: ignore[arg-type]

    def start(self) -> None:
        """Start the program, or start it again: only the book remembers what was before."""
        self.timetable = Timetable(
            self.duties, self.book, self.clock, self.zone, may_sleep=self.may_sleep
        )

    async def kill(self) -> None:
        """End the program as kill -9 does: nothing is written any more."""
        self.book.full = True
        await self.timetable.stop()
        self.book.full = False

    async def look(self) -> None:
        await self.timetable.step()
        for _ in range(5):
            await asyncio.sleep(0)

    async def live(self, seconds: float, look_s: float = LOOK_S) -> None:
        """Let time pass with a look at the clock every `look_s`."""
        until_s = self.clock.boot_s() + seconds
        while self.clock.boot_s() < until_s:
            await self.look()
            self.clock.advance(min(look_s, until_s - self.clock.boot_s()))
        await self.look()

    def sleep(self, seconds: float) -> None:
        """Suspend the machine: time passes, nothing looks at the clock."""
        self.clock.advance(seconds)

    def endings(self, name: str = "") -> list[str]:
        return [run.ending.value for run in self.book.runs if not name or run.duty == name]
