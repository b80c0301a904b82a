"""How a full journal makes room: what may go, in which order, and never silently (H3)."""

from __future__ import annotations

import sqlite3

from allegro.core.base.events import SHED_ORDER, Shed

Given = tuple[int, int, int, int]
"""(class, count, first sequence, last sequence) of what was given up."""


WAL_BYTES = 8 * 1024 * 1024
"""What a write-ahead log may hold without counting: SQLite empties it at about half of that."""


class Room:
    """Bytes used against a cap. The reserved share is for events that are never shed.

    A program that reads the file, such as a backup, keeps the write-ahead log from being emptied;
    what it grows to beyond `WAL_BYTES` is used up too (`wal_bytes`, as last seen).
    """

    def __init__(self, cap_bytes: int, reserved_share: float, used_bytes: int) -> None:
        self.cap_bytes = cap_bytes
        self.ordinary_bytes = int(cap_bytes * (1.0 - reserved_share))
        self.used_bytes = used_bytes
        self.wal_bytes = 0

    @property
    def wal_excess(self) -> int:
        """Bytes of the write-ahead log that count."""
        return max(0, self.wal_bytes - WAL_BYTES)

    @property
    def is_over(self) -> bool:
        return self.used_bytes > self.ordinary_bytes

    def open_for(self, shed: Shed) -> bool:
        """Whether an event of this class may be appended now."""
        limit = self.cap_bytes if shed is Shed.RESERVED else self.ordinary_bytes
        return self.used_bytes + self.wal_excess < limit


def make_room(connection: sqlite3.Connection, room: Room) -> list[Given]:
    """Give up bodies, oldest first, class by class, until a tenth of the cap is free again."""
    given: list[Given] = []
    target = int(room.ordinary_bytes * 0.9)
    for shed in SHED_ORDER:
        excess = room.used_bytes - target
        if excess <= 0:
            break
        chosen = _oldest(connection, shed, excess)
        given += _give_up(connection, room, shed, chosen, "overflow")
    return given


def age_out(connection: sqlite3.Connection, room: Room, older_than_s: float) -> list[Given]:
    """Give up bodies of every class but the reserved one that are older than this Unix time."""
    given: list[Given] = []
    for shed in (Shed.KEPT, *SHED_ORDER):
        rows = connection.execute(
            "SELECT seq, size FROM entry WHERE shed = ? AND body IS NOT NULL AND at_s < ?",
            (int(shed), older_than_s),
        ).fetchall()
        given += _give_up(connection, room, shed, rows, "age")
    return given


def _oldest(connection: sqlite3.Connection, shed: Shed, excess: int) -> list[tuple[int, int]]:
    newer = (
        " AND EXISTS (SELECT 1 FROM entry n WHERE n.shed = 2 AND n.subject = entry.subject"
        " AND n.seq > entry.seq)"
        if shed is Shed.SNAPSHOT
        else ""
    )
    chosen: list[tuple[int, int]] = []
    rows = connection.execute(
        "SELECT seq, size FROM entry WHERE shed = ? AND body IS NOT NULL" + newer + " ORDER BY seq",  # noqa: S608
        (int(shed),),
    )
    for seq, size in rows:
        if excess <= 0:
            break
        chosen.append((seq, size))
        excess -= size
    return chosen


def _give_up(
    connection: sqlite3.Connection, room: Room, shed: Shed, rows: list[tuple[int, int]], reason: str
) -> list[Given]:
    if not rows:
        return []
    connection.executemany(
        "UPDATE entry SET body = NULL, reason = ? WHERE seq = ?", [(reason, seq) for seq, _ in rows]
    )
    room.used_bytes -= sum(size for _, size in rows)
    return [(int(shed), len(rows), rows[0][0], rows[-1][0])]
