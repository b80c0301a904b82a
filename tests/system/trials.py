"""Full counts: `python -m tests.system.trials --trials N --seed S [--only NAME]`.

Results are JSON lines in `bench/results/`; a trial that is there already is not run again, so an
interrupted run goes on where it was. The exit code is 1 when a trial failed.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

import msgspec

from .exactly_once import CASES
from .loss import nothing_is_lost
from .parallel import Outcome, Trial, finish, play

RESULTS = Path(__file__).parents[2] / "bench" / "results"
LOSS = "nothing is lost"


def wanted(trials: int, seed: int, only: str) -> list[Trial]:
    """Return the trials of one run: every `once` case in turn, and a loss trial for each four."""
    names = [name for name in CASES if only in name]
    once = [Trial(name, f"{seed}/{n}") for n, name in zip(range(trials), itertools.cycle(names))]
    loss = range(max(1, trials // 4)) if only in LOSS else range(0)
    return once + [Trial(LOSS, f"{seed}/{n}") for n in loss]


def known(file: Path) -> dict[tuple[str, str], Outcome]:
    """Return what earlier runs wrote; an unfinished last line is left out."""
    found: dict[tuple[str, str], Outcome] = {}
    for line in file.read_text().splitlines() if file.exists() else ():
        try:
            outcome = msgspec.json.decode(line, type=Outcome)
        except msgspec.DecodeError:
            continue
        found[outcome.name, outcome.seed] = outcome
    return found


async def lose(folder: Path, trial: Trial) -> Outcome:
    began_s = time.monotonic()
    try:
        faults = await nothing_is_lost(folder, random.Random(trial.seed))
    except Exception as error:  # noqa: BLE001 (whatever went wrong is the outcome)
        faults = [f"{type(error).__name__}: {error}"]
    return Outcome(trial.name, trial.seed, tuple(faults), round(time.monotonic() - began_s, 2))


async def run(trials: list[Trial], file: Path, workers: int) -> int:
    """Play trials and write each outcome as it comes; return how many failed."""
    failed = 0
    folder = Path(tempfile.mkdtemp(prefix="allegro-trials-"))

    def note(outcome: Outcome) -> None:
        nonlocal failed
        failed += bool(outcome.faults)
        with file.open("ab") as results:
            results.write(msgspec.json.encode(outcome) + b"\n")
        word = "FAILED" if outcome.faults else "ok"
        sys.stdout.write(f"{word:<7}{outcome.took_s:6.1f} s  {outcome.name}  {outcome.seed}\n")
        sys.stdout.flush()

    try:
        pool = await play(folder, [one for one in trials if one.name != LOSS], workers)
        for outcome in asyncio.as_completed(pool.outcomes):
            note(await outcome)
        await finish()
        losses = [one for one in trials if one.name == LOSS]
        for at in range(0, len(losses), workers):
            part = [
                lose(folder / f"loss{at + n}", one)
                for n, one in enumerate(losses[at : at + workers])
            ]
            for done in asyncio.as_completed(part):
                note(await done)
    finally:
        await finish()
        shutil.rmtree(folder, ignore_errors=True)
    return failed


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.system.trials", description=__doc__)
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--workers", type=int, default=6, help="fleets side by side")
    arguments = parser.parse_args()
    RESULTS.mkdir(parents=True, exist_ok=True)
    file = RESULTS / "trials.jsonl"
    before = known(file)
    trials = [
        one for one in wanted(arguments.trials, arguments.seed, arguments.only)
        if (one.name, one.seed) not in before
    ]  # fmt: skip
    failed = asyncio.run(run(trials, file, arguments.workers))
    sys.stdout.write(f"{len(trials)} trials, {failed} failed; results in bench/results\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
