"""Finds what cannot be read in a ledger: one bad cell is set aside, the house goes on without it.

A disk, a hand or a program of another version may have written it. A row that cannot be read is
moved out of the way and stays in the file, so that nothing is destroyed.
"""

from __future__ import annotations

import sqlite3
from typing import Any, TypeVar

from allegro.adapters.sqlite.ties import TIE
from allegro.core.authority.freeze import FreezeSet
from allegro.core.base.store_ties import Tie
from allegro.core.base.untrusted import (
    UNREADABLE,
    Unreadable,
    read_msgpack,
    unreadable,
    whole_number,
)
from allegro.core.requests.decisions import Decision
from allegro.core.requests.requests import Request, parsed
from allegro.core.stores import SessionRecord, SetAside

T = TypeVar("T")

READ_TYPES: dict[str, Any] = {"freezes": FreezeSet, TIE: Tie, "strings": tuple[str, ...]}
DUTY = "ledger"
_PREFIX = "damaged:"


def readable(raw: object, type_: type[T]) -> T | None:
    """Return a stored value, None where it cannot be read."""
    value = read_msgpack(raw, type_) if isinstance(raw, bytes) else Unreadable("no bytes")
    return None if isinstance(value, Unreadable) else value


def damaged_cells(connection: sqlite3.Connection, now_s: float) -> list[SetAside]:
    """Move cells that cannot be read out of the way and return them, each with its reason."""
    found = [
        *_rows(connection, "request", Request),
        *_rows(connection, "session", SessionRecord),
        *_rows(connection, "decision", Decision),
        *_meta(connection),
        *_writes(connection),
    ]
    return [
        SetAside(duty=DUTY, item=item[:200], lane="", reason=reason, at_s=now_s)
        for item, reason in found
    ]


def _rows(connection: sqlite3.Connection, table: str, type_: type[Any]) -> list[tuple[str, str]]:
    found = []
    for id_, raw in connection.execute(f"SELECT id, stored FROM {table}").fetchall():  # noqa: S608
        reason = _fault(raw, type_)
        if reason and not str(id_).startswith(_PREFIX):
            found.append((f"{table} {id_}", reason))
            connection.execute(
                f"UPDATE {table} SET id = ? WHERE id = ?",  # noqa: S608
                (f"{_PREFIX}{id_}", id_),
            )
    return found


def _fault(raw: object, type_: type[Any]) -> str:
    value = read_msgpack(raw, type_) if isinstance(raw, bytes) else Unreadable("no bytes")
    if isinstance(value, Unreadable):
        return value.reason
    if isinstance(value, Request):
        try:
            parsed(value)
        except UNREADABLE as error:
            return unreadable(error).reason
    return ""


def _meta(connection: sqlite3.Connection) -> list[tuple[str, str]]:
    found = []
    for name, raw in connection.execute("SELECT name, value FROM meta").fetchall():
        if str(name).startswith(_PREFIX) or _is_number(raw):
            continue
        reason = _fault(raw, READ_TYPES.get(str(name), READ_TYPES["strings"]))
        if reason:
            found.append((f"value {name}", reason))
            connection.execute(
                "UPDATE OR REPLACE meta SET name = ? WHERE name = ?", (f"{_PREFIX}{name}", name)
            )
    return found


def _is_number(raw: object) -> bool:
    text = raw.decode("ascii", "replace") if isinstance(raw, bytes) else str(raw)
    return whole_number(text) is not None


def _writes(connection: sqlite3.Connection) -> list[tuple[str, str]]:
    found = []
    for event, artifact, seen_s in connection.execute(
        "SELECT event, artifact, seen_s FROM bot_write"
    ).fetchall():
        if not isinstance(artifact, int) or not isinstance(seen_s, float):
            found.append((f"write {event}", "its numbers are none"))
            connection.execute("DELETE FROM bot_write WHERE event = ?", (event,))
    return found
