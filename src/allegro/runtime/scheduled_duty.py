"""A scheduled duty as a value: when it runs, whose it is, and its work, done once to a known end.

A scheduled duty runs at times of the clock and ends; a background task (`allegro.runtime.duties`)
runs as long as its program. `Timetable` runs what stands here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

import msgspec

from allegro.core.base.errors import EdgeError, UserError
from allegro.core.health.duty_runs import DutyPlan, DutyRun, DutyState
from allegro.core.health.schedule import Schedule, schedule_of
from allegro.core.ports import Clock
from allegro.core.settings import HouseDuties, LaneDuties
from allegro.runtime.consumer import as_edge_error, reason_of

LIMIT_S = 900.0


class DutyResult(msgspec.Struct, frozen=True):
    """How a run ended: a sentence for a person, and its numbers by name.

    `is_good` is False for a check that ran to its end and found what must not be: the run counts
    as failed.
    """

    text: str
    figures: Mapping[str, float] = {}
    is_good: bool = True


def _always() -> bool:
    return True


def _never() -> float:
    return 0.0


class ScheduledDuty(msgspec.Struct, frozen=True, kw_only=True):
    """One duty with its schedule. `run` does its work once and raises EdgeError where it cannot.

    `schedule` is None for a duty that never runs by itself; `off` then says why. Where a role owns
    the duty, `may_run` says whether this program holds it long enough to know what was served, and
    `served_s` the newest due time that any holder served (Unix s, 0 for none). A run that takes
    longer than `limit_s` has failed.
    """

    name: str
    schedule: Schedule | None
    run: Callable[[], Awaitable[DutyResult]]
    off: str = "off in the configuration"
    role: str = ""
    may_run: Callable[[], bool] = _always
    served_s: Callable[[], float] = _never
    limit_s: float = LIMIT_S


def made(
    name: str,
    cron: str,
    run: Callable[[], Awaitable[DutyResult]],
    duties: HouseDuties | LaneDuties,
    role: str = "",
) -> ScheduledDuty:
    """Return a duty with this cron line, and the grace and the limit of `[duties]`.

    An empty line is off. The configuration was checked when it was loaded.
    """
    schedule = schedule_of(cron, duties.grace_min)
    return ScheduledDuty(name=name, schedule=schedule, run=run, role=role, limit_s=duties.limit_s)


class DutyBook(Protocol):
    """Where plans and records are kept. Durable when a method returns; all raise EdgeError.

    `record` is given the next due time too (Unix s, 0 for none), `announce` what others must know
    to expect the duty.
    """

    async def states(self) -> dict[str, DutyState]: ...
    async def keep(self, duty: str, state: DutyState) -> None: ...
    async def record(self, run: DutyRun, plan: DutyPlan) -> None: ...
    async def announce(self, plan: DutyPlan) -> None: ...


async def bounded(duty: ScheduledDuty, clock: Clock) -> DutyResult:
    """Return what one run comes to, whatever it raises and however long it takes.

    A run that goes on after `limit_s` although it was cancelled is left behind.
    """
    work = asyncio.ensure_future(as_edge_error("scheduled duty", duty.name, duty.run()))
    timer = asyncio.ensure_future(clock.sleep(duty.limit_s))
    try:
        await asyncio.wait({work, timer}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        timer.cancel()
        if not work.done():
            work.cancel()
            work.add_done_callback(_read)
    if not work.done():
        return DutyResult(f"it did not end within {duty.limit_s:g} s", is_good=False)
    return _result(work)


def _result(work: asyncio.Future[DutyResult]) -> DutyResult:
    """Return what a run that is over came to; what it raised is a result too."""
    if work.cancelled():
        return DutyResult("something that it waited for was cancelled", is_good=False)
    error = work.exception()
    if error is None:
        return work.result()
    if isinstance(error, EdgeError | UserError):
        return DutyResult(str(error) or reason_of(error), is_good=False)
    raise error


def _read(work: asyncio.Future[DutyResult]) -> None:
    """Take what a run that was left behind raises: nobody waits for it."""
    if not work.cancelled():
        work.exception()
