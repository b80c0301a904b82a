"""Generated worlds of two honest lanes: nothing of theirs freezes, and what is nobody's does."""

from __future__ import annotations

from pathlib import Path

import pytest

from allegro.core.base.errors import EdgeError
from allegro.core.requests.lifecycle import State

from .honest_world import FOREIGN, World, play


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_no_write_of_an_honest_lane_freezes_whatever_is_lost_on_the_way(seed: int) -> None:
    assert await play(seed) == []


@pytest.mark.parametrize("seed", [11, 12])
async def test_exactly_the_write_that_nobody_ordered_freezes(seed: int) -> None:
    assert await play(seed, FOREIGN[seed % len(FOREIGN)]) == []


@pytest.mark.parametrize("status", [403, 422])
async def test_a_no_after_which_nobody_can_look_fails_no_request_that_was_done(
    tmp_path: Path, status: int
) -> None:
    world = World(tmp_path, 1)
    world.troubled = False
    said: list[int] = []

    def luck(when: str) -> EdgeError | None:
        if when != "after" or said:
            return None
        said.append(status)
        world.forge.broken_until_s = world.clock.boot_s() + 30.0
        return EdgeError(f"{status} {when}", transient=False, status=status)

    world.forge.luck = luck
    try:
        await world.begin()
        request = await world.house.propose(kind="close_issue", issue=1)
        await world.house.approve(request)
        for _ in range(60):
            await world.step(5.0)
        assert said == [status]
        assert request.digest in world.forge.done
        settled = world.house.now(request)
        assert settled.state is State.DONE
        assert "fail" not in [line.what for line in settled.history]
    finally:
        await world.close()
