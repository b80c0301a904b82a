"""Names what a journal gave up before it came home, run by run."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

from allegro.core.sequence import Entry, ShedEntry


def name_gaps(
    connection: sqlite3.Connection,
    lane: str,
    journal: str,
    first_seq: int,
    entries: Sequence[Entry],
    at_s: float,
) -> int:
    """Write a row for each run of shed entries; return how many rows."""
    runs: list[list[Any]] = []
    for seq, entry in enumerate(entries, first_seq):
        if not isinstance(entry, ShedEntry):
            continue
        if runs and runs[-1][1] == seq - 1 and runs[-1][2:] == [entry.shed, entry.reason]:
            runs[-1][1] = seq
        else:
            runs.append([seq, seq, entry.shed, entry.reason])
    connection.executemany(
        "INSERT INTO gap VALUES (?,?,?,?,?,?,?,?)",
        [
            (lane, journal, first, last, last - first + 1, shed, reason[:200], at_s)
            for first, last, shed, reason in runs
        ],
    )
    return len(runs)
