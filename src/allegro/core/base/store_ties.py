"""Archive and ledger know each other: which of the two was deleted, restored or exchanged.

Each has a random id, made with it, and remembers the other's. At each start and clean stop both get
the same new token and count. A copy of one of them, put back later, shows an older count.
"""

from __future__ import annotations

import enum

import msgspec


class Tie(msgspec.Struct, frozen=True):
    """What one store remembers. `other` is empty before the two first met.

    `next_token` stands in the ledger while a new token is on its way into both.
    """

    id: str
    other: str = ""
    count: int = 0
    token: str = ""
    next_token: str = ""


class Fault(enum.StrEnum):
    """What is wrong between the two stores, as a sentence for a person."""

    NEW_ARCHIVE = "the archive is new: the one that the ledger knows was deleted or moved away"
    OTHER_ARCHIVE = "the archive belongs to another ledger"
    NEW_LEDGER = "the ledger is new or another one: the archive worked with one that is not here"
    OLDER_ARCHIVE = "the archive is an older copy: events since then are not in it"
    OLDER_LEDGER = "the ledger is an older copy: requests and receipts since then are not in it"
    OTHER_HISTORY = "archive and ledger went separate ways: one of them was exchanged"
    CUT_ARCHIVE = "the archive ends before what was read of it: it was cut or restored"


LEDGER_FAULTS = frozenset({Fault.NEW_LEDGER, Fault.OLDER_LEDGER, Fault.OTHER_HISTORY})
"""Faults after which requests, receipts or freezes may be missing: work waits for a person."""

READ_AGAIN = frozenset(Fault) - {Fault.OLDER_LEDGER}
"""Faults after which the archive is read from its first row: a place of before names other rows."""


def compare(archive: Tie, ledger: Tie, *, last_row: int, furthest: int) -> Fault | None:
    """Say what is wrong between the two, None when they belong together.

    `last_row` is the archive's newest row, `furthest` the furthest row that a reader has read.
    """
    fault = _compare(archive, ledger)
    if fault in {None, Fault.OLDER_ARCHIVE} and furthest > last_row:
        return fault or Fault.CUT_ARCHIVE
    return fault


def _compare(archive: Tie, ledger: Tie) -> Fault | None:
    if ledger.other and ledger.other != archive.id:
        return Fault.OTHER_ARCHIVE if archive.other else Fault.NEW_ARCHIVE
    if archive.other and archive.other != ledger.id:
        return Fault.NEW_LEDGER
    if archive.token in {ledger.token, ledger.next_token}:
        return None
    if archive.count == ledger.count:
        return Fault.OTHER_HISTORY
    return Fault.OLDER_LEDGER if archive.count > ledger.count else Fault.OLDER_ARCHIVE
