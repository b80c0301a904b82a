"""A world for the lease machine in virtual time: clocks that drift, messages that go astray.

One register (linearizable, as a quorum gives it) and lanes that only reach it through a network
that loses, delays and reorders what they send. Lanes are paused, cut off, killed and started
again; the register is at times unreachable for all, emptied, or set back to an older copy. A thief
may be a fourth lane: it writes whatever it likes into the register, in any name.
"""

from __future__ import annotations

import functools
import heapq
import itertools
import random
from collections.abc import Callable, Sequence

import msgspec

from allegro.core.authority.lease import (
    ANYBODY,
    MAX_EPOCH,
    MAX_LEASE_S,
    Around,
    Lease,
    Me,
    Offer,
    Record,
    Slot,
    Step,
    View,
    Wait,
    decide,
    holds,
    seen,
    sending,
    stood_down,
    wrote,
)

LEASE_S = 5.0
TICK_S = 1.0
ANSWER_S = 1.5
CALM_S = 25.0
LANES = ("a", "b", "c")
THIEF = "t"
KINDS = (
    "pause", "cut", "mend", "kill", "restart", "quorum", "unready", "ready", "rollback", "empty",
    "foul",
)  # fmt: skip
AT_ONCE = frozenset({"offer"})
"""Forgeries that let a lane take the role at once, while its holder has not read them yet."""


class Overlap(AssertionError):
    """Two lanes believed, at the same true moment and by their own clocks, that a role is theirs."""


class Register:
    """Compare-and-set with revisions, and a memory of what it held, to be set back to."""

    def __init__(self) -> None:
        self.revision = 0
        self.record: Record | None = None
        self.old: list[tuple[int, Record | None]] = [(0, None)]

    def write(self, record: Record, expected: int) -> int | None:
        if expected != self.revision:
            return None
        self.revision, self.record = self.revision + 1, record
        self.old.append((self.revision, record))
        return self.revision


class Lane:
    def __init__(self, name: str, rate: float, offset_s: float) -> None:
        self.name = name
        self.rate = rate
        self.offset_s = offset_s
        self.starts = itertools.count(1)
        self.connected = True
        self.paused_until = 0.0
        self.dead = False
        self.ready = True
        self.kept_epoch = 0
        self.left: Slot | None = None
        self.banned: frozenset[str] = frozenset()
        self.restart()

    def restart(self) -> None:
        self.dead = False
        self.process = next(self.starts)
        self.me = Me(self.name, f"{self.name}{self.process}")
        self.view = View("forge", epoch=self.kept_epoch, left=self.left)
        self.asked = 0

    def boot_s(self, now: float) -> float:
        return self.offset_s + self.rate * now

    def holds(self, now: float) -> bool:
        return not self.dead and holds(self.view.lease, self.boot_s(now))


class World:
    """`demotes` False takes self-demotion out of the machine, to show that the check can fail.

    So does `trusts_names`: a lane that starts takes whatever bears its name for its own.
    """

    def __init__(
        self, seed: int, *, demotes: bool = True, trusts_names: bool = False, drift: float = 0.03
    ) -> None:  # fmt: skip
        self.dice = random.Random(seed)
        self.demotes = demotes
        self.trusts_names = trusts_names
        self.now = 0.0
        self.register = Register()
        self.quorum = True
        self.lanes = [
            Lane(n, 1 + self.dice.uniform(-drift, drift), self.dice.uniform(0, 1e6)) for n in LANES
        ]
        self.events: list[tuple[float, int, Callable[[], None]]] = []
        self.count = itertools.count()
        self.wire = self.down = 0
        self.takes = 0
        self.kinds: set[str] = set()
        self.thief: tuple[str, ...] = ()
        self.is_revoked = False
        self.forgeries: set[str] = set()
        self.overlap_s = self.longest_s = 0.0
        for lane in self.lanes:
            self.at(self.dice.uniform(0, 1), self.tick(lane, lane.process))

    def at(self, delay_s: float, act: Callable[[], None]) -> None:
        heapq.heappush(self.events, (self.now + delay_s, next(self.count), act))

    def run(self, until: float) -> None:
        while self.events and self.events[0][0] <= until:
            before, (self.now, _, act) = self.now, heapq.heappop(self.events)
            if self.forgeries:
                self.measure(before)
            act()
        self.now = until

    def measure(self, before: float) -> None:
        """Note for how long (s) more than one lane holds the role."""
        twice = len(self.holders()) > 1
        self.overlap_s = self.overlap_s + self.now - before if twice else 0.0
        self.longest_s = max(self.longest_s, self.overlap_s)

    # --- a lane ------------------------------------------------------------------------------

    def tick(self, lane: Lane, process: int) -> Callable[[], None]:
        def act() -> None:
            if lane.dead or lane.process != process:
                return
            if self.now < lane.paused_until:
                self.at(lane.paused_until - self.now, act)
                return
            lane.asked += 1
            self.send(lane, lane.asked, lambda: self.answer_read(lane))
            self.at(TICK_S / lane.rate, act)

        return act

    def send(self, lane: Lane, asked: int, at_server: Callable[[], Callable[[], None]]) -> None:
        """Carry a request there and its answer back; either may be lost, or come much later."""

        wire = self.wire

        def arrive() -> None:
            if not (lane.connected and self.quorum and not self.down and wire == self.wire):
                return
            reply = at_server()
            if self.dice.random() > 0.03:
                self.at(self.travel_s(), lambda: self.deliver(lane, asked, reply))

        if self.dice.random() > 0.03:
            self.at(self.travel_s(), arrive)

    def travel_s(self) -> float:
        return self.dice.uniform(5, 20) if self.dice.random() < 0.03 else self.dice.uniform(0, 0.3)

    def deliver(self, lane: Lane, asked: int, reply: Callable[[], None]) -> None:
        if lane.dead or asked != lane.asked:
            return  # given up: a newer question is out
        if self.now < lane.paused_until:
            self.at(lane.paused_until - self.now, lambda: self.deliver(lane, asked, reply))
            return
        reply()

    def answer_read(self, lane: Lane) -> Callable[[], None]:
        slot = Slot(self.register.revision, self.register.record)
        return lambda: self.read(lane, slot)

    def read(self, lane: Lane, slot: Slot) -> None:
        if self.trusts_names:
            lane.view = msgspec.structs.replace(lane.view, left=slot)
        lane.view = seen(lane.view, slot, lane.me, lane.boot_s(self.now))
        heir = "" if lane.ready else ANYBODY
        around = Around(
            lane.ready, rank=LANES.index(lane.name), heir=heir, banned=lane.banned,
            members=frozenset((*LANES, THIEF)),
        )  # fmt: skip
        step: Step = decide(
            lane.view, lane.me, around, lease_s=LEASE_S, boot_s=lane.boot_s(self.now)
        )
        if isinstance(step, Wait):
            return
        if isinstance(step, Offer):
            lane.view = stood_down(lane.view)
        lane.kept_epoch = max(lane.kept_epoch, step.record.epoch, lane.view.epoch)
        record, expected, sent_s = step.record, step.expected, lane.boot_s(self.now)
        lane.asked += 1
        lane.view = sending(lane.view, record)

        def at_server() -> Callable[[], None]:
            revision = self.register.write(record, expected)
            return lambda: None if revision is None else self.won(lane, record, revision, sent_s)

        self.send(lane, lane.asked, at_server)

    def won(self, lane: Lane, record: Record, revision: int, sent_s: float) -> None:
        lane.view = wrote(lane.view, record, revision, lease_s=LEASE_S, sent_s=sent_s)
        lane.left = Slot(revision, record)
        if not self.demotes and lane.view.lease is not None:
            lane.view = msgspec.structs.replace(lane.view, lease=_endless(lane.view.lease))
        self.takes += 1
        if lane.holds(self.now):
            others = [o.name for o in self.lanes if o is not lane and o.holds(self.now)]
            if others and not self.is_revoked and not AT_ONCE & set(self.thief):
                raise Overlap(f"{lane.name} and {others} at {self.now:.3f}")

    # --- a thief ------------------------------------------------------------------------------

    def steal(self, *kinds: str) -> None:
        """Let a thief write such forgeries from now on, about one a second."""
        self.thief = kinds
        self.at(0, self.forge)

    def forge(self) -> None:
        if not self.thief:
            return
        kind = self.dice.choice(self.thief)
        self.forgeries.add(kind)
        record = self.forgery(kind)
        if self.quorum and not self.down and record is not None:
            self.register.write(record, self.register.revision)
        self.at(self.dice.uniform(0.2, 3.0), self.forge)

    def forgery(self, kind: str) -> Record | None:
        """Return a record that no lane's program would write now."""
        known, lane = self.register.record, self.dice.choice(self.lanes)
        epoch = known.epoch if known is not None else 1
        epoch = self.dice.choice([1, epoch, epoch + 1, epoch + 2**20, MAX_EPOCH])
        lease_s = self.dice.choice([0.0, LEASE_S, float(MAX_LEASE_S)])
        mine = Record(lane.name, lane.me.process, min(epoch, MAX_EPOCH), lease_s=lease_s)
        if kind == "usurp":
            return msgspec.structs.replace(mine, holder=THIEF, process="t1")
        if kind == "stranger":
            return msgspec.structs.replace(mine, holder="nobody")
        if kind == "copy":
            return known
        if kind == "offer":
            to = self.dice.choice([*LANES, ANYBODY])
            return msgspec.structs.replace(mine, offered=to, epoch=lane.view.epoch or 1)
        return mine

    def revoke(self) -> None:
        """The thief's key is revoked; each lane hears of it within a second.

        What it writes arrives for two seconds more, until its server is shut out.
        """
        for lane in self.lanes:
            ban = functools.partial(setattr, lane, "banned", frozenset({THIEF}))
            self.at(self.dice.uniform(0, 1), ban)
        self.is_revoked = True
        self.at(2.0, lambda: setattr(self, "thief", ()))

    # --- faults ------------------------------------------------------------------------------

    def trouble(self, kinds: Sequence[str] = KINDS) -> None:
        """One fault, or the end of one."""
        lane = self.dice.choice(self.lanes)
        kind = self.dice.choice(kinds)
        self.kinds.add(kind)
        if kind == "pause":
            lane.paused_until = self.now + self.dice.uniform(0.5, 20)
        elif kind in {"cut", "mend"}:
            lane.connected = kind == "mend"
        elif kind == "kill":
            lane.dead = True
        elif kind == "restart":
            self.start(lane)
        elif kind == "quorum":
            self.quorum = not self.quorum
        elif kind in {"unready", "ready"}:
            lane.ready = kind == "ready"
        else:
            self.damage(kind)

    def damage(self, kind: str) -> None:
        """What is stored goes back, is lost, or is overwritten by a thief: the lanes live on.

        A store is set back or emptied with its servers down, so no connection lives on, and no
        lease either: stopping three servers and starting them again takes longer than one.
        """
        register = self.register
        if kind == "foul":
            register.revision, register.record = register.revision + 1, None
            return
        self.down, self.wire = self.down + 1, self.wire + 1
        old = self.dice.choice(register.old) if kind == "rollback" else (0, None)
        self.at(LEASE_S * 1.1, lambda: self.restore(*old))

    def restore(self, revision: int, record: Record | None) -> None:
        self.register.revision, self.register.record = revision, record
        self.down -= 1

    def start(self, lane: Lane) -> None:
        if lane.dead:
            lane.restart()
            self.at(0, self.tick(lane, lane.process))

    def heal(self) -> None:
        self.run(self.now + 2 * LEASE_S)  # a restore that is under way ends
        self.quorum = True
        for lane in self.lanes:
            lane.connected, lane.ready, lane.paused_until = True, True, 0.0
            self.start(lane)

    def holders(self) -> list[str]:
        return [lane.name for lane in self.lanes if lane.holds(self.now)]


def _endless(lease: Lease) -> Lease:
    return msgspec.structs.replace(lease, until_boot_s=float("inf"))


def play(seed: int, *, demotes: bool = True, faults: int = 30) -> World:
    """Play one run: faults, a calm, and so on. Raises Overlap; asserts progress in each calm."""
    world = World(seed, demotes=demotes)
    for calm in range(3):
        for _ in range(faults // 3):
            world.run(world.now + world.dice.expovariate(1 / 4))
            world.trouble()
        world.heal()
        world.run(world.now + CALM_S)
        held = any(_holds_within(world, 5.0))
        assert held, f"nobody holds the role in calm {calm} of seed {seed}"
    return world


def _holds_within(world: World, seconds: float) -> list[bool]:
    """Look each second: with 6 % of messages lost, a holder may lapse for a moment."""
    looks = []
    for _ in range(int(seconds)):
        looks.append(bool(world.holders()))
        world.run(world.now + 1)
    return looks


FORGERIES = ("usurp", "name", "stranger", "copy")


def impersonate(seed: int, *, trusts_names: bool = False, starts: int = 10) -> World:
    """Let a thief write in the name of a lane that starts just then, the holder perhaps cut off.

    Raises Overlap.
    """
    world = World(seed, trusts_names=trusts_names)
    for _ in range(starts):
        world.run(world.now + world.dice.uniform(12, 25))
        holders = world.holders()
        lane = world.dice.choice([one for one in world.lanes if one.name not in holders])
        lane.dead = True
        world.run(world.now + world.dice.uniform(0, 8))
        known = world.register.record
        if known is not None:
            epoch = known.epoch + world.dice.choice([0, 0, 1, 50])
            process = world.dice.choice([lane.me.process, known.process, "t1"])
            forged = Record(lane.name, process, epoch, beat=known.beat, lease_s=known.lease_s)
            for one in world.lanes:
                one.connected = one.name not in holders or world.dice.random() < 0.5
            world.register.write(forged, world.register.revision)
        world.start(lane)
        world.run(world.now + LEASE_S)
        world.heal()
    return world


def rob(seed: int, *kinds: str, seconds: float = 60.0) -> tuple[World, float]:
    """Let a thief forge while lanes are cut off, paused and unready; then revoke it.

    Return the world, and how long (s) after the revocation nobody held the role.
    """
    world = World(seed)
    world.run(10)
    world.steal(*kinds)
    troubles = ("pause", "cut", "mend", "unready", "ready")
    while world.now < 10 + seconds:
        world.run(world.now + world.dice.expovariate(1 / 4))
        world.trouble(troubles)
    world.heal()
    world.revoke()
    revoked_s = world.now
    while not (world.holders() and not world.thief) and world.now < revoked_s + 90:
        world.run(world.now + 0.25)
    return world, world.now - revoked_s
