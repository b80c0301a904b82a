"""A store's schema has a number: older ones are stepped forward after a copy, newer ones refused.

The number is SQLite's `user_version`. Invariant: a file holds the tables of exactly one number, for
all that goes from one number to another, or makes a new file, is one transaction. The file that is
there is copied before it is stepped (`allegro.adapters.copies`); without a copy there is no step.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path

import structlog

from allegro.adapters.copies import keep_copy, refuse_newer
from allegro.adapters.sqlite.connection import open_database, unopened
from allegro.core.base.errors import ConfigError
from allegro.core.base.state_version import uncopied

_log = structlog.get_logger()

ForwardStep = Callable[[sqlite3.Connection], None]
"""Takes a database from one number to the next, inside a transaction of the caller's."""


def open_versioned(path: Path, schema: str, steps: Sequence[ForwardStep]) -> sqlite3.Connection:
    """Open or make a database of schema number `len(steps)`.

    `schema` makes a new one, and adds missing tables to an old one. `steps[n]` goes from number n
    to n + 1. Raises ConfigError, with nothing changed, for a file that is newer than this program
    and where the copy of an older one cannot be made; EdgeError, not transient, with a sentence
    that names the file, when it cannot be opened.
    """
    connection = open_database(path, "")
    try:
        _bring_to(connection, path, schema, steps)
    except sqlite3.Error as error:
        connection.close()
        raise unopened(path, error) from error
    except ConfigError:
        connection.close()
        raise
    return connection


def _bring_to(
    connection: sqlite3.Connection, path: Path, schema: str, steps: Sequence[ForwardStep]
) -> None:
    known = len(steps)
    (number,) = connection.execute("PRAGMA user_version").fetchone()
    refuse_newer(path, number, known)
    (tables,) = connection.execute("SELECT COUNT(*) FROM sqlite_schema").fetchone()
    due = steps[number:] if tables else ()
    if due:
        _copy(connection, path, number, known)
        _log.info("store.steps", file=path.name, before=number, now=known)
    connection.execute("BEGIN IMMEDIATE")
    try:
        for step in due:
            step(connection)
        for statement in filter(str.strip, schema.split(";")):
            connection.execute(statement)
        if number != known:
            connection.execute(f"PRAGMA user_version = {known}")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _copy(connection: sqlite3.Connection, path: Path, number: int, known: int) -> None:
    """Copy the database as it is, whatever of it stands in its write-ahead log."""

    def write(part: Path) -> None:
        copy = sqlite3.connect(part)
        try:
            connection.backup(copy)
        finally:
            copy.close()

    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    (page_bytes,) = connection.execute("PRAGMA page_size").fetchone()
    try:
        keep_copy(path, number, known, pages * page_bytes, write)
    except sqlite3.Error as error:
        raise ConfigError((uncopied(path.name, number, known, str(error)),)) from error


def get_meta(connection: sqlite3.Connection, name: str) -> bytes | None:
    """Return a value of the table `meta`; words are read as their bytes, numbers as digits."""
    row = connection.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
    if row is None or row[0] is None:
        return None
    value = row[0]
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "replace")


def put_meta(connection: sqlite3.Connection, name: str, value: bytes) -> None:
    connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, value))
