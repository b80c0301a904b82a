"""Faulted sessions: `python -m tests.system.session_trials --trials N --seed S [--only NAME]`.

Each ends in exactly one way at the house and is begun once at most, whoever dies. Results are JSON
lines in `bench/results/`; a trial that is there already is not run again. The exit code is 1 when
a trial failed.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec

from allegro.client.errors import EffectFailed
from tests.patience import PATIENCE

from .agent_fixture import Agency, joined_text, open_agency, types
from .disk import ON_DISK, small_disk
from .parallel import Outcome, Trial
from .session_faults import DISK_FULL, KINDS, UNBEGUN, Play, left_out
from .trials import RESULTS, known

PER_FLEET = 8


async def faulted(agency: Agency, trial: Trial, tag: str) -> list[str]:
    """Play one trial; return what was wrong."""
    await agency.theatre.stage.linked()
    await agency.ready()
    play = Play(agency, random.Random(trial.seed), tag)
    await KINDS[trial.name](play)
    try:
        result = await agency.result(play.session, 50)
        end, output = result.state, result.output
    except EffectFailed:
        end, output = UNBEGUN, ""
    calls = len(agency.calls(tag))
    await agency.theatre.stage.linked()
    await agency.theatre.home()
    await asyncio.sleep(0.3)
    begun = agency.beginnings(tag)
    told = await agency.events_of(play.session)
    # on a busy machine the agent itself may ask its model again: each call is told then
    found = wrong(play.ends, end, told, begun, retries=play.retries or PATIENCE > 1)
    found += [f"{missing} is not told" for missing in play.tells - set(types(told))]
    if end == "completed" and not play.retries:
        found += unsaid(output, told)
    if len(agency.calls(tag)) != calls:
        found.append("the model was called after the end")
    if any(one["session"] == play.session for one in (await agency.lane_sessions())["running"]):
        found.append("it runs on")
    return found


def wrong(
    allowed: set[str], end: str, told: list[dict[str, Any]], begun: int, *, retries: bool
) -> list[str]:
    """Return what is wrong with a session that ended so and told this.

    `begun` is how often the model saw its first turn; with `retries` the agent may ask again, and
    each call is told.
    """
    found = [] if end in allowed else [f"ended {end}, not {sorted(allowed)}"]
    ends = types(told, "session.end")
    starts = types(told, "session.started")
    intents = [one for one in told if one["type"] == "action.intent"]
    asked = [one for one in told if one["type"] == "model.call"]
    if len(ends) != (end != UNBEGUN):
        found.append(f"{len(ends)} ends in the archive, and {end} at the house")
    if len(starts) > 1 or len(intents) > 1:
        found.append(f"{len(starts)} starts, {len(intents)} intents")
    if end == UNBEGUN and (begun or starts):
        found.append("it began and has no end")
    if begun > (len(asked) if retries else 1):
        found.append(f"the prompt was begun {begun} times, with {len(asked)} calls told")
    if ends and "session.end" in types(told)[:-1]:
        after = types(told)[types(told).index("session.end") + 1 :]
        if any(one.startswith("session.") for one in after):
            found.append(f"told after the end: {after}")
    return found


def unsaid(output: str, told: list[dict[str, Any]]) -> list[str]:
    """Return what is wrong where the pieces told are not the whole answer: that is a gap."""
    if "telemetry.gap" in types(told):
        return []
    said = joined_text(told).split()
    whole = output.split()
    return [] if whole and said[-len(whole) :] == whole else [
        f"{len(said)} words were told of {len(whole)}, and no gap"
    ]  # fmt: skip


class Pool:
    """Plays trials on fleets side by side; `outcomes` are futures, in order.

    A fleet whose disk can be filled plays one session and nothing else: a journal that was used
    before has room inside its own files.
    """

    def __init__(self, folder: Path, trials: list[Trial], workers: int) -> None:
        self._folder = folder
        self._queue = list(enumerate(trials))
        loop = asyncio.get_running_loop()
        self.outcomes: list[asyncio.Future[Outcome]] = [loop.create_future() for _ in trials]
        self._tasks = [asyncio.create_task(self._work(worker)) for worker in range(workers)]

    async def close(self) -> None:
        """Let fleets close that have nothing left to play; stop those that still play."""
        await asyncio.wait(self._tasks, timeout=10.0)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _work(self, worker: int) -> None:
        for fleet in itertools.count():
            if not self._queue:
                return
            folder = self._folder / f"{worker}-{fleet}"
            on_disk = needs_disk(self._queue[0][1])
            disk = small_disk(folder / "play" / "lane") if on_disk else contextlib.nullcontext()
            try:
                with disk:
                    async with open_agency(folder, lane=ON_DISK if on_disk else None) as agency:
                        await self._play(agency, on_disk=on_disk)
            except Exception as error:
                for future in self.outcomes:
                    if not future.done():
                        future.set_exception(error)
                raise

    def _next(self, *, on_disk: bool) -> tuple[int, Trial] | None:
        """Take the first trial that is for such a fleet."""
        for place, (_, trial) in enumerate(self._queue):
            if needs_disk(trial) == on_disk:
                return self._queue.pop(place)
        return None

    async def _play(self, agency: Agency, *, on_disk: bool) -> None:
        """Play on one fleet; one that failed once is not used again."""
        for _ in range(1 if on_disk else PER_FLEET):
            taken = self._next(on_disk=on_disk)
            if taken is None:
                return
            at, trial = taken
            began_s = time.monotonic()
            try:
                found = await faulted(agency, trial, f"trial{at}of{id(self)}x")
            except Exception as error:  # noqa: BLE001 (whatever went wrong is the outcome)
                found = [f"{type(error).__name__}: {error}"]
            took_s = round(time.monotonic() - began_s, 2)
            self.outcomes[at].set_result(Outcome(trial.name, trial.seed, tuple(found), took_s))
            if found:
                return


def needs_disk(trial: Trial) -> bool:
    return trial.name == DISK_FULL


def wanted(trials: int, seed: int, only: str = "") -> list[Trial]:
    """Return the trials of one run: every kind in turn that is not left out."""
    names = [name for name in KINDS if only in name and name not in left_out()]
    return [Trial(name, f"{seed}/{n}") for n, name in zip(range(trials), itertools.cycle(names))]


async def run(trials: list[Trial], file: Path, workers: int) -> int:
    """Play trials and write each outcome as it comes; return how many failed."""
    failed = 0
    folder = Path(tempfile.mkdtemp(prefix="allegro-sessions-"))
    pool = Pool(folder, trials, min(workers, len(trials)))
    try:
        for outcome in asyncio.as_completed(pool.outcomes):
            told = await outcome
            failed += bool(told.faults)
            with file.open("ab") as results:
                results.write(msgspec.json.encode(told) + b"\n")
            word = "FAILED" if told.faults else "ok"
            sys.stdout.write(f"{word:<7}{told.took_s:6.1f} s  {told.name}  {told.seed}\n")
            sys.stdout.flush()
    finally:
        await pool.close()
        shutil.rmtree(folder, ignore_errors=True)
    return failed


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.system.session_trials",
                                     description=__doc__)  # fmt: skip
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="kinds whose name contains this")
    parser.add_argument("--workers", type=int, default=4, help="fleets side by side")
    arguments = parser.parse_args()
    RESULTS.mkdir(parents=True, exist_ok=True)
    file = RESULTS / "session_trials.jsonl"
    before = known(file)
    for name, why in left_out().items():
        sys.stdout.write(f"left out: {name} ({why})\n")
    trials = [
        one for one in wanted(arguments.trials, arguments.seed, arguments.only)
        if (one.name, one.seed) not in before
    ]  # fmt: skip
    failed = asyncio.run(run(trials, file, arguments.workers)) if trials else 0
    sys.stdout.write(f"{len(trials)} trials, {failed} failed; results in bench/results\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
