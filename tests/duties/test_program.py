"""The life of a program, and what its duties bring: order of stops, queries, facts, failures."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable

import pytest

from allegro.core.base.errors import ConfigError
from allegro.core.base.untrusted import number_of
from allegro.core.protocol.queries import Params
from allegro.runtime.duties import Duties, Duty
from allegro.runtime.program import Closable, running
from allegro.testing.virtual import SeededDice, VirtualClock


class Log:
    """What happened, in order."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, line: str) -> Callable[[], Awaitable[None]]:
        async def happens() -> None:
            self.lines.append(line)

        return happens

    def hold(self) -> Closable:
        lines = self.lines
        lines.append("held")

        class Lock:
            def close(self) -> None:
                lines.append("given back")

        return Lock()


def duties_of(failed: Callable[[str, str], None] = lambda name, why: None) -> Duties:
    return Duties(VirtualClock(), SeededDice(1), failed)


async def test_a_program_closes_what_it_opened_last_first_and_gives_its_folder_back_last() -> None:
    log = Log()
    async with running(log.hold, log.lines.append) as program:
        program.stack.push_async_callback(log.note("journal closed"))
        program.stack.push_async_callback(log.note("duties stopped"))
        program.ready()
        os.kill(os.getpid(), signal.SIGTERM)
        async with asyncio.timeout(10):
            await program.stopping.wait()
    assert log.lines == [
        "held", "READY=1\nSTATUS=running", "STOPPING=1", "duties stopped", "journal closed",
        "given back",
    ]  # fmt: skip


async def test_a_program_that_fails_gives_its_folder_back() -> None:
    log = Log()

    async def fail() -> None:
        async with running(log.hold, log.lines.append) as program:
            program.stack.push_async_callback(log.note("journal closed"))
            raise ConfigError(("no such address",))

    with pytest.raises(ConfigError):
        await fail()
    assert log.lines == ["held", "STOPPING=1", "journal closed", "given back"]


async def test_a_duty_that_cannot_be_closed_keeps_no_other_open() -> None:
    log, duties = Log(), duties_of()

    async def bug() -> None:
        raise RuntimeError("a bug at the stop")

    duties.add(Duty(name="a", stop=log.note("a closed")), Duty(name="b", stop=bug))
    duties.add(Duty(name="c", stop=log.note("c closed")))
    with pytest.raises(RuntimeError, match="a bug at the stop"):
        await duties.stop()
    assert log.lines == ["c closed", "a closed"]


async def test_all_listeners_are_open_before_any_duty_runs() -> None:
    log, duties, ran = Log(), duties_of(), asyncio.Event()

    async def run() -> None:
        log.lines.append("runs")
        ran.set()

    duties.add(Duty(name="a", run=run), Duty(name="b", start=log.note("listens")))
    await duties.start()
    async with asyncio.timeout(10):
        await ran.wait()
    await duties.stop()
    assert log.lines == ["listens", "runs"]


async def test_a_query_is_answered_by_the_duty_that_brought_it() -> None:
    async def answer(params: Params) -> int:
        return number_of(params["n"]) + 1

    duties = duties_of()
    duties.add(Duty(name="a", facts=lambda: ["one"]))
    duties.add(Duty(name="b", queries={"more": answer}, facts=lambda: ["two"]))
    found = duties.query("more")
    assert found is not None
    assert await found({"n": 1}) == 2
    assert duties.query("less") is None
    assert duties.facts() == ["one", "two"]


async def test_the_failures_of_a_part_count_with_those_of_the_program() -> None:
    failed: list[str] = []
    duties, tried = duties_of(lambda name, why: failed.append(name)), asyncio.Event()

    async def bug() -> None:
        tried.set()
        raise RuntimeError("a bug in a part")

    part = duties.nested()
    part.begin("inner", bug)
    async with asyncio.timeout(10):
        await tried.wait()
        while not failed:
            await asyncio.sleep(0)
    await part.stop()
    assert failed == ["inner"]
    assert set(duties.failing()) == {"inner"}
