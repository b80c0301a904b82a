"""A bug in one part of the council's work ends no other part, and is begun again."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import msgspec
import pytest

from allegro.adapters.council import LocalCouncil, Registers
from allegro.core.authority.gate import LaneTrust
from allegro.core.authority.lease import Slot
from allegro.core.protocol.pages import Page
from allegro.core.settings import ForgeSettings, LaneIdentity, LaneSettings
from allegro.lane.context.role_work import RoleWork, Workers
from allegro.lane.fleet.build import FleetWing, known_epochs
from allegro.runtime.duties import Duties
from allegro.testing.virtual import FakeForge, SeededDice, VirtualClock
from tests.core.authority.test_roster import THREE
from tests.core.builders import TRUST

from .contexts import context_of
from .small_fleet import OneLane, opened

ME = THREE.members[0]
FORGE = ForgeSettings(url="https://forge.example", token_file="t", watch=("acme/web",))
TRIES = 200


class Buggy(LocalCouncil):
    """A council that meets a bug: so many first calls of a kind raise what nobody expects."""

    def __init__(self, bugs: dict[str, int]) -> None:
        super().__init__(Registers(), ME.name, alone=False)
        self.bugs = bugs

    async def read(self, role: str) -> Slot:
        self.meet("read")
        return await super().read(role)

    async def publish(self, page: Page) -> None:
        self.meet("publish")
        await super().publish(page)

    def meet(self, call: str) -> None:
        left = self.bugs.get(call, 0)
        self.bugs[call] = left - 1
        if left > 0:
            raise RuntimeError(f"a bug in {call}")


class Probed(FakeForge):
    """A forge whose date meets the same."""

    council: Buggy

    async def date_s(self) -> int:
        self.council.meet("date_s")
        return await super().date_s()


def wing_of(lane: OneLane, folder: Path, council: Buggy, duties: Duties) -> FleetWing:
    clock = lane.fleet.clock
    settings = LaneSettings(LaneIdentity(ME.name, str(folder)), FORGE)
    lane.state.held = LaneTrust(msgspec.structs.replace(TRUST, lane=ME.lane), roster=THREE)
    lane.state.leases.clear()
    forge = Probed(clock)
    forge.council = council
    ctx = context_of(
        lane.state, lane.recorder, clock, settings, reader=forge, writer=forge,
        councils=lambda _: council,
    )  # fmt: skip
    workers = Workers()
    workers.enter("forge", RoleWork(lambda: True))
    return FleetWing(ctx, known_epochs(ctx.files), workers, duties, lambda: False)


async def holds_in_the_end(app: FleetWing, clock: VirtualClock) -> bool:
    for _ in range(TRIES):
        for _ in range(20):
            await asyncio.sleep(0)
        if app.roles.held() and app.siblings.has_quorum() and "forge" in app.ready():
            return True
        clock.advance(1.0)
    return False


@pytest.mark.parametrize(
    "bugs", [{"read": 2}, {"publish": 2}, {"date_s": 2}, {"read": 1, "publish": 1, "date_s": 1}]
)
async def test_a_bug_in_one_part_of_the_councils_work_ends_no_other_and_is_begun_again(
    tmp_path: Path, bugs: dict[str, int]
) -> None:
    failed: list[str] = []
    async with opened(tmp_path) as fleet:
        duties = Duties(fleet.clock, SeededDice(1), lambda name, sentence: failed.append(name))
        app = wing_of(fleet.lanes["a"], tmp_path, Buggy(dict(bugs)), duties.nested())
        running = asyncio.create_task(app.run())
        try:
            assert await holds_in_the_end(app, fleet.clock)
            assert not running.done()
        finally:
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await running
    of = {"read": "role forge", "publish": "siblings", "date_s": "forge probe"}
    assert sorted(failed) == sorted(of[call] for call, times in bugs.items() for _ in range(times))
