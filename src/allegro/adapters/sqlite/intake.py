"""What the archive takes in: one event of one lane once, no event pushed out by another lane's.

Events are unique by (lane, id). Lanes compute the same id for the same version of a forge object,
so an id that another lane told is a repeat where the whole content is the same, words included, and
an event of its own where it is not. One lane that tells two things under one id keeps both: the
second is a clash, counted and told.

The column `id` is the key of the row: the event's id for the first content that came with it, and
id, lane and turn behind NUL characters for each other content. An id with a NUL is no id.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

import msgspec

from allegro.core.base.sequence import Entry, Kept
from allegro.core.base.untrusted import (
    MAX_NUMBER,
    UNREADABLE,
    Number,
    number_of,
    real_of,
    text_of,
    unreadable,
)
from allegro.core.forge.marks import MAX_WATCH
from allegro.core.protocol.event_types import EventType

Row = tuple[str, str, str, str, float, bytes]
"""id, lane, type, subject, when archived (Unix s), stored bytes."""

Same = Callable[[bytes, bytes], bool]
"""Says whether two stored events of one id tell the same; called in the database's thread."""

MAX_TURNS = 4
MAX_MARKS = 1_024
"""So many watches of one lane are kept: one that names others without end fills nothing."""

ROW_BYTES = 64
NUL = "\0"
FORGE_SLACK_S = 300
"""How far ahead of this house's clock a forge's clock is believed: nothing is newer than that."""

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
MarkName = Annotated[str, msgspec.Meta(max_length=300)]


class Envelope(msgspec.Struct):
    """What every event must be before it is kept; anything else is a named gap."""

    id: Name
    type: Name
    source: Name
    time: Name
    specversion: Literal["1.0"]
    subject: Annotated[str, msgspec.Meta(max_length=1000)] = ""
    data: msgspec.Raw = msgspec.Raw(b"{}")
    sealed: msgspec.Raw = msgspec.Raw(b'""')


class OverQuota(Exception):
    """A batch of a lane takes more than is left of its quota: nothing of it is kept."""


class Stored(msgspec.Struct):
    """What came of a batch. `size` in bytes; `rejected` are (index in the batch, reason)."""

    fresh: int = 0
    clashes: int = 0
    size: int = 0
    rejected: list[tuple[int, str]] = []


class _Filing(msgspec.Struct, frozen=True):
    """The facts by which an event of a forge is filed."""

    updated_s: Number = 0
    repository: Number = 0
    watch: MarkName = ""
    forge_s: Number = 0
    wall_s: Annotated[float, msgspec.Meta(ge=0, lt=MAX_NUMBER)] = 0.0
    backdated: bool = False


class _Data(msgspec.Struct):
    data: _Filing = _Filing()


class _OddData(msgspec.Struct):
    data: dict[str, Any] = {}


_envelope = msgspec.json.Decoder(Envelope)
_data = msgspec.json.Decoder(_Data)
_odd_data = msgspec.json.Decoder(_OddData)


def same_bytes(one: bytes, other: bytes) -> bool:
    """Say whether two events tell the same facts and hold the same sealed bytes."""
    a, b = _envelope.decode(one), _envelope.decode(other)
    return same_facts(a, b) and bytes(a.sealed) == bytes(b.sealed)


def same_facts(a: Envelope, b: Envelope) -> bool:
    return (a.type, a.subject, bytes(a.data)) == (b.type, b.subject, bytes(b.data))


def store(
    connection: sqlite3.Connection, lane: str, entries: Sequence[Entry], at_s: float, same: Same
) -> Stored:
    """Store a batch's events inside the caller's transaction."""
    came = Stored()
    rows: list[Row] = []
    places: list[int] = []
    forge_events: list[tuple[int, Envelope, _Filing]] = []
    for index, entry in enumerate(entries):
        if not isinstance(entry, Kept):
            continue
        try:
            envelope = _envelope.decode(entry.body)
            if not bytes(envelope.data).startswith(b"{"):
                raise msgspec.ValidationError("data must be an object")
            if NUL in envelope.id:
                raise msgspec.ValidationError("an id holds no NUL")
        except UNREADABLE as error:
            came.rejected.append((index, f"unreadable: {unreadable(error)}"[:200]))
            continue
        if envelope.type.startswith("forge."):
            forge_events.append((len(rows), envelope, _filing(entry.body)))
        rows.append((envelope.id, lane, envelope.type, envelope.subject, at_s, entry.body))
        places.append(index)
    (last,) = connection.execute("SELECT COALESCE(MAX(row), 0) FROM event").fetchone()
    held: dict[int, int] = {}
    if (inserted := _insert(connection, rows)) < len(rows):
        held = _settle(connection, lane, rows, same, came)
        came.rejected += [
            (places[index], "clash: one id was told with too many contents")
            for index in range(len(rows))
            if index not in held
        ]
        came.size = sum(_bytes_of(rows[index]) for index, row in held.items() if row > last)
    else:
        came.size = sum(map(_bytes_of, rows))
    came.fresh = inserted + came.clashes
    for index, envelope, filing in forge_events:
        if held and index not in held:
            continue
        _file(connection, lane, envelope, filing, at_s, held.get(index))
    return came


def _bytes_of(row: Row) -> int:
    """Return what an event takes on the disk.

    Its id stands in two trees and its subject in three, whose pages are half full.
    """
    return len(row[5]) + 3 * len(row[0]) + 8 * len(row[3]) + ROW_BYTES


def _filing(body: bytes) -> _Filing:
    """Read the facts of an event; odd ones count as missing, the event is archived all the same."""
    try:
        return _data.decode(body).data
    except UNREADABLE:
        pass
    try:
        data = _odd_data.decode(body).data
    except UNREADABLE:
        return _Filing()
    return _Filing(
        updated_s=number_of(data.get("updated_s")),
        repository=number_of(data.get("repository")),
        watch=text_of(data.get("watch"), 300),
        forge_s=number_of(data.get("forge_s")),
        wall_s=real_of(data.get("wall_s")) or 0.0,
        backdated=data.get("backdated") is True,
    )


def _insert(connection: sqlite3.Connection, rows: Sequence[Row]) -> int:
    before = connection.total_changes
    connection.executemany(
        "INSERT OR IGNORE INTO event (id, lane, type, subject, at_s, stored) VALUES (?,?,?,?,?,?)",
        rows,
    )
    return connection.total_changes - before


def _settle(
    connection: sqlite3.Connection, lane: str, rows: Sequence[Row], same: Same, came: Stored
) -> dict[int, int]:
    """Decide about each event whose id was there; return the archive's row of each, by index.

    One that has no row was told with too many contents and is not kept.
    """
    placed: dict[int, int] = {}
    for index, row in enumerate(rows):
        body = row[5]
        held = connection.execute(
            "SELECT row, lane, stored FROM event WHERE id = ? OR (id > ? AND id < ?)",
            (row[0], row[0] + NUL, row[0] + "\1"),
        ).fetchall()
        exact = [one[0] for one in held if one[1] == lane and one[2] == body]
        if exact:
            placed[index] = exact[0]
            continue
        alike = [one[0] for one in held if same(one[2], body)]
        if alike:
            placed[index] = alike[0]
            continue
        turn = sum(one[1] == lane for one in held)
        if turn >= MAX_TURNS:
            continue
        key = NUL.join((row[0], lane, str(turn)))
        cursor = connection.execute(
            "INSERT INTO event (id, lane, type, subject, at_s, stored) VALUES (?,?,?,?,?,?)",
            (key, *row[1:]),
        )
        placed[index] = int(cursor.lastrowid or 0)
        came.clashes += 1
    return placed


def _file(
    connection: sqlite3.Connection,
    lane: str,
    envelope: Envelope,
    filing: _Filing,
    at_s: float,
    row: int | None,
) -> None:
    """Note the newest version of an object, or a poll's mark. Nothing is newer than now."""
    latest_s = int(at_s) + FORGE_SLACK_S
    if envelope.type == EventType.FORGE_MARK:
        wall_s = min(filing.wall_s, at_s + FORGE_SLACK_S)
        connection.execute(
            "INSERT OR REPLACE INTO mark SELECT ?1, ?2, ?3, ?4 WHERE length(?2) <= ?5 AND"
            " (EXISTS (SELECT 1 FROM mark WHERE lane = ?1 AND watch = ?2)"
            " OR (SELECT COUNT(*) FROM mark WHERE lane = ?1) < ?6)",
            (
                lane,
                filing.watch,
                min(filing.forge_s, latest_s),
                wall_s,
                MAX_WATCH,
                MAX_MARKS,
            ),
        )
    elif envelope.subject:
        # What a lane tells later is newer, whatever time the forge gave it: late commits carry an
        # older second, and a lane whose disk went back tells old versions before those of now.
        # Between lanes only the forge's time can tell, so there it decides.
        anyway = filing.backdated or envelope.type == EventType.FORGE_VANISHED
        updated_s = min(filing.updated_s, latest_s)
        by = "row = ?" if row else "id = ?"
        connection.execute(
            f"INSERT INTO object SELECT ?, row, ?, ? FROM event WHERE {by}"  # noqa: S608
            " ON CONFLICT (subject) DO UPDATE SET row = excluded.row,"
            " updated_s = excluded.updated_s, repository = excluded.repository"
            " WHERE ? OR excluded.updated_s >= object.updated_s"
            " OR (SELECT lane FROM event WHERE event.row = object.row) = ?",
            (envelope.subject, updated_s, filing.repository, row or envelope.id, anyway, lane),
        )
