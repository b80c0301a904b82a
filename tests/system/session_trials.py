"""Faulted sessions: `python -m tests.system.session_trials --trials N --seed S [--only NAME]`.

Each ends in exactly one way at the house and is begun once at most, whoever dies. Results are JSON
lines in `bench/results/`; a trial that is there already is not run again. The exit code is 1 when
a trial failed.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec

from allegro.client.errors import EffectFailed

from .agency import Agency, open_agency, terminal, types
from .pool import Outcome, Trial
from .trials import RESULTS, known

PER_FLEET = 8
UNBEGUN = "unbegun"
SLOW = {"say": "slow", "pieces": 60, "gap_ms": 50}

POINTS = {
    "before:order": {"completed"},  # a session asks the forge nothing: taken is before its intent
    "before:intent": {"lost", "completed", UNBEGUN}, "after:intent": {"lost"},
    "before:receipt": {"lost"}, "after:receipt": {"lost"},
}  # fmt: skip

Fault = Callable[["Play"], Awaitable[None]]


class Play:
    """One session under a fault. `ends` are the ends that it may come to."""

    def __init__(self, agency: Agency, dice: random.Random, tag: str) -> None:
        self.agency = agency
        self.dice = dice
        self.tag = tag
        self.session = ""
        self.ends: set[str] = {"completed"}
        self.retries = False

    async def begin(self, *steps: dict[str, Any]) -> None:
        """Ask for a session that calls up to two tools before these turns."""
        before = [terminal(f"echo {self.tag}{n}") for n in range(self.dice.randrange(3))]
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


KINDS: dict[str, Fault] = {
    "upstream says 401": status_401, "upstream says 402": status_402,
    "upstream says 429": status_429, "upstream says 500": status_500,
    "upstream hangs": hangs, "upstream breaks off": half, "upstream sends garbage": garbage,
    "the gateway is killed": gateway_killed, "the lane is killed": lane_killed,
    "the lane is killed at any time": lane_killed_at_any_time,
    "the lane dies at a point": lane_dies_at_a_point,
    "the house is killed": house_killed, "the link is cut": link_cut,
}  # fmt: skip


async def faulted(agency: Agency, trial: Trial, tag: str) -> list[str]:
    """Play one trial; return what was wrong."""
    await agency.theatre.stage.linked()
    await agency.ready()
    play = Play(agency, random.Random(trial.seed), tag)
    await KINDS[trial.name](play)
    try:
        end = (await agency.result(play.session, 50)).state
    except EffectFailed:
        end = UNBEGUN
    calls = len(agency.calls(tag))
    await agency.theatre.stage.linked()
    await agency.theatre.home()
    await asyncio.sleep(0.3)
    begun = agency.beginnings(tag)
    found = wrong(play.ends, end, await agency.told(play.session), begun, retries=play.retries)
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


class Pool:
    """Plays trials on fleets side by side; `outcomes` are futures, in order."""

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
            try:
                async with open_agency(self._folder / f"{worker}-{fleet}") as agency:
                    await self._play(agency)
            except Exception as error:
                for future in self.outcomes:
                    if not future.done():
                        future.set_exception(error)
                raise

    async def _play(self, agency: Agency) -> None:
        """Play on one fleet; one that failed once is not used again."""
        for _ in range(PER_FLEET):
            if not self._queue:
                return
            at, trial = self._queue.pop(0)
            began_s = time.monotonic()
            try:
                found = await faulted(agency, trial, f"trial{at}of{id(self)}x")
            except Exception as error:  # noqa: BLE001 (whatever went wrong is the outcome)
                found = [f"{type(error).__name__}: {error}"]
            took_s = round(time.monotonic() - began_s, 2)
            self.outcomes[at].set_result(Outcome(trial.name, trial.seed, tuple(found), took_s))
            if found:
                return


def wanted(trials: int, seed: int, only: str = "") -> list[Trial]:
    """Return the trials of one run: every kind in turn."""
    names = [name for name in KINDS if only in name]
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
    trials = [
        one for one in wanted(arguments.trials, arguments.seed, arguments.only)
        if (one.name, one.seed) not in before
    ]  # fmt: skip
    failed = asyncio.run(run(trials, file, arguments.workers)) if trials else 0
    sys.stdout.write(f"{len(trials)} trials, {failed} failed; results in bench/results\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
