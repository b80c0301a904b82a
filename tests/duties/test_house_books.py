"""The house's two stores: exchanged files are noticed, bad cells set aside, alerts outlive it."""

from __future__ import annotations

import datetime
import shutil
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from allegro.adapters.sqlite.archive import SqliteArchive, open_archive
from allegro.adapters.sqlite.ledger import MAX_WRITES, SqliteLedger, make_ledger, open_ledger
from allegro.core.authority.freeze import FreezeSet
from allegro.core.base.errors import ConfigError, Refusal
from allegro.core.base.events import Event, encode_event
from allegro.core.base.sequence import Kept
from allegro.core.base.store_ties import Fault
from allegro.core.base.untrusted import Unreadable
from allegro.core.effects.matching import BotWrite
from allegro.core.health import codes
from allegro.core.health.alarm import step
from allegro.core.health.alert_state import AlertState, Inputs, Occurrence, Rules
from allegro.core.health.kept import KeptAlerts
from allegro.core.stores import Place, SessionRecord
from allegro.house.archive.store_ties import renew_tie, tie_stores
from allegro.house.archive.suspended import Suspended
from allegro.testing.virtual import SeededDice

TIME = "2030-01-01T00:00:00Z"


class Books:
    """Archive and ledger of one house; `begin` is its start, `end` its clean stop."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.dice = SeededDice(4)
        self.fault: Fault | None = None
        self.seq = 0
        self.is_open = False

    @property
    def archive_file(self) -> Path:
        return self.folder / "archive.db"

    @property
    def ledger_file(self) -> Path:
        return self.folder / "ledger.db"

    async def begin(self) -> Fault | None:
        self.archive: SqliteArchive = open_archive(self.archive_file, quota_bytes=10**8)
        self.ledger: SqliteLedger = open_ledger(self.ledger_file)
        self.is_open = True
        self.fault = await tie_stores(self.archive, self.ledger, self.dice)
        return self.fault

    async def close(self) -> None:
        if self.is_open:
            self.is_open = False
            await self.archive.close()
            await self.ledger.close()

    async def end(self) -> None:
        await renew_tie(self.archive, self.ledger, self.dice)
        await self.close()

    async def bring(self, count: int) -> None:
        bodies = [Kept(encode_event(Event(f"e{self.seq + n}", "x", "lane:a", TIME)))
                  for n in range(count)]  # fmt: skip
        taken = await self.archive.take("a", "j", self.seq + 1, bodies, 1.0)
        assert not isinstance(taken, Refusal)
        self.seq += count

    def copy(self, file: Path) -> None:
        shutil.copy(file, file.with_suffix(".copy"))

    def put_back(self, file: Path) -> None:
        for beside in file.parent.glob(f"{file.name}-*"):
            beside.unlink()
        shutil.copy(file.with_suffix(".copy"), file)


@pytest.fixture
async def books(tmp_path: Path) -> AsyncIterator[Books]:
    make_ledger(tmp_path / "ledger.db")
    made = Books(tmp_path)
    yield made
    await made.close()


async def a_day(books: Books) -> None:
    """A house that read 301 rows and stopped."""
    await books.begin()
    await books.bring(301)
    await books.ledger.keep_place("followed", Place(301, 301))
    await books.end()


async def test_two_stores_that_belong_together_keep_their_places(books: Books) -> None:
    await a_day(books)
    for _ in range(3):
        assert await books.begin() is None
        assert await books.ledger.place("followed") == Place(301, 301)
        await books.end()


async def test_a_house_that_was_killed_is_no_fault(books: Books) -> None:
    await a_day(books)
    for _ in range(3):
        assert await books.begin() is None
        await books.close()


async def test_a_deleted_archive_is_told_and_read_from_its_first_row(books: Books) -> None:
    await a_day(books)
    books.archive_file.unlink()
    assert await books.begin() is Fault.NEW_ARCHIVE
    assert await books.ledger.place("followed") == Place()
    await books.end()
    assert await books.begin() is None


async def test_an_archive_cut_back_is_told_and_read_from_its_first_row(books: Books) -> None:
    await a_day(books)
    cut = sqlite3.connect(books.archive_file)
    cut.execute("DELETE FROM event WHERE row > 50")
    cut.commit()
    cut.close()
    assert await books.begin() is Fault.CUT_ARCHIVE
    assert await books.ledger.place("followed") == Place()


async def test_a_restored_archive_is_told(books: Books) -> None:
    await a_day(books)
    books.copy(books.archive_file)
    await books.begin()
    await books.bring(100)
    await books.ledger.keep_place("followed", Place(401, 401))
    await books.end()
    books.put_back(books.archive_file)
    assert await books.begin() is Fault.OLDER_ARCHIVE
    assert await books.ledger.place("followed") == Place()


async def test_a_restored_ledger_is_told_and_goes_on_from_its_own_place(books: Books) -> None:
    await a_day(books)
    books.copy(books.ledger_file)
    await books.begin()
    await books.bring(100)
    await books.ledger.keep_place("followed", Place(401, 401))
    await books.end()
    books.put_back(books.ledger_file)
    assert await books.begin() is Fault.OLDER_LEDGER
    assert await books.ledger.place("followed") == Place(301, 301)


async def test_a_deleted_ledger_is_told(books: Books) -> None:
    await a_day(books)
    books.ledger_file.unlink()
    assert await books.begin() is Fault.NEW_LEDGER
    assert not (await books.ledger.freezes()).known


async def test_a_state_folder_of_before_gets_its_ids_and_no_fault(books: Books) -> None:
    await books.begin()
    await books.bring(10)
    await books.ledger.set_number("followed", 7)
    await books.close()
    for file in (books.archive_file, books.ledger_file):
        old = sqlite3.connect(file)
        old.execute("DELETE FROM meta WHERE name = 'tie'")
        old.commit()
        old.close()
    assert await books.begin() is None
    assert await books.ledger.place("followed") == Place(7, 7)


# --- one bad cell ----------------------------------------------------------------------------

GARBAGE: tuple[object, ...] = (b"\xff\xfe", b"", "words", 7, b"\x91" * 20_000, 1.5, b"\x81\x01\x01")


@pytest.mark.parametrize("raw", GARBAGE)
@pytest.mark.parametrize("name", ["freezes", "followed", "bots", "thaws", "order", "take-overs"])
async def test_a_value_that_cannot_be_read_ends_no_start(
    books: Books, name: str, raw: object
) -> None:
    await books.begin()
    await books.ledger.set_number("other", 5)
    await books.close()
    spoil(books.ledger_file, "INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, raw))
    await books.begin()
    if name == "freezes":
        assert not (await books.ledger.freezes()).is_thawed
    assert await books.ledger.strings("bots") == ()
    assert await books.ledger.number("other") == 5
    assert await books.ledger.next_number("order") >= 1
    await books.ledger.place("followed")
    await books.ledger.save_freezes(FreezeSet())
    await books.close()
    await books.begin()
    assert (await books.ledger.freezes()).is_thawed


@pytest.mark.parametrize("raw", GARBAGE)
@pytest.mark.parametrize("table", ["request", "session"])
async def test_a_row_that_cannot_be_read_is_set_aside_and_told_once(
    books: Books, table: str, raw: object
) -> None:
    await books.begin()
    await books.ledger.save_sessions([SessionRecord(id="good", lane="a", began_s=1.0)])
    await books.close()
    columns = "('bad', 'teleported', 5.0, ?)" if table == "request" else "('bad', 5.0, ?)"
    spoil(books.ledger_file, f"INSERT INTO {table} VALUES {columns}", (raw,))
    await books.begin()
    assert [one.item for one in books.ledger.damaged] == [f"{table} bad"]
    assert [record.id for record in await books.ledger.sessions()] == ["good"]
    await books.close()
    await books.begin()
    assert books.ledger.damaged == ()
    assert len(await books.ledger.all_set_aside()) == 1


async def test_a_request_in_a_state_of_another_version_is_set_aside(books: Books) -> None:
    await books.begin()
    await books.close()
    raw = msgspec.msgpack.encode({"id": "r", "kind": "comment", "state": "teleported"})
    spoil(books.ledger_file, "INSERT INTO request VALUES ('r','teleported',5.0,?)", (raw,))
    await books.begin()
    assert "request r" in books.ledger.damaged[0].item


async def test_a_newer_ledger_is_refused_with_its_name(books: Books) -> None:
    spoil(books.ledger_file, "PRAGMA user_version = 99", ())
    with pytest.raises(ConfigError, match=r"ledger\.db was written by a newer allegro"):
        open_ledger(books.ledger_file)


def spoil(path: Path, sql: str, values: tuple[object, ...]) -> None:
    connection = sqlite3.connect(path)
    connection.execute(sql, values)
    connection.commit()
    connection.close()


async def test_the_writes_of_one_lane_have_a_share(books: Books) -> None:
    await books.begin()
    for n in range(MAX_WRITES):
        assert await books.ledger.add_bot_write(write(n, "thief"))
    assert not await books.ledger.add_bot_write(write(MAX_WRITES, "thief"))
    assert await books.ledger.add_bot_write(write(1_000_000, "honest"))


def write(n: int, lane: str) -> BotWrite:
    return BotWrite(f"e{n}", "comment", "f/7#3", n, "c", 1.0, lane)


# --- alerts and suspensions outlive a restart ------------------------------------------------


async def test_alerts_are_alive_after_a_restart_with_their_counts(books: Books) -> None:
    await books.begin()
    state = AlertState("house")
    for n in range(500):
        one = Occurrence(codes.FORGE if n % 2 else codes.WATCH, f"note {n % 300}", "thief")
        state = step(state, Inputs(occurrences=[one]), Rules(datetime.UTC), 1e9 + n).state
    await books.ledger.keep_alerting(KeptAlerts(state))
    await books.close()
    await books.begin()
    assert await books.ledger.alerting() == KeptAlerts(state)


@pytest.mark.parametrize("raw", [b"\xff\xfe", b"", "words", 7])
async def test_damaged_alerts_are_said_to_be_and_end_no_start(books: Books, raw: object) -> None:
    await books.begin()
    await books.close()
    spoil(books.ledger_file, "INSERT OR REPLACE INTO alerting VALUES ('alerts', ?)", (raw,))
    await books.begin()
    assert isinstance(await books.ledger.alerting(), Unreadable)
    await books.ledger.keep_alerting(KeptAlerts(AlertState("house")))
    assert await books.ledger.alerting() == KeptAlerts(AlertState("house"))


async def test_a_suspension_holds_over_a_restart_until_it_is_lifted(books: Books) -> None:
    await books.begin()
    suspended = Suspended(books.ledger)
    assert await suspended.suspend("thief", "its receipt\ncould not be read")
    assert not await suspended.suspend("thief", "again")
    await books.close()
    await books.begin()
    again = Suspended(books.ledger)
    await again.resume()
    assert "thief" in again
    assert await again.lift("thief")
    assert not await again.lift("thief")
    assert "thief" not in again
