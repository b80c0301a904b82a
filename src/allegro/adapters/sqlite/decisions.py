"""Questions and their answers, on the ledger's own file."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

import msgspec

from allegro.adapters.sqlite.connection import Worker
from allegro.adapters.sqlite.damage import readable
from allegro.core.requests.decisions import Decision

DECISION_SCHEMA = """
CREATE TABLE IF NOT EXISTS decision (
  id TEXT PRIMARY KEY, is_open INTEGER NOT NULL, created_s REAL NOT NULL, stored BLOB NOT NULL);
"""


class SqliteDecisions:
    """The DecisionStore port. Durable when a method returns."""

    _worker: Worker

    async def save_decision(self, decision: Decision) -> None:
        """Write a question's newest version."""
        row = (
            decision.id,
            int(decision.is_open),
            decision.document.created_s,
            msgspec.msgpack.encode(decision),
        )
        await self._worker.run(
            lambda c: c.execute("INSERT OR REPLACE INTO decision VALUES (?,?,?,?)", row)
        )

    async def decisions(self, since_s: float) -> list[Decision]:
        """Return the open questions, and those made since then, oldest first."""
        return await self._decisions(
            "WHERE is_open OR created_s >= ? ORDER BY created_s", (since_s,)
        )

    async def stored_decisions(self, prefix: str) -> list[Decision]:
        """Return the questions whose id begins like this; three at most."""
        return await self._decisions(
            "WHERE id >= ? AND id < ? LIMIT 3", (prefix, prefix + "\uffff")
        )

    async def _decisions(self, which: str, values: Sequence[Any]) -> list[Decision]:
        def job(connection: sqlite3.Connection) -> list[bytes]:
            rows = connection.execute(f"SELECT stored FROM decision {which}", values)  # noqa: S608
            return [row[0] for row in rows]

        found = await self._worker.run(job)
        return [one for raw in found if (one := readable(raw, Decision)) is not None]
