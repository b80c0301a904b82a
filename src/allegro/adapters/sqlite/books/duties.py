"""Scheduled duties in the ledger: plans of the house's own, what is expected of lanes, all records."""

from __future__ import annotations

import sqlite3
from typing import TypeVar

import msgspec

from allegro.adapters.sqlite.connection import Worker
from allegro.core.base.untrusted import Unreadable, read_msgpack
from allegro.core.health.duty_runs import DutyRun, DutyState
from allegro.core.health.duty_watch import WatchedDuty
from allegro.core.stores import OwnedRun

DUTY_SCHEMA = """
CREATE TABLE IF NOT EXISTS duty_state (name TEXT PRIMARY KEY, stored BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS duty_watch (
  owner TEXT NOT NULL, duty TEXT NOT NULL, stored BLOB NOT NULL, PRIMARY KEY (owner, duty));
CREATE TABLE IF NOT EXISTS duty_run (
  owner TEXT NOT NULL, duty TEXT NOT NULL, due_s REAL NOT NULL, begun_s REAL NOT NULL,
  at_s REAL NOT NULL, stored BLOB NOT NULL, PRIMARY KEY (owner, duty, due_s, begun_s));
"""
MAX_RUNS = 400
"""So many records of each duty are kept, the newest."""

T = TypeVar("T")


class SqliteDuties:
    """The DutyStore port, on the ledger's own file. What cannot be read counts as never written."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    async def states(self) -> dict[str, DutyState]:
        rows = await self._worker.run(
            lambda c: c.execute("SELECT name, stored FROM duty_state").fetchall()
        )
        found = {str(name): _read(raw, DutyState) for name, raw in rows}
        return {name: state for name, state in found.items() if state is not None}

    async def keep_state(self, duty: str, state: DutyState) -> None:
        row = (duty, msgspec.msgpack.encode(state))
        await self._worker.run(
            lambda c: c.execute("INSERT OR REPLACE INTO duty_state VALUES (?,?)", row)
        )

    async def watched(self) -> list[WatchedDuty]:
        rows = await self._worker.run(
            lambda c: c.execute("SELECT stored FROM duty_watch ORDER BY owner, duty").fetchall()
        )
        return [one for (raw,) in rows if (one := _read(raw, WatchedDuty)) is not None]

    async def keep_watched(self, duty: WatchedDuty) -> None:
        row = (duty.owner, duty.plan.duty, msgspec.msgpack.encode(duty))
        await self._worker.run(
            lambda c: c.execute("INSERT OR REPLACE INTO duty_watch VALUES (?,?,?)", row)
        )

    async def drop_watched(self, owner: str) -> None:
        await self._worker.run(
            lambda c: c.execute("DELETE FROM duty_watch WHERE owner = ?", (owner,))
        )

    async def add_run(self, owner: str, run: DutyRun) -> bool:
        """Keep a record, once for each begin of a due time; say whether it is new."""

        def job(connection: sqlite3.Connection) -> bool:
            added = connection.execute(
                "INSERT OR IGNORE INTO duty_run VALUES (?,?,?,?,?,?)",
                (
                    owner,
                    run.duty,
                    run.due_s,
                    run.begun_s,
                    run.at_s,
                    msgspec.msgpack.encode(run),
                ),
            )
            connection.execute(
                "DELETE FROM duty_run WHERE rowid IN (SELECT rowid FROM duty_run"
                " WHERE owner = ? AND duty = ? ORDER BY at_s DESC LIMIT -1 OFFSET ?)",
                (owner, run.duty, MAX_RUNS),
            )
            return added.rowcount > 0

        return await self._worker.run(job)

    async def runs(self, from_s: float, to_s: float) -> list[OwnedRun]:
        rows = await self._worker.run(
            lambda c: c.execute(
                "SELECT owner, stored FROM duty_run WHERE at_s >= ? AND at_s < ? ORDER BY at_s",
                (from_s, to_s),
            ).fetchall()
        )
        read = [(str(owner), _read(raw, DutyRun)) for owner, raw in rows]
        return [OwnedRun(owner, run) for owner, run in read if run is not None]


def scheduled_duties(connection: sqlite3.Connection) -> None:
    """Ledger 3 to 4: the tables of scheduled duties, which the schema makes."""
    del connection


def _read(raw: object, type_: type[T]) -> T | None:
    value = read_msgpack(raw, type_) if isinstance(raw, bytes) else Unreadable("no bytes")
    return None if isinstance(value, Unreadable) else value
