"""A house that tells its owner, in virtual time: dead channels, kills, flaps, restarts, sleep.

`python -m tests.duties.alert_world --seeds 200`. One world has two channels of which one, both or
none dies for 1 s, 10 min or 2 days when something breaks; a program that keeps its alert state and
outbox on a disk, in one transaction, and is killed between storing, sending and noting; and things
that break, flap and are well again. The checker knows what really was broken, and when, and what
the owner's phone received; it uses no rule and no number of the product.
"""

from __future__ import annotations

import argparse
import datetime
import random
import sys
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple
from zoneinfo import ZoneInfo

import msgspec

from allegro.core.health import codes
from allegro.core.health.alarm import step
from allegro.core.health.alert_state import AlertState, Delivery, Inputs, Rules
from allegro.core.health.days import DayWindow
from allegro.core.health.delivery.channel_facts import channel_facts
from allegro.core.health.delivery.outbox import (
    Failure,
    Outbox,
    Sending,
    configured,
    resumed,
    with_notice,
)
from allegro.core.health.delivery.sending import begun, failed, noted, sendings
from allegro.core.health.expected import Expected, Mode, silence
from allegro.core.health.facts import Fact, State
from allegro.core.health.freshness import Board, Tick, expired, loaded, stated, ticked

ZONE = ZoneInfo("Europe/Berlin")
START_S = 1_790_000_000.0
OUTAGES_S = (0.0, 1.0, 600.0, 172_800.0)
CHANNELS = ("telegram", "mail")
CAUSES = {"urgent": codes.STORES, "soon": codes.LANE_DISK, "later": codes.ARCHIVE_GAPS}
PROMISED_S = {"urgent": 5.0, "soon": 900.0, "later": 3600.0}
"""By when the owner must have been told: the specification's own figures, written out here."""

TICK_S = 60.0
SLOWEST_RETRY_S = 2 * TICK_S + 5
KILLS = ("before store", "after store", "after begin", "after send")


class Wrong(AssertionError):
    """The owner was told too little, too much, too late or in the wrong order."""


class Spell(NamedTuple):
    """Something that was broken, by the world's own clock."""

    cause: str
    name: str
    from_s: float
    until_s: float


class Receipt(NamedTuple):
    """What a phone received: nothing of it is a value of the product."""

    at_s: float
    channel: str
    id: str
    kind: str
    names: tuple[str, ...]
    down_since_s: float


class Killed(Exception):
    """The program ended here, as by kill -9."""


class Disk(msgspec.Struct, frozen=True):
    """What one transaction stores."""

    alerts: AlertState
    outbox: Outbox


class Program:
    """The shell around the machines: what a house does each few seconds, and nothing more."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.disk = msgspec.json.encode(Disk(AlertState("house"), configured(Outbox(), CHANNELS)))
        self.start()

    def start(self) -> None:
        held = msgspec.json.decode(self.disk, type=Disk)
        self.alerts, self.outbox = held.alerts, resumed(held.outbox)
        self.proofs: list[str] = [one.notice for one in self.outbox.sent]

    def store(self) -> None:
        self.disk = msgspec.json.encode(Disk(self.alerts, self.outbox))

    def run(self, now_s: float) -> None:
        facts = self.world.facts(now_s)
        inputs = Inputs(facts=facts, deliveries=[Delivery(one, now_s) for one in self.proofs])
        done = step(self.alerts, inputs, Rules(ZONE), now_s)
        self.alerts, self.proofs = done.state, []
        for notice in done.notices:
            self.outbox = with_notice(self.outbox, notice)
        if done.notices:
            self.world.may_kill("before store")
        self.store()
        if done.notices:
            self.world.may_kill("after store")
        for sending in sendings(self.outbox, now_s):
            self.send(sending, now_s)

    def send(self, sending: Sending, now_s: float) -> None:
        self.outbox = begun(self.outbox, sending)
        self.store()
        self.world.may_kill("after begin")
        failure = self.world.deliver(sending, now_s)
        if failure is None:
            self.world.may_kill("after send")
            self.outbox = noted(self.outbox, sending, "1", now_s)
            self.proofs.append(sending.notice.id)
        else:
            self.outbox = failed(self.outbox, sending, failure, now_s, self.world.dice.random)
        self.store()


class World:
    """What is broken when, which channel is dead when, and where the program is killed."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.now_s = START_S
        self.spells = list(self._plan())
        self.dead = {
            name: (when - 0.5, when - 0.5 + self.dice.choice(OUTAGES_S))
            for name in CHANNELS
            for when in [self.dice.choice([one.from_s for one in self.spells])]
        }
        self.kill_at = {self.dice.choice(KILLS): self.dice.randint(1, 4)}
        self.restarts = {START_S + self.dice.uniform(0, 20_000) for _ in range(4)}
        self.phone: list[Receipt] = []
        self.kills: Counter[str] = Counter()
        self.program = Program(self)

    def _plan(self) -> Iterator[Spell]:
        for n, cause in enumerate(CAUSES):
            begin_s = START_S + 60 + self.dice.uniform(0, 3600)
            long_s = self.dice.uniform(1000, 6000)
            yield Spell(cause, f"{cause}-{n}", begin_s, begin_s + long_s)
        begin_s = START_S + 300
        yield Spell("later", "blip", begin_s, begin_s + 20.0)
        flapping = self.dice.choice(list(CAUSES))
        for n in range(500):
            at_s = START_S + 8000 + n * 7.2
            yield Spell(flapping, "flaps", at_s, at_s + 3.6)

    def facts(self, now_s: float) -> list[Fact]:
        names = {(one.cause, one.name) for one in self.spells}
        bad = {one.name for one in self.spells if one.from_s <= now_s < one.until_s}
        return [
            Fact(CAUSES[cause], "bad" if name in bad else "ok", "measured", "probe", name, now_s)
            for cause, name in sorted(names)
        ] + channel_facts(self.program.outbox, now_s)

    def is_dead(self, channel: str, at_s: float) -> bool:
        from_s, until_s = self.dead[channel]
        return from_s <= at_s < until_s

    def deliver(self, sending: Sending, now_s: float) -> Failure | None:
        if self.is_dead(sending.channel, now_s):
            return Failure("no answer")
        notice = sending.notice
        names = tuple(line.subject for line in notice.lines)
        self.phone.append(
            Receipt(now_s, sending.channel, notice.id, notice.kind, names, sending.down_since_s)
        )
        return None

    def may_kill(self, point: str) -> None:
        left = self.kill_at.get(point)
        if left is None:
            return
        self.kill_at[point] = left - 1
        if left == 1:
            self.kills[point] += 1
            del self.kill_at[point]
            raise Killed

    def moments(self) -> Iterator[float]:
        """Yield when the program looks: each few seconds while something moves, else each minute."""
        edges = sorted({one.from_s for one in self.spells} | {one.until_s for one in self.spells})
        end_s = max(edges[-1], *(until_s for _, until_s in self.dead.values())) + 3 * 3600
        busy = [(at_s, at_s + 130) for at_s in edges] + [(one - 5, one + 130) for _, one in
                                                         self.dead.values()]  # fmt: skip
        busy.sort()
        at_s, n = START_S, 0
        while at_s < end_s:
            yield at_s
            while n < len(busy) and busy[n][1] < at_s:
                n += 1
            is_busy = n < len(busy) and busy[n][0] - 60 <= at_s
            at_s += 3.6 if is_busy else TICK_S

    def play(self) -> World:
        for now_s in self.moments():
            self.now_s = now_s
            if any(one <= self.now_s for one in self.restarts):
                self.restarts = {one for one in self.restarts if one > self.now_s}
                self.program.start()
            try:
                self.program.run(self.now_s)
            except Killed:
                self.program.start()
        return self


def check(world: World) -> None:
    """Compare what the phone received with what was really broken."""
    for name in {one.name for one in world.spells} - {"flaps", "blip"}:
        _check_told(world, name)
    _check_flaps(world)
    _check_doubles(world)
    _check_outages(world)
    if any("blip" in one.names for one in world.phone):
        raise Wrong("a blip of 20 s was told")


def _received(world: World, name: str) -> list[Receipt]:
    return [one for one in world.phone if name in one.names]


def _check_told(world: World, name: str) -> None:
    (spell,) = (one for one in world.spells if one.name == name)
    received = _received(world, name)
    alarms = [one.at_s for one in received if one.kind == "alarm"]
    if not alarms:
        raise Wrong(f"{name} was never told")
    by_s = spell.from_s + PROMISED_S[spell.cause]
    alive_s = min(until_s if from_s <= by_s < until_s else by_s
                  for from_s, until_s in world.dead.values())  # fmt: skip
    if alarms[0] > max(by_s, alive_s) + SLOWEST_RETRY_S:
        raise Wrong(f"{name} was told {alarms[0] - by_s:.0f} s late")
    ends = [one.at_s for one in received if one.kind == "recovery"]
    if not ends or ends[0] < alarms[0] or ends[0] < spell.until_s:
        raise Wrong(f"the end of {name} was told {'early' if ends else 'never'}")
    if spell.cause == "urgent":
        _check_reminders(world, spell, [one.at_s for one in received])


def _check_reminders(world: World, spell: Spell, told: list[float]) -> None:
    """P0: nobody acknowledges, so no 5 min without a word while a channel lives."""
    inside = [one for one in sorted(told) if one < spell.until_s]
    for before, after in zip(inside, [*inside[1:], spell.until_s], strict=True):
        was_dead = any(
            from_s <= after and before <= until_s + 130 for from_s, until_s in world.dead.values()
        )
        if after - before > 300 + 2 * TICK_S + 5 and not was_dead:
            raise Wrong(f"{spell.name}: {after - before:.0f} s without a reminder")


def _check_flaps(world: World) -> None:
    ids = {one.id: one.kind for one in _received(world, "flaps")}
    kinds = Counter(ids.values())
    if len(ids) > 3 or kinds["alarm"] != 1 or kinds["recovery"] != 1:
        raise Wrong(f"500 flaps were {dict(kinds)}")


def _check_doubles(world: World) -> None:
    times = Counter((one.id, one.channel) for one in world.phone)
    doubles = sum(times.values()) - len(times)
    if doubles > world.kills["after send"] or max(times.values()) > 2:
        raise Wrong(f"{doubles} doubles with {world.kills['after send']} kills before the note")


def _check_outages(world: World) -> None:
    """The first message after a channel's outage that it was noticed in says since when."""
    for channel, (from_s, until_s) in world.dead.items():
        after = [one for one in world.phone if one.channel == channel and one.at_s >= until_s]
        said = [one for one in after if one.down_since_s]
        for one in said:
            if not from_s <= one.down_since_s <= until_s:
                raise Wrong(f"{channel} was dead from {from_s}, and {one.down_since_s} was said")
        if said and said[0] is not after[0]:
            raise Wrong(f"{channel}: the first message after the outage did not say so")


# --- thirty nights --------------------------------------------------------------------------------


class Night(NamedTuple):
    """What a lane told about its house in thirty days, and what it told of a real trouble."""

    about_house: int
    about_trouble: int
    unknown: int


def thirty_nights(expected: Expected, *, sleeps: tuple[int, int] = (23, 7)) -> Night:
    """Play a lane whose house sleeps each night; on night 12 a disk of the lane fills up.

    A producer at the lane speaks every other minute, and its board is loaded again now and then.
    """
    alerts, board, phone = AlertState("vps"), Board(), list[tuple[str, ...]]()
    heard_s, unknown = START_S, 0
    for minute in range(0, 30 * 24 * 60, 2):
        now_s = START_S + minute * 60.0
        hour = datetime.datetime.fromtimestamp(now_s, ZONE).hour
        night, morning = sleeps
        if not (hour >= night or hour < morning):
            heard_s = now_s
        trouble: State = "bad" if 12 * 1440 <= minute < 12 * 1440 + 90 else "ok"
        probe = Fact(codes.LANE_DISK, trouble, "3 %", "statvfs", "vps", now_s, now_s + 300)
        board = ticked(stated(board, [probe]), Tick(now_s, float(minute * 60)))
        if minute % 994 == 0:
            board = loaded(msgspec.json.decode(msgspec.json.encode(board), type=Board))
        facts = expired(board.facts, now_s)
        unknown += sum(one.state == "unknown" for one in facts)
        facts.append(silence(expected, heard_s, now_s, ZONE))
        proofs = [Delivery(f"vps-{alerts.made}", now_s)]
        done = step(alerts, Inputs(facts=facts, deliveries=proofs), Rules(ZONE), now_s)
        alerts = done.state
        phone += [tuple(line.code for line in one.lines) for one in done.notices]
    about = [code for codes_told in phone for code in codes_told]
    return Night(about.count("house.silent"), about.count("lane.disk"), unknown)


NOTEBOOK = Expected(Mode.WHENEVER)
OFFICE = Expected(Mode.HOURS, DayWindow(8 * 60, 22 * 60))
SERVER = Expected()


def play(seed: int) -> World:
    """Play and check one world. Raises Wrong."""
    world = World(seed).play()
    check(world)
    return world


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    wrong, kills = 0, Counter[str]()
    for seed in range(args.seed, args.seed + args.seeds):
        try:
            kills += play(seed).kills
        except Wrong as error:
            wrong += 1
            print(f"seed {seed}: {error}")
    nights = {str(one.mode): thirty_nights(one) for one in (NOTEBOOK, OFFICE)}
    wrong += sum(one.about_house for one in nights.values())
    print(f"{args.seeds} worlds, {wrong} wrong, kills {dict(kills)}, thirty nights {nights}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
