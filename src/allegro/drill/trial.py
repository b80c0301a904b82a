"""One fail-over trial: people work, a lane is struck, another takes over, everything is judged."""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator, Callable

import msgspec

from allegro.adapters.clock import SystemClock
from allegro.core.base.errors import UserError
from allegro.core.ports import Dice
from allegro.core.requests.proposals import Proposal
from allegro.drill.checker import (
    SEEN,
    Call,
    Evidence,
    Poll,
    Taken,
    Wanted,
    duplicates,
    faults,
    late_writes,
    longest_silence,
)
from allegro.drill.report import TARGET_S
from allegro.drill.witness import Witness
from allegro.house.files import files_of, load_fleet
from allegro.scratch.faults import Fault
from allegro.scratch.fleet import BOT, CODE_BOT, OWNER, REPOSITORY, ScratchFleet
from allegro.sovereign import ceremony
from allegro.sovereign.keystore import load_sovereign_key

STEADY_S = 10.0
SETTLED_S = 150.0
HOME_S = 45.0
FINAL = frozenset({"done", "failed", "conflict", "stale", "expired", "withdrawn", "rejected"})

BEFORE_S = 1.0  # a lane may have taken the role just before the blow


class Outcome(msgspec.Struct, frozen=True):
    """What a trial showed; times in seconds from the moment of the fault.

    `take_over_s`: until another lane's first poll by its role (0 where the role need not move);
    `silence_s`: the longest time in which no lane polled; `late`: labels written by a lane that had
    lost the role, None where lanes look alike; `detected_s`: how long the old holder was silent
    before the new one decided; `taken_s`: from there until it held the role, `act_s`: from there
    until its first act; `led`: the victim's server led the council's stream.
    """

    fault: str
    delay_ms: float
    victim: str
    holder: str
    take_over_s: float
    silence_s: float
    detected_s: float
    duplicates: int
    lost: int
    late: int | None
    faults: tuple[str, ...]
    led: bool = False
    taken_s: float = 0.0
    act_s: float = 0.0

    @property
    def ok(self) -> bool:
        return not self.faults and max(self.take_over_s, self.silence_s) < TARGET_S


class Trial:
    """Plays trials in one fleet, one after the other."""

    def __init__(self, fleet: ScratchFleet, dice: Dice, who: Callable[[Call], str]) -> None:
        self._fleet = fleet
        self._clock = SystemClock()
        self._dice = dice
        self._witness = Witness(fleet, who)
        self._look_alike = who({"peer": "", "user": BOT}) == BOT
        self._opened: list[int] = []
        self._wanted: list[tuple[str, str, str]] = []
        self._count = 0

    async def play(self, fault: Fault, *, works: bool = True) -> Outcome:
        """Play one trial. `works`: people also ask for a comment and a change."""
        fleet = self._fleet
        victim = await fleet.whole()
        began_s, seen = self._clock.now_s(), len(await fleet.forge_log())
        self._opened, self._wanted = [], []
        async with self._people():
            if works:
                await self._ask()
            await asyncio.sleep(self._dice.fraction() * 1.5)
            led = await fleet.leads(victim)
            struck_s = self._clock.now_s()
            await fault.strike(fleet, victim)
            polled_s = await self._taken_over(fault, victim, struck_s, seen)
            await asyncio.sleep(1 + 2 * self._dice.fraction())
            await fault.heal(fleet, victim)
            await fleet.whole()
        states = await self._settled()
        evidence = await self._evidence(states, began_s, seen)
        polls = await self._witness.polls(seen)
        took = [
            take_over for one, take_over in await self._witness.taken(began_s) if one.lane != victim
        ]
        timed = took[0] if took and fault.moves else {}
        polled_s = _as_holder(
            polls, await self._witness.taken(struck_s - BEFORE_S), victim, polled_s
        )
        found = faults(evidence)
        return Outcome(
            fault=fault.name,
            delay_ms=fleet.delay_ms,
            victim=victim,
            holder=await fleet.holder(),
            take_over_s=round(polled_s - struck_s, 2) if fault.moves else 0.0,
            silence_s=round(longest_silence(polls, struck_s, max(polled_s, struck_s + 1)), 2),
            detected_s=timed.get("silent_s", 0.0),
            taken_s=timed.get("take_s", 0.0),
            act_s=timed.get("act_s", 0.0),
            duplicates=duplicates(evidence),
            lost=len(evidence.opened - evidence.archived),
            late=None if self._look_alike else len(late_writes(evidence)),
            faults=tuple(found),
            led=led,
        )

    @contextlib.asynccontextmanager
    async def _people(self) -> AsyncIterator[None]:
        """Open an issue now and then while a trial runs."""
        working = asyncio.create_task(self._open_issues())
        try:
            yield
        finally:
            working.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await working

    async def _open_issues(self) -> None:
        while True:
            self._count += 1
            opening = self._fleet.simulate(
                "open_issue", repo=REPOSITORY, user=OWNER, title=f"issue {self._count}", body="do"
            )
            made = await asyncio.shield(asyncio.ensure_future(opening))
            self._opened.append(int(made["result"]["number"]))
            slowly_s = self._fleet.delay_ms / 50  # far away, a lane marks fewer issues a second
            await asyncio.sleep(0.5 + self._dice.fraction() + slowly_s)

    async def _ask(self) -> None:
        """Ask for a comment, and for a change that is approved at once."""
        self._count += 1
        text, title = f"comment {self._count}", f"change {self._count}"
        house = self._fleet.client
        asked = await house.propose(
            Proposal(kind="comment", repository=REPOSITORY, issue=1, body=text)
        )
        self._wanted.append(("comment", text, asked.id))
        content = base64.b64encode(f"{self._count}\n".encode()).decode()
        asked = await house.propose(
            Proposal(
                kind="propose_change",
                repository=REPOSITORY,
                base="main",
                branch=f"work/{self._count}",
                title=title,
                body="as asked",
                files={f"{self._count}.txt": content},
            )
        )
        await house.approve(asked.id, self._approval(asked.digest))
        self._wanted.append(("pull", title, asked.id))

    def _approval(self, digest: str) -> str:
        from allegro.config import load_house  # noqa: PLC0415 (once a trial)

        files = files_of(load_house(self._fleet.house_config))
        secret = self._fleet.passphrase_file.read_text("utf-8").strip().encode()
        key = load_sovereign_key(files, lambda: secret)
        return ceremony.approve(load_fleet(files), key, digest, self._clock.now_s(), 900)

    async def _taken_over(self, fault: Fault, victim: str, struck_s: float, seen: int) -> float:
        """Return when (Unix s) another lane polled; for a fault that moves nothing, after a while."""
        if not fault.moves:
            await asyncio.sleep(STEADY_S)
            return self._clock.now_s()
        while self._clock.now_s() < struck_s + 2 * TARGET_S:
            for poll in await self._witness.polls(seen):
                if poll.at_s > struck_s and poll.lane not in {victim, BOT}:
                    return poll.at_s
            if self._look_alike:  # ask the fleet
                taken = [
                    one for one, _ in await self._witness.taken(struck_s) if one.lane != victim
                ]
                if taken:
                    return taken[0].at_s
            await asyncio.sleep(0.1)
        raise UserError(f"{fault.name}: nobody took over from {victim} within {2 * TARGET_S:g} s")

    async def _settled(self) -> dict[str, str]:
        """Wait until every request is final; return its state by id."""
        states: dict[str, str] = {}

        async def final() -> bool:
            for _, _, request in self._wanted:
                states[request] = (await self._fleet.client.request(request)).state
            return all(state in FINAL for state in states.values())

        try:
            await self._fleet.until(final, "every request is settled", within_s=SETTLED_S)
        except UserError as error:
            stopped = (await self._fleet.client.status()).freezes
            raise UserError(f"{error} {states} stopped by: {stopped}") from error
        return states

    async def _evidence(self, states: dict[str, str], began_s: float, seen: int) -> Evidence:
        """Collect what the forge and the archive show once all is home, or cannot come any more."""
        opened = frozenset(self._opened)
        labels: dict[int, tuple[str, ...]] = {}

        async def is_home() -> bool:
            labels.update(await self._witness.labels())
            marked = all(SEEN in labels.get(number, ()) for number in opened)
            return marked and opened <= await self._witness.archived()

        with contextlib.suppress(UserError):
            await self._fleet.until(is_home, "all issues are home and marked", within_s=HOME_S)
        return Evidence(
            writes=await self._witness.writes(seen),
            taken=tuple(one for one, _ in await self._witness.taken(0.0)),
            wanted=tuple(Wanted(what, name, states[id_]) for what, name, id_ in self._wanted),
            opened=opened,
            archived=await self._witness.archived(),
            labelled=labels,
            vanished=await self._witness.vanished(began_s),
            intents=await self._witness.intents(),
        )


def _as_holder(
    polls: tuple[Poll, ...],
    taken: list[tuple[Taken, dict[str, float]]],
    victim: str,
    first_s: float,
) -> float:
    """Return when another lane first polled by its role: without a council, others read on."""
    for one, _ in taken:
        if one.lane == victim:
            continue
        own = [poll.at_s for poll in polls if poll.lane == one.lane and poll.at_s >= one.at_s]
        return max(first_s, min(own, default=first_s))
    return first_s


def by_address(fleet: ScratchFleet) -> Callable[[Call], str]:
    """Return who a call came from where each lane has an address of its own."""
    known = {fleet.network.address(name): name for name in fleet.lanes}
    return lambda call: known.get(str(call["peer"]), "")


def by_user(call: Call) -> str:
    """Return who a call came from where all lanes share one address: one of our bots, or none."""
    return BOT if call["user"] in {BOT, CODE_BOT} else ""
