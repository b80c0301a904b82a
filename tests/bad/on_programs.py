"""Bad values against the real programs: a lane whose forge bends its answers, a house whose lane
is a thief. `python -m tests.bad.on_programs --cases N --seed S` plays more than `make test` does.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import json
import random
import sys
import tempfile
from pathlib import Path
from typing import Any

from allegro.core.base.errors import UserError
from allegro.house.agent import session_records
from allegro.house.fleet import watch as fleet_watch
from allegro.house.requests import follow
from tests.system.fake_lane import FakeLane, event
from tests.system.fleet_fixture import BOT, PERSON, REPOSITORY, Theatre, open_theatre

from . import values as bad
from .bending_proxy import BendingProxy, Case, some_cases

TYPES = tuple(
    type_ + "x" if type_.endswith(".") else type_
    for type_ in (*follow.FOLLOWED, *session_records.FOLLOWED, *fleet_watch.FOLLOWED)
)
BENT_FOR_S = 1.0
AT_ONCE = 8
LANE = {"forge.triage": True, "forge.reconcile_s": 5.0, "forge.audit_s": 10.0}


async def lane_under_bent_answers(folder: Path, cases: int, seed: int) -> list[str]:
    """Bend one answer after the other for a real lane; return the faults, none when it held."""
    proxy, faults = BendingProxy(), list[str]()
    await proxy.start()
    try:
        async with open_theatre(
            folder, start=False, lane={**LANE, "forge.url": proxy.url, "forge.name": "f"}
        ) as theatre:
            proxy.upstream = theatre.url
            proxy.bent_token = theatre.tokens[BOT]["daily"]
            await theatre.start()
            await _has_begun(theatre)
            await asyncio.sleep(3.0)
            chosen = some_cases(proxy, cases, seed)
            for at in range(0, len(chosen), AT_ONCE):
                some = chosen[at : at + AT_ONCE]
                faults += await _bend(theatre, proxy, some)
            if proxy.bent < cases // 3:
                faults.append(f"only {proxy.bent} answers were bent: the lane asked too little")
            faults += await _false_states(theatre)
    finally:
        await proxy.stop()
    return faults


async def _bend(theatre: Theatre, proxy: BendingProxy, some: list[tuple[str, Case]]) -> list[str]:
    names = [f"{endpoint} {case.name}" for endpoint, case in some]
    for endpoint, case in some:
        proxy.armed = (endpoint, case)
        await asyncio.sleep(BENT_FOR_S)
        if not theatre.stage.lane.is_running:
            proxy.armed = None
            return [f"the lane ended at {endpoint} {case.name}: {theatre.stage.lane.tail(8)}"]
    proxy.armed = None
    try:
        await _issue_is_marked(theatre, f"after {names[-1]}")
    except UserError as error:
        return [f"not read on after one of {names}: {error}"]
    return []


async def _has_begun(theatre: Theatre) -> None:
    """Wait until issues are marked: what is older than the lane's first poll never is."""
    for left in reversed(range(4)):
        try:
            await _issue_is_marked(theatre, "before anything is bent", within_s=10)
            return
        except UserError:
            if not left:
                raise


async def _issue_is_marked(theatre: Theatre, title: str, within_s: float = 30) -> None:
    """Open an issue and wait until the lane has marked it as seen."""
    made = await theatre.act(
        "open_issue", repo=REPOSITORY, user=PERSON, title=title[:200], body="x"
    )
    number = made["number"]

    async def is_marked() -> bool:
        issue = await theatre.api("GET", f"/repos/{REPOSITORY}/issues/{number}")
        return any("seen" in label["name"] for label in issue["labels"])

    await theatre.until(is_marked, f"issue {number} is marked as seen", within_s)


async def _false_states(theatre: Theatre) -> list[str]:
    """Return what is believed at the house and is not so."""
    status = await theatre.stage.status()
    faults = ["the fleet is frozen"] if status["frozen"] else []
    vanished = [one async for one in theatre.stage.client.events(prefix="forge.vanished", last=500)]
    real = {
        issue["number"] for issue in await theatre.listed(f"/repos/{REPOSITORY}/issues?state=all")
    }
    faults += [
        f"{one['subject']} was said to be gone"
        for one in vanished
        if "#" in one["subject"] and int(one["subject"].rpartition("#")[2] or 0) in real
    ]
    return faults


FIELDS: dict[str, Any] = {
    "number": 1, "comment": 5, "author_id": 7, "closed_by": 7, "created_s": 5, "updated_s": 5,
    "order": 1, "digest": "d", "artifact": 5, "others": [5], "bots": [7], "content": "c",
    "repository": 11, "watch": "acme/web", "forge_s": 5, "wall_s": 5.0, "reason": "r", "step": "s",
    "commit": "c" * 40, "is_pull": False, "backdated": False, "session": "s", "run": "r",
    "label": "l", "branch": "b", "role": "forge", "epoch": 3, "result": "ok", "tokens": 5,
}  # fmt: skip


def bent_events(lane: FakeLane, types: tuple[str, ...], cases: int, seed: int) -> list[bytes]:
    """Return bent events of every type: one field each, sealed words of any bytes, odd envelopes."""
    dice, found = random.Random(seed), []
    fields = list(bad.bent_values(FIELDS))
    bodies = [raw for _, raw in bad.bent_json({"url": "u", "title": "t", "body": "b", "number": 1})]
    for count in range(cases):
        type_, id_ = dice.choice(types), f"{seed}-{count}"
        match dice.randrange(3):
            case 0:
                name, data = dice.choice(fields)
                found.append(event(f"{id_}-{name[:80]}", type_, data))
            case 1:
                words = lane.sealed_raw(id_, dice.choice(bodies))
                found.append(event(id_, type_, {"digest": "d"}, sealed=words))
            case _:
                whole = dict(json.loads(event(id_, type_, FIELDS)))
                envelope = list(bad.bent_json(whole))
                found.append(dice.choice(envelope)[1][:200_000])
    return found


async def house_under_bent_events(folder: Path, cases: int, seed: int) -> list[str]:
    """Send bent events to a real house; return the faults, none when it held."""
    async with open_theatre(folder, start=False) as theatre:
        lane = FakeLane(theatre)
        await lane.start()
        try:
            await theatre.stage.start_house()
            await theatre.until(lane.sent.is_set, "the house has dialled")
            for at in range(0, cases, 200):
                bodies = bent_events(lane, TYPES, min(200, cases - at), seed + at)
                good = event(f"good-{seed}-{at}", "watch.failing", {"watch": f"w{seed}x{at}"})
                await lane.strike(lane.batch(*bodies, good))
                known = functools.partial(_is_known, theatre, f"w{seed}x{at}")
                await theatre.until(known, "the good event is read", 10)
            await theatre.restart_house()
            await theatre.until(theatre.stage.status, "the house starts again on what it kept")
        except UserError as error:
            return [str(error)]
        finally:
            await lane.stop()
    return []


async def _is_known(theatre: Theatre, watch: str) -> bool:
    status = await theatre.stage.status()
    return watch in json.dumps(status["alerts"])


async def _main(cases: int, seed: int) -> int:
    with tempfile.TemporaryDirectory() as folder:
        faults = await lane_under_bent_answers(Path(folder) / "lane", cases, seed)
        faults += await house_under_bent_events(Path(folder) / "house", cases * 20, seed)
    for fault in faults:
        sys.stdout.write(f"FAULT {fault}\n")
    sys.stdout.write(
        f"{cases} bent answers, {cases * 20} bent events, seed {seed}: {len(faults)} faults\n"
    )
    return 1 if faults else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=400)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    sys.exit(asyncio.run(_main(given.cases, given.seed)))
