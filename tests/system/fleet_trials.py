"""Fail-over trials: `python -m tests.system.fleet_trials --trials N --seed S [--only FAULT]`.

Three lanes with real council servers, each in a network of its own, a simulated forge and a house;
people work, a lane is struck, everything is judged from the forge's own log. Needs root. Trial n
plays fault n of the list at 0, 50 or 150 ms one way, in turn. Results are JSON lines in
`bench/results/` (`--out -`: on standard output); a trial that is there already is not run again.
The exit code is 1 when a trial failed.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import random
import shutil
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from allegro.core.errors import ToldError
from allegro.drill.faults import FAULTS
from allegro.drill.fleet import LANES, ScratchFleet
from allegro.drill.network import Namespaces
from allegro.drill.trial import Outcome, Trial, by_address

from .trials import RESULTS

DELAYS_MS = (0.0, 50.0, 150.0)
PER_FLEET = 15
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
        (name, delay) for delay in DELAYS_MS for name in FAULTS if only in name
    )
    return [
        Wanted(name, delay, f"{seed}/{n}")
        for n, (name, delay) in zip(range(trials), matrix, strict=False)
    ]


async def run(trials: Sequence[Wanted], note: Callable[[Line], None]) -> None:
    """Play trials, a new fleet for each delay and for every so many."""
    for delay, group in itertools.groupby(trials, key=lambda one: one.delay_ms):
        left = list(group)
        while left:
            part, left = left[:PER_FLEET], left[PER_FLEET:]
            await one_fleet(part, delay, note)


async def one_fleet(
    trials: Sequence[Wanted], delay_ms: float, note: Callable[[Line], None]
) -> None:
    folder = Path(tempfile.mkdtemp(prefix="allegro-fleet-"))
    fleet = ScratchFleet(folder, Namespaces(LANES))
    fleet.program, fleet.disk_mb = "allegro.testing.lane", 48
    try:
        await fleet.set_up(lane=LANE, house=FAR_HOUSE if delay_ms > FAR_MS else HOUSE)
        await fleet.delay(delay_ms)
        for one in trials:
            note(await play(fleet, one))
    except ToldError as error:
        for one in trials:
            note(Line(one, 0.0, trouble=f"no fleet: {error}"[:2_000]))
    finally:
        await fleet.close()
        shutil.rmtree(folder, ignore_errors=True)


async def play(fleet: ScratchFleet, one: Wanted) -> Line:
    began_s = time.monotonic()
    try:
        outcome = await Trial(fleet, Dice(one.seed), by_address(fleet)).play(FAULTS[one.fault])
    except ToldError as error:
        for lane in LANES:  # the next trial begins with a fleet that is not struck
            await FAULTS[one.fault].heal(fleet, lane)
        return Line(one, time.monotonic() - began_s, trouble=str(error)[:2_000])
    return Line(one, round(time.monotonic() - began_s, 1), outcome)


def known(file: Path) -> set[str]:
    """Return which trials earlier runs wrote down."""
    found = set()
    for line in file.read_bytes().splitlines() if file.exists() else ():
        try:
            found.add(msgspec.json.decode(line, type=Line).wanted.seed)
        except msgspec.DecodeError:
            continue
    return found


def verdict(lines: Sequence[Line]) -> list[str]:
    """Return what the targets say about all trials together; empty for good."""
    found = [f"{one.wanted.fault} at {one.wanted.delay_ms:g} ms, seed {one.wanted.seed}: "
             f"{one.trouble or (one.outcome.faults if one.outcome else '')}"
             for one in lines if not one.ok]  # fmt: skip
    times = [one.outcome.take_over_s for one in lines if one.outcome and one.outcome.take_over_s]
    if len(times) >= len(FAULTS) and statistics.median(times) > MEDIAN_S:
        found.append(f"the median take-over took {statistics.median(times):.1f} s")
    return found


def told(lines: Sequence[Line]) -> str:
    """Return figures by fault and delay as a table."""
    rows = []
    key = lambda one: (one.wanted.delay_ms, list(FAULTS).index(one.wanted.fault))  # noqa: E731
    for (delay, at), group in itertools.groupby(sorted(lines, key=key), key=key):
        times = [one.outcome.take_over_s for one in group if one.outcome]
        if times:
            rows.append(
                f"{list(FAULTS)[at]:<13}{delay:4.0f} ms  {len(times):3} trials  median "
                f"{statistics.median(times):5.1f} s  max {max(times):5.1f} s"
            )
    return "\n".join(rows)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.system.fleet_trials")
    parser.add_argument("--trials", type=int, default=450)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="faults whose name contains this")
    parser.add_argument("--faults", default="", help="exactly these, in this order")
    parser.add_argument("--delay", type=float, help="with --faults: ms one way")
    parser.add_argument("--out", default="", help="-: JSON lines on standard output")
    arguments = parser.parse_args()
    if trouble := Namespaces.trouble():
        sys.stdout.write(f"skipped: {trouble}\n")
        return 0
    file = RESULTS / "fleet_trials.jsonl"
    if arguments.faults:
        names = arguments.faults.split(",")
        trials = [
            Wanted(name, arguments.delay or 0.0, f"{arguments.seed}/{name}") for name in names
        ]
    else:
        before = known(file)
        every = wanted(arguments.trials, arguments.seed, arguments.only)
        trials = [one for one in every if one.seed not in before]
    lines: list[Line] = []

    def note(line: Line) -> None:
        lines.append(line)
        if arguments.out == "-":
            sys.stdout.write(msgspec.json.encode(line).decode() + "\n")
        else:
            RESULTS.mkdir(parents=True, exist_ok=True)
            with file.open("ab") as results:
                results.write(msgspec.json.encode(line) + b"\n")
            word = "ok" if line.ok else "FAILED"
            sys.stdout.write(f"{word:<7}{line.took_s:6.1f} s  {line.wanted}  {line.outcome}\n")
        sys.stdout.flush()

    signal.signal(
        signal.SIGTERM, signal.default_int_handler
    )  # whoever ends us, the fleet ends first
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(run(trials, note))
    wrong = verdict(lines)
    if arguments.out != "-":
        sys.stdout.write("\n".join([told(lines), *wrong, f"{len(lines)} trials\n"]))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
