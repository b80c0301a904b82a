"""Generated worlds of two honest lanes: nothing of theirs freezes, and what is nobody's does."""

from __future__ import annotations

import pytest

from .honest_world import FOREIGN, play


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_no_write_of_an_honest_lane_freezes_whatever_is_lost_on_the_way(seed: int) -> None:
    assert await play(seed) == []


@pytest.mark.parametrize("seed", [11, 12])
async def test_exactly_the_write_that_nobody_ordered_freezes(seed: int) -> None:
    assert await play(seed, FOREIGN[seed % len(FOREIGN)]) == []
