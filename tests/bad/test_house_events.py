"""Every event that the house reads, bent by the whole table: it lives, reads on, believes nothing.

A sample of the cases runs here; `python -m tests.bad.test_house_events` runs all of them.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from allegro.core.base.events import decode_event
from allegro.core.protocol.event_types import EventType
from allegro.core.requests.lifecycle import State
from allegro.core.requests.requests import Request
from allegro.core.stores import Archived
from allegro.house.agent import session_records
from allegro.house.fleet import watch as fleet_watch
from allegro.house.requests import follow, outcomes
from allegro.house.schedule import watch as duty_watch
from allegro.runtime.consumer import ReaderPorts
from allegro.runtime.reader import Reader
from allegro.testing.virtual import BOT

from . import values as bad
from .event_house import HONEST, SEALER, THIEF, EventHouse, open_event_house
from .event_samples import Sample, encoded, samples
from .stolen_lane import run_one

FOLLOWED = (
    *follow.FOLLOWED,
    *session_records.FOLLOWED,
    *fleet_watch.FOLLOWED,
    *duty_watch.FOLLOWED,
)
COVERS = tuple(samples("d", 1, "s", BOT, 1))
A_TYPE = 70
CHUNK = 200

Case = tuple[str, bytes]


def cases(type_: str, sample: Sample, take: int | None) -> Iterator[Case]:
    """Yield (name, the bytes a thief sends) for one type; `take` is how many of each kind."""
    dice = random.Random(type_)
    for n, (name, body) in enumerate(_some(_bent_facts(type_, sample), take, dice)):
        yield f"{type_}, {name}", body.replace(b"THE-ID", f"{type_} f{n}".encode())
    for n, (name, words) in enumerate(_some(bad.bent_json(sample.words), take, dice)):
        id_ = f"{type_} w{n}"
        event = encoded(id_, type_, sample, SEALER.seal(id_, words))
        yield f"{type_}, words {name}", json.dumps(event).encode()
    yield from _envelopes(type_, sample)


def _bent_facts(type_: str, sample: Sample) -> Iterator[Case]:
    head = json.dumps(encoded("THE-ID", type_, sample._replace(data={})))
    for name, data in bad.bent_json(sample.data):
        yield f"facts {name}", head.encode().replace(b'"data": {}', b'"data": ' + data)
    for name, event in bad.bent_values(encoded("THE-ID", type_, sample)):
        if not name.startswith("data."):
            yield f"envelope {name}", json.dumps(event).encode()


def _envelopes(type_: str, sample: Sample) -> Iterator[Case]:
    """Yield repeated ids, ids of the other sender, and words that are not for this event."""
    words = json.dumps(sample.words).encode()
    sealed = {
        "sealed for another event": SEALER.seal("another", words),
        "sealed for nobody": b"\x00" * 200,
        "cut": SEALER.seal(f"{type_} cut", words)[:20],
        "decrypts to another type": SEALER.seal(f"{type_} other", b'{"session": 5, "id": []}'),
    }  # fmt: skip
    for name, raw in sealed.items():
        id_ = {"cut": f"{type_} cut", "decrypts to another type": f"{type_} other"}.get(name, name)
        yield f"{type_}, {name}", json.dumps(encoded(id_, type_, sample, raw)).encode()
    for id_ in (f"{type_} same", f"{type_} same", "honest 1", "honest 2"):
        event = encoded(id_, type_, sample._replace(data={**sample.data, "turn": id_}))
        yield f"{type_}, id {id_}", json.dumps(event).encode()


def _some(every: Iterator[Case], take: int | None, dice: random.Random) -> list[Case]:
    return list(every) if take is None else bad.sample(every, take, dice.randrange(2**31))


async def run_cases(house: EventHouse, take: int | None, types: tuple[str, ...]) -> int:
    """Send every case as a thief and check the house after each stretch; return how many."""
    victim, idle = await house.comment_of(HONEST), await house.house.approved_close()
    count = 0
    for type_ in types:
        mine, session = await house.comment_of(THIEF), await house.session_of(THIEF)
        sample = samples(mine.digest, mine.order_number, session.id, BOT, 1_000_000)[type_]
        sent = list(cases(type_, sample, take))
        theirs = encoded(f"{type_} theirs", type_, _about(sample, victim))
        sent.append((f"{type_}, about another lane's order", json.dumps(theirs).encode()))
        for at in range(0, len(sent), CHUNK):
            some = sent[at : at + CHUNK]
            before = await _known(house)
            assert await house.send(THIEF, [body for _, body in some]) is None
            assert await _known(house) == before + len(some), f"dropped in silence: {type_}"
            await house.read()
            assert house.aside == [], (house.aside, type_)
        count += len(sent)
        assert await house.good_item_is_handled(), f"the reader stands after {type_}"
        assert house.state_of(victim) is State.ORDERED, f"a false state by {type_}"
        assert house.state_of(idle) is State.APPROVED, f"a false state by {type_}"
    return count


def _about(sample: Sample, request: Request) -> Sample:
    data = {**sample.data, "digest": request.digest, "order": request.order_number}
    return sample._replace(data=data)


async def _known(house: EventHouse) -> int:
    """Return how many entries of the thief are archived, counted as repeats or named as gaps."""
    counts = await house.archive.counts()
    rows = await house.archive.events(0, 10**6)
    gaps = sum(gap[4] for gap in await house.archive.gaps())
    return sum(row.lane == THIEF for row in rows) + counts["repeats_dropped"] + gaps


@pytest.mark.parametrize("part", range(4))
async def test_no_event_ends_the_house_blocks_it_or_is_believed(tmp_path: Path, part: int) -> None:
    async with open_event_house(tmp_path) as house:
        assert await run_cases(house, A_TYPE, COVERS[part::4]) > 100


def test_each_type_that_the_house_reads_has_cases() -> None:
    for prefix in FOLLOWED:
        assert any(type_.startswith(prefix) for type_ in COVERS), prefix
    assert set(outcomes.STEPS) <= set(COVERS)


def test_each_type_of_ours_that_the_house_reads_has_cases() -> None:
    assert {type_.value for type_ in EventType if type_.startswith(FOLLOWED)} <= set(COVERS)


async def test_the_cases_find_a_reader_without_its_guard(tmp_path: Path) -> None:
    async with open_event_house(tmp_path) as house:
        aside: list[Any] = []

        async def planted(archived: Archived) -> None:
            event = decode_event(archived.stored)
            int(event.data["artifact"])

        async def set_aside(one: Any, stored: bytes) -> None:
            aside.append(one)

        sample = samples("d", 1, "s", BOT, 1)["action.receipt"]
        bodies = [body for _, body in cases("action.receipt", sample, None)]
        await house.send(THIEF, bodies)
        inner = house.house
        ports = ReaderPorts(house.archive, inner.ledger, inner.clock, set_aside)
        reader = Reader("planted", ("action.",), planted, ports)
        await reader.read_on()
        assert len(aside) > 5
        assert reader.row == await house.archive.last_row()


@pytest.mark.parametrize("seed", range(3))
async def test_a_stolen_lane_reaches_nothing_of_an_honest_one(tmp_path: Path, seed: int) -> None:
    assert await run_one(tmp_path, seed) == []


async def _everything() -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with open_event_house(Path(folder)) as house:
            print(await run_cases(house, None, COVERS), "cases held")


if __name__ == "__main__":
    msgspec.json.encode(COVERS)
    sys.exit(asyncio.run(_everything()))
