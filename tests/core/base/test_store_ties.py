"""Archive and ledger know each other: deleted, restored, cut and exchanged files are noticed."""

from __future__ import annotations

import pytest

from allegro.core.base.store_ties import Fault, Tie, compare

A = Tie("a", "l", 5, "t5")
L = Tie("l", "a", 5, "t5")


@pytest.mark.parametrize(("archive", "ledger", "fault"), [
    (Tie("a"), Tie("l"), None),
    (A, L, None),
    (A, Tie("l", "a", 4, "t4", "t5"), None),
    (Tie("a", "l", 4, "t4"), Tie("l", "a", 4, "t4", "t5"), None),
    (Tie("new"), L, Fault.NEW_ARCHIVE),
    (Tie("b", "other"), L, Fault.OTHER_ARCHIVE),
    (A, Tie("new"), Fault.NEW_LEDGER),
    (A, Tie("l", "a", 4, "t4"), Fault.OLDER_LEDGER),
    (Tie("a", "l", 4, "t4"), L, Fault.OLDER_ARCHIVE),
    (Tie("a", "l", 5, "other"), L, Fault.OTHER_HISTORY),
])  # fmt: skip
def test_what_is_wrong_between_two_stores(archive: Tie, ledger: Tie, fault: Fault | None) -> None:
    assert compare(archive, ledger, last_row=10, furthest=10) is fault


def test_an_archive_that_ends_before_what_was_read_was_cut() -> None:
    assert compare(A, L, last_row=50, furthest=301) is Fault.CUT_ARCHIVE
    assert compare(Tie("a"), Tie("l"), last_row=0, furthest=1) is Fault.CUT_ARCHIVE
