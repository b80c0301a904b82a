"""The long-living duties of a program, which begin again after a bug.

A bare task that raises dies unseen, or ends the program with everything else in it. Here a bug
belongs to its duty: it is logged with its traceback, reported to a person, and the duty begins again
after growing pauses while all others go on.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec
import structlog

from allegro.core.base.backoff import DUTY
from allegro.core.base.errors import UserError
from allegro.core.ports import Clock, Dice
from allegro.core.protocol.queries import Params
from allegro.runtime.consumer import note_bug, reason_of
from allegro.runtime.tasks import ended

_log = structlog.get_logger()
STEADY_S = 60.0
"""A duty that ran for so long since its last failure is well again."""


Failed = Callable[[str, str], None]
"""Is given the name of a duty and a sentence for a person."""

Run = Callable[[], Awaitable[None]]
"""Begins a duty, or the serving of one lane, anew each time."""

Answer = Callable[[Params], Awaitable[object]]
"""Answers one query with the type of its answer. Raises EdgeError with a sentence for the asker."""


class Duty(msgspec.Struct, frozen=True, kw_only=True):
    """One part of a program, with all that others need of it.

    `run` begins it anew each time; None for a part that only answers or only listens. `facts`
    returns its lines of `doctor`. `queries` are what it answers, by the name of the query.
    `start` opens what it listens on before any duty runs; it raises ConfigError to end the program.
    `leave` is called at a clean end while everything still runs, `stop` once no duty runs any more;
    both also where `start` was never reached.
    """

    name: str
    run: Run | None = None
    facts: Callable[[], list[Any]] = list
    queries: Mapping[str, Answer] = {}
    start: Run | None = None
    leave: Run | None = None
    stop: Run | None = None


class Failing(msgspec.Struct, frozen=True):
    """How often in a row a duty failed, why the last time, and when (boot-time s)."""

    times: int
    why: str
    at_s: float


class Duties:
    """Runs each duty from its beginning until the program ends.

    `failed` is called at each failure. A UserError
    ends the program: `wait` raises it. A duty that returns is done.
    """

    def __init__(
        self,
        clock: Clock,
        dice: Dice,
        failed: Failed,
        failing: dict[str, Failing] | None = None,
    ) -> None:
        """`failing` is where failures are noted, with those of other duties; its own if None."""
        self._clock = clock
        self._dice = dice
        self._failed = failed
        self._known: list[Duty] = []
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._failing: dict[str, Failing] = {} if failing is None else failing
        self._over = asyncio.Event()
        self._ended_by: BaseException | None = None

    def nested(self) -> Duties:
        """Return duties of a part that ends and begins them itself; their failures count here."""
        return Duties(self._clock, self._dice, self._failed, self._failing)

    def add(self, *duties: Duty) -> None:
        """Know these duties: their facts and queries count from now on, nothing of them runs."""
        self._known += duties

    def join(self, *duties: Duty) -> None:
        """Know these duties and begin those that run, while others run already."""
        self.add(*duties)
        for duty in duties:
            if duty.run is not None:
                self.begin(duty.name, duty.run)

    def facts(self) -> list[Any]:
        """Return what all duties say of themselves, in the order in which they were added."""
        return [fact for duty in self._known for fact in duty.facts()]

    def query(self, name: str) -> Answer | None:
        """Return what answers a query, None when no duty does."""
        return next((d.queries[name] for d in self._known if name in d.queries), None)

    async def start(self) -> None:
        """Open what the duties listen on, then begin those that run. Raises ConfigError."""
        for duty in self._known:
            if duty.start is not None:
                await duty.start()
        for duty in self._known:
            if duty.run is not None:
                self.begin(duty.name, duty.run)

    async def leave(self) -> None:
        """Let each duty take its leave while all of them still run."""
        for duty in self._known:
            if duty.leave is not None:
                await duty.leave()

    def begin(self, name: str, run: Run) -> None:
        """Begin a duty that begins again whenever it fails. `run` is called for each beginning."""
        running = keep_running(
            name, run, self._clock, lambda why: self._pause_s(name, why), failed=lambda _: None
        )
        task = asyncio.create_task(running, name=name)
        self._tasks[name] = task
        task.add_done_callback(self._ended)

    async def wait(self, stopping: asyncio.Event) -> None:
        """Return when `stopping` is set. Raises what must end the program."""
        waits = [asyncio.ensure_future(event.wait()) for event in (stopping, self._over)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in waits:
                one.cancel()
        if self._ended_by is not None:
            raise self._ended_by

    def failing(self) -> dict[str, Failing]:
        """Return the duties that failed and have not run for STEADY_S since."""
        now_s = self._clock.boot_s()
        return {
            name: one for name, one in self._failing.items() if now_s - one.at_s < self._well_s(one)
        }

    async def stop(self) -> None:
        """End every duty and wait until they have ended; then let each close what it opened.

        The one that was added last closes first; one that raises keeps no other from closing.
        """
        await ended(self._tasks.values())
        async with contextlib.AsyncExitStack() as stack:
            for duty in self._known:
                if duty.stop is not None:
                    stack.push_async_callback(duty.stop)

    def _pause_s(self, name: str, why: str) -> float:
        """Note a failure; return the pause before the duty begins again."""
        now_s, before = self._clock.boot_s(), self._failing.get(name)
        in_a_row = before is not None and now_s - before.at_s < self._well_s(before)
        times = before.times + 1 if before is not None and in_a_row else 1
        self._failing[name] = Failing(times, why, now_s)
        self._failed(name, f"{name} failed and is begun again: {why}")
        return DUTY.delay_s(times - 1, self._dice.fraction)

    def _well_s(self, one: Failing) -> float:
        return DUTY.delay_s(one.times - 1, lambda: 1.0) + STEADY_S

    def _ended(self, task: asyncio.Task[None]) -> None:
        if task.cancelled() or (error := task.exception()) is None:
            return
        self._ended_by = self._ended_by or error
        self._over.set()


async def keep_running(
    name: str, run: Run, clock: Clock, pause_s: Callable[[str], float],
    failed: Callable[[str], None],
) -> None:  # fmt: skip
    """Run what serves one lane, or one duty, until it returns; begin it again after a failure.

    `pause_s` is given why it failed, and returns the seconds to wait before it is begun again;
    `failed` is given a sentence each time. A task it awaited that was cancelled by somebody else
    is a failure too. UserError passes through.
    """
    while True:
        try:
            await run()
        except UserError:
            raise
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            why = "something it waited for was cancelled"
            _log.error("duty.cancelled", duty=name)
        except Exception as error:
            if isinstance(error, ExceptionGroup) and error.subgroup(UserError) is not None:
                raise
            note_bug(error, duty=name, item="", lane="")
            why = reason_of(error)
        else:
            return
        failed(f"{name} failed and is begun again: {why}")
        await clock.sleep(pause_s(why))
