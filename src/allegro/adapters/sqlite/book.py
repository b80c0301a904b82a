"""The parts of the ledger that duties keep while they work: places, items set aside, alerts."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

import msgspec

from allegro.adapters.sqlite.connection import Worker
from allegro.adapters.sqlite.schema import get_meta
from allegro.adapters.sqlite.ties import get_tie, put_tie
from allegro.core.base.store_ties import Tie
from allegro.core.base.untrusted import (
    Unreadable,
    number_of,
    read_msgpack,
    real_of,
    whole_number,
)
from allegro.core.health.kept import KeptAlerts
from allegro.core.stores import Place, SetAside

BOOK_SCHEMA = """
CREATE TABLE IF NOT EXISTS place (
  name TEXT PRIMARY KEY, row INTEGER NOT NULL, upto INTEGER NOT NULL, item INTEGER NOT NULL,
  tries INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS under_work (
  duty TEXT NOT NULL, item TEXT NOT NULL, tries INTEGER NOT NULL, PRIMARY KEY (duty, item));
CREATE TABLE IF NOT EXISTS set_aside (
  duty TEXT NOT NULL, item TEXT NOT NULL, lane TEXT NOT NULL, reason TEXT NOT NULL,
  at_s REAL NOT NULL, PRIMARY KEY (duty, item));
CREATE TABLE IF NOT EXISTS alerting (name TEXT PRIMARY KEY, stored BLOB NOT NULL);
"""
MAX_ASIDE = 500
ALERTS = "alerts"
READERS = ("followed", "sessions followed", "fleet")
"""Names of places that a ledger of before kept as numbers."""


class SqliteBook:
    """The WorkBook port, the alerts and the tie, on the ledger's own file."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    async def place(self, name: str) -> Place:
        """Return where a reader stands; the first row where that cannot be read."""

        def job(connection: sqlite3.Connection) -> Place:
            return _place(connection, name)

        return await self._worker.run(job)

    async def keep_place(self, name: str, place: Place) -> None:
        row = (name, *msgspec.structs.astuple(place))
        await self._worker.run(
            lambda c: c.execute("INSERT OR REPLACE INTO place VALUES (?,?,?,?,?)", row)
        )

    async def furthest(self) -> int:
        """Return the furthest row that any reader has read."""

        def job(connection: sqlite3.Connection) -> int:
            names = {row[0] for row in connection.execute("SELECT name FROM place")} | set(READERS)
            return max(_place(connection, str(name)).row for name in names)

        return await self._worker.run(job)

    async def forget_places(self) -> None:
        """Let every reader begin at the archive's first row."""

        def job(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM place")
            connection.executemany("DELETE FROM meta WHERE name = ?", [(name,) for name in READERS])

        await self._worker.run(job)

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
        return {str(item): number_of(tries) for item, tries in rows}

    async def set_aside(self, aside: SetAside) -> None:
        """Keep what was set aside, once; of one lane's the newest MAX_ASIDE."""
        await self._worker.run(lambda c: put_aside(c, [aside]))

    async def all_set_aside(self) -> list[SetAside]:
        """Return what was set aside, oldest first."""
        rows = await self._worker.run(
            lambda c: c.execute("SELECT * FROM set_aside ORDER BY rowid").fetchall()
        )
        return [
            SetAside(
                duty=str(duty),
                item=str(item),
                lane=str(lane),
                reason=str(reason),
                at_s=real_of(at_s) or 0.0,
            )
            for duty, item, lane, reason, at_s in rows
        ]

    async def alerting(self) -> KeptAlerts | Unreadable | None:
        """Return the alerts, their outbox and the board; None before the first were kept."""
        row = await self._worker.run(
            lambda c: c.execute("SELECT stored FROM alerting WHERE name = ?", (ALERTS,)).fetchone()
        )
        if row is None:
            return None
        return (
            read_msgpack(row[0], KeptAlerts)
            if isinstance(row[0], bytes)
            else Unreadable("no bytes")
        )

    async def keep_alerting(self, kept: KeptAlerts) -> None:
        """Write the alerts, their outbox and the board in one commit."""
        await self._worker.run(lambda c: put_alerting(c, kept))

    async def tie(self) -> Tie:
        """Return this ledger's id, and which archive it works with."""
        return await self._worker.run(get_tie)

    async def keep_tie(self, tie: Tie) -> None:
        await self._worker.run(lambda c: put_tie(c, tie))

    async def close(self) -> None:
        await self._worker.close()


def put_aside(connection: sqlite3.Connection, aside: Sequence[SetAside]) -> None:
    """Write what was set aside, each once; of each lane keep the newest MAX_ASIDE."""
    connection.executemany(
        "INSERT OR IGNORE INTO set_aside VALUES (?,?,?,?,?)",
        [msgspec.structs.astuple(one) for one in aside],
    )
    for lane in {one.lane for one in aside}:
        connection.execute(
            "DELETE FROM set_aside WHERE rowid IN (SELECT rowid FROM set_aside"
            " WHERE lane = ? ORDER BY rowid DESC LIMIT -1 OFFSET ?)",
            (lane, MAX_ASIDE),
        )


def put_alerting(connection: sqlite3.Connection, kept: KeptAlerts) -> None:
    raw = msgspec.msgpack.encode(kept)
    connection.execute("INSERT OR REPLACE INTO alerting VALUES (?, ?)", (ALERTS, raw))


def _place(connection: sqlite3.Connection, name: str) -> Place:
    row = connection.execute(
        "SELECT row, upto, item, tries FROM place WHERE name = ?", (name,)
    ).fetchone()
    if row is None:
        raw = get_meta(connection, name) or b""
        before = whole_number(raw.decode("ascii", "replace")) or 0
        return Place(before, before)
    return Place(*map(number_of, row))
