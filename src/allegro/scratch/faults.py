"""What can befall a lane, each with the way back."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from collections.abc import Awaitable, Callable

import msgspec

from allegro.core.base.errors import UserError
from allegro.core.protocol.asked import LetRest
from allegro.scratch.fleet import LANES, ScratchFleet, pairs

Act = Callable[[ScratchFleet, str], Awaitable[None]]
HOUR_S = 3600.0
LEAVE_BYTES = 200_000
_IDENTITY = ("lane.key", "paired.json", "link.crt", "link.key", "trust.json", "freezes.json")


class Fault(msgspec.Struct, frozen=True):
    """`needs_network`: links are cut. `moves`: the victim loses the role. `disk`: needs a disk of
    its own."""

    name: str
    strike: Act
    heal: Act
    needs_network: bool = False
    moves: bool = True
    disk: bool = False


async def _nothing(fleet: ScratchFleet, lane: str) -> None:
    del fleet, lane


async def _restart(fleet: ScratchFleet, lane: str) -> None:
    await fleet.lanes[lane].daemon.end(signal.SIGKILL)
    await fleet.lanes[lane].council.end(signal.SIGKILL)
    await fleet.start(lane)


async def _kill_daemon(fleet: ScratchFleet, lane: str) -> None:
    fleet.lanes[lane].signal(signal.SIGKILL, server=False)


async def _kill_all(fleet: ScratchFleet, lane: str) -> None:
    fleet.lanes[lane].signal(signal.SIGKILL)


async def _lose_box(fleet: ScratchFleet, lane: str) -> None:
    """The machine is gone with its disk; what comes back is a new one with the lane's keys."""
    folder = fleet.lanes[lane].folder
    fleet.lanes[lane].signal(signal.SIGKILL)
    await asyncio.gather(
        fleet.lanes[lane].daemon.end(signal.SIGKILL), fleet.lanes[lane].council.end(signal.SIGKILL)
    )
    kept = folder.with_name(f"{lane}-keys")
    shutil.rmtree(kept, ignore_errors=True)
    kept.mkdir(mode=0o700)
    for name in _IDENTITY:
        if (folder / name).exists():
            shutil.copy2(folder / name, kept / name)
    shutil.copytree(folder / "council", kept / "council", ignore=_stores)
    for inside in folder.iterdir():
        shutil.rmtree(inside) if inside.is_dir() else inside.unlink()


def _stores(folder: str, names: list[str]) -> list[str]:
    del folder
    return [name for name in names if name.startswith("store-") or name == "running.json"]


async def _new_box(fleet: ScratchFleet, lane: str) -> None:
    folder = fleet.lanes[lane].folder
    shutil.copytree(folder.with_name(f"{lane}-keys"), folder, dirs_exist_ok=True)
    await fleet.start(lane)


async def _freeze_daemon(fleet: ScratchFleet, lane: str) -> None:
    fleet.lanes[lane].signal(signal.SIGSTOP, server=False)


async def _freeze_all(fleet: ScratchFleet, lane: str) -> None:
    fleet.lanes[lane].signal(signal.SIGSTOP)


async def _wake(fleet: ScratchFleet, lane: str) -> None:
    fleet.lanes[lane].signal(signal.SIGCONT)


def _others(lane: str) -> list[str]:
    return [name for name in LANES if name != lane]


async def _cut(fleet: ScratchFleet, lane: str) -> None:
    """The network card goes down: this machine knows at once, the others wait for it."""
    await _ip(fleet, lane, "link", "set", "wan0", "down")


async def _plug_in(fleet: ScratchFleet, lane: str) -> None:
    await _ip(fleet, lane, "link", "set", "wan0", "up")


async def _ip(fleet: ScratchFleet, lane: str, *words: str) -> None:
    child = await asyncio.create_subprocess_exec(*fleet.network.enter(lane), "ip", *words)
    if await child.wait():
        raise UserError(f"ip {' '.join(words)} failed")


async def _silence(fleet: ScratchFleet, lane: str) -> None:
    await fleet.cut(pairs([lane], [*_others(lane), "home", "forge"]))


async def _no_council(fleet: ScratchFleet, lane: str) -> None:
    await fleet.cut(pairs([lane], _others(lane)))


async def _no_forge(fleet: ScratchFleet, lane: str) -> None:
    await fleet.cut(pairs([lane], ["forge"]))


async def _deaf(fleet: ScratchFleet, lane: str) -> None:
    await fleet.cut([(other, lane) for other in [*_others(lane), "home", "forge"]])


async def _mute(fleet: ScratchFleet, lane: str) -> None:
    await fleet.cut([(lane, other) for other in [*_others(lane), "home", "forge"]])


async def _mend(fleet: ScratchFleet, lane: str) -> None:
    del lane
    await fleet.cut([])


async def _clock_ahead(fleet: ScratchFleet, lane: str) -> None:
    fleet.set_clock(lane, HOUR_S)


async def _clock_behind(fleet: ScratchFleet, lane: str) -> None:
    fleet.set_clock(lane, -HOUR_S)


async def _clock_right(fleet: ScratchFleet, lane: str) -> None:
    fleet.set_clock(lane, 0.0)


async def _fill_disk(fleet: ScratchFleet, lane: str) -> None:
    folder = fleet.lanes[lane].folder
    room = os.statvfs(folder)
    size = room.f_bavail * room.f_frsize - LEAVE_BYTES
    with (folder / "ballast").open("wb") as ballast:
        os.posix_fallocate(ballast.fileno(), 0, max(size, 1))


async def _free_disk(fleet: ScratchFleet, lane: str) -> None:
    (fleet.lanes[lane].folder / "ballast").unlink(missing_ok=True)


async def _hand_over(fleet: ScratchFleet, lane: str) -> None:
    await fleet.client.let_rest(LetRest(lane, "forge", seconds=20.0))


FAULTS = {
    fault.name: fault
    for fault in (
        Fault("planned", _hand_over, _nothing),
        Fault("kill", _kill_daemon, _restart),
        Fault("kill-all", _kill_all, _restart),
        Fault("box-gone", _lose_box, _new_box),
        Fault("freeze", _freeze_daemon, _wake),
        Fault("freeze-all", _freeze_all, _wake),
        Fault("cut", _cut, _plug_in, needs_network=True),
        Fault("silent", _silence, _mend, needs_network=True),
        Fault("no-council", _no_council, _mend, needs_network=True),
        Fault("no-forge", _no_forge, _mend, needs_network=True),
        Fault("deaf", _deaf, _mend, needs_network=True),
        Fault("mute", _mute, _mend, needs_network=True),
        Fault("clock-ahead", _clock_ahead, _clock_right, moves=False),
        Fault("clock-behind", _clock_behind, _clock_right, moves=False),
        Fault("disk-full", _fill_disk, _free_disk, disk=True),
    )
}
