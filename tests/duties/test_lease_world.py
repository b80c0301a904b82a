"""The lease machine against a hostile network, in virtual time (R2, R3)."""

from __future__ import annotations

import pytest

from tests.duties.lease_world import FORGERIES, LEASE_S, Overlap, World, impersonate, play, rob

RUNS = 1000


def test_no_two_lanes_ever_hold_a_role_at_one_moment_and_somebody_does_in_each_calm() -> None:
    worlds = [play(seed) for seed in range(RUNS)]
    assert sum(world.takes for world in worlds) > 50 * RUNS
    assert len(set().union(*(world.kinds for world in worlds))) == 11, "every fault was played"


def test_without_self_demotion_the_check_fails() -> None:
    assert overlaps(range(50), demotes=False) > 20


def overlaps(seeds: range, *, demotes: bool) -> int:
    """Return in how many runs two lanes held the role at once."""
    count = 0
    for seed in seeds:
        try:
            play(seed, demotes=demotes)
        except Overlap:
            count += 1
    return count


def test_with_nothing_wrong_the_preferred_lane_holds_throughout() -> None:
    world = World(1, drift=0.0)
    world.travel_s = lambda: 0.01  # type: ignore[method-assign]
    world.dice.random = lambda: 0.5  # type: ignore[method-assign]
    world.run(10)
    for _ in range(300):
        world.run(world.now + 1)
        assert world.holders() == ["a"]


@pytest.mark.parametrize(("apart", "overlaps"), [(0.08, False), (0.8, True)])
def test_clocks_may_run_eight_percent_apart_and_not_eighty(apart: float, overlaps: bool) -> None:
    """The worst case: the holder's clock is slow, it is cut off, and the next one's is fast."""
    found = 0
    for seed in range(200):
        world = World(seed, drift=0.0)
        slow, *others = world.lanes
        slow.rate, others[0].rate, others[1].rate = 1 - apart / 2, 1 + apart / 2, 1 + apart / 2
        others[0].ready = others[1].ready = False
        world.run(world.now + 15 + seed / 10)
        slow.connected, others[0].ready, others[1].ready = False, True, True
        try:
            world.run(world.now + 15)
        except Overlap:
            found += 1
    assert (found > 0) == overlaps


def test_a_thief_that_forges_records_makes_no_two_lanes_hold_and_leaves_a_role_soon() -> None:
    """It may keep the role empty as long as it writes; never make two lanes hold it."""
    gone, forged = [], set()
    for seed in range(150):
        world, gone_s = rob(seed, *FORGERIES)
        gone.append(gone_s)
        forged |= world.forgeries
        assert world.longest_s <= LEASE_S, "the role of a revoked lane is taken at once"
        assert all(lane.view.epoch < 2**53 / 2 for lane in world.lanes), seed
    assert forged == set(FORGERIES)
    assert sorted(gone)[len(gone) * 95 // 100] < 12, "in nearly all runs within two leases"
    assert max(gone) < 25, "and always within a few, though messages are lost"


def test_a_lane_that_starts_again_holds_nothing_because_a_thief_wrote_its_name() -> None:
    """Another lane may still count on its lease: only what the lane itself wrote last is its own."""
    assert sum(impersonate(seed).takes for seed in range(100)) > 5_000
    found = 0
    for seed in range(20):
        try:
            impersonate(seed, trusts_names=True)
        except Overlap:
            found += 1
    assert found > 10, "a lane that trusts its name is found"


def test_a_thief_that_forges_offers_makes_two_lanes_poll_for_a_lease_at_most() -> None:
    for seed in range(100):
        world, gone_s = rob(seed, *FORGERIES, "offer")
        assert world.longest_s <= LEASE_S, seed
        assert gone_s < 25, seed
