"""When a running council server goes on with new settings, and when it starts anew."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from allegro.core.authority.gate import LaneTrust
from allegro.core.authority.tokens import Member
from allegro.lane.fleet.council_server import Plan, keep, newly_revoked, plan_of
from allegro.testing.virtual import SeededDice, VirtualClock
from tests.core.authority.test_roster import THREE
from tests.core.builders import TRUST

ME, *OTHERS = THREE.members
HELD = LaneTrust(msgspec.structs.replace(TRUST, lane=ME.lane), roster=THREE)
PLAN = plan_of(HELD)


def less(*gone: Member) -> LaneTrust:
    return msgspec.structs.replace(HELD, revoked=frozenset(member.lane for member in gone))


def test_a_lane_that_is_revoked_is_taken_out_of_a_council_that_goes_on() -> None:
    first = plan_of(less(OTHERS[0]))
    assert newly_revoked(PLAN, first) == {OTHERS[0].name}
    assert newly_revoked(first, plan_of(less(*OTHERS))) == {OTHERS[1].name}
    assert newly_revoked(PLAN, plan_of(less(*OTHERS))) == {one.name for one in OTHERS}


def test_what_else_changes_starts_the_server_anew() -> None:
    assert PLAN is not None
    gone = plan_of(less(OTHERS[0]))
    assert gone is not None
    other = msgspec.structs.replace(OTHERS[1], address="192.0.2.9:4222")
    for changed in (
        msgspec.structs.replace(gone, number=gone.number + 1),
        msgspec.structs.replace(gone, fleet="f" * 32),
        msgspec.structs.replace(gone, me=msgspec.structs.replace(ME, certificate="another")),
        msgspec.structs.replace(gone, others=(other,)),
    ):
        assert newly_revoked(PLAN, changed) == frozenset()
    assert newly_revoked(gone, PLAN) == frozenset(), "nobody comes back into a running council"


@pytest.mark.parametrize(("before", "plan"), [(None, PLAN), (PLAN, None), (None, None)])
def test_a_council_that_begins_or_ends_takes_nobody_out(
    before: Plan | None, plan: Plan | None
) -> None:
    assert newly_revoked(before, plan) == frozenset()
    assert plan_of(less(ME)) is None, "a revoked lane keeps no server"


async def test_a_bug_in_one_step_shakes_no_server_and_the_steps_go_on() -> None:
    clock, stopping, steps = VirtualClock(), asyncio.Event(), 0

    async def step() -> None:
        nonlocal steps
        steps += 1
        if steps in {2, 3}:
            raise RuntimeError("a bug")

    running = asyncio.create_task(keep(step, stopping, clock, SeededDice(1)))
    for _ in range(40):
        for _ in range(10):
            await asyncio.sleep(0)
        clock.advance(0.25)
    assert steps > 10
    assert not running.done()
    stopping.set()
    await running
