"""The counts of the house stay within their limits (`make house` prints them, with the places)."""

from __future__ import annotations

from functools import cache

import pytest

from tests.house import LIMITS, ROOT, Count, Limit, counts


@cache
def found() -> dict[str, Count]:
    return {one.what: one for one in counts(ROOT)}


@pytest.mark.parametrize("what", LIMITS)
def test_no_count_is_beyond_its_limit(what: str) -> None:
    count = found()[what]
    assert not count.is_over, f"{count.number} {what} ({count.limit}): {count.places[:8]}"


def test_what_is_held_above_its_target_may_only_come_down() -> None:
    loose = {
        what: found()[what].number
        for what, limit in LIMITS.items()
        if limit.held is not None and found()[what].number < limit.held
    }
    assert loose == {}, "lower `held` in tests/house.py to these numbers"


@pytest.mark.parametrize(
    ("limit", "number", "is_over"),
    [
        (Limit(12), 12, False),
        (Limit(12), 13, True),
        (Limit(12, 30), 30, False),
        (Limit(12, 30), 31, True),
    ],
)
def test_a_count_is_over_beyond_its_target_or_the_number_it_is_held_at(
    limit: Limit, number: int, is_over: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(LIMITS, "planted", limit)
    assert Count("planted", number).is_over is is_over
