"""The faults that strike a session in `session_trials`, each with the ends that it may come to."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from allegro.core.base.errors import UserError

from .agent_fixture import Agency, terminal
from .disk import NO_DISK, can_mount, fill

UNBEGUN = "unbegun"
SLOW = {"say": "slow", "pieces": 60, "gap_ms": 50}
LONG = {"say": "slow", "pieces": 400, "gap_ms": 40}
LONG_FULL_S = 13.0  # longer than a lane waits for room before it stops the session

POINTS = {
    "before:order": {"completed"},  # a session asks the forge nothing: taken is before its intent
    "before:intent": {"lost", "completed", UNBEGUN}, "after:intent": {"lost"},
    "before:receipt": {"lost"}, "after:receipt": {"lost"},
}  # fmt: skip

Fault = Callable[["Play"], Awaitable[None]]


class Play:
    """One session under a fault. `ends` are the ends that it may come to.

    `tells` are types of events that must come home: they show that the fault struck, and that it
    was told. `turns` is how often the model is called when nothing goes wrong.
    """

    def __init__(self, agency: Agency, dice: random.Random, tag: str) -> None:
        self.agency = agency
        self.dice = dice
        self.tag = tag
        self.session = ""
        self.ends: set[str] = {"completed"}
        self.tells: set[str] = set()
        self.retries = False
        self.turns = 0

    async def begin(self, *steps: dict[str, Any]) -> None:
        """Ask for a session that calls up to two tools before these turns."""
        before = [terminal(f"echo {self.tag}{n}") for n in range(self.dice.randrange(3))]
        self.turns = len(before) + len(steps)
        self.session = await self.agency.begin(
            *before, *steps, tag=self.tag, model=self.agency.new_model(), limit_s=50
        )

    async def begin_slow(self) -> None:
        """Begin one that speaks for 3 s, and return in the midst of it."""
        await self.begin(SLOW)
        await self.agency.running(self.session)
        await asyncio.sleep(self.dice.uniform(0.2, 2.0))

    async def refused(self, *turns: dict[str, Any], may_recover: bool = True) -> None:
        """Begin one whose provider does this, always or once."""
        self.retries = True
        self.ends = {"failed"}
        if may_recover and self.dice.random() < 0.5:
            turns = tuple({**turn, "times": 1} for turn in turns)
            self.ends = {"completed", "failed"}
        await self.begin(*turns)


async def status_401(play: Play) -> None:
    await play.refused({"status": 401})


async def status_402(play: Play) -> None:
    await play.refused({"status": 402, "body": "no credit left"})


async def status_429(play: Play) -> None:
    headers = {"Retry-After": str(play.dice.choice((1, 30)))}
    await play.refused({"status": 429, "headers": headers})


async def status_500(play: Play) -> None:
    await play.refused({"status": 500})


async def hangs(play: Play) -> None:
    await play.refused({"hang": 3.5}, may_recover=False)
    play.ends = {"completed", "failed"}


async def half(play: Play) -> None:
    await play.refused({"say": "half ", "pieces": 3, "half": 1}, may_recover=False)
    play.ends = {"completed", "failed"}


async def garbage(play: Play) -> None:
    await play.refused({"garbage": 1}, may_recover=False)


async def gateway_killed(play: Play) -> None:
    await play.begin_slow()
    play.ends = {"lost"}
    play.agency.kill_gateways()


async def lane_killed(play: Play) -> None:
    await play.begin_slow()
    play.ends = {"lost"}
    await play.agency.theatre.restart_lane(how=signal.SIGKILL)


async def lane_killed_at_any_time(play: Play) -> None:
    await play.begin(SLOW)
    await asyncio.sleep(play.dice.uniform(0.0, play.dice.choice((0.1, 0.6))))
    play.ends = {"lost", "completed", UNBEGUN}
    await play.agency.theatre.restart_lane(how=signal.SIGKILL)


async def lane_dies_at_a_point(play: Play) -> None:
    """Die around the order, before and after what is written down, and around the begin itself."""
    theatre = play.agency.theatre
    point = play.dice.choice(list(POINTS))
    await theatre.restart_lane("--die", point)
    await play.agency.ready()
    await play.begin(SLOW)
    await theatre.dead("lane")
    play.ends = POINTS[point]
    await theatre.start_lane()


async def house_killed(play: Play) -> None:
    await play.begin_slow()
    await play.agency.theatre.restart_house(how=signal.SIGKILL)


async def link_cut(play: Play) -> None:
    await play.begin_slow()
    play.agency.theatre.path.cut()
    await asyncio.sleep(play.dice.uniform(0.1, 3.0))
    play.agency.theatre.path.mend()


async def answer_lost(play: Play, *, ask_at_once: bool = False) -> None:
    """Lose what Hermes answers to the begin, at once or while the model speaks already.

    Half of the lanes die after that: what they remember keeps it from being begun again. With
    `ask_at_once` a program waits for the result all the while.
    """
    theatre = play.agency.theatre
    waits_ms = play.dice.choice((0, 300, 1_500))
    await theatre.restart_lane("--lose-answer", str(waits_ms))
    await play.agency.ready()
    play.ends, play.tells = {"lost"}, {"action.failed"}
    await play.begin(SLOW)
    if waits_ms == 1_500:
        await play.agency.turn(play.tag)
    if ask_at_once:
        return
    with contextlib.suppress(UserError):  # that it has no end is for the checker to see
        await play.agency.ended(play.session, 15)
    if play.dice.random() < 0.5:
        await theatre.restart_lane(how=signal.SIGKILL)


async def stolen(play: Play, steal: str) -> None:
    """Let a second reader have events of the stream; Hermes gives each to one reader alone."""
    events = play.dice.randrange(1, 20)
    await play.agency.theatre.restart_lane("--steal", steal, "--steal-events", str(events))
    await play.agency.ready()
    play.tells = {"telemetry.gap"}
    await play.begin(SLOW)


async def disk_full(play: Play) -> None:
    """Fill the lane's disk while the model speaks, for less or more than a lane waits for room."""
    lane = play.agency.theatre.stage.lane
    full_s = play.dice.choice((play.dice.uniform(0.5, 6.0), LONG_FULL_S))
    if full_s == LONG_FULL_S:
        play.ends = {"stopped"}
    await play.begin(LONG)
    await play.agency.turn(play.tag, play.turns)  # the record of each call is on disk
    await asyncio.sleep(play.dice.uniform(0.2, 1.0))
    filler = fill(play.agency.theatre.lane_folder)
    try:
        await play.agency.theatre.until(
            lambda: any(
                "session.untold" in line and play.session in line
                for line in lane.tail(100).splitlines()
            ),
            "the lane sees that its disk is full", 5,
        )  # fmt: skip
        await asyncio.sleep(full_s)
    finally:
        filler.unlink()


DISK_FULL = "the disk is full"
KINDS: dict[str, Fault] = {
    "upstream says 401": status_401, "upstream says 402": status_402,
    "upstream says 429": status_429, "upstream says 500": status_500,
    "upstream hangs": hangs, "upstream breaks off": half, "upstream sends garbage": garbage,
    "the gateway is killed": gateway_killed, "the lane is killed": lane_killed,
    "the lane is killed at any time": lane_killed_at_any_time,
    "the lane dies at a point": lane_dies_at_a_point,
    "the house is killed": house_killed, "the link is cut": link_cut,
    "the begin's answer is lost": answer_lost, DISK_FULL: disk_full,
    "the begin's answer is lost, asked at once": partial(answer_lost, ask_at_once=True),
    "the stream is stolen": partial(stolen, steal="before"),
    "the stream is stolen beside": partial(stolen, steal="beside"),
    "the stream is stolen between": partial(stolen, steal="between"),
}  # fmt: skip


def left_out() -> dict[str, str]:
    """Return the kinds that are not drawn here, and why."""
    return {} if can_mount() else {DISK_FULL: NO_DISK}
