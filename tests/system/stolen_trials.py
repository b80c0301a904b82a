"""A stolen lane beside an honest one: `python -m tests.system.stolen_trials --trials N --seed S`.

Each trial plays four moves of a thief and one write under our bot's name that nobody ordered.
Results are JSON lines in `bench/results/`; a trial that is there already is not run again. The exit
code is 1 when a trial failed.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

import msgspec
import structlog

from .robbery import Measured, play
from .trials import RESULTS

PER_WORLD = 20


async def _main(trials: int, seed: int, jobs: int) -> int:
    """Play the trials that no earlier run played, each world in a process of its own."""
    file = RESULTS / f"stolen-{seed}.jsonl"
    lines = file.read_text().splitlines() if file.exists() else []
    known = {one.seed: one for one in map(_read, lines)}
    left = [n for n in range(seed * 1_000, seed * 1_000 + trials) if n not in known]
    worlds = [left[at : at + PER_WORLD] for at in range(0, len(left), PER_WORLD)]

    async def work() -> None:
        while worlds:
            for one in await _in_a_process(worlds.pop(0)):
                known[one.seed] = one
                print("FAILED" if one.faults else "ok    ", one, flush=True)
                with file.open("ab") as results:
                    results.write(msgspec.json.encode(one) + b"\n")

    await asyncio.gather(*(work() for _ in range(jobs)))
    return _summed_up(list(known.values()))


async def _in_a_process(seeds: list[int]) -> list[Measured]:
    arguments = ["-m", "tests.system.stolen_trials", "--world", *map(str, seeds)]
    child = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, error = await child.communicate()
    if child.returncode:
        why = f"the world ended with {child.returncode}: {error.decode()[-2_000:]}"
        return [Measured(n, faults=[why]) for n in seeds]
    return [_read(line) for line in out.decode().splitlines()]


def _summed_up(found: list[Measured]) -> int:
    failed = [one for one in found if one.faults]
    print(f"stolen lane, real programs: {len(found) - len(failed)} of {len(found)} held")
    for name in ("archived_s", "frozen_s", "read_s"):
        times = sorted(t for one in found if (t := getattr(one, name)) >= 0) or [0.0]
        at = times[int(len(times) * 0.95)]
        print(f"  {name}: median {times[len(times) // 2]:.2f}, p95 {at:.2f}, most {times[-1]:.2f}")
    return 1 if failed else 0


async def _world(seeds: list[int]) -> int:
    """Play these trials in one world; print what each showed as a line of JSON."""
    with tempfile.TemporaryDirectory(prefix="allegro-stolen-") as folder:
        for one in await play(Path(folder) / "w", seeds):
            sys.stdout.write(msgspec.json.encode(one).decode() + "\n")
    return 0


def _read(line: str) -> Measured:
    return msgspec.json.decode(line, type=Measured)


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    parser = argparse.ArgumentParser(prog="python -m tests.system.stolen_trials")
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=3, help="worlds side by side")
    parser.add_argument("--world", type=int, nargs="+", metavar="TRIAL", help="one world, as JSON")
    asked = parser.parse_args()
    RESULTS.mkdir(parents=True, exist_ok=True)
    if asked.world:
        sys.exit(asyncio.run(_world(asked.world)))
    sys.exit(asyncio.run(_main(asked.trials, asked.seed, asked.jobs)))
