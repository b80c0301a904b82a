"""Real programs are killed while they call their owner: nothing is lost, doubled once at most.

`python -m tests.system.call_trials --trials 20 --seed 1`. House, lane and forge are real processes,
Telegram is its stand-in. Each trial causes an alarm (a comment under our name that nobody ordered),
kills the house with SIGKILL at a point that the seed names, starts it again, and reads the phone.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

from allegro.scratch.processes import override, secret_file
from allegro.testing.telegram.server import TelegramStandIn
from allegro.testing.telegram.world import TOKEN

from .fleet_fixture import BOT, REPOSITORY, Theatre, open_theatre

OWNER = 77
POINTS = ("raised", "noticed", "arrived", "answered", "later")
"""Where the house is killed: the alert is logged, its notice is made, the request has arrived at
Telegram, Telegram has answered, or some time after the cause."""

QUIET_S = 6.0
"""So long after the message the phone is watched for a second one."""


class Phone(TelegramStandIn):
    """The stand-in, with a word to say before and after it takes a message."""

    def __init__(self) -> None:
        super().__init__()
        self.at: Callable[[str], Awaitable[None]] | None = None

    async def _carry_out(self, method: str, fields: dict[str, Any]) -> Any:
        is_message = method == "sendmessage"
        if is_message and self.at is not None:
            await self.at("arrived")
        result = await super()._carry_out(method, fields)
        if is_message and self.at is not None:
            await self.at("answered")
        return result

    def texts(self, word: str) -> list[str]:
        """Return the messages that name this, oldest first."""
        return [one["text"] for one in self.world.sent() if word in one.get("text", "")]


class Ended(NamedTuple):
    """What one trial came to: the faults it found, and how often the alarm arrived."""

    point: str
    faults: tuple[str, ...]
    alarms: int


@contextlib.asynccontextmanager
async def calling_fleet(folder: Path) -> AsyncIterator[tuple[Theatre, Phone]]:
    """Yield a running fleet whose house calls by the stand-in, and the phone."""
    phone = Phone()
    async with phone, open_theatre(folder, start=False) as theatre:
        phone.world.message(OWNER, OWNER, "/start")
        token = secret_file(folder / "bot.token", TOKEN)
        settings = {
            "telegram.token_file": str(token), "telegram.chat": str(OWNER),
            "telegram.content": True, "telegram.url": phone.url, "telegram.timeout_s": 2.0,
        }  # fmt: skip
        override(theatre.stage.house_config, settings)
        override(theatre.stage.lane_config, settings)
        await theatre.start()
        yield theatre, phone


async def trial(theatre: Theatre, phone: Phone, seed: int) -> Ended:
    """Cause one alarm, kill the house at the seed's point, and count what arrives."""
    dice = random.Random(seed)
    point = POINTS[seed % len(POINTS)]
    killed = asyncio.Event()

    async def kill() -> None:
        if not killed.is_set():
            killed.set()
            await theatre.stage.house.end(signal.SIGKILL)

    async def at(where: str) -> None:
        if where == point:
            await kill()

    log, before = theatre.stage.house.log, theatre.stage.house.log.stat().st_size
    phone.at = at
    made = await theatre.api(
        "POST", f"/repos/{REPOSITORY}/issues/1/comments", {"body": f"a thief's {seed}"},
        token=theatre.tokens[BOT]["daily"],
    )  # fmt: skip
    word = f"comment {made['id']}"
    await _reach(point, kill, killed, log, before, dice.uniform(0.0, 3.0))
    await theatre.stage.start_house()
    await theatre.until(lambda: phone.texts(word), f"{word} is told", 40)
    phone.at = None
    await asyncio.sleep(QUIET_S)
    alarms = [one for one in phone.texts(word) if one.startswith("P0 alarm")]
    faults = []
    if not alarms:
        faults.append("no alarm arrived")
    if len(alarms) > 2 or (len(alarms) == 2 and point not in {"noticed", "arrived", "answered",
                                                             "later"}):  # fmt: skip
        faults.append(f"{len(alarms)} alarms")
    if len(alarms) == 2 and "may have arrived before" not in alarms[1]:
        faults.append("the second did not say that it may be one")
    return Ended(point, tuple(faults), len(alarms))


async def lane_trial(theatre: Theatre, phone: Phone) -> Ended:
    """Let house and forge die; kill the lane while it calls, and count what arrives."""
    killed = asyncio.Event()

    async def at(where: str) -> None:
        if where == "arrived" and not killed.is_set():
            killed.set()
            await theatre.stage.lane.end(signal.SIGKILL)

    phone.at = at
    before = len(phone.texts("forge.reachable"))
    await theatre.stage.house.end(signal.SIGKILL)
    await theatre.stage.simulator.end(signal.SIGKILL)
    await asyncio.wait_for(killed.wait(), 200)
    phone.at = None
    await theatre.start_lane()
    await asyncio.sleep(10 + QUIET_S)
    found = phone.texts("forge.reachable")[before:]
    alarms = [one for one in found if " alarm" in one]
    faults = () if 1 <= len(alarms) <= 2 else (f"{len(alarms)} alarms of the lane",)
    return Ended("the lane", faults, len(alarms))


async def _reach(
    point: str, kill: Callable[[], Awaitable[None]], killed: asyncio.Event, log: Path,
    before: int, later_s: float,
) -> None:  # fmt: skip
    """Wait until the point was reached and the house is dead."""
    words = {"raised": '"event": "alert"', "noticed": '"event": "alert.notice"'}
    if point in words:
        for _ in range(40_000):
            with log.open("rb") as file:
                file.seek(before)
                if words[point] in file.read().decode("utf-8", "replace"):
                    break
            await asyncio.sleep(0.001)
        await kill()
    elif point == "later":
        await asyncio.sleep(later_s)
        await kill()
    else:
        await asyncio.wait_for(killed.wait(), 60)


async def run(folder: Path, seeds: range, *, kills_lane: bool = False) -> list[Ended]:
    """Play trials one after the other on one fleet; at last one that kills the lane."""
    found = []
    async with calling_fleet(folder) as (theatre, phone):
        for seed in seeds:
            found.append(await trial(theatre, phone, seed))
            await theatre.until(theatre.stage.status, "the house is there again", 30)
        if kills_lane:
            found.append(await lane_trial(theatre, phone))
    return found


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.system.call_trials", description=__doc__)
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        seeds = range(arguments.seed, arguments.seed + arguments.trials)
        found = asyncio.run(run(Path(folder) / "play", seeds, kills_lane=True))
    failed = [one for one in found if one.faults]
    for one in failed:
        sys.stdout.write(json.dumps(one._asdict()) + "\n")
    doubled = Counter(one.point for one in found if one.alarms == 2)
    sys.stdout.write(f"{len(found)} trials, {len(failed)} failed, doubled {dict(doubled)}\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
