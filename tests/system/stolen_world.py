"""A house, an honest lane and the shipped forge as real programs, with a stolen lane beside them.

One world serves many trials; at its end the thief fills its quota and the house is started again.
Requests whose order the thief was given are its to lie about; no others are.
"""

from __future__ import annotations

import base64
import contextlib
import json
import re
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from allegro.core.base.errors import UserError
from allegro.core.health import codes
from allegro.sovereign import ceremony

from .fleet_fixture import BOTS, REPOSITORY, Theatre, open_theatre
from .stolen_lane import FORGED, THIEF, StolenLane, paired
from .stolen_moves import given_to

HONEST = "allegro"
QUOTA_BYTES = 40_000_000
ARCHIVE_BYTES = 2 * QUOTA_BYTES + 16_000_000
"""The quota of both lanes, and as much again as indexes and the journal of the database take."""
LEDGER_BYTES = 40_000_000
FILL, WIDE = 20, 600
ENDS = frozenset({"fail", "conflict", "stale", "reject", "withdraw", "expire"})
SCREENS = (("status",), ("requests",), ("doctor",), ("fleet", "status"))
_RAW = re.compile(rf"^\s*{FORGED}|\x1b", re.MULTILINE)


class World:
    """`waiting` are requests that nobody decides, `done` those that the honest lane has done."""

    def __init__(self, theatre: Theatre, lane: StolenLane) -> None:
        self.theatre, self.lane = theatre, lane
        self.bots: list[int] = []
        self.count = 0
        self.done: list[str] = []
        self.waiting: list[str] = []

    async def begin(self) -> None:
        """Let the thief's lane be honest once, then propose what nobody will approve."""
        theatre = self.theatre
        self.bots = [(await theatre.api("GET", f"/users/{bot}"))["id"] for bot in BOTS]
        audit = {"specversion": "1.0", "id": "audit", "type": "audit.done", "source": "lane:ezra",
                 "time": "2030-01-01T00:00:00Z", "subject": "", "data": {"bots": self.bots}}  # fmt: skip
        await self.lane.tell([json.dumps(audit).encode()])
        await theatre.api(
            "POST", f"/repos/{REPOSITORY}/labels", {"name": "bug", "color": "#ff0000"}
        )
        for name, text in (("ours", "a\n"), ("later", "b\n")):
            asked = await theatre.ask_change(name, {"README.md": text})
            self.waiting.append(asked["id"])
        asked = await theatre.ask("close_issue", issue=1)
        self.waiting.append(asked["id"])
        first = await theatre.ask("comment", issue=1, body="the first word")
        await theatre.settled(first["id"])
        self.done.append(first["id"])

    async def finale(self) -> list[str]:
        """Fill the thief's quota, start the house again; return what does not hold then."""
        theatre, lane = self.theatre, self.lane
        if not await self._fill():
            return ["the thief's quota has no end"]
        faults = self.disk()
        before_end = await self.states()
        await theatre.restart_house()
        await theatre.until(theatre.stage.status, "the house starts again on what it kept")
        if (after := await self.states()) != before_end:
            faults.append(f"after a restart the requests are {after}, before {before_end}")
        faults += [f"{id_} is {state}" for id_, state in after.items()
                   if state != ("proposed" if id_ in self.waiting else "done")]  # fmt: skip
        await thawed(theatre)
        lane.is_honest()
        last = await theatre.ask("comment", issue=1, body="the last word")
        settled = await theatre.settled(last["id"])
        if settled["state"] != "done":
            faults.append(f"with the thief's quota full an honest order ended {settled['state']}")
        return faults

    async def _fill(self) -> bool:
        """Send until nothing more is taken; say whether that came."""
        blob = json.dumps({"specversion": "1.0", "id": "", "type": "x", "source": "x",
                           "time": "2030-01-01T00:00:00Z", "subject": "", "data": {"b": "b" * 60_000}})  # fmt: skip
        for n in range(2 * QUOTA_BYTES // (FILL * 60_000)):
            before = self.lane.acked
            bodies = [blob.replace('"id": ""', f'"id": "b{n}-{m}"').encode() for m in range(FILL)]
            bodies += [_wide(f"{n}-{m}") for m in range(WIDE)]
            with contextlib.suppress(TimeoutError):
                await self.lane.tell(bodies)
            if self.lane.acked < before + len(bodies):
                return True
        return False

    async def states(self) -> dict[str, str]:
        shown = [await self.theatre.request(id_) for id_ in (*self.waiting, *self.done)]
        return {one["id"]: one["state"] for one in shown if THIEF not in given_to(one)}

    def disk(self) -> list[str]:
        folder = self.theatre.house_files.folder
        sizes: dict[str, int] = {}
        for file in folder.glob("*.db*"):
            name = file.name.partition(".db")[0]
            sizes[name] = sizes.get(name, 0) + file.stat().st_size
        return [
            f"{name}.db grew to {size} bytes"
            for name, size in sizes.items()
            if size > (ARCHIVE_BYTES if name == "archive" else LEDGER_BYTES)
        ]


def _wide(name: str) -> bytes:
    """Return an event that is short, and whose id and subject are as long as can be."""
    return json.dumps({
        "specversion": "1.0", "id": f"{name:i<200}", "type": "forge.snapshot.issue", "source": "x",
        "time": "2030-01-01T00:00:00Z", "subject": f"{name:s<1000}", "data": {"repository": 5},
    }).encode()  # fmt: skip


async def untrue(theatre: Theatre, request: dict[str, Any]) -> list[str]:
    """Return what is not so about a comment that ended and that the thief was never ordered."""
    id_, history = request["id"], request["history"]
    if THIEF in given_to(request):
        return []
    faults = [f"{id_}: {one}" for one in history if one["what"] in ENDS or _claims(one["detail"])]
    comments = await theatre.api("GET", f"/repos/{REPOSITORY}/issues/1/comments")
    words = [one["body"].partition("\n\n<!--")[0] for one in comments
             if one["id"] == request["artifact"]]  # fmt: skip
    body = json.loads(base64.b64decode(request["action"]))["body"]
    if request["state"] != "done" or words != [body]:
        faults.append(f"{id_} is {request['state']} by {request['artifact']}: {words}, not {body}")
    explained = await theatre.stage.command("explain", id_)
    is_false = any(map(_claims, explained.splitlines())) or _RAW.search(explained)
    if is_false or f"\n  receipt   {request['artifact']}" not in explained:
        faults.append(f"explain {id_}: {explained}")
    return faults


def _claims(line: str) -> bool:
    """Whether a thief's words stand here as anything but the reason of a freeze, which is true."""
    return FORGED in line and "refused: frozen: " not in line.partition(FORGED)[0]


async def false_words(world: World, before: dict[str, str]) -> list[str]:
    """Return what the screens show that is not so; `before` is `explain` of what waits."""
    theatre = world.theatre
    now = {id_: await theatre.stage.command("explain", id_) for id_ in world.waiting}
    faults = [f"explain was {before[id_]}, is {now[id_]}" for id_ in now if now[id_] != before[id_]]
    status = await theatre.stage.status()
    lanes = {one["name"]: one for one in status["lanes"]}
    if not lanes[HONEST]["linked"] or not (lanes[HONEST]["detail"] or {}).get("healthy"):
        faults.append(f"the honest lane is shown as {lanes[HONEST]}")
    if FORGED in json.dumps(lanes[HONEST]):
        faults.append(f"the thief's words stand under the honest lane: {lanes[HONEST]}")
    if status["waiting_for_sovereign"] != len(world.waiting):
        faults.append(f"{status['waiting_for_sovereign']} requests are said to wait")
    ours = {codes.SET_ASIDE.code, codes.TASK_FAILED.code}
    faults += [f"alert: {one}" for one in status["alerts"] if one["code"] in ours]
    faults += [f"alert of the honest lane: {one}" for one in status["alerts"]
               if FORGED in json.dumps(one) and one["lane"] not in {"", THIEF}]  # fmt: skip
    return faults


async def raw_lines(theatre: Theatre) -> list[str]:
    """Return what of the thief's begins a line or moves a cursor on a screen of the house."""
    faults = []
    for words in SCREENS:
        try:
            screen = await theatre.stage.command(*words)
        except UserError as error:  # it ended with another code, and says what it printed
            screen = str(error)
        faults += [f"{' '.join(words)}: {screen}"] if _RAW.search(screen) else []
    return faults


async def lift_freezes(theatre: Theatre) -> int:
    """Lift the freezes that the house holds now; return how many those were."""
    held = [freeze["id"] for freeze in (await theatre.stage.status())["freezes"]]
    for token in ceremony.thaw(theatre.fleet, theatre.sovereign, held, time.time()):
        await theatre.stage.client.post("thaw", {"token": token})
    return len(held)


async def thawed(theatre: Theatre) -> None:
    """Lift every freeze that the house holds, until none came for a while."""
    quiet = 0

    async def is_quiet() -> bool:
        nonlocal quiet
        quiet = 0 if await lift_freezes(theatre) else quiet + 1
        return quiet > 5

    await theatre.until(is_quiet, "the fleet is thawed", 30)


@contextlib.asynccontextmanager
async def open_world(folder: Path) -> AsyncIterator[World]:
    """Yield a house with an honest lane and a thief's, both linked; end every process afterwards."""
    house = {"archive.quota_gb": QUOTA_BYTES / 1e9}
    async with open_theatre(folder, start=False, house=house) as theatre:
        lane = await paired(theatre)
        await lane.start()
        try:
            await theatre.start()
            world = World(theatre, lane)
            await world.begin()
            yield world
        finally:
            await lane.stop()
