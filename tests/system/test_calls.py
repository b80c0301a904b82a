"""Real programs call their owner: killed houses, dead lanes, and a Telegram that is a stand-in."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

from .call_trials import calling_fleet, run


async def test_a_killed_house_loses_no_alarm_and_doubles_it_once_at_most(tmp_path: Path) -> None:
    found = await run(tmp_path / "play", range(1, 4))
    assert [one.faults for one in found] == [(), (), ()]


async def test_a_house_whose_lanes_are_all_dead_calls_its_owner_within_a_minute(
    tmp_path: Path,
) -> None:
    async with calling_fleet(tmp_path / "play") as (theatre, phone):
        await asyncio.sleep(6)  # it settles first, as after any start
        began_s = asyncio.get_running_loop().time()
        await theatre.stage.lane.end(signal.SIGKILL)
        await theatre.until(lambda: phone.texts("fleet.unreachable"), "the owner is called", 60)
        assert asyncio.get_running_loop().time() - began_s <= 60
        await theatre.start_lane()
        await theatre.until(
            lambda: [one for one in phone.texts("fleet.unreachable") if "recovery" in one],
            "the owner hears that it is over",
            120,
        )
