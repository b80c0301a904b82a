"""The house's ledger: requests, receipts, freezes, order numbers, lanes; all of it small."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import msgspec

from allegro.adapters.sqlite.connection import Worker, open_database
from allegro.core.freeze import UNKNOWN, FreezeSet
from allegro.core.lifecycle import STAGES
from allegro.core.matching import BotWrite, Receipt
from allegro.core.requests import Request
from allegro.core.stores import Place, SessionRecord, SetAside

SCHEMA = """
CREATE TABLE IF NOT EXISTS request (
  id TEXT PRIMARY KEY, state TEXT NOT NULL, created_s REAL NOT NULL, stored BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS receipt (
  kind TEXT NOT NULL, target TEXT NOT NULL, artifact INTEGER NOT NULL, content TEXT NOT NULL,
  request TEXT NOT NULL, PRIMARY KEY (kind, target, artifact, content));
CREATE TABLE IF NOT EXISTS bot_write (
  event TEXT PRIMARY KEY, kind TEXT NOT NULL, target TEXT NOT NULL, artifact INTEGER NOT NULL,
  content TEXT NOT NULL, seen_s REAL NOT NULL);
CREATE TABLE IF NOT EXISTS session (
  id TEXT PRIMARY KEY, began_s REAL NOT NULL, stored BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS place (
  name TEXT PRIMARY KEY, row INTEGER NOT NULL, upto INTEGER NOT NULL, item INTEGER NOT NULL,
  tries INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS under_work (
  duty TEXT NOT NULL, item TEXT NOT NULL, tries INTEGER NOT NULL, PRIMARY KEY (duty, item));
CREATE TABLE IF NOT EXISTS set_aside (
  duty TEXT NOT NULL, item TEXT NOT NULL, lane TEXT NOT NULL, reason TEXT NOT NULL,
  at_s REAL NOT NULL, PRIMARY KEY (duty, item));
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value BLOB NOT NULL);
"""
MAX_ASIDE = 500


class SqliteLedger:
    """Everything is durable when a method returns; requests are held in memory as well."""

    def __init__(self, worker: Worker, requests: dict[str, Request]) -> None:
        self._worker = worker
        self.requests = requests

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
        return [msgspec.msgpack.decode(raw, type=Request) for raw in found]

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

    async def add_bot_write(self, write: BotWrite) -> None:
        await self._worker.run(
            lambda c: c.execute(
                "INSERT OR IGNORE INTO bot_write VALUES (?,?,?,?,?,?)",
                msgspec.structs.astuple(write),
            )
        )

    async def bot_writes(self) -> list[BotWrite]:
        rows = await self._worker.run(lambda c: c.execute("SELECT * FROM bot_write").fetchall())
        return [BotWrite(*row) for row in rows]

    async def drop_bot_write(self, event: str) -> None:
        await self._worker.run(
            lambda c: c.execute("DELETE FROM bot_write WHERE event = ?", (event,))
        )

    async def next_number(self, name: str) -> int:
        """Return the next of a series of numbers that never repeats."""

        def job(connection: sqlite3.Connection) -> int:
            number = int(_get(connection, name) or b"0") + 1
            _put(connection, name, str(number).encode())
            return number

        return await self._worker.run(job)

    async def number(self, name: str) -> int:
        raw = await self._worker.run(lambda c: _get(c, name))
        return int(raw or b"0")

    async def set_number(self, name: str, value: int) -> None:
        await self._worker.run(lambda c: _put(c, name, str(value).encode()))

    async def strings(self, name: str) -> tuple[str, ...]:
        raw = await self._worker.run(lambda c: _get(c, name))
        return () if raw is None else msgspec.msgpack.decode(raw, type=tuple[str, ...])

    async def set_strings(self, name: str, values: tuple[str, ...]) -> None:
        await self._worker.run(lambda c: _put(c, name, msgspec.msgpack.encode(values)))

    async def freezes(self) -> FreezeSet:
        """Return the freeze set; unknown, which counts as frozen, when this ledger has none."""
        raw = await self._worker.run(lambda c: _get(c, "freezes"))
        return UNKNOWN if raw is None else msgspec.msgpack.decode(raw, type=FreezeSet)

    async def save_freezes(self, freezes: FreezeSet) -> None:
        await self._worker.run(lambda c: _put(c, "freezes", msgspec.msgpack.encode(freezes)))

    async def save_session(self, record: SessionRecord) -> None:
        await self._worker.run(
            lambda c: c.execute(
                "INSERT OR REPLACE INTO session VALUES (?,?,?)",
                (record.id, record.began_s, msgspec.msgpack.encode(record)),
            )
        )

    async def sessions(self, limit: int = 2_000) -> list[SessionRecord]:
        """Return the newest sessions, oldest of them first."""
        rows = await self._worker.run(
            lambda c: c.execute(
                "SELECT stored FROM session ORDER BY began_s DESC LIMIT ?", (limit,)
            ).fetchall()
        )
        found = [msgspec.msgpack.decode(row[0], type=SessionRecord) for row in rows]
        return found[::-1]

    async def place(self, name: str) -> Place:
        """Return where a reader stands; a ledger of before kept the row alone, as a number."""

        def job(connection: sqlite3.Connection) -> Place:
            row = connection.execute(
                "SELECT row, upto, item, tries FROM place WHERE name = ?", (name,)
            ).fetchone()
            if row is not None:
                return Place(*row)
            before = int(_get(connection, name) or b"0")
            return Place(before, before)

        return await self._worker.run(job)

    async def keep_place(self, name: str, place: Place) -> None:
        row = (name, *msgspec.structs.astuple(place))
        await self._worker.run(
            lambda c: c.execute("INSERT OR REPLACE INTO place VALUES (?,?,?,?,?)", row)
        )

    async def begin(self, duty: str, item: str, tries: int) -> None:
        await self._worker.run(
            lambda c: c.execute(
                "INSERT OR REPLACE INTO under_work VALUES (?,?,?)", (duty, item, tries)
            )
        )

    async def end(self, duty: str, item: str) -> None:
        await self._worker.run(
            lambda c: c.execute("DELETE FROM under_work WHERE duty = ? AND item = ?", (duty, item))
        )

    async def begun(self, duty: str) -> dict[str, int]:
        rows = await self._worker.run(
            lambda c: c.execute(
                "SELECT item, tries FROM under_work WHERE duty = ?", (duty,)
            ).fetchall()
        )
        return dict(rows)

    async def set_aside(self, aside: SetAside) -> None:
        """Keep what was set aside, once; of one lane's the newest MAX_ASIDE."""
        row = msgspec.structs.astuple(aside)

        def job(connection: sqlite3.Connection) -> None:
            connection.execute("INSERT OR IGNORE INTO set_aside VALUES (?,?,?,?,?)", row)
            connection.execute(
                "DELETE FROM set_aside WHERE rowid IN (SELECT rowid FROM set_aside"
                " WHERE lane = ? ORDER BY rowid DESC LIMIT -1 OFFSET ?)",
                (aside.lane, MAX_ASIDE),
            )

        await self._worker.run(job)

    async def all_set_aside(self) -> list[SetAside]:
        """Return what was set aside, oldest first."""
        rows = await self._worker.run(
            lambda c: c.execute("SELECT * FROM set_aside ORDER BY rowid").fetchall()
        )
        return [
            SetAside(duty=duty, item=item, lane=lane, reason=reason, at_s=at_s)
            for duty, item, lane, reason, at_s in rows
        ]

    async def close(self) -> None:
        await self._worker.close()


def open_ledger(path: Path, since_s: float = 0.0) -> SqliteLedger:
    """Open the ledger, or make it. Must be called with a running event loop.

    Settled requests made before `since_s` stay on disk and out of memory.
    """
    connection = open_database(path, SCHEMA)
    rows = connection.execute(
        "SELECT stored FROM request WHERE created_s >= ? OR state IN (?,?,?,?,?) ORDER BY created_s",
        (since_s, *(state.value for state in STAGES)),
    ).fetchall()
    requests = [msgspec.msgpack.decode(row[0], type=Request) for row in rows]
    return SqliteLedger(Worker(connection, "ledger"), {r.id: r for r in requests})


def make_ledger(path: Path) -> None:
    """Make the ledger of a new house, with a freeze set that is known and empty."""
    connection = open_database(path, SCHEMA)
    _put(connection, "freezes", msgspec.msgpack.encode(FreezeSet()))
    connection.close()


def _get(connection: sqlite3.Connection, name: str) -> bytes | None:
    row = connection.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
    return None if row is None else bytes(row[0])


def _put(connection: sqlite3.Connection, name: str, value: bytes) -> None:
    connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, value))
