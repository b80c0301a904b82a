"""Runs many cases at once, each on a fleet of its own for that time."""

from __future__ import annotations

import asyncio
import random
import time
from pathlib import Path

import msgspec

from .exactly_once import CASES
from .fleet_fixture import Theatre, open_theatre
from .invariants import Want, faults, look

PER_FLEET = 12


class Trial(msgspec.Struct, frozen=True):
    """One case with its dice."""

    name: str
    seed: str


class Outcome(msgspec.Struct, frozen=True):
    """What a trial came to: no fault is a pass."""

    name: str
    seed: str
    faults: tuple[str, ...]
    took_s: float


class OncePool:
    """Plays `once` cases on `workers` fleets side by side; `outcomes` are futures, in order."""

    def __init__(self, folder: Path, trials: list[Trial]) -> None:
        self._folder = folder
        self._queue = list(enumerate(trials))
        loop = asyncio.get_running_loop()
        self.outcomes: list[asyncio.Future[Outcome]] = [loop.create_future() for _ in trials]

    async def work(self, worker: int) -> None:
        """Take trials until none is left; a fleet that failed once is not used again."""
        fleets = 0
        while self._queue:
            fleets += 1
            try:
                async with open_theatre(self._folder / f"{worker}-{fleets}") as theatre:
                    await self._play(theatre, worker)
            except Exception as error:
                for future in self.outcomes:
                    if not future.done():
                        future.set_exception(error)
                raise

    async def _play(self, theatre: Theatre, worker: int) -> None:
        wants: list[Want] = []
        for _ in range(PER_FLEET):
            if not self._queue:
                return
            at, trial = self._queue.pop(0)
            began_s = time.monotonic()
            tag = f"w{worker}n{at}"
            found: list[str] = []
            try:
                wants.append(await CASES[trial.name](theatre, random.Random(trial.seed), tag))
                found = faults(wants, await look(theatre, wants))
            except Exception as error:  # noqa: BLE001 (whatever went wrong is the outcome)
                found = [f"{type(error).__name__}: {error}"]
            took_s = round(time.monotonic() - began_s, 2)
            self.outcomes[at].set_result(Outcome(trial.name, trial.seed, tuple(found), took_s))
            if found:
                return


async def play(folder: Path, trials: list[Trial], workers: int) -> OncePool:
    """Start a pool whose outcomes come in; its tasks end with the running loop or the last trial."""
    pool = OncePool(folder, trials)
    for worker in range(workers):
        task = asyncio.create_task(pool.work(worker), name=f"fleet {worker}")
        _running.add(task)
        task.add_done_callback(_running.discard)
    return pool


_running: set[asyncio.Task[None]] = set()


async def finish() -> None:
    """Let fleets close that have nothing left to play; stop those that still play."""
    if _running:
        await asyncio.wait(_running, timeout=5.0)
    for task in list(_running):
        task.cancel()
    await asyncio.gather(*_running, return_exceptions=True)
