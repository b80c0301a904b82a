"""Names what a journal gave up before it came home, run by run."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

from allegro.core.base.sequence import Entry, ShedEntry

NOT_TAKEN = -2
"""The class of a gap that the archive made: it could not keep what the lane sent."""

MANY = -3
"""The class of the one row of a lane that counts its gaps beyond MAX_GAPS."""
MAX_GAPS = 2_000


def name_gaps(
    connection: sqlite3.Connection,
    lane: str,
    journal: str,
    first_seq: int,
    entries: Sequence[Entry],
    rejected: Sequence[tuple[int, str]],
    at_s: float,
) -> int:
    """Write a row for each run of entries that are not in the archive; return how many rows.

    Those are entries that the journal gave up, and `rejected` ones: (index in `entries`, reason).
    """
    missing = [
        (first_seq + index, entry.shed, entry.reason)
        for index, entry in enumerate(entries)
        if isinstance(entry, ShedEntry)
    ]
    missing += [(first_seq + index, NOT_TAKEN, reason) for index, reason in rejected]
    runs: list[list[Any]] = []
    for seq, shed, reason in sorted(missing):
        if runs and runs[-1][1] == seq - 1 and runs[-1][2:] == [shed, reason]:
            runs[-1][1] = seq
        else:
            runs.append([seq, seq, shed, reason])
    if not runs:
        return 0
    (held,) = connection.execute("SELECT COUNT(*) FROM gap WHERE lane = ?", (lane,)).fetchone()
    if held + len(runs) > MAX_GAPS:
        return _count_gaps(connection, lane, journal, runs, at_s)
    connection.executemany(
        "INSERT INTO gap VALUES (?,?,?,?,?,?,?,?)",
        [
            (lane, journal, first, last, last - first + 1, shed, reason[:200], at_s)
            for first, last, shed, reason in runs
        ],
    )
    return len(runs)


def _count_gaps(
    connection: sqlite3.Connection, lane: str, journal: str, runs: list[list[Any]], at_s: float
) -> int:
    """Count what a lane with too many gaps is missing, in one row."""
    first, last = runs[0][0], runs[-1][1]
    count = sum(run[1] - run[0] + 1 for run in runs)
    added = connection.execute(
        "UPDATE gap SET last = ?, count = count + ?, at_s = ? WHERE lane = ? AND shed = ?",
        (last, count, at_s, lane, MANY),
    ).rowcount
    if added:
        return 0
    reason = f"more than {MAX_GAPS} gaps of this lane: counted from here on"
    connection.execute(
        "INSERT INTO gap VALUES (?,?,?,?,?,?,?,?)",
        (lane, journal, first, last, count, MANY, reason, at_s),
    )
    return 1
