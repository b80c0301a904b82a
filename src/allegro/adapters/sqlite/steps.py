"""The forward steps of the stores' schemas, oldest first."""

from __future__ import annotations

import sqlite3

from allegro.adapters.sqlite.intake import FORGE_SLACK_S

_NO_OBJECT_AHEAD = """
UPDATE object SET updated_s = MIN(updated_s,
  (SELECT CAST(at_s AS INTEGER) FROM event WHERE event.row = object.row) + ?)
WHERE EXISTS (SELECT 1 FROM event WHERE event.row = object.row)
"""
_NO_MARK_AHEAD = """
UPDATE mark SET forge_s = MIN(forge_s,
  COALESCE((SELECT CAST(MAX(at_s) AS INTEGER) FROM cursor), forge_s) + ?)
"""


def no_time_ahead(connection: sqlite3.Connection) -> None:
    """Archive 0 to 1: no version and no mark is newer than when it was archived.

    Events keep their rows: what was told under an id first has the id as its key, as before.
    """
    connection.execute(_NO_OBJECT_AHEAD, (FORGE_SLACK_S,))
    connection.execute(_NO_MARK_AHEAD, (FORGE_SLACK_S,))
