"""What a thief does with a stolen lane: each move is a method, a trial plays some of them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from allegro.client.errors import BridgeError
from allegro.core.base.errors import UserError
from allegro.core.protocol.messages import Challenge, OrderAnswer, Query, Reply
from allegro.link.frames import encode
from tests.bad import values as bad
from tests.bad.event_samples import ISSUE, Sample, encoded, samples

from .fake_lane import STATUS
from .fleet_fixture import Theatre
from .stolen_lane import LIE, THIEF, StolenLane

FLOOD = 2_000
STOPS = 260
MUTE_S = 2.0
BRIEF = ("answers", "garbage", "role", "behind", "storm")
"""Moves after which the thief must go on for a while to be of effect."""


class Loot(NamedTuple):
    """What the thief works with. `victims` are the requests it knows of, in plain values."""

    theatre: Theatre
    lane: StolenLane
    bots: Sequence[int]
    victims: Sequence[dict[str, Any]]
    dice: random.Random


class Moves:
    """The moves, by name: `await moves.play("flood")`. `serial` names events that were never told."""

    def __init__(self, loot: Loot, serial: str) -> None:
        self.theatre, self.lane = loot.theatre, loot.lane
        self.bots, self.victims, self.dice = loot.bots, loot.victims, loot.dice
        self._serial = serial
        self._count = 0

    @classmethod
    def names(cls) -> tuple[str, ...]:
        return tuple(sorted(name[3:] for name in vars(cls) if name.startswith("do_")))

    async def play(self, name: str) -> None:
        await getattr(self, f"do_{name}")()

    # --- events -------------------------------------------------------------------------------

    def id(self) -> str:
        self._count += 1
        return f"{self._serial} {self._count}"

    def samples(self, victim: dict[str, Any]) -> dict[str, Sample]:
        """Return good events of every type about a request, in which every text is a lie."""
        place = victim["target"].partition("#")[0]
        order = victim["order_number"] or 1
        made = samples(
            victim["digest"], order, victim["id"], self.bots[0], int(time.time())
        )  # fmt: skip
        return {
            type_: one._replace(
                subject=one.subject.replace(ISSUE.partition("#")[0], place),
                words=_lying(one.words),
                data={**one.data, "reason": LIE, "watch": LIE},
            )
            for type_, one in made.items()
        }

    def event(self, type_: str, sample: Sample, id_: str = "") -> bytes:
        id_ = id_ or self.id()
        words = b"" if sample.words is None else self.lane.sealed(id_, sample.words)
        return json.dumps(encoded(id_, type_, sample, words)).encode()

    def _some(self) -> tuple[str, Sample]:
        """Return one type of event about one victim."""
        found = self.samples(self.dice.choice(self.victims))
        type_ = self.dice.choice(sorted(found))
        return type_, found[type_]

    def receipts(self, count: int) -> list[bytes]:
        """Return a receipt of each victim for every artifact up to `count`."""
        bodies = []
        for victim in self.victims:
            sample = self.samples(victim)["action.receipt"]
            bodies += [
                self.event("action.receipt", sample._replace(data={**sample.data, "artifact": n}))
                for n in range(1, count)
            ]
        return bodies

    # --- moves --------------------------------------------------------------------------------

    async def do_bent(self) -> None:
        """Send one type with facts and words of the whole table of bad values."""
        type_, sample = self._some()
        seed = self.dice.randrange(2**31)
        bodies = [
            json.dumps(encoded(self.id(), type_, sample._replace(data=data))).encode()
            for _, data in bad.sample(bad.bent_values(sample.data), 40, seed)
        ]
        for _, words in bad.sample(bad.bent_json(sample.words), 20, seed):
            id_ = self.id()
            sealed = self.lane.sealed_bytes(id_, words)
            bodies.append(json.dumps(encoded(id_, type_, sample, sealed)).encode())
        await self.lane.tell(bodies)

    async def do_victims(self) -> None:
        """Speak of orders that another lane was given, in every way there is."""
        bodies = []
        for victim in self.victims:
            for type_, sample in self.samples(victim).items():
                for order in {victim["order_number"], 1, 2**40}:
                    artifact = self.dice.choice((7, 1, 2**31))
                    data = {**sample.data, "order": order, "artifact": artifact}
                    bodies.append(self.event(type_, sample._replace(data=data)))
        self.dice.shuffle(bodies)
        await self.lane.tell(bodies)

    async def do_flood(self) -> None:
        """Send much of one kind, of which each is cheap to send."""
        type_, sample = self._some()
        await self.lane.tell([
            self.event(type_, sample._replace(words=None, data={
                **sample.data, "number": 10**6 + n, "comment": n, "watch": f"w{n}",
                "reason": f"r{n}", "repository": 10**6 + n,
            }))
            for n in range(FLOOD)
        ])  # fmt: skip

    async def do_listings(self) -> None:
        """Reconcile much, and answer what is asked about it badly."""
        odd: list[Any] = [None, 5, [], {"issues": "x"}, {"issues": [{}], "comments": [2**63]}, LIE]
        choice = self.dice.choice(odd)
        self.lane.reply = lambda query: STATUS if query.method == "status" else choice
        sample = self.samples(self.victims[0])["forge.reconciled"]
        own = self.victims[0]["target"].partition("#")[0].rpartition("/")[2]
        await self.lane.tell([
            self.event("forge.reconciled", sample._replace(data={"repository": n}))
            for n in (int(own), *range(1_000, 1_150))
        ])  # fmt: skip

    async def do_vanish(self) -> None:
        """Reconcile what the honest lane reads, and say that nothing of it is there."""
        empty: dict[str, list[int]] = {"issues": [], "comments": []}
        self.lane.reply = lambda query: STATUS if query.method == "status" else empty
        found = self.samples(self.victims[0])
        own = int(self.victims[0]["target"].partition("#")[0].rpartition("/")[2])
        sample = found["forge.reconciled"]._replace(data={"repository": own})
        gone = found["forge.snapshot.issue"]._replace(
            subject=self.victims[0]["target"],
            data={"repository": own, "number": 1, "vanished": True, "updated_s": 2**40},
        )
        await self.lane.tell([
            self.event("forge.vanished", gone), self.event("forge.reconciled", sample)
        ])  # fmt: skip

    async def do_clashes(self) -> None:
        """Tell under the ids of honest events, and under those that such a clash is kept by."""
        sample = self.samples(self.victims[-1])["action.receipt"]
        ids = [event["id"] for event in self.theatre.archived("forge.")[-20:]]
        ids += [event["id"] for event in self.theatre.archived("action.")[-20:]]
        tails = ("", "@allegro", f"@{THIEF}", "\0allegro\0000")
        await self.lane.tell([
            self.event("action.receipt", sample, f"{id_}{tail}") for id_ in ids for tail in tails
        ])  # fmt: skip

    async def do_repeats(self) -> None:
        """Tell many things under one id, and one thing many times."""
        id_, bodies = self.id(), []
        for n in range(100):
            type_, sample = self._some()
            bodies.append(self.event(type_, sample._replace(data={**sample.data, "turn": n}), id_))
        await self.lane.tell([*bodies, *([bodies[0]] * 300)])

    async def do_undecryptable(self) -> None:
        """Seal words for another event, for nobody, or not at all, and words of another type."""
        bodies = []
        for type_, sample in self.samples(self.dice.choice(self.victims)).items():
            if sample.words is None:
                continue
            id_ = self.id()
            other = self.lane.sealed(self.id(), sample.words)
            for sealed in (
                other, b"x", self.dice.randbytes(200), other[:-1],
                self.lane.sealed_bytes(id_, b"\xff\xfe"),
                self.lane.sealed(id_, [sample.words, {"id": [1], "url": 5}]),
            ):  # fmt: skip
                made = encoded(id_, type_, sample, sealed)
                bodies.append(json.dumps(made).encode())
        await self.lane.tell(bodies)

    async def do_answers(self) -> None:
        """Answer what was not asked, or asked of another lane."""
        for id_ in range(1, 200):
            await self.lane.say(
                OrderAnswer(id_, self.dice.choice(("", LIE)), LIE), Challenge(id_, "x"),
                Reply(id_, {"finding": "Present", "number": 7, "url": LIE}),
            )  # fmt: skip
        self.lane.reply = lambda query: {"healthy": LIE, "done": LIE, "freezes": [LIE, 5]}

    async def do_garbage(self) -> None:
        """Send frames that are no messages; the house hangs up each time."""
        for _ in range(3):
            await self.lane.say(self.dice.choice((b"", b"\xc1", bytes(3_000), b"\x81" * 100)))
            await asyncio.sleep(0.1)
        await self.lane.linked()

    async def do_storm(self) -> None:
        """Hang up again and again, in the middle of what it tells."""
        type_, sample = self._some()
        for _ in range(4):
            await self.lane.linked()
            bodies = [self.event(type_, sample) for _ in range(200)]
            await self.lane.tell(bodies, wait=False)
            await self.lane.hang_up()
        await self.lane.linked()

    async def do_journals(self) -> None:
        """Come back with another journal, again and again, and with the first one."""
        kept = self.lane.journal_name
        for name in (self.id(), ""):
            self.lane.journal_name = name
            await self.lane.hang_up()
            await self.lane.linked()
            await self.lane.tell([self.event(*self._some())], wait=False)
        self.lane.journal_name = kept
        await self.lane.hang_up()
        await self.lane.linked()

    async def do_behind(self) -> None:
        """Say that much more is on its way, and never send it."""
        self.lane.ahead = 2**50
        await self.lane.beat()

    async def do_freezes(self) -> None:
        """Stop the fleet more often than the house takes."""
        lie = {"at_s": 5.0, "by": self.dice.choice((LIE, "house")), "reason": LIE}
        await self.lane.tell([
            self.event("freeze.added", Sample({}, {"id": f"{self.id()} {LIE}", **lie}, ""))
            for _ in range(STOPS)
        ])  # fmt: skip

    async def do_mute(self) -> None:
        """Read nothing of what the house says, and stop the fleet meanwhile."""
        self.lane.listens.clear()
        lie = {"at_s": 5.0, "by": LIE, "reason": LIE * 3}
        await self.lane.tell([
            self.event("freeze.added", Sample({}, {"id": self.id().replace(" ", "-"), **lie}, ""))
            for _ in range(STOPS // 2)
        ], wait=False)  # fmt: skip
        await asyncio.sleep(MUTE_S)
        self.lane.listens.set()

    async def do_role(self) -> None:
        """Claim the forge's role, take an order, and tell that it is done, or nothing."""
        lane = self.lane
        busy = Reply(0, None, error="busy", transient=True)

        def reply(query: Query) -> Any:
            is_status = query.method == "status"
            return STATUS if is_status else encode(msgspec.structs.replace(busy, id=query.id))

        lane.reply, lane.roles = reply, {"forge": 2**40}
        await lane.beat()
        with contextlib.suppress(BridgeError, UserError):
            asked = await self.theatre.ask("comment", issue=1, body=f"taken {self.id()}")
            await asyncio.sleep(0.3)
            taken = await self.theatre.request(asked["id"])
            if self.dice.random() < 0.5 and THIEF in given_to(taken):
                sample = self.samples(taken)["action.receipt"]
                await lane.tell([self.event("action.receipt", sample)])


def given_to(request: dict[str, Any]) -> set[str]:
    """Return the lanes that were ordered to do a request."""
    orders = [one["detail"] for one in request["history"] if one["what"] == "order"]
    return {detail.rpartition(" to ")[2] for detail in orders}


def _lying(words: Any) -> Any:
    if isinstance(words, dict):
        return {key: LIE if isinstance(value, str) else value for key, value in words.items()}
    return LIE if isinstance(words, str) else words
