from __future__ import annotations

import math

import pytest

from allegro.core.lease import Lease, holds

LEASE = Lease("forge", "lane-a", ("council", 1), until_boot_s=100.0)


def test_a_role_is_held_until_the_lease_ends() -> None:
    assert holds(LEASE, 99.9)


@pytest.mark.parametrize("boot_s", [100.0, 1e9, math.nan, math.inf])
def test_a_role_is_not_held_at_its_end_or_at_no_time(boot_s: float) -> None:
    assert not holds(LEASE, boot_s)


def test_no_lease_is_no_role() -> None:
    assert not holds(None, 0.0)
