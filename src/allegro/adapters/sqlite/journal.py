"""A lane's journal: durable, ordered, hash-chained; with the poll marks in the same commit."""

from __future__ import annotations

import asyncio
import itertools
import sqlite3
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from allegro.adapters.sqlite.connection import BUSY_MS, Worker
from allegro.adapters.sqlite.room import Room, age_out, make_room
from allegro.adapters.sqlite.schema import open_versioned
from allegro.core.base.errors import EdgeError, JournalFull
from allegro.core.base.events import Event, Shed, encode_event
from allegro.core.base.sequence import (
    Entry,
    Kept,
    Position,
    ShedEntry,
    extend,
    follow_hash,
    start,
)
from allegro.core.base.untrusted import read_msgpack
from allegro.core.forge.marks import Mark
from allegro.core.ports import Version
from allegro.core.protocol.event_types import shed_class

SCHEMA = """
CREATE TABLE IF NOT EXISTS entry (
  seq INTEGER PRIMARY KEY, hash BLOB NOT NULL, chain BLOB NOT NULL, shed INTEGER NOT NULL,
  at_s REAL NOT NULL, subject TEXT NOT NULL, size INTEGER NOT NULL, body BLOB, reason TEXT);
CREATE INDEX IF NOT EXISTS entry_snapshot ON entry (subject, seq) WHERE shed = 2;
CREATE INDEX IF NOT EXISTS entry_shed ON entry (shed, seq) WHERE shed > 1 AND body IS NOT NULL;
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS mark (
  watch TEXT PRIMARY KEY, forge_s INTEGER NOT NULL, wall_s REAL NOT NULL);
CREATE TABLE IF NOT EXISTS version (
  subject TEXT PRIMARY KEY, hash TEXT NOT NULL, updated_s INTEGER NOT NULL,
  turn INTEGER NOT NULL, extra INTEGER NOT NULL);
"""
TAIL_BYTES = 4 * 1024 * 1024


class SqliteJournal:
    """The Journal port on one SQLite file. Make it with `open_journal`."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        room: Room,
        now_s: Callable[[], float],
        acked: Position,
        gap_event: Callable[[str, int, int, int, int], Event],
        wal: Path,
    ) -> None:
        head = _read_head(connection, acked)
        self._wal = wal
        self._worker = Worker(connection, "journal", self._reload, self._measure_wal)
        self._room = room
        self._now_s = now_s
        self._gap_event = gap_event
        self._head = head  # owned by the writer thread between jobs; published after commit
        self._published = head
        self._acked = acked
        self._disk_full = False
        self._tail: deque[tuple[int, bytes]] = deque()
        self._tail_bytes = 0

    @property
    def head(self) -> Position:
        return self._published

    @property
    def acked(self) -> Position:
        return self._acked

    @property
    def has_room(self) -> bool:
        """Whether ordinary events still fit: false means no effects and standing marks."""
        if self._room.wal_excess:  # perhaps whoever read the file is gone
            self._worker.submit(lambda _: None).add_done_callback(_ignore)
        return self._room.open_for(Shed.KEPT) and not self._disk_full

    @property
    def bytes_kept(self) -> int:
        return self._room.used_bytes

    async def append(
        self,
        events: Sequence[Event],
        mark: tuple[str, Mark] | None = None,
        versions: Sequence[Version] = (),
    ) -> Position:
        """Write events, and with them a poll mark and object versions, in one commit.

        Returns the journal's end once it is on disk. Raises JournalFull, with nothing written,
        when there is no room for this class; EdgeError when the disk refuses.
        """
        bodies = [encode_event(event) for event in events]
        classes = [shed_class(event.type) for event in events]
        subjects = [event.subject for event in events]
        worst = min(classes, default=Shed.RESERVED, key=lambda c: c == Shed.RESERVED)
        if not self._room.open_for(worst) and self._room.wal_excess:
            await self._worker.run(lambda _: None)  # perhaps whoever read the file is gone
        if not self._room.open_for(worst):
            raise JournalFull("the journal is full: link the lane to its house, or raise cap_bytes")

        def job(connection: sqlite3.Connection) -> tuple[int, Position, bool]:
            first = self._head.seq + 1
            self._write(connection, bodies, classes, subjects)
            if mark is not None:
                _write_mark(connection, *mark)
            _write_versions(connection, versions)
            relieved = self._relieve(connection)
            return first, self._head, relieved

        try:
            first, end, relieved = await self._worker.run(job)
        except EdgeError as error:
            self._disk_full = error.kind == "disk_full"
            raise
        self._disk_full = False
        self._publish(first, bodies, end)
        if relieved:  # the tail still holds what was given up, and not the event that says so
            self._forget_tail()
        return end

    async def read(
        self, after_seq: int, limit_bytes: int, limit_entries: int = 2_000
    ) -> list[Entry]:
        """Return entries behind `after_seq`, in order, about `limit_bytes` at most."""
        tail = self._from_tail(after_seq, limit_bytes, limit_entries)
        if tail is not None:
            return tail

        def job(connection: sqlite3.Connection) -> list[Entry]:
            entries: list[Entry] = []
            size = 0
            rows = connection.execute(
                "SELECT hash, shed, body, reason FROM entry WHERE seq > ? ORDER BY seq LIMIT ?",
                (after_seq, limit_entries),
            )
            for hash_, shed, body, reason in rows:
                entries.append(ShedEntry(hash_, reason, shed) if body is None else Kept(body))
                size += len(body or b"") + 48
                if size >= limit_bytes:
                    break
            return entries

        return await self._worker.run(job)

    async def acknowledge(self, position: Position) -> None:
        """Forget the bodies the house has committed; keep where that was."""
        if position.journal != self._acked.journal or position.seq <= self._acked.seq:
            return

        def job(connection: sqlite3.Connection) -> bool:
            row = connection.execute(
                "SELECT chain FROM entry WHERE seq = ?", (position.seq,)
            ).fetchone()
            if row is None or bytes(row[0]) != position.chain:
                return False  # not a place in this journal
            (freed,) = connection.execute(
                "SELECT COALESCE(SUM(size), 0) FROM entry WHERE seq <= ? AND body IS NOT NULL",
                (position.seq,),
            ).fetchone()
            connection.execute("DELETE FROM entry WHERE seq <= ?", (position.seq,))
            _write_position(connection, "acked", position)
            self._room.used_bytes -= freed
            return True

        if not await self._worker.run(job):
            return
        self._acked = position
        while self._tail and self._tail[0][0] <= position.seq:
            self._tail_bytes -= len(self._tail.popleft()[1])

    def _measure_wal(self, connection: sqlite3.Connection) -> None:
        """Look how large the write-ahead log is; empty it where it has grown and nobody reads."""
        self._room.wal_bytes = _size(self._wal)
        if not self._room.wal_excess:
            return
        try:
            connection.execute("PRAGMA busy_timeout=0")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            connection.execute(f"PRAGMA busy_timeout={BUSY_MS}")
        except sqlite3.Error:  # it is tried again after the next commit
            return
        self._room.wal_bytes = _size(self._wal)

    def _publish(self, first: int, bodies: Sequence[bytes], end: Position) -> None:
        if end.journal != self._published.journal or end.seq > self._published.seq:
            self._published = end
        if self._tail and self._tail[-1][0] + 1 != first:
            self._forget_tail()
        self._tail.extend(enumerate(bodies, first))
        self._tail_bytes += sum(map(len, bodies))
        while self._tail_bytes > TAIL_BYTES:
            self._tail_bytes -= len(self._tail.popleft()[1])

    def _forget_tail(self) -> None:
        self._tail.clear()
        self._tail_bytes = 0

    async def chain_at(self, seq: int) -> bytes | None:
        """Return this journal's chain value at a sequence, None where it is no longer known."""
        if seq == self._acked.seq:
            return self._acked.chain

        def job(connection: sqlite3.Connection) -> bytes | None:
            row = connection.execute("SELECT chain FROM entry WHERE seq = ?", (seq,)).fetchone()
            return None if row is None else bytes(row[0])

        return await self._worker.run(job)

    async def restart(self, journal_id: str, reason: str) -> None:
        """Go on under a new journal id: every entry not acknowledged again, from sequence 1."""
        del reason

        def job(connection: sqlite3.Connection) -> Position:
            rows = connection.execute(
                "SELECT hash, shed, at_s, subject, size, body, reason FROM entry ORDER BY seq"
            ).fetchall()
            connection.execute("DELETE FROM entry")
            self._head = start(journal_id)
            for hash_, *rest in rows:
                self._head = follow_hash(self._head, hash_)
                connection.execute(
                    "INSERT INTO entry VALUES (?,?,?,?,?,?,?,?,?)",
                    (self._head.seq, hash_, self._head.chain, *rest),
                )
            _write_position(connection, "acked", start(journal_id))
            return self._head

        self._published = await self._worker.run(job)
        self._acked = start(journal_id)
        self._forget_tail()

    async def marks(self) -> dict[str, Mark]:
        """Return the poll mark of each watch, as committed with the events it covers."""
        rows = await self._worker.run(
            lambda connection: connection.execute(
                "SELECT watch, forge_s, wall_s FROM mark"
            ).fetchall()
        )
        return {watch: Mark(forge_s, wall_s) for watch, forge_s, wall_s in rows}

    async def versions(self) -> dict[str, Version]:
        """Return the newest version of every forge object that was journalled."""
        rows = await self._worker.run(
            lambda connection: connection.execute("SELECT * FROM version").fetchall()
        )
        return {row[0]: Version(*row) for row in rows}

    async def forget_versions(self) -> None:
        """Forget which versions were journalled: whatever the forge shows is new again."""
        await self._worker.run(lambda connection: connection.execute("DELETE FROM version"))

    async def age_out(self, older_than_s: float) -> tuple[str, ...]:
        """Give up bodies older than this Unix time, reserved ones excepted, and say so.

        Returns the subjects that were given up; their versions are forgotten, so that the next
        reconcile journals what still exists.
        """

        def job(connection: sqlite3.Connection) -> tuple[tuple[str, ...], Position]:
            rows = connection.execute(
                "SELECT DISTINCT subject FROM entry"
                " WHERE at_s < ? AND body IS NOT NULL AND subject != '' AND shed > 0",
                (older_than_s,),
            ).fetchall()
            self._tell(connection, age_out(connection, self._room, older_than_s), "age")
            connection.executemany("DELETE FROM version WHERE subject = ?", rows)
            return tuple(row[0] for row in rows), self._head

        subjects, self._published = await self._worker.run(job)
        self._forget_tail()  # it still holds what was given up, and not the event that says so
        return subjects

    async def close(self) -> None:
        await self._worker.close()

    def _write(
        self,
        connection: sqlite3.Connection,
        bodies: Sequence[bytes],
        classes: Sequence[Shed],
        subjects: Sequence[str],
    ) -> None:
        first = self._head.seq + 1
        self._head, links = extend(self._head, bodies)
        at_s = self._now_s()
        connection.executemany(
            "INSERT INTO entry VALUES (?,?,?,?,?,?,?,?,NULL)",
            [
                (first + n, hash_, chain, shed, at_s, subject, len(body), body)
                for n, (body, (hash_, chain), shed, subject) in enumerate(
                    zip(bodies, links, classes, subjects, strict=True)
                )
            ],
        )
        self._room.used_bytes += sum(map(len, bodies))

    def _relieve(self, connection: sqlite3.Connection) -> bool:
        """Shed when over the cap; say whether anything was given up."""
        shed = make_room(connection, self._room) if self._room.is_over else []
        self._tell(connection, shed, "overflow")
        return bool(shed)

    def _tell(
        self, connection: sqlite3.Connection, shed: list[tuple[int, int, int, int]], reason: str
    ) -> None:
        if not shed:
            return
        events = [self._gap_event(reason, *row) for row in shed]
        bodies = [encode_event(event) for event in events]
        self._write(connection, bodies, [Shed.RESERVED] * len(bodies), [""] * len(bodies))

    def _reload(self, connection: sqlite3.Connection) -> None:
        self._head = _read_head(connection, self._acked)
        self._room.used_bytes = _used(connection)

    def _from_tail(
        self, after_seq: int, limit_bytes: int, limit_entries: int
    ) -> list[Entry] | None:
        tail = self._tail
        if after_seq >= self._published.seq:
            return []
        if not tail or tail[0][0] > after_seq + 1:
            return None
        entries: list[Entry] = []
        size = 0
        skip = after_seq + 1 - tail[0][0]
        for seq, body in itertools.islice(tail, skip, skip + limit_entries):
            if seq > self._published.seq or size >= limit_bytes:
                break
            entries.append(Kept(body))
            size += len(body) + 48
        return entries


async def open_journal(
    path: Path,
    *,
    cap_bytes: int,
    reserved_share: float,
    new_id: str,
    now_s: Callable[[], float],
    gap_event: Callable[[str, int, int, int, int], Event],
) -> SqliteJournal:
    """Open a journal, or make one with `new_id`. Sizes in bytes; `reserved_share` 0 to 1."""
    connection = open_versioned(path, SCHEMA, [])
    acked = _read_position(connection, "acked")
    if acked is None:
        acked = start(new_id)
        _write_position(connection, "acked", acked)
    room = Room(cap_bytes, reserved_share, _used(connection))
    wal = path.with_name(f"{path.name}-wal")
    return SqliteJournal(connection, room, now_s, acked, gap_event, wal)


def _ignore(done: asyncio.Future[None]) -> None:
    """Take what came of a look at the write-ahead log: it says nothing by itself."""
    if not done.cancelled():
        done.exception()


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _used(connection: sqlite3.Connection) -> int:
    row = connection.execute("SELECT COALESCE(SUM(size), 0) FROM entry WHERE body IS NOT NULL")
    return int(row.fetchone()[0])


def _read_head(connection: sqlite3.Connection, acked: Position) -> Position:
    row = connection.execute("SELECT seq, chain FROM entry ORDER BY seq DESC LIMIT 1").fetchone()
    return acked if row is None else Position(acked.journal, row[0], bytes(row[1]))


def _write_position(connection: sqlite3.Connection, name: str, position: Position) -> None:
    connection.execute(
        "INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, msgspec.msgpack.encode(position))
    )


def _read_position(connection: sqlite3.Connection, name: str) -> Position | None:
    row = connection.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
    if row is None:
        return None
    held = read_msgpack(row[0], Position) if isinstance(row[0], bytes) else None
    if not isinstance(held, Position):
        raise EdgeError(
            f"the journal's position {name!r} is damaged: put back a copy, or move the file away",
            transient=False,
        )
    return held


def _write_mark(connection: sqlite3.Connection, watch: str, mark: Mark) -> None:
    connection.execute(
        "INSERT OR REPLACE INTO mark VALUES (?, ?, ?)", (watch, mark.forge_s, mark.wall_s)
    )


def _write_versions(connection: sqlite3.Connection, versions: Sequence[Version]) -> None:
    connection.executemany(
        "INSERT OR REPLACE INTO version VALUES (?,?,?,?,?)",
        [msgspec.structs.astuple(version) for version in versions],
    )
