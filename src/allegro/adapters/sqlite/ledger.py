"""The house's ledger: requests, receipts, freezes, order numbers, lanes; all of it small."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path

import msgspec

from allegro.adapters.sqlite.book import BOOK_SCHEMA, SqliteBook, put_aside
from allegro.adapters.sqlite.books.duties import DUTY_SCHEMA, SqliteDuties, scheduled_duties
from allegro.adapters.sqlite.connection import Worker
from allegro.adapters.sqlite.damage import READ_TYPES, damaged_cells, readable
from allegro.adapters.sqlite.decisions import DECISION_SCHEMA, SqliteDecisions
from allegro.adapters.sqlite.schema import get_meta, open_versioned, put_meta
from allegro.adapters.sqlite.steps import (
    alerts_by_code,
    alerts_that_call,
    closes_by_time,
    labels_and_branches,
)
from allegro.core.authority.freeze import UNKNOWN, FreezeSet
from allegro.core.base.untrusted import Unreadable, read_msgpack, whole_number
from allegro.core.effects.matching import BotWrite, Receipt
from allegro.core.requests.lifecycle import STAGES
from allegro.core.requests.requests import Request
from allegro.core.stores import SessionRecord, SetAside

SCHEMA = (
    """
CREATE TABLE IF NOT EXISTS request (
  id TEXT PRIMARY KEY, state TEXT NOT NULL, created_s REAL NOT NULL, stored BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS receipt (
  kind TEXT NOT NULL, target TEXT NOT NULL, artifact INTEGER NOT NULL, content TEXT NOT NULL,
  request TEXT NOT NULL, PRIMARY KEY (kind, target, artifact, content));
CREATE TABLE IF NOT EXISTS bot_write (
  event TEXT PRIMARY KEY, kind TEXT NOT NULL, target TEXT NOT NULL, artifact INTEGER NOT NULL,
  content TEXT NOT NULL, seen_s REAL NOT NULL, lane TEXT NOT NULL DEFAULT '',
  fresh INTEGER NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS foreign_write (
  kind TEXT NOT NULL, target TEXT NOT NULL, artifact INTEGER NOT NULL, content TEXT NOT NULL,
  PRIMARY KEY (kind, target, artifact, content));
CREATE TABLE IF NOT EXISTS session (
  id TEXT PRIMARY KEY, began_s REAL NOT NULL, stored BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value BLOB NOT NULL);
"""
    + BOOK_SCHEMA
    + DUTY_SCHEMA
    + DECISION_SCHEMA
)
STEPS = (
    labels_and_branches,
    closes_by_time,
    alerts_by_code,
    scheduled_duties,
    alerts_that_call,
)
MAX_WRITES = 500
"""So many writes of our bots wait to be matched for each lane that showed them."""
MAX_FOREIGN = 10_000


class SqliteLedger(SqliteBook, SqliteDecisions):
    """Everything is durable when a method returns; requests are held in memory as well.

    `damaged` are the cells that could not be read at the start: they were set aside, each as if it
    had never been written.
    """

    def __init__(
        self, worker: Worker, requests: dict[str, Request], damaged: tuple[SetAside, ...] = ()
    ) -> None:
        super().__init__(worker)
        self.requests = requests
        self.damaged = damaged
        self.duties = SqliteDuties(worker)

    async def save(self, *requests: Request, receipts: tuple[Receipt, ...] = ()) -> None:
        """Write requests, and receipts with them, in one commit."""

        def job(connection: sqlite3.Connection) -> None:
            connection.executemany(
                "INSERT OR REPLACE INTO request VALUES (?,?,?,?)",
                [(r.id, r.state.value, r.created_s, msgspec.msgpack.encode(r)) for r in requests],
            )
            connection.executemany(
                "INSERT OR IGNORE INTO receipt VALUES (?,?,?,?,?)",
                [msgspec.structs.astuple(receipt) for receipt in receipts],
            )

        await self._worker.run(job)
        for request in requests:
            self.requests[request.id] = request

    async def stored(self, prefix: str) -> list[Request]:
        """Return the requests on disk whose id begins like this; three at most."""

        def job(connection: sqlite3.Connection) -> list[bytes]:
            rows = connection.execute(
                "SELECT stored FROM request WHERE id >= ? AND id < ? LIMIT 3",
                (prefix, prefix + "\uffff"),
            )
            return [row[0] for row in rows]

        found = await self._worker.run(job)
        return [one for raw in found if (one := readable(raw, Request)) is not None]

    def forget(self, settled_before_s: float) -> int:
        """Drop requests settled before then from memory; they stay on disk. Return how many."""
        old = [
            r.id for r in self.requests.values() if r.is_final and r.settled_s < settled_before_s
        ]
        for id_ in old:
            del self.requests[id_]
        return len(old)

    async def receipts_for(self, target: str) -> list[Receipt]:
        rows = await self._worker.run(
            lambda c: c.execute("SELECT * FROM receipt WHERE target = ?", (target,)).fetchall()
        )
        return [Receipt(*row) for row in rows]

    async def add_bot_write(self, write: BotWrite) -> bool:
        """Keep a write until it is matched; say whether its lane's share has room for it."""

        def job(connection: sqlite3.Connection) -> bool:
            (held,) = connection.execute(
                "SELECT COUNT(*) FROM bot_write WHERE lane = ?", (write.lane,)
            ).fetchone()
            if held >= MAX_WRITES:
                return False
            connection.execute(
                "INSERT OR IGNORE INTO bot_write VALUES (?,?,?,?,?,?,?,?)",
                msgspec.structs.astuple(write),
            )
            return True

        return await self._worker.run(job)

    async def bot_writes(self) -> list[BotWrite]:
        """Return the writes that wait; a damaged row is dropped and set aside."""
        rows = await self._worker.run(lambda c: c.execute("SELECT * FROM bot_write").fetchall())
        return [_write(*row) for row in rows]

    async def drop_bot_writes(self, events: Sequence[str], foreign: Sequence[BotWrite]) -> None:
        """Forget writes that were judged, and keep which of them are nobody's, in one commit."""

        def job(connection: sqlite3.Connection) -> None:
            connection.executemany(
                "DELETE FROM bot_write WHERE event = ?", [(event,) for event in events]
            )
            connection.executemany(
                "INSERT OR IGNORE INTO foreign_write VALUES (?,?,?,?)",
                [(one.kind, one.target, one.artifact, one.content) for one in foreign],
            )
            connection.execute(
                "DELETE FROM foreign_write WHERE rowid IN (SELECT rowid FROM foreign_write"
                " ORDER BY rowid DESC LIMIT -1 OFFSET ?)",
                (MAX_FOREIGN,),
            )

        await self._worker.run(job)

    async def is_foreign(self, write: BotWrite) -> bool:
        """Say whether this very write was found to be nobody's before."""
        row = await self._worker.run(
            lambda c: c.execute(
                "SELECT 1 FROM foreign_write WHERE kind = ? AND target = ? AND artifact = ?"
                " AND content = ?",
                (write.kind, write.target, write.artifact, write.content),
            ).fetchone()
        )
        return row is not None

    async def next_number(self, name: str) -> int:
        """Return the next of a series of numbers that never repeats."""

        def job(connection: sqlite3.Connection) -> int:
            held = _number(connection, name)
            if held is None and name == "order":  # lost: go on behind every order that is known
                held = max((request.order_number for request in self.requests.values()), default=0)
            put_meta(connection, name, str((held or 0) + 1).encode())
            return (held or 0) + 1

        return await self._worker.run(job)

    async def number(self, name: str) -> int:
        return await self._worker.run(lambda c: _number(c, name)) or 0

    async def set_number(self, name: str, value: int) -> None:
        await self._worker.run(lambda c: put_meta(c, name, str(value).encode()))

    async def strings(self, name: str) -> tuple[str, ...]:
        raw = await self._worker.run(lambda c: get_meta(c, name))
        values = () if raw is None else read_msgpack(raw, READ_TYPES["strings"])
        return () if isinstance(values, Unreadable) else values

    async def set_strings(self, name: str, values: tuple[str, ...]) -> None:
        await self._worker.run(lambda c: put_meta(c, name, msgspec.msgpack.encode(values)))

    async def freezes(self) -> FreezeSet:
        """Return the freeze set; unknown, which counts as frozen, when none can be read."""
        raw = await self._worker.run(lambda c: get_meta(c, "freezes"))
        held = UNKNOWN if raw is None else read_msgpack(raw, FreezeSet)
        return UNKNOWN if isinstance(held, Unreadable) else held

    async def save_freezes(self, freezes: FreezeSet) -> None:
        await self._worker.run(lambda c: put_meta(c, "freezes", msgspec.msgpack.encode(freezes)))

    async def save_sessions(self, records: Sequence[SessionRecord]) -> None:
        """Write records in one commit."""
        rows = [(one.id, one.began_s, msgspec.msgpack.encode(one)) for one in records]
        await self._worker.run(
            lambda c: c.executemany("INSERT OR REPLACE INTO session VALUES (?,?,?)", rows)
        )

    async def sessions(self, limit: int = 2_000) -> list[SessionRecord]:
        """Return the newest sessions, oldest of them first."""
        rows = await self._worker.run(
            lambda c: c.execute(
                "SELECT stored FROM session ORDER BY began_s DESC LIMIT ?", (limit,)
            ).fetchall()
        )
        found = [one for row in rows if (one := readable(row[0], SessionRecord)) is not None]
        return found[::-1]


def open_ledger(path: Path, since_s: float = 0.0, now_s: float = 0.0) -> SqliteLedger:
    """Open the ledger, or make it. Must be called with a running event loop.

    Settled requests made before `since_s` stay on disk and out of memory. `now_s` (Unix seconds)
    is noted beside cells that cannot be read. Raises EdgeError, not transient, for a file that
    cannot be opened, ConfigError for one that is newer than this program.
    """
    connection = open_versioned(path, SCHEMA, STEPS)
    damaged = damaged_cells(connection, now_s)
    if damaged:
        put_aside(connection, damaged)
    rows = connection.execute(
        "SELECT stored FROM request WHERE created_s >= ? OR state IN (?,?,?,?,?) ORDER BY created_s",
        (since_s, *(state.value for state in STAGES)),
    ).fetchall()
    requests = [one for row in rows if (one := readable(row[0], Request)) is not None]
    by_id = {request.id: request for request in requests}
    return SqliteLedger(Worker(connection, "ledger"), by_id, tuple(damaged))


def make_ledger(path: Path) -> None:
    """Make the ledger of a new house, with a freeze set that is known and empty."""
    connection = open_versioned(path, SCHEMA, STEPS)
    put_meta(connection, "freezes", msgspec.msgpack.encode(FreezeSet()))
    connection.close()


def _write(
    event: str,
    kind: str,
    target: str,
    artifact: int,
    content: str,
    seen_s: float,
    lane: str,
    fresh: int,
) -> BotWrite:
    return BotWrite(event, kind, target, artifact, content, seen_s, lane, bool(fresh))


def _number(connection: sqlite3.Connection, name: str) -> int | None:
    raw = get_meta(connection, name)
    return None if raw is None else whole_number(raw.decode("ascii", "replace"))
