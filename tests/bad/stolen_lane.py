"""A stolen lane beside an honest one, played from a seed against the house's real duties.

`python -m tests.bad.stolen_lane --trials N --seed S` plays N of them and says what did not hold.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import tempfile
import time
from pathlib import Path

from allegro.core.base.errors import EdgeError
from allegro.core.base.events import Event, encode_event
from allegro.core.requests.lifecycle import State
from allegro.testing.virtual import BOT
from tests.core.builders import FORGE
from tests.patience import patient

from . import values as bad
from .event_house import HONEST, SEALER, THIEF, TIME, EventHouse, open_event_house
from .event_samples import Sample, encoded, samples

QUOTA_BYTES = 3_000_000
LEDGER_BYTES = 8_000_000
READ_S = 2.0
TURNS = 25


class Play:
    """One trial: the thief's turns, the honest lane's word after each, and what did not hold."""

    def __init__(self, house: EventHouse, seed: int) -> None:
        self.house = house
        self.dice = random.Random(seed)
        self.faults: list[str] = []
        self._ids = 0
        self._full = False

    async def run(self) -> list[str]:
        house = self.house
        bots = Event("bots", "audit.done", "lane:honest", TIME, data={"bots": [BOT]})
        await house.send(HONEST, [encode_event(bots)])
        self.mine = await house.comment_of(THIEF)
        self.session = await house.session_of(THIEF)
        self.victims = [await house.comment_of(HONEST) for _ in range(3)]
        for turn in range(TURNS):
            await self._thief_turn()
            await self._honest_turn(turn)
        await self._foreign_write()
        self._check_disk()
        return self.faults

    async def _thief_turn(self) -> None:
        move = self.dice.choice(
            (self._bent, self._about_victims, self._flood, self._listings, self._ids_of_others)
        )
        bodies = await move()
        for at in range(0, len(bodies), 500):
            refusal = await self.house.send(THIEF, bodies[at : at + 500])
            self._full = self._full or (refusal is not None and refusal.reason == "over_quota")

    def _id(self) -> str:
        self._ids += 1
        return f"thief {self._ids}"

    async def _bent(self) -> list[bytes]:
        """Send one type with facts and words of the whole table."""
        type_ = self.dice.choice(sorted(self._samples()))
        sample = self._samples()[type_]
        bodies = []
        for _, data in bad.sample(bad.bent_values(sample.data), 40, self.dice.randrange(2**31)):
            bodies.append(json.dumps(encoded(self._id(), type_, sample._replace(data=data))))
        for _, words in bad.sample(bad.bent_json(sample.words), 20, self.dice.randrange(2**31)):
            id_ = self._id()
            bodies.append(json.dumps(encoded(id_, type_, sample, SEALER.seal(id_, words))))
        return [body.encode() for body in bodies]

    async def _about_victims(self) -> list[bytes]:
        """Speak of orders that the honest lane was given, in every way there is."""
        bodies = []
        for victim in self.victims:
            for type_, sample in self._samples().items():
                data = {**sample.data, "digest": victim.digest, "order": victim.order_number,
                        "artifact": 7}  # fmt: skip
                event = encoded(self._id(), type_, sample._replace(data=data))
                bodies.append(json.dumps(event).encode())
        return bodies

    async def _flood(self) -> list[bytes]:
        """Send much of one kind, of which each is cheap to send."""
        type_ = self.dice.choice(sorted(self._samples()))
        sample = self._samples()[type_]
        return [
            json.dumps(encoded(self._id(), type_, sample._replace(
                data={**sample.data, "number": n, "comment": n, "watch": f"w{n}", "reason": f"r{n}"}
            ))).encode()
            for n in range(1_500)
        ]  # fmt: skip

    async def _listings(self) -> list[bytes]:
        """Reconcile much, and answer what is asked about it badly or not at all."""
        self.house.answer = self.dice.choice(
            [None, 5, [], {"issues": "x"}, {"issues": [{}], "comments": [2**70]},
             EdgeError("no answer in time", transient=True), EdgeError("no", transient=False)]
        )  # fmt: skip
        sample = self._samples()["forge.reconciled"]
        return [
            json.dumps(encoded(self._id(), "forge.reconciled",
                               sample._replace(data={"repository": 1_000 + n}))).encode()
            for n in range(200)
        ]  # fmt: skip

    async def _ids_of_others(self) -> list[bytes]:
        """Take the ids that the honest lane will use."""
        sample = self._samples()["action.receipt"]
        start = self.dice.randrange(40)
        return [
            json.dumps(encoded(f"honest {n}{tail}", "action.receipt", sample)).encode()
            for n in range(start, start + 20) for tail in ("", "@honest")
        ]  # fmt: skip

    def _samples(self) -> dict[str, Sample]:
        now_s = int(self.house.house.clock.now_s())
        mine = self.mine
        return samples(mine.digest, mine.order_number, self.session.id, BOT, now_s)

    async def _honest_turn(self, turn: int) -> None:
        """Let the honest lane settle one order; it must count, and be read in time."""
        began_s = time.process_time()
        handled = await self.house.good_item_is_handled()
        took_s = time.process_time() - began_s
        if not handled:
            self.faults.append(f"turn {turn}: the honest lane's receipt was not handled")
        if took_s > patient(READ_S):
            self.faults.append(f"turn {turn}: it was read after {took_s:.1f} s")
        for victim in self.victims:
            if self.house.state_of(victim) is not State.ORDERED:
                state = self.house.state_of(victim).value
                self.faults.append(f"turn {turn}: an order of the honest lane became {state}")
        if self.house.aside:
            self.faults.append(f"turn {turn}: set aside: {self.house.aside.pop().reason}")

    async def _foreign_write(self) -> None:
        """Let the honest lane's poll show a write that nobody ordered: it must freeze."""
        before = len(self.house.frozen)
        now_s = int(self.house.house.clock.now_s())
        event = Event(
            "foreign", "forge.snapshot.comment", "lane:honest", TIME,
            subject=f"{FORGE}/99/comment/900", data={
                "number": 9, "comment": 900, "author_id": BOT, "created_s": now_s,
                "updated_s": now_s, "content": "nobody's",
            },
        )  # fmt: skip
        await self.house.send(HONEST, [encode_event(event)])
        await self.house.read()
        if len(self.house.frozen) == before:
            self.faults.append("a foreign write did not freeze")

    def _check_disk(self) -> None:
        for name, most in (("archive", 2 * QUOTA_BYTES + 4_000_000), ("ledger", LEDGER_BYTES)):
            size = (self.house.folder / f"{name}.db").stat().st_size
            if size > most:
                self.faults.append(f"{name}.db grew to {size} bytes")


async def run_one(folder: Path, seed: int) -> list[str]:
    """Play one trial; return what did not hold."""
    async with open_event_house(folder, QUOTA_BYTES) as house:
        return await Play(house, seed).run()


async def _main(trials: int, seed: int) -> int:
    failed = 0
    for n in range(seed, seed + trials):
        with tempfile.TemporaryDirectory() as folder:
            faults = await run_one(Path(folder), n)
        failed += bool(faults)
        for fault in faults:
            print(f"seed {n}: {fault}")
    print(f"stolen lane: {trials - failed} of {trials} held")
    return 1 if failed else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    sys.exit(asyncio.run(_main(arguments.trials, arguments.seed)))
