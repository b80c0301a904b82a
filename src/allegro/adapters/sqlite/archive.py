"""The house's copy of every lane's events: once each, in order, gaps named."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path

from allegro.adapters.sqlite.connection import Worker
from allegro.adapters.sqlite.gaps import name_gaps
from allegro.adapters.sqlite.intake import OverQuota, Same, same_bytes, store
from allegro.adapters.sqlite.schema import open_versioned
from allegro.adapters.sqlite.steps import no_time_ahead
from allegro.adapters.sqlite.ties import get_tie, put_tie
from allegro.core.base.errors import Refusal
from allegro.core.base.sequence import Entry, Kept, Position, follow, start
from allegro.core.base.store_ties import Tie
from allegro.core.forge.marks import Mark, is_usable
from allegro.core.stores import HOUSE, Archived, GapRow, Taken

SCHEMA = """
CREATE TABLE IF NOT EXISTS event (
  row INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, lane TEXT NOT NULL,
  type TEXT NOT NULL, subject TEXT NOT NULL, at_s REAL NOT NULL, stored BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS cursor (
  lane TEXT NOT NULL, journal TEXT NOT NULL, seq INTEGER NOT NULL, chain BLOB NOT NULL,
  at_s REAL NOT NULL, PRIMARY KEY (lane, journal));
CREATE TABLE IF NOT EXISTS gap (
  lane TEXT NOT NULL, journal TEXT NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL,
  count INTEGER NOT NULL, shed INTEGER NOT NULL, reason TEXT NOT NULL, at_s REAL NOT NULL);
CREATE TABLE IF NOT EXISTS object (subject TEXT PRIMARY KEY, row INTEGER NOT NULL,
  updated_s INTEGER NOT NULL, repository INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS object_repository ON object (repository, updated_s);
CREATE TABLE IF NOT EXISTS mark (
  lane TEXT NOT NULL, watch TEXT NOT NULL, forge_s INTEGER NOT NULL, wall_s REAL NOT NULL,
  PRIMARY KEY (lane, watch));
CREATE TABLE IF NOT EXISTS usage (
  lane TEXT PRIMARY KEY, bytes INTEGER NOT NULL, repeats INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value BLOB NOT NULL);
"""
MAX_JOURNALS = 500
GAP_BYTES = 300


class SqliteArchive:
    """The archive on one SQLite file. `quota_bytes` bounds what one lane may store."""

    def __init__(self, worker: Worker, quota_bytes: int, same: Same = same_bytes) -> None:
        self._worker = worker
        self._quota_bytes = quota_bytes
        self._same = same

    async def tie(self) -> Tie:
        """Return this archive's id, and which ledger it works with."""
        return await self._worker.run(get_tie)

    async def keep_tie(self, tie: Tie) -> None:
        await self._worker.run(lambda c: put_tie(c, tie))

    async def cursors(self, lane: str) -> tuple[Position, ...]:
        """Return the newest position of each of a lane's journals, newest journals first."""
        rows = await self._worker.run(
            lambda c: c.execute(
                "SELECT journal, seq, chain FROM cursor WHERE lane = ? ORDER BY at_s DESC LIMIT 20",
                (lane,),
            ).fetchall()
        )
        return tuple(Position(journal, seq, bytes(chain)) for journal, seq, chain in rows)

    async def take(
        self, lane: str, journal: str, first_seq: int, entries: Sequence[Entry], at_s: float
    ) -> Taken | Refusal:
        """Store a batch in one commit; repeats are dropped; what is shed or unreadable is named.

        Refuses a jump in sequence, a lane over its quota and endless journal ids, storing nothing.
        """

        def job(connection: sqlite3.Connection) -> Taken | Refusal:
            cursor = _cursor(connection, lane, journal)
            if cursor is None:
                (count,) = connection.execute(
                    "SELECT COUNT(*) FROM cursor WHERE lane = ?", (lane,)
                ).fetchone()
                if count >= MAX_JOURNALS:
                    return Refusal("too_many_journals", f"{lane} opened {count} journals")
            moved = follow(cursor or start(journal), first_seq, entries)
            if isinstance(moved, Refusal):
                return moved
            used = _usage(connection, lane)
            size = sum(len(e.body) if isinstance(e, Kept) else GAP_BYTES for e in entries)
            if used + size > self._quota_bytes:
                raise OverQuota
            came = store(connection, lane, entries, at_s, self._same)
            came.size += GAP_BYTES * name_gaps(
                connection, lane, journal, first_seq, entries, came.rejected, at_s
            )
            if used + came.size > self._quota_bytes:
                raise OverQuota
            row = (lane, journal, moved.seq, moved.chain, at_s)
            connection.execute("INSERT OR REPLACE INTO cursor VALUES (?,?,?,?,?)", row)
            kept = sum(isinstance(entry, Kept) for entry in entries)
            connection.execute(
                "INSERT INTO usage VALUES (?,?,?) ON CONFLICT (lane) DO UPDATE SET"
                " bytes = bytes + excluded.bytes, repeats = repeats + excluded.repeats",
                (lane, came.size, kept - came.fresh - len(came.rejected)),
            )
            last = connection.execute("SELECT COALESCE(MAX(row), 0) FROM event").fetchone()[0]
            return Taken(moved, came.fresh, len(came.rejected), last, came.clashes)

        try:
            return await self._worker.run(job)
        except OverQuota:  # what was stored of the batch is undone
            return Refusal("over_quota", f"{lane} fills its {self._quota_bytes} bytes")

    async def skip_to(self, lane: str, position: Position, reason: str, at_s: float) -> None:
        """Go on behind entries that this house once acknowledged and lost; name the gap."""

        def job(connection: sqlite3.Connection) -> None:
            cursor = _cursor(connection, lane, position.journal) or start(position.journal)
            if position.seq <= cursor.seq:
                return
            connection.execute(
                "INSERT INTO gap VALUES (?,?,?,?,?,?,?,?)",
                (
                    lane,
                    position.journal,
                    cursor.seq + 1,
                    position.seq,
                    position.seq - cursor.seq,
                    -1,
                    reason,
                    at_s,
                ),
            )
            connection.execute(
                "INSERT OR REPLACE INTO cursor VALUES (?,?,?,?,?)",
                (lane, position.journal, position.seq, position.chain, at_s),
            )

        await self._worker.run(job)

    async def events(
        self, after_row: int, limit: int, *, prefix: str = "", subject: str | None = None
    ) -> list[Archived]:
        """Return events behind `after_row` in order of arrival; `prefix` narrows by type."""
        where: list[str] = ["row > ?"]
        params: list[str | int] = [after_row]
        if prefix:
            where.append("type >= ? AND type < ?")
            params += [prefix, prefix + "\uffff"]
        if subject is not None:
            where.append("subject = ?")
            params.append(subject)
        sql = f"SELECT row, lane, at_s, stored FROM event WHERE {' AND '.join(where)} ORDER BY row LIMIT ?"  # noqa: S608
        rows = await self._worker.run(lambda c: c.execute(sql, (*params, limit)).fetchall())
        return [Archived(*row) for row in rows]

    async def scan(
        self, after_row: int, span: int, prefixes: tuple[str, ...]
    ) -> tuple[list[Archived], int]:
        """Return the events of these types among the next `span` rows, and the last row scanned."""
        heads, last = await self.heads(after_row, span, prefixes)
        rows = [row for row, _ in heads]
        parts = [await self.rows(rows[at : at + 500]) for at in range(0, len(rows), 500)]
        return [one for part in parts for one in part], last

    async def heads(
        self, after_row: int, span: int, prefixes: tuple[str, ...]
    ) -> tuple[list[tuple[int, str]], int]:
        """Return (row, lane) of these types among the next `span` rows, and the last row scanned."""
        sql = "SELECT row, lane, type FROM event WHERE row > ? AND row <= ? ORDER BY row"
        upto = max(after_row, min(await self.last_row(), after_row + span))
        found = await self._worker.run(lambda c: c.execute(sql, (after_row, upto)).fetchall())
        return [(row, lane) for row, lane, kind in found if kind.startswith(prefixes)], upto

    async def rows(self, rows: Sequence[int]) -> list[Archived]:
        """Return the events of these rows, a few hundred at most, in order."""
        marks = ",".join("?" * len(rows))
        sql = f"SELECT row, lane, at_s, stored FROM event WHERE row IN ({marks}) ORDER BY row"  # noqa: S608
        found = await self._worker.run(lambda c: c.execute(sql, tuple(rows)).fetchall())
        return [Archived(*row) for row in found]

    async def objects(self, repository: int, since_s: int, kind: str) -> list[bytes]:
        """Return the newest stored event of each object of a repository updated since then.

        `kind` is the event type, such as forge.snapshot.issue. Ordered by update, oldest first.
        """
        rows = await self._worker.run(
            lambda c: c.execute(
                "SELECT e.stored FROM object o JOIN event e ON e.row = o.row"
                " WHERE o.repository = ? AND o.updated_s >= ? AND e.type = ?"
                " ORDER BY o.updated_s, o.subject",
                (repository, since_s, kind),
            ).fetchall()
        )
        return [bytes(row[0]) for row in rows]

    async def newest(self, subject: str) -> bytes | None:
        """Return the newest stored event about one object, None when there is none."""
        sql = "SELECT e.stored FROM object o JOIN event e ON e.row = o.row WHERE o.subject = ?"
        row = await self._worker.run(lambda c: c.execute(sql, (subject,)).fetchone())
        return None if row is None else bytes(row[0])

    async def newest_of_type(self, kind: str) -> list[bytes]:
        """Return the newest stored event of each object of this type, last archived first."""
        rows = await self._worker.run(
            lambda c: c.execute(
                "SELECT e.stored FROM object o JOIN event e ON e.row = o.row WHERE e.type = ?"
                " ORDER BY o.row DESC",
                (kind,),
            ).fetchall()
        )
        return [bytes(row[0]) for row in rows]

    async def living(self, repository: int, before_row: int) -> list[str]:
        """Return the subjects of the issues and comments held to exist, last told before a row."""
        rows = await self._worker.run(
            lambda c: c.execute(
                "SELECT o.subject FROM object o JOIN event e ON e.row = o.row"
                " WHERE o.repository = ? AND o.row < ?"
                " AND e.type IN ('forge.snapshot.issue', 'forge.snapshot.comment')",
                (repository, before_row),
            ).fetchall()
        )
        return [str(row[0]) for row in rows]

    async def add(self, stored: Sequence[bytes], at_s: float) -> None:
        """Store events of the house's own."""
        entries = [Kept(body) for body in stored]
        await self._worker.run(lambda c: store(c, HOUSE, entries, at_s, self._same))

    async def marks(self, lanes: Sequence[str], share: int) -> dict[str, Mark]:
        """Return for each watch the furthest poll mark that is home.

        Of each of these lanes the newest `share` marks count, of other lanes none: what one lane
        told of cannot push another's out, or make this endless.
        """

        def job(connection: sqlite3.Connection) -> dict[str, Mark]:
            found: dict[str, Mark] = {}
            for lane in lanes:
                rows = connection.execute(
                    "SELECT watch, forge_s, wall_s FROM mark WHERE lane = ?"
                    " ORDER BY forge_s DESC LIMIT ?",
                    (lane, share),
                )
                for watch, forge_s, wall_s in rows:
                    mark = Mark(forge_s, wall_s)
                    held = found.get(watch)
                    if is_usable(watch, mark) and (held is None or forge_s > held.forge_s):
                        found[watch] = mark
            return found

        return await self._worker.run(job)

    async def gaps(self) -> list[GapRow]:
        """Return every named gap, oldest first."""
        sql = "SELECT * FROM gap ORDER BY at_s"
        return await self._worker.run(lambda c: c.execute(sql).fetchall())

    async def counts(self) -> dict[str, int]:
        """Return how many events are archived and how many repeats were dropped."""

        def job(connection: sqlite3.Connection) -> dict[str, int]:
            (events,) = connection.execute("SELECT COUNT(*) FROM event").fetchone()
            row = connection.execute(
                "SELECT COALESCE(SUM(repeats), 0), COALESCE(SUM(bytes), 0) FROM usage"
            ).fetchone()
            return {"events": events, "repeats_dropped": row[0], "bytes": row[1]}

        return await self._worker.run(job)

    async def last_row(self) -> int:
        sql = "SELECT MAX(row) FROM event"
        return (await self._worker.run(lambda c: c.execute(sql).fetchone()))[0] or 0

    async def close(self) -> None:
        await self._worker.close()


def open_archive(path: Path, *, quota_bytes: int, same: Same = same_bytes) -> SqliteArchive:
    """Open the archive, or make it. Must be called with a running event loop.

    `same` says whether two events of one id tell the same. Raises EdgeError, not transient, for a
    file that cannot be read or is newer than this program.
    """
    connection = open_versioned(path, SCHEMA, [no_time_ahead])
    return SqliteArchive(Worker(connection, "archive"), quota_bytes, same)


def _cursor(connection: sqlite3.Connection, lane: str, journal: str) -> Position | None:
    row = connection.execute(
        "SELECT seq, chain FROM cursor WHERE lane = ? AND journal = ?", (lane, journal)
    ).fetchone()
    return None if row is None else Position(journal, row[0], bytes(row[1]))


def _usage(connection: sqlite3.Connection, lane: str) -> int:
    row = connection.execute("SELECT bytes FROM usage WHERE lane = ?", (lane,)).fetchone()
    return 0 if row is None else int(row[0])
