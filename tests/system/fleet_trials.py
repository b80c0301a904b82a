"""Fail-over trials: `python -m tests.system.fleet_trials --trials N --seed S [--only FAULT]`.

Three lanes with real council servers, each in a network of its own, a simulated forge and a house;
people work, a lane is struck, everything is judged from the forge's own log. Needs root. Trial n
plays fault n of the list at 0, 50 or 150 ms one way, in turn. Results are JSON lines in
`bench/results/`; a trial that is there already is not run again. The exit code is 1 when a trial
failed, or was not played.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from allegro.core.base.errors import UserError
from allegro.drill.ending import end_once
from allegro.drill.trial import Outcome, Trial, by_address
from allegro.scratch.faults import FAULTS
from allegro.scratch.fleet import LANES, ScratchFleet
from allegro.scratch.network import Namespaces

from .fleet_fixture import QuickStage
from .trials import RESULTS

DELAYS_MS = (0.0, 50.0, 150.0)
PER_FLEET = 15
CLOSE_S = 45.0
ROOT = Path(__file__).parents[2]
LANE = {
    "forge.timeout_s": 2.0, "journal.min_free_mb": 1, "council.disk_mb": 16,
    "council.return_s": 20,
}  # fmt: skip
HOUSE = {"orders.ttl_s": 6, "orders.settle_s": 2}
FAR_HOUSE = {"orders.ttl_s": 14, "orders.settle_s": 3}  # a change is a dozen round trips
FAR_MS = 100.0
MEDIAN_S, LEADER_S = 6.0, 20.0


class Wanted(msgspec.Struct, frozen=True):
    fault: str
    delay_ms: float
    seed: str


class Line(msgspec.Struct, frozen=True):
    """One trial's line: what was wanted, what came of it, or why nothing did."""

    wanted: Wanted
    took_s: float
    outcome: Outcome | None = None
    trouble: str = ""

    @property
    def ok(self) -> bool:
        return self.outcome is not None and self.outcome.ok


class QuickFleet(QuickStage, ScratchFleet):
    """A fleet whose commands run in this process: to set one up takes more than a dozen."""


class Dice:
    """Chance from a seed, in the form the drill asks for."""

    def __init__(self, seed: str) -> None:
        self._random = random.Random(seed)

    def token(self, size: int) -> bytes:
        return self._random.randbytes(size)

    def fraction(self) -> float:
        return self._random.random()


def wanted(trials: int, seed: int, only: str) -> list[Wanted]:
    """Return the trials of a run: every fault at every delay in turn."""
    matrix = itertools.cycle(
        (name, delay) for delay in DELAYS_MS for name in FAULTS if only in f"{name} at {delay:g} ms"
    )
    return [
        Wanted(name, delay, f"{seed}/{n}")
        for n, (name, delay) in zip(range(trials), matrix, strict=False)
    ]


async def run(trials: Sequence[Wanted], note: Callable[[Line], None], jobs: int) -> None:
    """Play trials, so many fleets side by side, a new one for each delay and for every so many."""
    parts = []
    for _, group in itertools.groupby(trials, key=lambda one: one.delay_ms):
        left = list(group)
        parts += [left[at : at + PER_FLEET] for at in range(0, len(left), PER_FLEET)]
    parts.reverse()

    async def work() -> None:
        while parts:
            await apart(parts.pop(), note)

    async with asyncio.TaskGroup() as group_:
        for _ in range(jobs):
            group_.create_task(work())


async def apart(trials: Sequence[Wanted], note: Callable[[Line], None]) -> None:
    """Play trials of one fleet in a process of its own, which moves into a network of its own.

    Cancelled, it ends that process, and waits until its fleet is gone.
    """
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.system.fleet_trials", "--play", cwd=ROOT,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert child.stdin is not None
    assert child.stdout is not None
    given = 0
    try:
        child.stdin.write(msgspec.json.encode(trials))
        child.stdin.close()
        async for raw in child.stdout:
            note(msgspec.json.decode(raw, type=Line))
            given += 1
        for one in trials[given:]:
            note(Line(one, 0.0, trouble="its process ended before it was played"))
    finally:
        if given < len(trials) and child.returncode is None:
            child.terminate()  # it ends its fleet, then itself
        try:
            await asyncio.wait_for(child.wait(), CLOSE_S)
        except TimeoutError:
            child.kill()
            await child.wait()


async def one_fleet(
    trials: Sequence[Wanted], delay_ms: float, note: Callable[[Line], None]
) -> Sequence[Wanted]:
    """Play trials until one fails; return those that are left, for another fleet."""
    left = list(trials)
    folder = Path(tempfile.mkdtemp(prefix="allegro-fleet-"))
    fleet = QuickFleet(folder, Namespaces(LANES))
    fleet.program, fleet.disk_mb = "allegro.testing.lane", 48
    try:
        await fleet.set_up(lane=LANE, house=FAR_HOUSE if delay_ms > FAR_MS else HOUSE)
        await fleet.delay(delay_ms)
        while left:
            line = await play(fleet, left.pop(0))
            note(line)
            if not line.ok:
                keep(folder, line.wanted)
                break
    except UserError as error:
        note(Line(left.pop(0), 0.0, trouble=f"no fleet: {error}"[:2_000]))
    finally:
        await fleet.close()
        shutil.rmtree(folder, ignore_errors=True)
    return left


def keep(folder: Path, one: Wanted) -> None:
    """Copy what a fleet left when a trial failed: logs, journals, archive."""
    kept = RESULTS / "failed" / f"{one.fault}-{one.delay_ms:g}-{one.seed.replace('/', '-')}"
    shutil.rmtree(kept, ignore_errors=True)
    with contextlib.suppress(shutil.Error):  # what vanished, and sockets
        shutil.copytree(folder, kept, ignore=shutil.ignore_patterns("store-*", "ballast"))


async def play(fleet: ScratchFleet, one: Wanted) -> Line:
    began_s = time.monotonic()
    try:
        outcome = await Trial(fleet, Dice(one.seed), by_address(fleet)).play(FAULTS[one.fault])
    except Exception as error:  # noqa: BLE001 (whatever went wrong is the outcome)
        message = f"{type(error).__name__}: {error}"[:2_000]
        return Line(one, round(time.monotonic() - began_s, 1), trouble=message)
    return Line(one, round(time.monotonic() - began_s, 1), outcome)


def known(file: Path) -> dict[Wanted, Line]:
    """Return which trials earlier runs wrote down; an unfinished last line is left out."""
    found = {}
    for raw in file.read_bytes().splitlines() if file.exists() else ():
        with contextlib.suppress(msgspec.DecodeError):
            line = msgspec.json.decode(raw, type=Line)
            found[line.wanted] = line
    return found


def verdict(lines: Sequence[Line]) -> list[str]:
    """Return what the targets say about all trials together; empty for good."""
    found = [f"{one.wanted.fault} at {one.wanted.delay_ms:g} ms, seed {one.wanted.seed}: "
             f"{one.trouble or (one.outcome.faults if one.outcome else '')}"
             for one in lines if not one.ok]  # fmt: skip
    moved = [one.outcome for one in lines if one.outcome and one.outcome.take_over_s]
    if len(moved) >= len(FAULTS):
        median_s = statistics.median(one.take_over_s for one in moved)
        if median_s > MEDIAN_S:
            found.append(f"the median take-over took {median_s:.1f} s")
    found += [f"{one.fault} at {one.delay_ms:g} ms took the leader: {one.take_over_s:.1f} s"
              for one in moved if one.led and one.take_over_s > LEADER_S]  # fmt: skip
    return found


def summary_of(lines: Sequence[Line]) -> str:
    """Return figures by fault and delay as a table, and over all."""
    rows = []
    key = lambda one: (one.wanted.delay_ms, list(FAULTS).index(one.wanted.fault))  # noqa: E731
    for (delay, at), group in itertools.groupby(sorted(lines, key=key), key=key):
        rows.append(_row(f"{list(FAULTS)[at]:<13}{delay:4.0f} ms", list(group)))
    led = [one for one in lines if one.outcome and one.outcome.led]
    return "\n".join([*rows, _row("leader struck", led), _row("all", lines)])


def _row(name: str, lines: Sequence[Line]) -> str:
    outcomes = [one.outcome for one in lines if one.outcome]
    times = [one.take_over_s for one in outcomes if one.take_over_s] or [0.0]
    return (
        f"{name:<21}{len(lines):4} trials {sum(one.ok for one in lines):4} ok  median "
        f"{statistics.median(times):5.1f} s  max {max(times):5.1f} s  silence "
        f"{max((one.silence_s for one in outcomes), default=0.0):5.1f} s  duplicates "
        f"{sum(one.duplicates for one in outcomes)} lost {sum(one.lost for one in outcomes)} "
        f"late {sum(one.late or 0 for one in outcomes)}"
    )


def play_input() -> None:
    """Play what standard input asks for (a JSON array of Wanted); lines on standard output."""
    trials = msgspec.json.decode(sys.stdin.buffer.read(), type=list[Wanted])
    ours = sys.stdout  # a command that runs in this process has its own for that time

    def note(line: Line) -> None:
        ours.write(msgspec.json.encode(line).decode() + "\n")
        ours.flush()

    with contextlib.suppress(KeyboardInterrupt):
        left: Sequence[Wanted] = trials
        while left:
            left = asyncio.run(one_fleet(left, left[0].delay_ms, note))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.system.fleet_trials")
    parser.add_argument("--trials", type=int, default=450)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="faults like 'kill', 'kill at 50 ms'")
    parser.add_argument("--jobs", type=int, default=3, help="fleets side by side")
    parser.add_argument("--play", action="store_true", help="play what standard input asks for")
    arguments = parser.parse_args()
    if trouble := Namespaces.trouble():
        sys.stdout.write(f"skipped: {trouble}\n")
        return 0
    end_once()
    if arguments.play:
        play_input()
        return 0
    RESULTS.mkdir(parents=True, exist_ok=True)
    file = RESULTS / "fleet_trials.jsonl"
    every = wanted(arguments.trials, arguments.seed, arguments.only)
    lines = known(file)

    def note(line: Line) -> None:
        lines[line.wanted] = line
        with file.open("ab") as results:
            results.write(msgspec.json.encode(line) + b"\n")
        word = "ok" if line.ok else "FAILED"
        sys.stdout.write(f"{word:<7}{line.took_s:6.1f} s  {line.wanted}  {line.outcome}\n")
        sys.stdout.flush()

    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(run([one for one in every if one not in lines], note, arguments.jobs))
    played = [lines[one] for one in every if one in lines]
    wrong = verdict(played)
    sys.stdout.write(
        "\n".join([summary_of(played), *wrong, f"{len(played)} of {len(every)} trials\n"])
    )
    return 1 if wrong or len(played) < len(every) else 0


if __name__ == "__main__":
    sys.exit(main())
