"""The link on slow lines: `python -m tests.system.link_trials --trials N --seed S [--only NAME]`.

*change*: real programs, a signed change of 4 MB over an uplink of 1 Mbit/s, whole and with 20
cuts. *backlog*: both real ends, each in a network of its own (needs root), `--megabytes` of events over
40 kB/s and 100 ms one way, without loss and with 1 %, while freezes go one way and questions both. One
JSON line a trial, with what was measured and each fault; the exit code is 1 when there is one.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

from bench.child import Child

from allegro.core.authority.freeze import Freeze
from allegro.core.protocol.messages import Stop
from allegro.link.dial import LaneLink
from allegro.scratch.network import Namespaces
from tests.duties.link_ends import House, dialling

from .fleet_fixture import REPOSITORY, Theatre
from .tcp_proxy import Line, Pathway

Found = dict[str, Any]
MBIT_S = 125_000
CHANGE_BYTES = 4_000_000  # a third more on the line: what is signed is base64
CUTS = 20
RATE = 40_000
DELAY_MS = 100.0
EVENT_BYTES = 4_000


# --- a signed change ----------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def slow_theatre(folder: Path, up: Line) -> AsyncIterator[Theatre]:
    theatre = Theatre(folder)
    await theatre.path.stop()
    theatre.path = Pathway(theatre.stage.link_port, up=up, down=Line(MBIT_S * 4, 0.03))
    try:
        await theatre.prepare(lane={"forge.timeout_s": 10.0}, house={"orders.ttl_s": 20})
        await theatre.start()
        yield theatre
    finally:
        await theatre.close()


async def change(folder: Path, seed: int, cuts: int) -> Found:
    """Propose, approve, and wait until it is written; cut the line meanwhile."""
    up = Line(MBIT_S, 0.03)
    async with slow_theatre(folder, up) as theatre:
        text = random.Random(seed).randbytes(CHANGE_BYTES // 2).hex()
        asked = await theatre.ask_change("large", {"data.txt": text})
        before = up.carried
        began_s = time.monotonic()
        await theatre.approve(asked)

        async def cutting() -> None:
            for _ in range(cuts):
                await asyncio.sleep(1.5)
                theatre.path.cut()
                await asyncio.sleep(0.1)
                theatre.path.mend()

        cutter = asyncio.create_task(cutting())
        settled = await theatre.settled(asked["id"], 300)
        took_s = time.monotonic() - began_s
        cutter.cancel()
        pulls = await theatre.listed(f"/repos/{REPOSITORY}/pulls?state=all")
        history = [one["what"] for one in settled.get("history", ())]
    steps = [
        f"{one['what']} {one['at_s'] - settled['history'][0]['at_s']:.1f}"
        for one in settled["history"]
    ]
    signed = len(text) * 4 // 3  # base64, as it is signed and as it crosses
    allowed_s = 1.3 * signed / MBIT_S + 20
    faults = (
        [f"ended {settled['state']}: {settled.get('detail')}"] if settled["state"] != "done" else []
    )
    faults += [f"{len(pulls)} pull requests"] if len(pulls) != 1 else []
    faults += [f"took {took_s:.1f} s, at most {allowed_s:.1f}"] if took_s > allowed_s else []
    return {
        "bytes": len(text), "signed": signed, "carried": up.carried - before, "took_s": round(took_s, 1),
        "allowed_s": round(allowed_s, 1), "connections": theatre.path.connections,
        "orders": history.count("order"), "steps": steps, "faults": faults,
    }  # fmt: skip


# --- a backlog ----------------------------------------------------------------------------------


async def backlog(folder: Path, seed: int, megabytes: float, loss: float) -> Found:
    """Bring a backlog home while freezes and questions pass it."""
    network = Namespaces(["a"])
    await network.start()
    try:
        async with Child("tests.system.link_node", network.enter("a")) as node:
            address = network.address("a")
            port = (await node.ask("open", folder=str(folder), address=address))["port"]
            count = int(megabytes * 1e6 / EVENT_BYTES)
            await node.ask("record", count=count, size=EVENT_BYTES - 150, seed=seed)
            await network.shape(DELAY_MS, [], rates={"a": RATE, "home": RATE}, loss=loss)
            house = House(f"ws://{address}:{port}")
            began_s = time.monotonic()
            async with dialling(house) as link:
                asked, said = await _pass_by(link, lambda: len(house.ids) < count)
                took_s = time.monotonic() - began_s
            came = (await node.ask("frozen"))["at_s"]
    finally:
        await network.stop()
    frozen = [came[id_] - at_s if id_ in came else 1e9 for id_, at_s in said.items()]
    limits = (3.0, 4.0) if loss else (1.0, 2.0)
    return _judged(count * EVENT_BYTES / RATE / took_s, asked, frozen, limits, bool(loss))


async def _pass_by(
    link: LaneLink, goes_on: Callable[[], bool]
) -> tuple[list[float], dict[str, float]]:
    """Ask and freeze now and then; return how long answers took, and when each freeze was said."""
    asked: list[float] = []
    said: dict[str, float] = {}
    while goes_on():
        at_s = time.monotonic()
        await link.ask("show", {})
        asked.append(time.monotonic() - at_s)
        id_ = f"f{len(said)}"
        said[id_] = time.monotonic()
        await link.say(Stop(Freeze(id_, 0.0, "me", "")))
        await asyncio.sleep(0.5)
    return asked, said


def _judged(
    share: float, asked: list[float], frozen: list[float], limits: tuple[float, float], lossy: bool
) -> Found:
    def p95(all_: list[float]) -> float:
        return round(sorted(all_)[int(len(all_) * 0.95)], 2)

    faults = [] if lossy or share >= 0.8 else [f"drained at {share:.2f} of the rate"]
    faults += [f"freezes: p95 {p95(frozen)} s"] if p95(frozen) > limits[0] else []
    faults += [f"answers: p95 {p95(asked)} s"] if p95(asked) > limits[1] else []
    return {
        "share_of_rate": round(share, 3), "freeze_p95_s": p95(frozen), "answer_p95_s": p95(asked),
        "answer_max_s": round(max(asked), 2), "samples": len(asked), "faults": faults,
    }  # fmt: skip


def trials(megabytes: float) -> dict[str, Callable[[Path, int], Awaitable[Found]]]:
    """Return every trial by name."""
    return {
        "change whole": lambda folder, seed: change(folder, seed, 0),
        "change with cuts": lambda folder, seed: change(folder, seed, CUTS),
        "backlog": lambda folder, seed: backlog(folder, seed, megabytes, 0.0),
        "backlog with loss": lambda folder, seed: backlog(folder, seed, megabytes, 0.01),
    }


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.system.link_trials")
    parser.add_argument("--trials", type=int, default=1, help="rounds of all trials")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", metavar="NAME")
    parser.add_argument("--megabytes", type=float, default=50.0, help="of the backlog")
    said = parser.parse_args()
    failed = 0
    for n in range(said.trials):
        for name, play in trials(said.megabytes).items():
            if said.only not in name:
                continue
            if name.startswith("backlog") and (trouble := Namespaces.trouble()):
                sys.stdout.write(json.dumps({"name": name, "skipped": trouble}) + "\n")
                continue
            folder = Path(tempfile.mkdtemp(prefix="allegro-link-"))
            try:
                found: Any = asyncio.run(play(folder, said.seed + n))  # type: ignore[arg-type]
            finally:
                shutil.rmtree(folder, ignore_errors=True)
            failed += bool(found["faults"])
            sys.stdout.write(json.dumps({"name": name, "seed": said.seed + n, **found}) + "\n")
            sys.stdout.flush()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
