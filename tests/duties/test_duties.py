"""A duty that fails begins again, is told, and ends neither the others nor the program."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from allegro.core.base.backoff import DUTY
from allegro.core.base.errors import EdgeError, UserError
from allegro.runtime.duties import STEADY_S, Duties
from allegro.runtime.tasks import Soon, ended
from allegro.testing.virtual import SeededDice, VirtualClock


class Program:
    """Duties in virtual time, and what was told of them."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.told: list[tuple[str, str]] = []
        self.duties = Duties(self.clock, SeededDice(1), lambda *told: self.told.append(told))
        self.runs = 0

    async def live(self, seconds: int) -> None:
        for _ in range(seconds):
            self.clock.advance(1.0)
            for _ in range(5):
                await asyncio.sleep(0)

    def raising(self, *errors: BaseException) -> Callable[[], Awaitable[None]]:
        """Return a duty that ends in these errors, one each time, and then runs for ever."""
        left = list(errors)

        async def run() -> None:
            self.runs += 1
            if left:
                raise left.pop(0)
            await asyncio.Event().wait()

        return run


@pytest.fixture
def program() -> Program:
    return Program()


async def test_a_bug_ends_neither_the_duty_nor_another_nor_the_program(program: Program) -> None:
    beats = 0

    async def beat() -> None:
        nonlocal beats
        while True:
            beats += 1
            await program.clock.sleep(1.0)

    stopping = asyncio.Event()
    waiting = asyncio.create_task(program.duties.wait(stopping))
    program.duties.begin("beats", beat)
    program.duties.begin("forge", program.raising(ValueError("x"), EdgeError("y", transient=False)))
    await program.live(10)
    assert beats >= 10
    assert program.runs == 3
    assert [name for name, _ in program.told] == ["forge", "forge"]
    assert "ValueError: x" in program.told[0][1]
    assert not waiting.done()
    stopping.set()
    await waiting
    await program.duties.stop()


async def test_pauses_grow_to_a_minute_and_begin_anew_once_it_was_well(program: Program) -> None:
    program.duties.begin("forge", program.raising(*(ValueError("x") for _ in range(20))))
    await program.live(600)
    assert 8 <= program.runs <= 20
    assert program.duties.failing()["forge"].times == program.runs
    await program.live(1_200)
    assert program.runs == 21
    await program.live(int(DUTY.cap_s + STEADY_S))
    assert program.duties.failing() == {}
    await program.duties.stop()


async def test_what_is_told_at_the_end_of_the_program_ends_it(program: Program) -> None:
    program.duties.begin("audit", program.raising(UserError("the token is an administrator's")))
    with pytest.raises(UserError, match="administrator"):
        await program.duties.wait(asyncio.Event())
    group = ExceptionGroup("in a task group", [UserError("also inside")])
    program.duties.begin("forge", program.raising(group))
    await program.live(2)
    assert program.told == []


async def test_a_duty_that_has_nothing_to_do_is_done(program: Program) -> None:
    async def off() -> None:
        program.runs += 1

    program.duties.begin("mirror", off)
    await program.live(5)
    assert program.runs == 1
    assert program.duties.failing() == {}


async def test_a_duty_whose_work_was_cancelled_by_somebody_else_begins_again(
    program: Program,
) -> None:
    async def run() -> None:
        program.runs += 1
        if program.runs == 1:
            work = asyncio.ensure_future(asyncio.sleep(0))
            work.cancel()
            await work
        await asyncio.Event().wait()

    program.duties.begin("gateways", run)
    await program.live(5)
    assert program.runs == 2
    assert "cancelled" in program.told[0][1]
    await program.duties.stop()


async def test_of_a_group_the_bug_inside_is_told(program: Program) -> None:
    async def run() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(program.raising(KeyError("inside"))())  # type: ignore[arg-type]

    program.duties.begin("council", run)
    await program.live(1)
    assert "KeyError: 'inside'" in program.told[0][1]
    await program.duties.stop()


async def test_short_work_that_meets_a_bug_is_told_and_ends_nothing() -> None:
    told: list[str] = []
    soon, done = Soon("sessions", told.append), asyncio.Event()

    async def bug() -> None:
        raise ZeroDivisionError("a bug")

    async def away() -> None:
        raise EdgeError("away", transient=True)

    async def works() -> None:
        done.set()

    for work in (bug(), away(), works()):
        soon.begin("one", work)
    await soon.idle()
    assert done.is_set()
    assert [("ZeroDivisionError" in one) for one in told] == [True]


async def test_short_work_that_is_cancelled_before_it_began_is_over() -> None:
    soon = Soon("sessions")
    soon.begin("one", asyncio.sleep(1_000))
    await soon.stop()
    assert soon.count == 0


async def test_a_task_that_lost_its_cancellation_is_cancelled_again() -> None:
    """A time-out that comes at the same moment takes the place of a cancellation."""
    lost = 0

    async def deaf() -> None:
        nonlocal lost
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                lost += 1
                if lost > 2:
                    raise

    task = asyncio.create_task(deaf())
    await asyncio.sleep(0)
    await asyncio.wait_for(ended([task], again_s=0.01), 30.0)
    assert (task.cancelled(), lost) == (True, 3)
