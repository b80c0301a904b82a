"""A stretch of the archive as what it adds to the figures, and where the fold then stands."""

from __future__ import annotations

import hashlib

import msgspec

from allegro.core.measures.buckets import Bucket
from allegro.core.measures.figures import Figures
from allegro.core.measures.minutes import DayMinutes, Key
from allegro.core.measures.state import State

RULES = 3
"""Raised with each change of what a sample is: the archive is then folded anew."""


class RowsOf(msgspec.Struct, frozen=True):
    """The first and last row that were archived in one quarter of an hour."""

    first: int
    last: int


class FoldPlace(msgspec.Struct, frozen=True):
    """Up to which row an archive is folded, and what proves that it is still the same one.

    `check` names the stored bytes of that row. `began_s` is when the first event was archived
    (Unix s, 0 for none), `unreadable` counts events that were passed.
    """

    row: int = 0
    archive: str = ""
    check: bytes = b""
    began_s: float = 0.0
    unreadable: int = 0
    rules: int = RULES
    state: State = State()


class Folded(msgspec.Struct, frozen=True):
    """What a stretch adds, and the place behind it."""

    place: FoldPlace
    figures: dict[Bucket, Figures] = {}
    minutes: dict[Key, DayMinutes] = {}
    rows: dict[int, RowsOf] = {}


def check_of(stored: bytes) -> bytes:
    """Return what names the bytes of a row."""
    return hashlib.sha256(stored).digest()


def is_same_archive(place: FoldPlace, archive: str, last_row: int, stored: bytes | None) -> bool:
    """Say whether a fold may go on: same archive, not cut, and its row still holds the same bytes.

    `stored` is what stands at the fold's row now, None for nothing.
    """
    if place.rules != RULES:
        return False
    if not place.row:
        return place.archive in {"", archive}
    if place.archive != archive or last_row < place.row or stored is None:
        return False
    return check_of(stored) == place.check
