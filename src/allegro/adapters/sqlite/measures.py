"""Figures in their buckets, on a SQLite file of their own that can always be made anew."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec
import structlog

from allegro.adapters.sqlite.connection import Worker
from allegro.adapters.sqlite.schema import get_meta, open_versioned, put_meta
from allegro.core.base.errors import ConfigError, EdgeError
from allegro.core.base.untrusted import Unreadable, read_msgpack
from allegro.core.measures.buckets import DAY_S, QUARTER_S, Bucket, Spans
from allegro.core.measures.figures import Figures, summed
from allegro.core.measures.folding import Folded, FoldPlace, RowsOf
from allegro.core.measures.minutes import Counted, DayMinutes, Key, counted, joined

_log = structlog.get_logger()
SCHEMA = """
CREATE TABLE IF NOT EXISTS figure (
  span_s INTEGER NOT NULL, start_s INTEGER NOT NULL, name TEXT NOT NULL, stored BLOB NOT NULL,
  PRIMARY KEY (span_s, start_s, name)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS minutes (
  day INTEGER NOT NULL, node TEXT NOT NULL, looked BLOB NOT NULL, seen BLOB NOT NULL,
  PRIMARY KEY (day, node)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS arrived (
  start_s INTEGER PRIMARY KEY, first_row INTEGER NOT NULL, last_row INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value BLOB NOT NULL);
"""
TABLES = ("figure", "minutes", "arrived", "meta")
DAY_BYTES = 180
_PLACE = "place"


class SqliteMeasures:
    """The MeasureBook port. What one `add` brings is one commit with the place it was read up to."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    async def place(self) -> FoldPlace:
        """Return where the fold stands; the first row where that cannot be read."""
        raw = await self._worker.run(lambda c: get_meta(c, _PLACE))
        place = Unreadable("none") if raw is None else read_msgpack(raw, FoldPlace)
        return FoldPlace() if isinstance(place, Unreadable) else place

    async def add(self, folded: Folded) -> None:
        """Add figures and bits, and keep the place."""

        def job(connection: sqlite3.Connection) -> None:
            _add_figures(connection, folded.figures)
            _add_minutes(connection, folded.minutes)
            _add_rows(connection, folded.rows)
            put_meta(connection, _PLACE, msgspec.msgpack.encode(folded.place))

        await self._worker.run(job)

    async def clear(self) -> None:
        """Forget everything: the archive is folded anew."""

        def job(connection: sqlite3.Connection) -> None:
            for table in TABLES:
                connection.execute(f"DELETE FROM {table}")  # noqa: S608 (our own names)

        await self._worker.run(job)

    async def figures(self, spans: Spans) -> dict[str, Figures]:
        """Return the figures of a window by name."""

        def job(connection: sqlite3.Connection) -> dict[str, Figures]:
            found: dict[str, list[Figures]] = {}
            for span_s, from_s, to_s in _ranges(spans):
                rows = connection.execute(
                    "SELECT name, stored FROM figure"
                    " WHERE span_s = ? AND start_s >= ? AND start_s < ?",
                    (span_s, from_s, to_s),
                )
                for name, raw in rows:
                    found.setdefault(str(name), []).append(_figures(raw))
            return {name: summed(parts) for name, parts in found.items()}

        return await self._worker.run(job)

    async def minutes(self, spans: Spans) -> dict[str, Counted]:
        """Return for each node the minutes of a window in which it was looked at, and seen."""

        def job(connection: sqlite3.Connection) -> dict[str, Counted]:
            rows = connection.execute(
                "SELECT day, node, looked, seen FROM minutes WHERE day >= ? AND day <= ?",
                (spans.from_s // DAY_S, spans.to_s // DAY_S),
            )
            found: dict[str, Counted] = {}
            for day, node, looked, seen in rows:
                bits = DayMinutes(_bits(looked), _bits(seen))
                one = counted(day, bits, spans.from_s, spans.to_s)
                held = found.get(node, Counted())
                found[node] = Counted(held.looked + one.looked, held.seen + one.seen)
            return found

        return await self._worker.run(job)

    async def arrived(self, spans: Spans) -> tuple[int, int]:
        """Return between which rows (both included) all lies that was archived in a window.

        (1, 0) where nothing was. Rows of other times may lie between them.
        """

        def job(connection: sqlite3.Connection) -> tuple[int, int]:
            first, last = connection.execute(
                "SELECT MIN(first_row), MAX(last_row) FROM arrived"
                " WHERE start_s >= ? AND start_s < ?",
                (spans.from_s, spans.to_s),
            ).fetchone()
            return (1, 0) if first is None else (int(first), int(last))

        return await self._worker.run(job)

    async def close(self) -> None:
        await self._worker.close()


def open_measures(path: Path) -> SqliteMeasures:
    """Open the figures, or make them. Must be called with a running event loop.

    A file that is damaged, or of a newer program, is made anew: it holds nothing of its own. Raises
    EdgeError where even that is refused.
    """
    try:
        connection = open_versioned(path, SCHEMA, ())
    except (EdgeError, ConfigError) as error:
        _log.warning("measures.made_anew", reason=str(error))
        for suffix in ("", "-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                path.with_name(path.name + suffix).unlink()
        connection = open_versioned(path, SCHEMA, ())
    return SqliteMeasures(Worker(connection, "measures"))


def _ranges(spans: Spans) -> Iterable[tuple[int, int, int]]:
    """Return which buckets make up a window: (span, from, before)."""
    if spans.day_s >= spans.day_end_s:
        return ((QUARTER_S, spans.from_s, spans.to_s),)
    return (
        (QUARTER_S, spans.from_s, spans.day_s),
        (DAY_S, spans.day_s, spans.day_end_s),
        (QUARTER_S, spans.day_end_s, spans.to_s),
    )


def _add_figures(connection: sqlite3.Connection, figures: Mapping[Bucket, Figures]) -> None:
    by_place: dict[tuple[int, int, str], list[Figures]] = {}
    for (name, start_s), one in figures.items():
        by_place.setdefault((QUARTER_S, start_s, name), []).append(one)
        by_place.setdefault((DAY_S, start_s // DAY_S * DAY_S, name), []).append(one)
    for place, parts in by_place.items():
        row = connection.execute(
            "SELECT stored FROM figure WHERE span_s = ? AND start_s = ? AND name = ?", place
        ).fetchone()
        held = [] if row is None else [_figures(row[0])]
        whole = msgspec.msgpack.encode(summed([*held, *parts]))
        connection.execute("INSERT OR REPLACE INTO figure VALUES (?,?,?,?)", (*place, whole))


def _add_minutes(connection: sqlite3.Connection, minutes: Mapping[Key, DayMinutes]) -> None:
    for (node, day), bits in minutes.items():
        row = connection.execute(
            "SELECT looked, seen FROM minutes WHERE day = ? AND node = ?", (day, node)
        ).fetchone()
        held = DayMinutes() if row is None else DayMinutes(_bits(row[0]), _bits(row[1]))
        both = joined(held, bits)
        raw = (both.looked.to_bytes(DAY_BYTES, "little"), both.seen.to_bytes(DAY_BYTES, "little"))
        connection.execute("INSERT OR REPLACE INTO minutes VALUES (?,?,?,?)", (day, node, *raw))


def _add_rows(connection: sqlite3.Connection, rows: Mapping[int, RowsOf]) -> None:
    connection.executemany(
        "INSERT INTO arrived VALUES (?,?,?) ON CONFLICT (start_s) DO UPDATE SET"
        " first_row = MIN(first_row, excluded.first_row),"
        " last_row = MAX(last_row, excluded.last_row)",
        [(start_s, one.first, one.last) for start_s, one in rows.items()],
    )


def _figures(raw: bytes) -> Figures:
    read = read_msgpack(raw, Figures)
    return Figures() if isinstance(read, Unreadable) else read


def _bits(raw: bytes) -> int:
    return int.from_bytes(raw, "little")
