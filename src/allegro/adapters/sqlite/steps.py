"""The forward steps of the stores' schemas, oldest first."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

import msgspec

from allegro.adapters.sqlite.book import put_alerting
from allegro.adapters.sqlite.intake import FORGE_SLACK_S
from allegro.core.authority.actions.forge import ProposeChange, UpdateStatus
from allegro.core.base.untrusted import (
    UNREADABLE,
    Unreadable,
    number_of,
    read_json,
    read_msgpack,
    real_of,
)
from allegro.core.effects.matching import Receipt
from allegro.core.effects.receipts import branch_receipts, label_receipts
from allegro.core.health.alert_state import AlertState
from allegro.core.health.alerts import URGENCIES, Alert, Course, Phase
from allegro.core.health.codes import OTHER, Severity
from allegro.core.health.kept import KeptAlerts
from allegro.core.requests.requests import Request, parsed

_NO_OBJECT_AHEAD = """
UPDATE object SET updated_s = MIN(updated_s,
  (SELECT CAST(at_s AS INTEGER) FROM event WHERE event.row = object.row) + ?)
WHERE EXISTS (SELECT 1 FROM event WHERE event.row = object.row)
"""
_NO_MARK_AHEAD = """
UPDATE mark SET forge_s = MIN(forge_s,
  COALESCE((SELECT CAST(MAX(at_s) AS INTEGER) FROM cursor), forge_s) + ?)
"""


_ALERTS = """
CREATE TABLE alert (
  code TEXT NOT NULL, lane TEXT NOT NULL, subject TEXT NOT NULL, severity TEXT NOT NULL,
  "values" TEXT NOT NULL, first_s REAL NOT NULL, last_s REAL NOT NULL, count INTEGER NOT NULL,
  PRIMARY KEY (code, lane, subject))
"""


def no_time_ahead(connection: sqlite3.Connection) -> None:
    """Archive 0 to 1: no version and no mark is newer than when it was archived.

    Events keep their rows: what was told under an id first has the id as its key, as before.
    """
    connection.execute(_NO_OBJECT_AHEAD, (FORGE_SLACK_S,))
    connection.execute(_NO_MARK_AHEAD, (FORGE_SLACK_S,))


def labels_and_branches(connection: sqlite3.Connection) -> None:
    """Ledger 0 to 1: labels and branches are matched too, so those of before get their receipts."""
    connection.execute("ALTER TABLE bot_write ADD COLUMN lane TEXT NOT NULL DEFAULT ''")
    connection.execute("ALTER TABLE bot_write ADD COLUMN fresh INTEGER NOT NULL DEFAULT 0")
    for (raw,) in connection.execute("SELECT stored FROM request").fetchall():
        request = read_msgpack(raw, Request) if isinstance(raw, bytes) else Unreadable("no bytes")
        if isinstance(request, Unreadable) or not request.order_number:
            continue
        connection.executemany(
            "INSERT OR IGNORE INTO receipt VALUES (?,?,?,?,?)",
            [msgspec.structs.astuple(receipt) for receipt in _receipts(request)],
        )


def closes_by_time(connection: sqlite3.Connection) -> None:
    """Ledger 1 to 2: the receipt of a close says when that was settled, no more the issue."""
    closes = connection.execute(
        "SELECT DISTINCT request.id, request.stored FROM receipt JOIN request"
        " ON request.id = receipt.request WHERE receipt.kind = 'close'"
    ).fetchall()
    for id_, raw in closes:
        request = read_msgpack(raw, Request) if isinstance(raw, bytes) else Unreadable("no bytes")
        if not isinstance(request, Unreadable):
            connection.execute(
                "UPDATE OR REPLACE receipt SET artifact = ? WHERE kind = 'close' AND request = ?",
                (int(request.settled_s or request.created_s), id_),
            )


def alerts_by_code(connection: sqlite3.Connection) -> None:
    """Ledger 2 to 3: an alert is a code and its subject; a sentence of before has the code `other`."""
    exists = "SELECT COUNT(*) FROM sqlite_schema WHERE type = 'table' AND name = 'alert'"
    if not connection.execute(exists).fetchone()[0]:
        return
    connection.execute("ALTER TABLE alert RENAME TO alert_of_before")
    connection.execute(_ALERTS)
    severities = {urgency: severity.value for severity, urgency in URGENCIES.items()}
    rows = connection.execute(
        "SELECT urgency, lane, sentence, first_s, last_s, count FROM alert_of_before"
        " ORDER BY last_s"
    ).fetchall()
    connection.executemany(
        "INSERT OR REPLACE INTO alert VALUES (?,?,?,?,'{}',?,?,?)",
        [
            (OTHER.code, lane, sentence, severities.get(urgency, "P0"), first_s, last_s, count)
            for urgency, lane, sentence, first_s, last_s, count in rows
        ],
    )
    connection.execute("DROP TABLE alert_of_before")


def alerts_that_call(connection: sqlite3.Connection) -> None:
    """Ledger 4 to 5: alerts have a way to a person. Those of before were shown: nobody is called."""
    exists = "SELECT COUNT(*) FROM sqlite_schema WHERE type = 'table' AND name = 'alert'"
    if not connection.execute(exists).fetchone()[0]:
        return
    rows = connection.execute("SELECT * FROM alert ORDER BY last_s").fetchall()
    shown = tuple(_shown(row) for row in rows if row[3] in set(Severity))
    connection.execute("CREATE TABLE alerting (name TEXT PRIMARY KEY, stored BLOB NOT NULL)")
    put_alerting(connection, KeptAlerts(AlertState("house", shown)))
    connection.execute("DROP TABLE alert")


def _shown(row: Sequence[Any]) -> Alert:
    code, lane, subject, severity, raw, first, last, count = row
    values = read_json(str(raw), dict[str, str])
    first_s, last_s = real_of(first) or 0.0, real_of(last) or 0.0
    course = Course(
        phase=Phase.ACKNOWLEDGED,
        begun_s=first_s,
        alarm="before",
        told_s=last_s,
        told_severity=Severity(severity),
        reached_s=last_s,
        acknowledged_s=last_s,
    )
    return Alert(
        str(code),
        str(lane),
        str(subject),
        Severity(severity),
        {} if isinstance(values, Unreadable) else values,
        first_s,
        last_s,
        number_of(count),
        course=course,
    )


def _receipts(request: Request) -> tuple[Receipt, ...]:
    try:
        action = parsed(request)
    except UNREADABLE:
        return ()
    if isinstance(action, UpdateStatus):
        at_s = request.settled_s or request.created_s
        return label_receipts(request.id, request.target, action, at_s)
    if isinstance(action, ProposeChange) and request.branch:
        return branch_receipts(request.id, request.target, action, request.branch, request.commit)
    return ()
