"""A stolen lane of three: `python -m tests.bad.stolen_sibling --trials N --seed S [--real]`.

In virtual time real `Roles` and `Siblings` meet what the thief writes; with --real three lanes with
real council servers, a house and a forge do, and each trial takes about a minute. What must hold:
the honest lanes live, one of them polls, both hold the role for a lease at most, a stop and its
thaw reach both throughout, and `SOON_S` after the revocation one of them holds the role and nothing
the thief says counts. The exit code is 1 when a trial failed, or was not played: at SIGTERM, SIGINT
or SIGHUP what a trial started ends first. Killed with -9 it leaves no process either, but a folder.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
import tempfile
import time
from pathlib import Path

import msgspec

from allegro.core.authority.freeze import Freeze, contains, thaw
from allegro.drill.ending import end_once
from allegro.lane.fleet.build import UNDECIDED_S
from tests.duties.small_fleet import LEASE_S, NAMES, Fleet, OneLane, opened

from .thieves import PAGES, RECORDS, Thief

ATTACK_S, LATE_S, SOON_S = 60.0, 2.0, 10.0
"""Virtual seconds: of the attack, of what arrives after the revocation, until a role is held."""

SERVED_QUIET, SERVED = 0.8, 0.6
"""The share of the attack in which an honest lane polls, where the thief leaves the registers alone
and where it writes them all the time."""

TICK_S = 0.5


class Outcome(msgspec.Struct, frozen=True):
    """What a trial showed; times in seconds. `served`: share of the attack in which an honest lane
    polled; `overlap_s`: the longest time in which both held the role; `gone_s`: from the revocation
    until one of them held it."""

    seed: str
    plot: tuple[str, ...]
    faults: tuple[str, ...]
    served: float = 0.0
    overlap_s: float = 0.0
    gone_s: float = 0.0


class Robbed:
    """One virtual trial."""

    def __init__(self, fleet: Fleet, thief: Thief) -> None:
        self.fleet, self.thief = fleet, thief
        self.honest: list[OneLane] = [fleet.lanes[name] for name in thief.others]
        self.faults: list[str] = []
        self.overlap_s = self.longest_s = self.served_s = 0.0
        fleet.lanes[thief.name].alive = False

    async def live(self, seconds: float, *, lies: bool) -> None:
        for _ in range(int(seconds / TICK_S)):
            if lies:
                register = self.fleet.registers.values.get("role.forge", (0, b""))[1]
                key, value = self.thief.next(register)
                self.fleet.registers.write(key, value)
            for lane in self.honest:
                await lane.siblings.step()
                await lane.roles.step("forge")
            self.fleet.clock.advance(TICK_S)
            holding = sum(lane.holds for lane in self.honest)
            self.served_s += TICK_S * any(map(self.polls, self.honest))
            self.overlap_s = self.overlap_s + TICK_S if holding > 1 else 0.0
            self.longest_s = max(self.longest_s, self.overlap_s)

    def polls(self, lane: OneLane) -> bool:
        """Whether a lane would poll now: by its role, or because the council decides nothing."""
        unsettled_s = max(lane.roles.unsettled_s("forge"), lane.siblings.unheard_s())
        return lane.holds or unsettled_s > UNDECIDED_S

    async def stop_and_thaw(self) -> None:
        """Tell one lane of a stop: the council brings it to the other; then thaw it on both."""
        one, other = self.thief.dice.sample(self.honest, 2)
        stop = Freeze(f"stop{self.thief.dice.randrange(10**6)}", 2.0, "house", "stop")
        one.state.freeze(stop)
        await self.live(6, lies=True)
        if not contains(other.state.freezes, stop.id):
            self.faults.append("a stop did not reach the other lane")
        for lane in self.honest:
            lane.state.thaw((stop.id,))
        await self.live(6, lies=True)
        if not all(stop.id in lane.state.freezes.thawed for lane in self.honest):
            self.faults.append("a thaw did not stay")

    async def revoke(self) -> float:
        """Revoke the thief; return after how long (s) an honest lane held the role for good."""
        self.fleet.banned = frozenset({self.thief.name})
        await self.live(LATE_S, lies=True)
        waited_s = LATE_S
        while not any(lane.holds for lane in self.honest) and waited_s < 100:
            await self.live(TICK_S, lies=False)
            waited_s += TICK_S
        sets = [lane.state.freezes for lane in self.honest]
        key, value = self.thief.next(b"")
        if key.startswith("page"):
            self.fleet.registers.write(key, value)
        await self.live(20, lies=False)
        for lane, held in zip(self.honest, sets, strict=True):
            ids = tuple(freeze.id for freeze in held.freezes)
            if not thaw(lane.state.freezes, ids + _all(self.honest)).is_thawed:
                self.faults.append("a lane cannot be thawed")
            if self.thief.name in {one.lane for one in lane.siblings.describe()}:
                self.faults.append("the revoked lane is still heard")
        if sum(lane.holds for lane in self.honest) != 1:
            self.faults.append("after the revocation not one lane holds the role")
        return waited_s


def _all(lanes: list[OneLane]) -> tuple[str, ...]:
    return tuple(freeze.id for lane in lanes for freeze in lane.state.freezes.active)


async def play(folder: Path, seed: str) -> Outcome:
    """Play one virtual trial. Raises whatever ends a lane: that is what must not happen."""
    async with opened(folder) as fleet:
        name = NAMES[int(seed.rpartition("/")[2]) % len(NAMES)]
        others = tuple(other for other in NAMES if other != name)
        thief = Thief(name, others, seed, (*PAGES, *RECORDS))
        trial = Robbed(fleet, thief)
        await trial.live(2 * LEASE_S, lies=False)  # its program is dead: the role moves on
        trial.served_s = 0.0
        await trial.live(ATTACK_S - 12, lies=True)
        await trial.stop_and_thaw()
        share = trial.served_s / ATTACK_S
        gone_s = await trial.revoke()
    if not thief.may_hold and share < (SERVED_QUIET if thief.is_quiet else SERVED):
        trial.faults.append(f"an honest lane polled {share:.0%} of the time")
    if gone_s > SOON_S:
        trial.faults.append(f"{gone_s:.1f} s until the role was held again")
    if trial.longest_s > LEASE_S:
        trial.faults.append(f"two lanes held the role for {trial.longest_s:.1f} s")
    return Outcome(seed, thief.plot, tuple(trial.faults), share, trial.longest_s, gone_s)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bad.stolen_sibling")
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--real", action="store_true", help="three lanes with real servers")
    arguments = parser.parse_args()
    end_once()
    outcomes: list[Outcome] = []
    with contextlib.suppress(KeyboardInterrupt):
        outcomes.extend(
            _told(f"{arguments.seed}/{number}", real=arguments.real)
            for number in range(arguments.trials)
        )
    if not outcomes:
        return 1
    good = sum(not one.faults for one in outcomes)
    gone = sorted(one.gone_s for one in outcomes)
    sys.stdout.write(
        f"{good} of {len(outcomes)} ok; after the revocation a role is held within "
        f"{gone[len(gone) // 2]:.1f} s (median), {gone[-1]:.1f} s (most); both held it for "
        f"{max(one.overlap_s for one in outcomes):.1f} s at most\n"
    )
    return 0 if good == arguments.trials else 1


def _told(seed: str, *, real: bool) -> Outcome:
    """Play one trial, write its line, return what it showed."""
    began_s = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="allegro-thief-", ignore_cleanup_errors=True) as folder:
        outcome = asyncio.run(_one(Path(folder), seed, real=real))
    word = "FAILED" if outcome.faults else "ok"
    sys.stdout.write(f"{word:<7}{time.monotonic() - began_s:6.1f} s  {outcome}\n")
    sys.stdout.flush()
    return outcome


async def _one(folder: Path, seed: str, *, real: bool) -> Outcome:
    if not real:
        return await play(folder, seed)
    from tests.system.fleet_robbed import play_real  # noqa: PLC0415 (real servers may be missing)

    try:
        return await play_real(folder, seed)
    except Exception as error:  # noqa: BLE001 (whatever went wrong is the outcome)
        return Outcome(seed, (), (f"{type(error).__name__}: {error}"[:2_000],))


if __name__ == "__main__":
    sys.exit(main())
