"""What shows only where each lane has a network of its own: `python -m tests.system.fleet_far`.

Prints how a lane's health looks while it is well and once its machine is gone, as one JSON line.
Needs root: the process moves into a network of its own making.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
from pathlib import Path

import msgspec

from allegro.client.redundancy import HealthStatus, RedundancyManager
from allegro.scratch.faults import FAULTS
from allegro.scratch.fleet import LANES, ScratchFleet
from allegro.scratch.network import Namespaces

from .fleet_fixture import QuickStage
from .fleet_life import HOUSE, LANE


class FarFleet(QuickStage, ScratchFleet):
    """A scratch fleet whose commands cost no process each."""


class Seen(msgspec.Struct, frozen=True):
    """One lane before and after its machine went away."""

    well: HealthStatus
    gone: HealthStatus


async def look(folder: Path) -> Seen:
    fleet = FarFleet(folder, Namespaces(LANES))
    try:
        await fleet.set_up(lane=LANE, house=HOUSE)
        async with RedundancyManager(fleet.socket) as manager:
            victim = await fleet.holder()
            well = await manager.health_check_vps(victim)
            await FAULTS["cut"].strike(fleet, victim)

            async def is_unheard() -> bool:
                shown = await fleet.fleet()
                return all(victim not in one["hears"] for one in shown["lanes"]) and not any(
                    one["linked"] for one in shown["lanes"] if one["name"] == victim
                )

            await fleet.until(is_unheard, "nobody hears it any more", within_s=20)

            async def is_dead() -> HealthStatus | None:
                found = await manager.health_check_vps(victim)
                return found if found.verdict == "dead" else None

            return Seen(well, await fleet.until(is_dead, "it counts as dead", within_s=20))
    finally:
        await fleet.close()


def main() -> int:
    folder = Path(tempfile.mkdtemp(prefix="allegro-far-"))
    try:
        seen = asyncio.run(look(folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    sys.stdout.write(msgspec.json.encode(seen).decode() + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
