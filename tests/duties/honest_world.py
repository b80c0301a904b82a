"""Two honest lanes with losses and one house: nothing of theirs may ever freeze the fleet (G13).

Real are requests, orders, looks, matching, ledger, archive and alerts at the house, and poll, desk's
judge, executor and journal of each lane; the forge is in memory, time is virtual. Answers are lost,
repeated and late, lanes are killed and cut off, polls move from one lane to the other, the house
restarts, clocks are off by an hour, people write by hand. In the mirror world one write is nobody's,
and exactly that one freezes.

    python -m tests.duties.honest_world --worlds 200 --seed 7
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import msgspec
import structlog

from allegro.adapters.crypto.signatures import verify
from allegro.adapters.sqlite.archive import SqliteArchive, open_archive
from allegro.adapters.sqlite.ledger import open_ledger
from allegro.core.authority.freeze import Freeze
from allegro.core.authority.gate import LaneTrust, Presented, judge_order
from allegro.core.base.errors import EdgeError, Refusal
from allegro.core.ports import Dress
from allegro.core.protocol.messages import GiveOrder, OrderAnswer
from allegro.core.protocol.payloads.polls import AuditDone
from allegro.core.protocol.queries import Params
from allegro.core.requests.lifecycle import State
from allegro.core.requests.requests import Request
from allegro.core.requests.work import work_of
from allegro.house.ports import Ports, Reactions
from allegro.house.requests.follow import FleetView, Follow
from allegro.house.requests.ordered_effects import Names
from allegro.house.requests.polls import Polls
from allegro.house.requests.requests import Approvals, Pinning, Requests
from allegro.lane.effects.executor import Executor, Rules
from allegro.lane.effects.queries import Queries
from allegro.link.dial import LaneLink
from allegro.testing.virtual import SeededDice, VirtualClock
from tests.core.builders import TRUST

from .alerts import noted
from .honest_forge import BOT, HUMAN, HonestForge, changed
from .house import FLEET, House, WornLedger, until
from .lane import FORGE, Lane, journal_in, settings_of

WORLD_FLEET = msgspec.structs.replace(FLEET, began_s=1.0)
BUSY_S, QUIET_S = 900.0, 2_100.0
KINDS = ("comment", "status", "close", "change", "pull", "mirror", "close_pull")
FOREIGN = ("comment", "label", "status", "close", "close_pull", "pull", "branch", "commit", "issue")
OFF_S = (0.0, 0.0, 3_600.0, -3_600.0, 1_200.0)
QUIET_ISSUE, QUIET_PULL = 7, 8
_LOST = EdgeError("no answer", transient=True)


class LaneClock:
    """The world's time on a lane whose clock is off. Counts who sleeps."""

    def __init__(self, clock: VirtualClock, off_s: float) -> None:
        self._clock = clock
        self._off_s = off_s
        self.sleeping = 0

    def now_s(self) -> float:
        return self._clock.now_s() + self._off_s

    def boot_s(self) -> float:
        return self._clock.boot_s()

    async def sleep(self, seconds: float) -> None:
        self.sleeping += 1
        try:
            await self._clock.sleep(seconds)
        finally:
            self.sleeping -= 1


class HonestLane:
    """One lane and the house's end of its link. While not `up` nothing crosses the link."""

    def __init__(self, world: World, name: str, folder: Path, off_s: float) -> None:
        self.world = world
        self.name = name
        self._folder = folder
        self.clock = LaneClock(world.clock, off_s)
        self.up = True
        self.sent = 0
        self.work: set[asyncio.Task[None]] = set()
        self._challenges: dict[str, float] = {}
        self.lane: Lane
        self._queries: Queries

    async def start(self) -> None:
        self._folder.mkdir(exist_ok=True)
        clock = cast(VirtualClock, self.clock)
        self.journal = await journal_in(self._folder, clock)
        self.lane = Lane(self.world.forge, clock, self.journal, settings_of(triage=False))
        await self.restart()

    async def restart(self) -> None:
        """Kill the lane and start it: what was under way is gone, the journal is not."""
        for task in self.work:
            task.cancel()
        await asyncio.gather(*self.work, return_exceptions=True)
        self.work.clear()
        self._challenges.clear()
        await self.lane.start()
        self.lane.state.home_marks = await self.world.archive.marks(["a", "b"], 64)
        forge, recorder = self.world.forge, self.lane.recorder
        rules = Rules(bots=frozenset({BOT}), write_s=2.0)
        self.executor = Executor(
            (forge, forge), recorder, self.clock, self.lane.state.situation, rules
        )
        self._queries = Queries(
            forge, self.executor.looking, frozenset({BOT}), FORGE, self.lane.duty.listing,
        )  # fmt: skip

    async def challenge(self) -> str:
        self._need_link()
        challenge = f"{self.name}{len(self._challenges)}-{self.world.dice.random()}"
        self._challenges[challenge] = self.clock.boot_s()
        return challenge

    async def order(self, make: Callable[[int], GiveOrder]) -> OrderAnswer:
        """Take an order as the desk does; its answer, or the order itself, may be lost."""
        self._need_link()
        given = make(1)
        if self.world.happens(0.1):
            raise _LOST
        permit = judge_order(
            Presented(given.order, given.action, given.approval), LaneTrust(TRUST).trust,
            self.lane.state.situation(), take_challenge=lambda one: self._challenges.pop(one, None),
            verify=verify,
        )  # fmt: skip
        if isinstance(permit, Refusal):
            return OrderAnswer(1, permit.reason, permit.detail)
        dress = Dress(given.branch, given.marker, given.change_token)
        task = asyncio.create_task(self.executor.carry_out(permit, dress))
        self.work.add(task)
        task.add_done_callback(self.work.discard)
        if self.world.happens(0.1):
            raise _LOST
        return OrderAnswer(1, "", "")

    async def send_ahead(self, content: bytes) -> str | None:
        return None

    async def is_up_within(self, seconds: float) -> bool:
        return self.up

    async def ask(self, method: str, params: Params) -> Any:
        self._need_link()
        answer = await self._queries.answer(method, params)
        return msgspec.msgpack.decode(msgspec.msgpack.encode(answer))  # as it comes off the link

    def _need_link(self) -> None:
        if not self.up:
            raise EdgeError("not linked", transient=True)

    @property
    def is_home(self) -> bool:
        return self.up and self.sent >= self.journal.head.seq

    async def deliver(self, archive: SqliteArchive, now_s: float) -> None:
        """Bring home what was journalled."""
        if not self.up:
            return
        while entries := await self.journal.read(self.sent, 10**9):
            journal, first = "j-" + self.name, self.sent + 1
            taken = await archive.take(self.name, journal, first, entries, now_s)
            assert not isinstance(taken, Refusal), taken
            self.sent += len(entries)

    async def quiesce(self) -> None:
        """Let its orders run until each of them sleeps."""
        await until(lambda: sum(not one.done() for one in self.work) <= self.clock.sleeping)


class WorldHouse(House):
    """The house of the world: it knows two lanes, and which polls show what."""

    world: World

    async def start(self) -> None:
        """Start as the program does: the ledger brings every request back."""
        self.ledger = cast(WornLedger, open_ledger(self._file))
        self.wire()

    def wire(self) -> None:
        self.requests = Requests(
            self.ledger, self.clock, SeededDice(self.world.throw()),
            Approvals(lambda: WORLD_FLEET, verify),
            Pinning(self.ask, self.settings.requests.expiry_s),
        )  # fmt: skip
        polled = Polls(self.world.archive, self.ledger).of
        self.orders = self.arbiter(SeededDice(3), WORLD_FLEET, polled)

    def linked(self) -> list[tuple[str, str, LaneLink]]:
        return [(one.name, TRUST.lane, cast(LaneLink, one))
                for one in self.world.in_order() if one.up]  # fmt: skip

    async def ask(self, method: str, params: Params) -> Any:
        for one in self.world.in_order():
            if one.up:
                return await one.ask(method, params)
        raise EdgeError("no lane is linked", transient=True)

    async def ask_lane(self, lane: str, method: str, params: Params) -> Any:
        return await self.world.lanes[lane].ask(method, params)


class World:
    """One generated world. `foreign` names the kind of write that nobody ordered, or nothing."""

    def __init__(self, folder: Path, seed: int, foreign: str = "") -> None:
        self.dice = random.Random(seed)
        self.foreign = foreign
        self.clock = VirtualClock(now_s=1_790_000_000.0)
        self.forge = HonestForge(self.clock, self._luck)
        self.forge.skew_s = self.dice.choice(OFF_S)
        self.troubled = True
        self.alerts: list[tuple[str, str]] = []
        self.frozen: list[Freeze] = []
        self.blurred: set[int] = set()
        self.expected = ""
        self.archive = open_archive(folder / "archive.db", quota_bytes=10**9)
        self.house = WorldHouse(folder, self.clock)
        self.house.world = self
        self.lanes = {
            name: HonestLane(self, name, folder / name, self.dice.choice((0.0, self.forge.skew_s)))
            for name in ("a", "b")
        }
        self.poller = "a"
        self._numbers = 0

    def throw(self) -> int:
        return self.dice.randrange(2**30)

    def happens(self, share: float) -> bool:
        return self.troubled and self.dice.random() < share

    def in_order(self) -> list[HonestLane]:
        """Return the lanes as the house prefers them: who polls first."""
        return sorted(self.lanes.values(), key=lambda one: one.name != self.poller)

    def _luck(self, when: str) -> EdgeError | None:
        """Return what goes wrong at a write, None mostly. `after`: it was done all the same."""
        if not self.happens(0.25):
            return None
        if self.happens(0.5):
            self.forge.broken_until_s = self.clock.boot_s() + self.dice.choice((3.0, 20.0, 60.0))
        told = [(502, None), (0, None), (500, None), (403, None), (422, None), (429, 40.0)]
        status, after_s = self.dice.choice(told)
        return EdgeError(
            f"{status} {when}", transient=status >= 500, status=status,
            sent=when == "after" or status != 0, retry_after_s=after_s,
        )  # fmt: skip

    # --- life ------------------------------------------------------------------------------

    async def play(self) -> list[str]:
        """Live through the world; return what does not hold at its end."""
        await self.begin()
        foreign_s = self.clock.boot_s() + self.dice.uniform(60.0, BUSY_S + QUIET_S / 2)
        end_s = self.clock.boot_s() + BUSY_S
        while self.clock.boot_s() < end_s:
            await self._trouble()
            await self.step(self.dice.choice((1.0, 3.0, 10.0, 25.0)))
            self._be_foreign(foreign_s)
        self.troubled, self.forge.broken_until_s = False, 0.0
        for lane in self.lanes.values():
            lane.up = True
        end_s += QUIET_S
        while self.clock.boot_s() < end_s:
            await self.step(5.0 if any(lane.work for lane in self.lanes.values()) else 30.0)
            self._be_foreign(foreign_s)
        return self._judged(await self.house.ledger.bot_writes())

    async def begin(self) -> None:
        """Start house and lanes on a forge with some issues and two pull requests of others."""
        await self.house.start()
        await self.start_follow()
        for lane in self.lanes.values():
            await lane.start()
        for number in range(1, QUIET_ISSUE + 1):
            self.forge.open_issue(self.forge.garden, f"issue {number}")
        self.forge.push(self.forge.garden, "work", self.forge.commit_files({}, ()))
        assert self.forge.open_pull("theirs", "", "main", "work", HUMAN) == QUIET_PULL
        self.forge.open_pull("theirs too", "", "main", "work", HUMAN)
        await self._bots_known()

    async def start_follow(self) -> None:
        house = self.house
        self.follow = Follow(
            Ports(
                self.archive, house.ledger, self.clock, SeededDice(self.throw()),
                lambda event: msgspec.json.decode(event.sealed) if event.sealed else None,
            ),
            house.requests,
            FleetView(
                lambda: WORLD_FLEET, self._freeze, self.frozen.append, self._saved, lambda: bool(house.linked()),
                lambda name: self.lanes[name].is_home, house.ask_lane,
            ),
            Reactions(noted(self.alerts), house.set_aside),
            Names("triage/seen", WORLD_FLEET.secret),
        )  # fmt: skip
        await self.follow.resume()

    async def _freeze(self, freeze: Freeze, lane: str) -> None:
        self.frozen.append(freeze)

    async def _saved(self) -> None:
        pass

    async def _bots_known(self) -> None:
        for lane in self.lanes.values():
            await lane.lane.recorder.tell(AuditDone(repositories=1, comment_only=0, bots=(BOT,)))

    async def step(self, seconds: float) -> None:
        """Poll, let orders go on, bring home, follow, order; then let time pass."""
        for lane in self.lanes.values():
            lane.lane.linked = lane.up
            if lane.up:
                lane.lane.state.heard_house(self.clock.now_s())
            await lane.quiesce()
        await self.lanes[self.poller].lane.step()
        for lane in self.lanes.values():
            await lane.deliver(self.archive, self.clock.now_s())
        await self.follow.step()
        await self.follow.idle()
        await self.house.step()
        self.clock.advance(seconds)

    async def _trouble(self) -> None:
        """Let something happen: an order, a person, a cut, a death, a fail-over, a restart."""
        if self.happens(0.4):
            with contextlib.suppress(EdgeError):  # no lane, or its forge does not answer
                await self._ask()
        if self.happens(0.2):
            self._people()
        lane = self.dice.choice(list(self.lanes.values()))
        if self.happens(0.12):
            lane.up = not lane.up
        if self.happens(0.05):
            await lane.restart()
        if self.happens(0.05):
            self.poller = "b" if self.poller == "a" else "a"
        if self.happens(0.05):
            await self._restart_house()

    async def _restart_house(self) -> None:
        await self.house.restart()
        await self.start_follow()

    async def _ask(self) -> None:
        """Ask for an act, and approve what needs it."""
        self._numbers += 1
        house, issue = self.house, self.dice.randint(1, QUIET_ISSUE - 1)
        match self.dice.choice(KINDS):
            case "comment":
                await house.comment(f"done {self._numbers}", issue)
            case "status":
                await house.status(self.dice.choice(("ready", "done", "blocked")), issue)
            case "mirror":
                await house.mirror(f"request{issue}", f"state {self._numbers}")
            case "close" | "close_pull" as kind:
                number = QUIET_PULL + 1 if kind == "close_pull" else issue
                await self._approved(kind="close_issue", issue=number)
            case "change":
                await self._approved(
                    kind="propose_change", base="main", branch="fix", title=f"Mend {self._numbers}",
                    body="because", files=changed(b"new %d\n" % self._numbers),
                )  # fmt: skip
            case _:
                head = f"work{self._numbers}"
                commit = self.forge.commit_files({"c.txt": b"c"}, (self.forge.base,))
                self.forge.push(self.forge.garden, head, commit)
                await self._approved(
                    kind="create_pr", base="main", branch=head, title="Take it", body="because"
                )

    async def _approved(self, **values: Any) -> None:
        request = await self.house.propose(**values)
        if request.state is State.PROPOSED:
            await self.house.approve(request, self.dice.choice((300, 1_200, 3_600)))

    def _people(self) -> None:
        """Let a person do by hand what orders are about, or undo what they did."""
        number = self.dice.randint(1, QUIET_ISSUE - 1)
        issue = self.forge.the_issue(number)
        if issue is None:
            return
        match self.dice.choice(("close", "reopen", "label", "unlabel", "comment", "title", "delete",
                                "gone")):  # fmt: skip
            case "close" if issue.state == "open":
                self.forge.close(issue)
            case "reopen":
                self.blurred.add(number)
                self.forge.edit(issue, state="open", closed_s=None)
            case "label":
                self.forge.label(issue, f"status/{self.dice.choice(('ready', 'done'))}")
            case "unlabel":
                self.blurred.add(number)
                self.forge.edit(issue, labels=())
            case "comment":
                self.forge.comment(issue, "a word")
            case "title":
                self.forge.edit(issue, title=f"{issue.title}!")
            case "delete":
                for comment in list(self.forge._comments[self.forge.garden.id, number].values()):
                    self.blurred.add(number)
                    self.forge.delete_comment(issue, comment)
            case "gone" if self.happens(0.2):
                self.blurred.add(number)
                self.forge.delete(issue)

    # --- what is nobody's ------------------------------------------------------------------

    def _be_foreign(self, at_s: float) -> None:
        """Do the one write that nobody ordered, once its time has come."""
        if not self.foreign or self.expected or self.clock.boot_s() < at_s:
            return
        forge, issue = self.forge, self.forge.the_issue(QUIET_ISSUE)
        pull = self.forge.the_issue(QUIET_PULL)
        assert issue is not None
        assert pull is not None
        where, on = f"{FORGE}/{forge.garden.id}", f"{FORGE}/{forge.garden.id}#{QUIET_ISSUE}"
        match self.foreign:
            case "comment":
                self.expected = f"comment {forge.comment(issue, 'not ordered', by=BOT).id} on {on}"
            case "label" | "status" as kind:
                forge.label(issue, "bug" if kind == "label" else "status/failed", by=BOT)
                self.expected = f"label on {on}"
            case "close":
                forge.close(issue, by=BOT)
                self.expected = f"close {forge.forge_s()} on {on}"
            case "close_pull":
                forge.close(pull, by=BOT)
                self.expected = f"close {forge.forge_s()} on {where}#{QUIET_PULL}"
            case "pull":
                number = forge.open_pull("not ordered", "", "main", "work", BOT)
                self.expected = f"pull_request {number} on {where}"
            case "branch":
                forge.push(forge.garden, "evil", forge.commit_files({"c": b"c"}, ()), BOT)
                self.expected = f"branch on {where}"
            case "commit" if (branch := self._keyed_branch()) is not None:
                commit = forge.commit_files({"a.txt": b"evil"}, (forge.base,))
                forge.push(forge.garden, branch, commit, BOT)
                self.expected = f"branch on {where}"
            case "issue":
                number = forge.open_issue(forge.garden, "not ordered", by=BOT).number
                self.expected = f"issue {number} on {where}#{number}"

    def _keyed_branch(self) -> str | None:
        """Return the branch of an ordered change that is over, None while there is none."""
        branches = self.forge.branches_of[self.forge.garden.id]
        for request in self.house.requests.all():
            if request.kind == "propose_change" and request.is_final:
                branch = work_of(request, WORLD_FLEET.marker).delivery.branch
                if branch in branches and not self.troubled:
                    return branch
        return None

    def _judged(self, waiting: object) -> list[str]:
        """Return what does not hold: freezes, writes unmatched, states that are not the truth."""
        reasons = [one.reason for one in self.frozen]
        found = [f"unmatched: {waiting}"] if waiting else []
        if self.expected:
            right = len(reasons) == 1 and reasons[0].startswith(self.expected + " ")
            found += [] if right else [f"expected {self.expected}, frozen: {reasons}"]
        else:
            found += [f"frozen: {reason}" for reason in reasons]
        for request in self.house.requests.all():
            found += self._truth(request)
        return found + [f"set aside: {one}" for one in self.house.aside]

    def _truth(self, request: Request) -> list[str]:
        is_done, says_done = request.digest in self.forge.done, request.state is State.DONE
        is_closed = request.kind == "close_issue" and any(  # by another order: that is as good
            one.target == request.target and one.digest in self.forge.done
            for one in self.house.requests.all()
            if one.kind == "close_issue"
        )
        number = int(request.target.rpartition("#")[2] or 0) if "#" in request.target else 0
        if says_done and not is_done and not is_closed and request.kind != "update_status":
            return [f"{request.kind} {request.id} says done and is not: {request.history}"]
        if is_done and not says_done and number not in self.blurred and request.is_final:
            what = [(line.what, line.detail[:60]) for line in request.history]
            return [f"{request.kind} {request.id} is done and says {request.state}: {what}"]
        return []

    async def close(self) -> None:
        for lane in self.lanes.values():
            for task in lane.work:
                task.cancel()
            await asyncio.gather(*lane.work, return_exceptions=True)
            await lane.journal.close()
        await self.archive.close()
        await self.house.ledger.close()


async def play(seed: int, foreign: str = "") -> list[str]:
    """Play one world; return what does not hold in it."""
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder), seed, foreign)
        try:
            return await world.play()
        finally:
            await world.close()


async def _play(count: int, seed: int) -> int:
    faults = 0
    for number in range(seed * 100_000, seed * 100_000 + count):
        foreign = FOREIGN[number % len(FOREIGN)] if number % 2 else ""
        for fault in await play(number, foreign):
            faults += 1
            print(f"world {number} {foreign}: {fault}", flush=True)
    print(f"honest worlds: {count}, {faults} faults")
    return min(faults, 1)


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    parser = argparse.ArgumentParser()
    parser.add_argument("--worlds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    sys.exit(asyncio.run(_play(asked.worlds, asked.seed)))
