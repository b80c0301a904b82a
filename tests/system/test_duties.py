"""Scheduled duties of the real programs: at home, on the lane, and through a kill in the middle."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from allegro.client.errors import HouseUnreachable
from allegro.core.health.duty_runs import ENDED_MEANWHILE, Ending
from allegro.core.protocol.answers.duties import ShownDuty
from allegro.scratch.processes import Forge
from tests.patience import patient

from .fleet_fixture import QuickStage
from .test_keys import WORLD

pytestmark = pytest.mark.slow


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[QuickStage]:
    """A paired lane and house, not started yet, whose runbook is a pipe that nobody writes."""
    stage = QuickStage(tmp_path / "stage")
    try:
        simulator = await stage.start_simulator(WORLD)
        tokens = simulator["tokens"]
        daily, change = tokens["allegro"]["daily"], tokens["allegro-change"]["change"]
        forge = Forge(simulator["url"], "timmy/house", ("allegro", "allegro-change"), daily, change)
        os.mkfifo(tmp_path / "runbook.md")
        await stage.prepare(forge, house={"duties.runbook": str(tmp_path / "runbook.md")})
        yield stage
    finally:
        await stage.close()


async def shown(stage: QuickStage, name: str) -> ShownDuty:
    answer = await stage.client.duties()
    return next(duty for duty in answer.duties if duty.name == name)


async def test_a_house_killed_in_the_middle_of_a_duty_says_so_when_it_is_back(
    stage: QuickStage, tmp_path: Path
) -> None:
    await stage.start_lane()
    await stage.start_house()
    await stage.linked()
    asked = asyncio.create_task(stage.client.run_duty("runbook-freshness"))
    async with asyncio.timeout(patient(20)):
        while (await shown(stage, "runbook-freshness")).state != "running":
            await asyncio.sleep(0.1)
    rolled = await stage.client.run_duty("log-rollup")
    assert rolled.duties[0].state == "ok", "one that hangs holds up no other"

    await stage.house.end(signal.SIGKILL)
    with contextlib.suppress(HouseUnreachable):
        await asked
    (tmp_path / "runbook.md").unlink()
    (tmp_path / "runbook.md").write_text("# Empty\n")
    await stage.start_house()
    await stage.linked()

    async with asyncio.timeout(patient(20)):
        while (duty := await shown(stage, "runbook-freshness")).last is None:
            await asyncio.sleep(0.2)
    assert (duty.state, duty.last.ending, duty.last.result) == (
        "failed", Ending.FAILED, ENDED_MEANWHILE,
    )  # fmt: skip
    (again,) = (await stage.client.run_duty("runbook-freshness")).duties
    assert again.last is not None
    assert "lead to no section of the runbook" in again.last.result


async def test_a_person_runs_a_duty_of_the_lane_from_home(stage: QuickStage) -> None:
    await stage.start_lane()
    await stage.start_house()
    await stage.linked()
    async with asyncio.timeout(patient(30)):
        while "forge-poll-health" not in {d.name for d in (await stage.client.duties()).duties}:
            await asyncio.sleep(0.2)
    async with asyncio.timeout(patient(60)):  # the lane waits a while after it took its role
        while True:
            with contextlib.suppress(Exception):
                (duty,) = (await stage.client.run_duty("forge-poll-health")).duties
                break
            await asyncio.sleep(1.0)
    assert (duty.owner, duty.state) == ("role forge", "ok")
    assert duty.last is not None
    assert duty.last.figures["watches"] == 1
