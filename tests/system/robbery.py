"""One trial of a stolen lane: four moves of a thief, and a write under our bot's name by nobody."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from allegro.core.base.errors import UserError
from tests.patience import patient, slowness

from .fleet_fixture import BOT, CODE_BOT, FINAL, PERSON, REPOSITORY
from .stolen_lane import LIE
from .stolen_moves import Loot, Moves, given_to
from .stolen_world import (
    HONEST,
    World,
    false_words,
    lift_freezes,
    open_world,
    raw_lines,
    thawed,
    untrue,
)

FOREIGN = ("comment", "label", "close", "issue", "pull")
READ_S = 2.0
POLL_S = 2.5
"""So long the honest lane takes at most until it has seen a write: its poll and its sweep."""
HELD_S = 0.8


class Measured(msgspec.Struct):
    """What one trial showed: times in seconds, faults in words. Times below 0 were not measured."""

    seed: int
    plot: tuple[str, ...] = ()
    archived_s: float = -1.0
    frozen_s: float = -1.0
    read_s: float = -1.0
    took_s: float = -1.0
    faults: list[str] = []


class Robbery:
    """One trial in a world."""

    def __init__(self, world: World, seed: int) -> None:
        self.world, self.theatre, self.lane = world, world.theatre, world.lane
        self.dice = random.Random(seed)
        self.found = Measured(
            seed, (*self.dice.sample(Moves.names(), 4), self.dice.choice(FOREIGN))
        )

    async def play(self) -> Measured:
        theatre, faults, world = self.theatre, self.found.faults, self.world
        began_s = time.monotonic()
        before = {id_: await theatre.stage.command("explain", id_) for id_ in world.waiting}
        held = await self._hold()
        known = (*world.waiting, *world.done[-1:])
        victims = [*[await theatre.request(id_) for id_ in known], held]
        world.count += 1
        loot = Loot(theatre, self.lane, world.bots, victims, self.dice)
        moves = Moves(loot, f"thief {world.count}")
        first, second, beside, last = self.found.plot[:4]
        await moves.play(first)
        await moves.play(second)
        playing = asyncio.create_task(moves.play(beside))
        issue = await self._honest_issue()
        await self.lane.tell(moves.receipts(60), wait=False)
        await self._foreign_write(issue, victims[0]["target"].partition("#")[0])
        await playing
        faults += await false_words(world, before) + await raw_lines(theatre)
        await thawed(theatre)
        playing = asyncio.create_task(moves.play(last))
        await self._held_is_done(held)
        await self._honest_order()
        await playing
        self.lane.is_honest()
        await self.lane.linked()
        await self.lane.beat()
        faults += world.disk()
        if not (theatre.stage.house.is_running and theatre.stage.lane.is_running):
            faults.append("a program ended")
        self.found.took_s = time.monotonic() - began_s
        return self.found

    async def _hold(self) -> dict[str, Any]:
        """Order a comment from the honest lane whose write takes its time."""
        theatre = self.theatre
        rule = {
            "kind": "slow",
            "method": "POST",
            "path": "/comments$",
            "seconds": HELD_S,
            "count": 1,
        }
        await theatre.stage.faults(clear=True, add=[rule])
        self.world.count += 1
        asked = await theatre.ask("comment", issue=1, body=f"held {self.world.count}")

        async def is_ordered() -> Any:
            await lift_freezes(theatre)  # what the thief said before may still freeze
            request = await theatre.request(asked["id"])
            return request if request["order_number"] else None

        return dict(await theatre.until(is_ordered, "the order is out"))

    # --- what must hold -----------------------------------------------------------------------

    def _in_time(self, what: str, took_s: float, limit_s: float) -> None:
        if took_s > patient(limit_s) and took_s > patient(limit_s) * (slow := slowness()):
            self.found.faults.append(f"{what} after {took_s:.1f} s, the machine {slow:.1f} slow")

    async def _honest_issue(self) -> int:
        """Open an issue as a person; the honest lane's word of it must be home in time."""
        began_s = time.monotonic()
        number = await self.theatre.open_issue(f"honest {self.found.seed}")
        query = "SELECT 1 FROM event WHERE lane = ? AND type = 'forge.snapshot.issue' AND CAST(stored AS TEXT) LIKE ?"
        with contextlib.closing(self.theatre.archive()) as archive:
            while not archive.execute(query, (HONEST, f'%#{number}"%')).fetchone():
                if time.monotonic() - began_s > patient(20):
                    self.found.faults.append(f"issue {number} never came home")
                    return number
                await asyncio.sleep(0.02)
        self.found.archived_s = time.monotonic() - began_s
        self._in_time("an issue was home", self.found.archived_s, READ_S + POLL_S)
        return number

    async def _foreign_write(self, issue: int, place: str) -> None:
        """Write with a bot's token what nobody ordered: the fleet must freeze for it."""
        named = await self._write(self.found.plot[-1], issue, place)
        began_s = time.monotonic()

        async def is_frozen() -> bool:
            frozen = (await self.theatre.stage.status())["freezes"]
            return any(named in freeze["reason"] for freeze in frozen)

        try:
            await self.theatre.until(is_frozen, f"{named} freezes")
        except UserError as error:
            self.found.faults.append(f"no freeze: {str(error)[:300]}")
            return
        self.found.frozen_s = time.monotonic() - began_s
        self._in_time(f"{named} froze", self.found.frozen_s, READ_S + POLL_S)

    async def _write(self, kind: str, issue: int, place: str) -> str:
        """Return how the freeze must name it."""
        theatre = self.theatre
        daily, code = theatre.tokens[BOT]["daily"], theatre.tokens[CODE_BOT]["change"]
        path = f"/repos/{REPOSITORY}/issues"
        match kind:
            case "comment":
                made = await theatre.api("POST", f"{path}/{issue}/comments", {"body": LIE}, daily)
                return f"comment {made['id']} on {place}#{issue} "
            case "label":
                await theatre.api("POST", f"{path}/{issue}/labels", {"labels": ["bug"]}, daily)
                return f"label on {place}#{issue} "
            case "close":
                await theatre.api("PATCH", f"{path}/{issue}", {"state": "closed"}, daily)
                return f"on {place}#{issue} was"
            case "issue":
                made = await theatre.api("POST", path, {"title": "not ordered"}, daily)
                return f"issue {made['number']} on {place}#{made['number']} "
            case _:
                head = f"head{issue}"
                await theatre.act(
                    "commit", repo=REPOSITORY, branch=head, files={f"{head}.txt": "x"}, user=PERSON
                )
                body = {"title": "not ordered", "head": head, "base": "main"}
                made = await theatre.api("POST", f"/repos/{REPOSITORY}/pulls", body, code)
                return f"pull_request {made['number']} on {place} "

    async def _held_is_done(self, held: dict[str, Any]) -> None:
        """The held comment must end by its own effect, and by nothing else on its way."""
        settled = await self._settled(held["id"])
        self.found.faults += await untrue(self.theatre, settled)
        self.world.done.append(held["id"])

    async def _honest_order(self) -> None:
        """One more order for the honest lane: how long after its effect is it known as done?"""
        theatre = self.theatre
        self.world.count += 1
        body = f"fresh {self.world.count}."
        asked = await theatre.ask("comment", issue=1, body=body)
        settled = await self._settled(asked["id"])
        self.found.faults += await untrue(theatre, settled)
        self.world.done.append(asked["id"])
        if settled["state"] != "done" or given_to(settled) != {HONEST}:
            return
        written = [call["at_s"] for call in await theatre.stage.forge_log()
                   if call["effect"] and call["method"] == "POST" and body in str(call["json"])]  # fmt: skip
        known = next(one["at_s"] for one in settled["history"] if one["what"] == "receipt")
        self.found.read_s = known - written[-1]
        self._in_time("a receipt was read", self.found.read_s, READ_S)

    async def _settled(self, id_: str) -> dict[str, Any]:
        """Wait until a request is final; what the thief says meanwhile may freeze."""

        async def final() -> Any:
            request = await self.theatre.request(id_)
            if request["state"] in FINAL:
                return request
            await lift_freezes(self.theatre)
            return None

        return dict(await self.theatre.until(final, f"request {id_} is settled", 60))


async def play(folder: Path, seeds: Iterable[int]) -> list[Measured]:
    """Play trials in one world, and its end; return what each showed."""
    async with open_world(folder) as world:
        found = [await _played(world, seed) for seed in seeds]
        if found:
            found[-1].faults += [f"at the end: {one}" for one in await _ended(world)]
    return found


async def _ended(world: World) -> list[str]:
    try:
        return await world.finale()
    except Exception as error:  # noqa: BLE001 (whatever went wrong is the outcome)
        return [f"{type(error).__name__}: {str(error)[:2_000]}"]


async def _played(world: World, seed: int) -> Measured:
    robbery = Robbery(world, seed)
    try:
        return await robbery.play()
    except Exception as error:  # noqa: BLE001 (whatever went wrong is the outcome)
        robbery.found.faults.append(f"{type(error).__name__}: {str(error)[:2_000]}")
        world.lane.is_honest()
        return robbery.found
