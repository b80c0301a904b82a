"""A bug planted in each kind of task: it belongs to its item, is told, and the next item works."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest

from allegro.adapters.hermes.gateway import HermesGateway
from allegro.adapters.sqlite.connection import Worker, open_database
from allegro.adapters.sqlite.journal import SqliteJournal
from allegro.core.base.errors import EdgeError
from allegro.core.base.sequence import Position
from allegro.core.health.alert_state import AlertState
from allegro.core.health.kept import KeptAlerts
from allegro.core.protocol.messages import FromHouse, FromLane, LogIn, Query, Refused, Stop, Welcome
from allegro.core.settings import HermesSettings
from allegro.core.stores import SetAside
from allegro.house.requests.newest_state import Homes, ItemPorts
from allegro.lane.models.loans import FORGOTTEN_S, Loans
from allegro.runtime.alerting.memory import Memory
from allegro.runtime.duties import Duties, keep_running
from allegro.testing.virtual import FakeForge, SeededDice, VirtualClock
from tests.duties.agents import LoopClock, hurried
from tests.duties.house import House as TimedHouse
from tests.duties.lane import Lane as PollingLane
from tests.duties.lane import journal_in, settings_of
from tests.duties.link_ends import House, Lane, dialling, open_lane, until
from tests.duties.test_loans import ASKED, Proxy
from tests.patience import patient

BUG = LookupError("a bug")


# --- the lane's polls --------------------------------------------------------------------------


class BuggyJournal:
    """A journal whose position cannot be read while `is_bad`, as a bug of ours might have it."""

    def __init__(self, journal: SqliteJournal) -> None:
        self._journal = journal
        self.is_bad = False

    @property
    def acked(self) -> Position:
        if self.is_bad:
            raise BUG
        return self._journal.acked

    def __getattr__(self, name: str) -> Any:
        return getattr(self._journal, name)


async def test_a_bug_in_the_poll_itself_is_told_and_the_next_poll_reads(tmp_path: Path) -> None:
    clock = VirtualClock()
    journal = BuggyJournal(await journal_in(tmp_path, clock))
    forge = FakeForge(clock)
    repo = forge.make_repository("home/garden")
    lane = PollingLane(forge, clock, cast(SqliteJournal, journal), settings_of())
    await lane.start()
    await lane.live(20)
    journal.is_bad = True
    for _ in range(4):
        clock.advance(await lane.duty.step())
    assert "LookupError: a bug" in lane.state.forge_trouble
    journal.is_bad = False
    forge.open_issue(repo, "after the bug")
    await lane.live(120)
    assert "after the bug" in {issue.title for issue in await lane.snapshots()}
    assert len(await lane.told("forge.unreachable")) == 1
    assert lane.state.forge_trouble == ""
    await journal.close()


# --- the link ----------------------------------------------------------------------------------


class BuggyLane(Lane):
    """Meets a bug in a question, in a stop, and in every other log-in."""

    logins = 0

    async def answer(self, message: FromHouse) -> FromLane | None:
        if isinstance(message, Stop) or (isinstance(message, Query) and message.method == "bug"):
            raise BUG
        return await super().answer(message)

    async def log_in(self, message: LogIn, challenge: str) -> Welcome | Refused:
        self.logins += 1
        if self.logins % 2:
            raise BUG
        return await super().log_in(message, challenge)


@pytest.fixture
async def buggy(tmp_path: Path) -> AsyncIterator[tuple[BuggyLane, House]]:
    async with open_lane(tmp_path, f"unix:{tmp_path / 's'}", BuggyLane) as (lane, _):
        assert isinstance(lane, BuggyLane)
        yield lane, House(f"ws+unix://{tmp_path / 's'}")


async def test_a_bug_in_an_answer_is_the_answer_and_the_next_question_counts(
    buggy: tuple[BuggyLane, House],
) -> None:
    async with dialling(buggy[1]) as link:
        began_s = asyncio.get_running_loop().time()
        with pytest.raises(EdgeError, match=r"a fault in the lane: .*LookupError: a bug"):
            await link.ask("bug", {})
        assert asyncio.get_running_loop().time() - began_s < patient(2)
        assert await link.ask("echo", {"x": 1}) == {"x": 1}
        assert buggy[0].logins == 2


# --- files on disk -----------------------------------------------------------------------------


async def test_a_bug_in_the_thread_of_a_database_is_each_callers_error(tmp_path: Path) -> None:
    bugs = [BUG]

    def undone(_: sqlite3.Connection) -> None:
        if bugs:
            raise bugs.pop()

    worker = Worker(open_database(tmp_path / "x.db", "CREATE TABLE t (a);"), "x", undone)
    with pytest.raises(EdgeError, match="a bug"):
        await asyncio.wait_for(worker.run(lambda db: db.execute("SELECT * FROM nowhere")), 5)
    rows = await worker.run(
        lambda db: db.execute("INSERT INTO t VALUES (1) RETURNING a").fetchall()
    )
    assert rows == [(1,)]
    await worker.close()


async def test_a_bug_after_a_commit_takes_nothing_back(tmp_path: Path) -> None:
    def between(_: sqlite3.Connection) -> None:
        raise BUG

    worker = Worker(open_database(tmp_path / "x.db", "CREATE TABLE t (a);"), "x", between=between)
    for number in range(3):
        await worker.run(lambda db, number=number: db.execute("INSERT INTO t VALUES (?)", [number]))  # type: ignore[misc]
    assert await worker.run(lambda db: db.execute("SELECT count(*) FROM t").fetchone()) == (3,)
    await worker.close()


# --- an agent's process ------------------------------------------------------------------------


async def test_a_process_whose_memory_is_not_watched_because_of_a_bug_is_ended(
    tmp_path: Path,
) -> None:
    gateway = HermesGateway(tmp_path / "g", cast(HermesSettings, _NoLimit()), lambda: None)
    gateway.process = await asyncio.create_subprocess_exec(
        "sleep", "600", stderr=asyncio.subprocess.PIPE, start_new_session=True
    )
    gateway.open("key")
    await asyncio.wait_for(gateway.died(), patient(10))
    await gateway.close("")


class _NoLimit:
    """Settings without the one thing that is asked for."""

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)


# --- loans -------------------------------------------------------------------------------------


@hurried
async def test_a_call_that_cannot_be_closed_keeps_no_other_from_being_dropped() -> None:
    first, second = Proxy(0.0), Proxy(10_000.0)

    async def broken() -> None:
        raise BUG

    first.answer.close = broken  # type: ignore[method-assign]
    calls = iter((first, second))

    async def call(*asked: Any) -> Any:
        return await next(calls)(*asked)

    duty = Loans(call, LoopClock(), SeededDice(1))
    await duty.begin(ASKED)
    await duty.begin(ASKED)
    await asyncio.sleep(2 * FORGOTTEN_S)
    assert second.cancelled == 1


# --- the house ---------------------------------------------------------------------------------


class _BadStore:
    """A place for alerts that meets a bug once."""

    def __init__(self) -> None:
        self.kept: list[KeptAlerts] = []
        self.bugs: list[Exception] = [BUG]

    async def load(self) -> None:
        return None

    async def save(self, kept: KeptAlerts) -> None:
        if self.bugs:
            raise self.bugs.pop()
        self.kept.append(kept)


async def test_a_bug_in_writing_alerts_down_keeps_no_later_one_from_being_written() -> None:
    store, clock = _BadStore(), VirtualClock()
    memory = Memory(store, "house")
    writing = keep_running("alert store", memory.write_on, clock, lambda _: 5.0, lambda _: None)
    task = asyncio.create_task(writing)
    memory.change(alerts=AlertState("house", made=1))
    assert not await memory.save(0.01)
    memory.change(alerts=AlertState("house", made=2))
    saved = asyncio.create_task(memory.save(5.0))
    await asyncio.sleep(0)
    clock.advance(6)
    assert await saved
    assert store.kept[-1].alerts.made == 2
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_bug_in_setting_aside_shows_the_item_again_and_the_others(tmp_path: Path) -> None:
    house, shown, bugs = TimedHouse(tmp_path, VirtualClock()), list[str](), [BUG]
    await house.start()

    async def show(id_: str) -> None:
        if id_ == "bad":
            raise EdgeError("it names no issue", transient=False)
        shown.append(id_)

    async def set_aside(aside: SetAside, _: bytes) -> None:
        if bugs:
            raise bugs.pop()
        shown.append(f"set aside: {aside.item}")

    homes = Homes("mirror", show, ItemPorts(house.ledger, house.clock, set_aside))
    told: list[str] = []
    duties = Duties(house.clock, SeededDice(1), lambda name, why: told.append(why))
    duties.begin("mirror", homes.run)
    homes.put("bad")
    homes.put("good")
    for _ in range(5_000):  # the ledger's thread may be slow on a busy machine
        if len(shown) == 2:
            break
        house.clock.advance(1.0)
        await asyncio.sleep(0.002)
    assert sorted(shown) == ["good", "set aside: bad"]
    assert ["LookupError: a bug" in why for why in told] == [True]
    await duties.stop()
    await house.ledger.close()


async def test_a_link_that_meets_a_bug_is_dialled_again(buggy: tuple[BuggyLane, House]) -> None:
    """The first log-in of `BuggyLane` raises; the house gets in with the second."""
    async with dialling(buggy[1]) as link:
        await until(lambda: link.is_up)
    assert buggy[0].logins == 2
