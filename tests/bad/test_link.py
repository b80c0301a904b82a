"""Every message of both sides with every bad value, through both real ends of the link.

All cases: `python -m tests.bad.test_link` (a few minutes); the tests play a seeded sample.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import random
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

from allegro.core.authority.freeze import Freeze
from allegro.core.base.errors import ProtocolError
from allegro.core.base.sequence import GENESIS, Kept, Position
from allegro.core.protocol.messages import (
    PROTOCOL,
    Ack,
    Batch,
    Bring,
    Challenge,
    ChallengeWanted,
    Declined,
    FromHouse,
    FromLane,
    GiveOrder,
    Got,
    Greet,
    Hello,
    HouseBeat,
    LaneBeat,
    LogIn,
    Offer,
    OrderAnswer,
    Piece,
    Query,
    Refused,
    Reply,
    Stop,
    Want,
    Welcome,
)
from allegro.link.blobs import HOUSE_BYTES, LANE_BYTES, MAX_BLOBS
from allegro.link.frames import decode_from_lane, encode
from tests.duties.link_ends import until

from . import values as bad
from .raw_link import RawLane, RealHouse, RealLane, raw_house, real_house, real_lane

SAMPLE = 260
DIGEST = hashlib.sha256(b"abc").hexdigest()
AT = Position("j", 0, GENESIS)
FREEZE = Freeze("f", 0.0, "me", "why")
BULK = (
    Offer(1, DIGEST, 3),
    Want(DIGEST, 0),
    Piece(DIGEST, 0, b"abc"),
    Declined(DIGEST, "no"),
    Got(9),
)
HOUSE_SAYS: tuple[FromHouse, ...] = (
    Hello(PROTOCOL, "c"), LogIn("t", ("c",), (FREEZE,), ("t",), (AT,), (("w", 1, 1.0),), 1.0),
    Ack(AT), Query(1, "status", {"a": 1}), ChallengeWanted(1),
    GiveOrder(1, "o", b"{}", "a", "b", "m", "c", DIGEST), Stop(FREEZE), Bring("t"), HouseBeat(1.0),
    *BULK,
)  # fmt: skip
LANE_SAYS: tuple[FromLane, ...] = (
    Greet(PROTOCOL, "t", "0"), Welcome(AT, 0, (FREEZE,)), Refused("r", "d"),
    Batch("J", 1, (Kept(b"{}"),), 1), Challenge(1, "c"), OrderAnswer(1, "", ""),
    Reply(1, {"a": 1}), LaneBeat(0, "x", {"forge": 1}), *BULK,
)  # fmt: skip
COVERS = (*(type(one) for one in HOUSE_SAYS), *(type(one) for one in LANE_SAYS))

Case = tuple[str, type, bytes]


def cases(said: tuple[Any, ...]) -> Iterator[Case]:
    """Yield (name, message type, frame) for each message with each field once as each row."""
    for message in said:
        document = msgspec.msgpack.decode(msgspec.msgpack.encode(message))
        for name, frame in bad.bent_msgpack(document):
            yield f"{type(message).__name__}.{name}", type(message), frame
        yield f"{type(message).__name__} as it is", type(message), encode(message)
    for name, body in bad.WHOLE_BODIES:
        yield f"whole frame: {name}", object, body


def test_every_message_of_both_sides_has_cases() -> None:
    assert {type(one) for one in HOUSE_SAYS} == set(get_args(FromHouse))
    assert {type(one) for one in LANE_SAYS} == set(get_args(FromLane))


@contextlib.contextmanager
def no_bug() -> Iterator[None]:
    """Fail when a task ended with an error that nobody expected."""
    bugs: list[Any] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: bugs.append(context))
    yield
    assert [bug for bug in bugs if "exception" in bug] == []


# --- what a house may send to a lane -----------------------------------------------------------


@contextlib.asynccontextmanager
async def lane_in(folder: Path) -> AsyncIterator[RealLane]:
    facts: dict[str, Callable[[], Any]] = {
        "status": lambda: {"healthy": True}, "surrogate": lambda: "\ud800",
        "huge": lambda: 2**80, "object": object, "long": lambda: "x" * 3_000_000,
        "large": lambda: "x" * 300_000,
    }  # fmt: skip
    async with real_lane(folder, facts) as lane:
        yield lane


async def strike_lane(lane: RealLane, case: Case) -> None:
    """Send one frame in its place; then the lane must answer a plain question."""
    name, type_, frame = case
    async with raw_house(lane.address) as house:
        if type_ is Hello:
            await house.send(frame)
        elif type_ is LogIn:
            await house.hello()
            await house.send(frame)
        else:
            await house.log_in(await house.hello())
            await house.send(frame)
            if await house.is_answered():
                return
    async with raw_house(lane.address) as house:
        await house.log_in(await house.hello())
        assert await house.is_answered(), name


async def play_lane(folder: Path, some: list[Case]) -> None:
    async with lane_in(folder) as lane:
        trust = lane.state.held
        with no_bug():
            for case in some:
                await strike_lane(lane, case)
        assert lane.state.held == trust
        assert lane.desk.blobs.reserved <= LANE_BYTES


async def test_no_message_of_a_house_ends_a_lane_or_its_next_answer(tmp_path: Path) -> None:
    await play_lane(tmp_path, bad.sample(cases(HOUSE_SAYS), SAMPLE, 1))


@pytest.mark.parametrize("method", ["surrogate", "huge", "object", "long"])
async def test_an_answer_that_cannot_be_sent_is_an_error_of_its_own(
    tmp_path: Path, method: str
) -> None:
    async with lane_in(tmp_path) as lane, raw_house(lane.address) as house:
        await house.log_in(await house.hello())
        await house.say(Query(5, method, {}))
        reply = await house.hear(Reply)
        assert reply.id == 5
        assert "unanswerable" in reply.error
        assert await house.is_answered()


# --- what a lane may send to a house -----------------------------------------------------------


async def strike_house(house: RealHouse, lane: RawLane, case: Case) -> None:
    """Send one frame in its place; then the house must take up the link and ask."""
    name, type_, frame = case
    if type_ in {Greet, Welcome}:
        setattr(lane, "greeting" if type_ is Greet else "welcome", frame)
        await lane.drop()
    elif type_ is Batch:
        await lane.drop()
        await house.is_linked()
        await lane.send(
            frame.replace(b"\xa1J", bytes((0xA0 + len(lane.journal),)) + lane.journal.encode())
        )
    else:
        await lane.send(frame)
    assert await house.answers(), name


async def play_house(folder: Path, some: list[Case]) -> None:
    async with real_house(folder) as (house, lane):
        assert await house.answers()
        with no_bug():
            for case in some:
                await strike_house(house, lane, case)
        assert house.link.held_bytes <= HOUSE_BYTES


async def test_no_message_of_a_lane_ends_a_house_or_its_next_question(tmp_path: Path) -> None:
    await play_house(tmp_path, bad.sample(cases(LANE_SAYS), SAMPLE, 2))


def test_a_planted_reader_without_its_guard_is_found() -> None:
    def planted(frame: bytes) -> None:
        with contextlib.suppress(ProtocolError):
            message = decode_from_lane(frame)
            if isinstance(message, Reply):
                message.value["a"].bit_length()

    found = set()
    for name, _, frame in cases((Reply(1, {"a": 1}),)):
        try:
            planted(frame)
        except (AttributeError, KeyError, TypeError) as error:
            found.add(type(error))
            assert name
    assert {AttributeError, KeyError, TypeError} <= found


# --- pieces ------------------------------------------------------------------------------------


def forever(digest: str) -> Iterator[Any]:
    yield Offer(1, digest, 40_000)
    for n in range(300):
        yield Piece(digest, n * 1_000, bytes(1_000))


def tricks(seed: int) -> dict[str, list[Any]]:
    """Return what a peer may send in pieces that nobody asked for, by name."""
    raw = random.Random(seed).randbytes(20_000)
    digest, other = hashlib.sha256(raw).hexdigest(), hashlib.sha256(b"other").hexdigest()
    first, second = Piece(digest, 0, raw[:10_000]), Piece(digest, 10_000, raw[10_000:])
    return {
        "never offered": [first, second],
        "for ever": list(forever(digest)),
        "overlapping": [Offer(1, digest, 20_000), first, Piece(digest, 5_000, raw[5_000:])],
        "out of order": [Offer(1, digest, 20_000), second, first],
        "of another blob": [Offer(1, digest, 20_000), first, Piece(other, 10_000, raw[10_000:])],
        "wrong digest": [Offer(1, other, 20_000), Piece(other, 0, raw)],
        "no message": [Offer(1, digest, 20_000), first, second],
        "too large": [Offer(1, digest, 2**50)],
        "nothing": [Offer(1, digest, 0)],
        "another size": [Offer(1, digest, 20_000), first, Offer(1, digest, 30_000)],
        "too many": [Offer(n, hashlib.sha256(bytes([n])).hexdigest(), 10) for n in range(200)],
        "too much": [
            Offer(n, hashlib.sha256(bytes([n])).hexdigest(), 2_000_000) for n in range(20)
        ],
        "half, again and again": [Offer(1, digest, 20_000), first] * 20,
        "lies about what arrived": [Got(2**50), Got(1), Want(digest, 5), Declined(other, "x" * 900)],
    }  # fmt: skip


TRICKS = sorted(tricks(0))


@pytest.mark.parametrize("trick", TRICKS)
async def test_no_pieces_of_a_house_end_more_than_their_blob_or_link(
    tmp_path: Path, trick: str
) -> None:
    async with lane_in(tmp_path) as lane:
        with no_bug():
            async with raw_house(lane.address) as house:
                await house.log_in(await house.hello())
                await house.say(*tricks(1)[trick])
                await house.is_answered()
            async with raw_house(lane.address) as house:
                await house.log_in(await house.hello())
                assert await house.is_answered()
        assert lane.desk.blobs.reserved <= LANE_BYTES
        assert lane.desk.blobs.count <= MAX_BLOBS


@pytest.mark.parametrize("trick", TRICKS)
async def test_no_pieces_of_a_lane_end_more_than_their_blob_or_link(
    tmp_path: Path, trick: str
) -> None:
    async with real_house(tmp_path) as (house, lane):
        assert await house.answers()
        with no_bug():
            await lane.say(*tricks(2)[trick])
            assert await house.answers()
        assert house.link.held_bytes <= HOUSE_BYTES


async def test_other_bytes_than_announced_are_never_content_of_an_order(tmp_path: Path) -> None:
    async with lane_in(tmp_path) as lane, raw_house(lane.address) as house:
        await house.log_in(await house.hello())
        digest = hashlib.sha256(b"signed").hexdigest()
        await house.say(Offer(0, digest, 6, True), Piece(digest, 0, b"forged"))
        assert isinstance(await house.hear(Declined), Declined)
        await house.say(GiveOrder(9, "o", b"", None, "", "0" * 32, None, digest))
        answer = await house.hear(OrderAnswer)
        assert answer.reason == "content_missing"


async def test_content_is_gone_with_a_freeze(tmp_path: Path) -> None:
    async with lane_in(tmp_path) as lane, raw_house(lane.address) as house:
        await house.log_in(await house.hello())
        digest = hashlib.sha256(b"signed").hexdigest()
        await house.say(Offer(0, digest, 6, True), Piece(digest, 0, b"signed"))
        await until(lambda: lane.desk.blobs.find(digest) == b"signed")
        await house.say(Stop(FREEZE))
        await until(lambda: lane.desk.blobs.count == 0)


async def test_a_large_answer_crosses_in_pieces(tmp_path: Path) -> None:
    async with lane_in(tmp_path) as lane, raw_house(lane.address) as house:
        await house.log_in(await house.hello())
        await house.say(Query(5, "large", {}))
        offer = await house.hear(Offer)
        assert offer.id == 5
        await house.say(Want(offer.digest, offer.size))  # it has all of it already
        assert await house.is_answered()


async def _all() -> None:
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two:
        for_lane, for_house = list(cases(HOUSE_SAYS)), list(cases(LANE_SAYS))
        await play_lane(Path(one), for_lane)
        sys.stdout.write(f"{len(for_lane)} frames of a house: the lane lives\n")
        await play_house(Path(two), for_house)
        sys.stdout.write(f"{len(for_house)} frames of a lane: the house lives\n")


if __name__ == "__main__":
    asyncio.run(_all())
