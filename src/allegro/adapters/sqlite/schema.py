"""A database's schema has a number: older ones are stepped forward, newer ones are refused."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path

from allegro.adapters.sqlite.connection import open_database, unopened
from allegro.core.base.errors import EdgeError

ForwardStep = Callable[[sqlite3.Connection], None]
"""Takes a database from one number to the next, inside one transaction."""


def open_versioned(
    path: Path, schema: str, steps: Sequence[ForwardStep], *, copy_first: bool = False
) -> sqlite3.Connection:
    """Open or make a database of schema number `len(steps)`.

    `schema` makes a new one, and adds missing tables to an old one. `steps[n]` goes from number n
    to n + 1; each is one transaction, so a crash leaves the old or the new form. `copy_first` keeps
    a copy of an old file beside it, named `FILE.schema-N`. Raises EdgeError, not transient, with a
    sentence that names the file, when it is newer than this program or cannot be opened.
    """
    connection = open_database(path, "")
    try:
        (number,) = connection.execute("PRAGMA user_version").fetchone()
        if number > len(steps):
            raise EdgeError(
                f"{path.name} was written by a newer allegro: it has schema {number}, and"
                f" this one reads up to {len(steps)}: start the newer version",
                transient=False,
                kind="newer_schema",
            )
        (tables,) = connection.execute("SELECT COUNT(*) FROM sqlite_schema").fetchone()
        if tables == 0:
            number = len(steps)
        elif number < len(steps) and copy_first:
            _copy(connection, path.with_name(f"{path.name}.schema-{number}"))
        for at in range(number, len(steps)):
            _step(connection, steps[at], at + 1)
        connection.executescript(schema)
        connection.execute(f"PRAGMA user_version = {len(steps)}")
    except sqlite3.Error as error:
        connection.close()
        raise unopened(path, error) from error
    except EdgeError:
        connection.close()
        raise
    return connection


def _step(connection: sqlite3.Connection, step: ForwardStep, number: int) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        step(connection)
        connection.execute(f"PRAGMA user_version = {number}")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _copy(connection: sqlite3.Connection, beside: Path) -> None:
    """Keep the file as it is; an older copy of the same number is the better one."""
    if beside.exists():
        return
    beside.touch(mode=0o600)
    copy = sqlite3.connect(beside)
    try:
        connection.backup(copy)
    finally:
        copy.close()


def get_meta(connection: sqlite3.Connection, name: str) -> bytes | None:
    """Return a value of the table `meta`; words are read as their bytes, numbers as digits."""
    row = connection.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
    if row is None or row[0] is None:
        return None
    value = row[0]
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "replace")


def put_meta(connection: sqlite3.Connection, name: str, value: bytes) -> None:
    connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, value))
