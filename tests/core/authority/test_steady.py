from __future__ import annotations

import pytest

from allegro.core.authority.lease import Record, Slot
from allegro.core.authority.steady import Steady, watched

LEASE_S = 5.0


def settled_at(records: list[tuple[float, Record | None]]) -> float:
    """Return when the register last was settled; it was at 0, and changes with every entry."""
    steady = Steady(0.0)
    for revision, (boot_s, record) in enumerate(records):
        steady = watched(steady, Slot(revision, record), boot_s=boot_s, lease_s=LEASE_S)
    return steady.settled_s


def test_a_holder_that_renews_for_a_lease_settles_a_role() -> None:
    held = Record("a", "a1", 3)
    assert settled_at([(t, held) for t in range(5)]) == 0
    assert settled_at([(t, held) for t in range(20)]) == 19


@pytest.mark.parametrize(
    "changes",
    [
        [Record("a", "a1", 3), Record("b", "b1", 4)],
        [Record("a", "a1", 3), None],
        [Record("a", "a1", 3), Record("a", "a1", 4)],
        [Record("a", "a1", 3), Record("a", "a2", 3)],
        [Record("a", "a1", 3, offered="b")],
        [None],
    ],
)
def test_what_changes_faster_than_a_lease_settles_nothing(changes: list[Record | None]) -> None:
    assert settled_at([(t, changes[t % len(changes)]) for t in range(100)]) == 0


def test_a_record_that_stands_still_is_no_holder_after_a_lease() -> None:
    steady = Steady(0.0)
    for boot_s in range(100):
        steady = watched(
            steady, Slot(7, Record("a", "a1", 3)), boot_s=float(boot_s), lease_s=LEASE_S
        )
    assert steady.settled_s == LEASE_S
