from __future__ import annotations

import typing
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from allegro.core.authority.freeze import Freeze
from allegro.core.base.errors import ProtocolError, Unholdable
from allegro.core.base.sequence import MAX_SEQ, Kept, Position, ShedEntry
from allegro.core.protocol.messages import (
    MAX_HOUSE_FRAME,
    MAX_LANE_FRAME,
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
from allegro.link.frames import decode_from_house, decode_from_lane, encode

WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
NUMBERS = st.integers(0, MAX_SEQ)
POSITIONS = st.builds(Position, WORDS, NUMBERS, st.binary(min_size=32, max_size=32))
FREEZES = st.builds(Freeze, WORDS, st.floats(0, 1e12), WORDS, WORDS)
ENTRIES = st.builds(Kept, st.binary(max_size=6)) | st.builds(
    ShedEntry, st.binary(max_size=32), WORDS, st.integers(0, 255)
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(0, 2**60) | WORDS | st.binary(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=5,
)
DIGESTS = st.binary(min_size=32, max_size=32).map(bytes.hex)
SIZES = st.integers(0, MAX_SEQ - 1)
BULK = (
    st.builds(Offer, NUMBERS, DIGESTS, SIZES, st.booleans()), st.builds(Want, DIGESTS, SIZES),
    st.builds(Piece, DIGESTS, SIZES, st.binary(max_size=6)), st.builds(Declined, DIGESTS, WORDS),
    st.builds(Got, SIZES),
)  # fmt: skip
HOUSE_SAYS = st.one_of(
    st.builds(Hello, NUMBERS, WORDS),
    st.builds(
        LogIn, WORDS, st.tuples(WORDS), st.tuples(FREEZES), st.tuples(WORDS), st.tuples(POSITIONS),
        st.tuples(st.tuples(WORDS, NUMBERS, st.floats(0, 1e12))), st.floats(0, 1e12),
    ),
    st.builds(Ack, POSITIONS), st.builds(Query, NUMBERS, WORDS, st.dictionaries(WORDS, VALUES, max_size=3)),
    st.builds(ChallengeWanted, NUMBERS),
    st.builds(GiveOrder, NUMBERS, WORDS, st.binary(max_size=6), st.none() | WORDS, WORDS, WORDS, st.none(), st.none() | DIGESTS),
    st.builds(Stop, FREEZES), st.builds(Bring, WORDS), st.builds(HouseBeat, st.floats(0, 1e12)), *BULK,
)  # fmt: skip
LANE_SAYS = st.one_of(
    st.builds(Greet, NUMBERS, WORDS, WORDS),
    st.builds(Welcome, POSITIONS, NUMBERS, st.tuples(FREEZES)), st.builds(Refused, WORDS, WORDS),
    st.builds(Batch, WORDS, NUMBERS, st.lists(ENTRIES, max_size=4).map(tuple), NUMBERS),
    st.builds(Challenge, NUMBERS, WORDS),
    st.builds(OrderAnswer, NUMBERS, WORDS, WORDS), st.builds(Reply, NUMBERS, VALUES, WORDS, st.booleans()),
    st.builds(LaneBeat, NUMBERS, WORDS), *BULK,
)  # fmt: skip
Decode = Callable[[bytes], Any]
DECODERS: list[Decode] = [decode_from_house, decode_from_lane]


def taken(decode: Decode, frame: bytes) -> bool:
    """Decode; True when it was a message. Anything but a ProtocolError goes through."""
    try:
        decode(frame)
    except ProtocolError:
        return False
    return True


@given(HOUSE_SAYS)
def test_what_a_house_says_arrives_as_it_was_said(message: FromHouse) -> None:
    assert decode_from_house(encode(message)) == message


@given(LANE_SAYS)
def test_what_a_lane_says_arrives_as_it_was_said(message: FromLane) -> None:
    assert decode_from_lane(encode(message)) == message


def test_neither_side_can_be_made_to_read_what_only_the_other_may_say() -> None:
    order = encode(GiveOrder(1, "order", b"{}", None, "", "", None))
    batch = encode(Batch("j", 1, (), 0))
    assert not taken(decode_from_lane, order)
    assert not taken(decode_from_house, batch)


@pytest.mark.parametrize(("decode", "limit"), [
    (decode_from_house, MAX_HOUSE_FRAME), (decode_from_lane, MAX_LANE_FRAME),
])  # fmt: skip
def test_a_frame_beyond_the_limit_is_not_even_read(decode: Decode, limit: int) -> None:
    with pytest.raises(ProtocolError, match="at most"):
        decode(bytes(limit + 1))


@pytest.mark.parametrize(("decode", "limit"), [
    (decode_from_house, MAX_HOUSE_FRAME), (decode_from_lane, MAX_LANE_FRAME),
])  # fmt: skip
def test_a_frame_as_long_as_the_limit_is_read(decode: Decode, limit: int) -> None:
    with pytest.raises(ProtocolError, match=r"^not a message: "):
        decode(bytes(limit))


def test_a_message_that_no_frame_holds_says_why() -> None:
    with pytest.raises(Unholdable, match=r"^no frame can hold this message: "):
        encode(Query(1, "look", {"x": object()}))


@given(st.binary(max_size=80))
def test_garbage_breaks_the_protocol_and_nothing_else(frame: bytes) -> None:
    for decode in DECODERS:
        taken(decode, frame)


@given(HOUSE_SAYS | LANE_SAYS, st.data())
def test_a_frame_cut_short_is_never_a_message(message: Any, data: st.DataObject) -> None:
    frame = encode(message)
    cut = data.draw(st.integers(0, len(frame) - 1))
    assert not any(taken(decode, frame[:cut]) for decode in DECODERS)


@given(HOUSE_SAYS | LANE_SAYS, st.binary(min_size=1, max_size=4))
def test_a_frame_with_more_behind_it_is_never_a_message(message: Any, more: bytes) -> None:
    assert not any(taken(decode, encode(message) + more) for decode in DECODERS)


@given(HOUSE_SAYS | LANE_SAYS, st.data())
def test_a_frame_with_bytes_changed_is_a_message_or_breaks_the_protocol(
    message: Any, data: st.DataObject
) -> None:
    frame = bytearray(encode(message))
    for _ in range(3):
        frame[data.draw(st.integers(0, len(frame) - 1))] = data.draw(st.integers(0, 255))
    for decode in DECODERS:
        taken(decode, bytes(frame))


REPLY = encode(Reply(1, "X"))


@pytest.mark.parametrize("value", [
    b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff", b"\x81\x80\x01",
    b"\x81\x91\x80\x01", b"\xa1\xff", b"\x91" * 200_000 + b"\x01", b"\xc1",
    b"\xd7\xff" + b"\xff" * 8, b"\xc7\x0c\xff" + bytes(4) + b"\x7f" + b"\xff" * 7,
], ids=["array", "map", "bytes", "map key", "list key", "utf-8", "depth", "unused", "time", "time96"])  # fmt: skip
def test_a_value_made_to_hurt_breaks_the_protocol_and_nothing_else(value: bytes) -> None:
    assert not taken(decode_from_lane, REPLY.replace(b"\xa1X", value))


def test_an_order_without_content_ahead_is_what_a_lane_of_protocol_1_reads() -> None:
    order = msgspec.msgpack.decode(encode(GiveOrder(1, "order", b"{}", None, "", "", None)))
    assert set(order) == {
        "t", "id", "order", "action", "approval", "branch", "marker", "change_token",
    }  # fmt: skip


@pytest.mark.parametrize("digest", ["", "0" * 63, "0" * 64 + "\n", "A" * 64, "٣" * 64])
def test_a_digest_has_one_spelling(digest: str) -> None:
    assert not taken(decode_from_lane, encode(Want(digest, 0)))


def test_unknown_fields_and_unknown_messages_break_the_protocol() -> None:
    hello = {"t": "hello", "protocol": 1, "challenge": "", "more": 1}
    strange: list[Any] = [hello, {"t": "x"}, {}, []]
    for message in strange:
        assert not taken(decode_from_house, msgspec.msgpack.encode(message))


@pytest.mark.parametrize("message", [
    Welcome(Position("j", 1, bytes(32)), 0, (Freeze("f", float("nan"), "", ""),)),
    Welcome(Position("j", 2**63, bytes(32)), 0, ()),
    Welcome(Position("j", 1, b""), 0, ()), Batch("j", 1, (ShedEntry(bytes(32), "", 2**63),), 1),
])  # fmt: skip
def test_a_lane_cannot_say_what_the_house_could_not_store(message: FromLane) -> None:
    assert not taken(decode_from_lane, encode(message))


def test_every_message_of_both_sides_is_tried_here() -> None:
    tried = {type(m) for m in (HOUSE_SAYS.element_strategies + LANE_SAYS.element_strategies)}  # type: ignore[attr-defined]
    assert tried
    assert len(HOUSE_SAYS.element_strategies) == len(typing.get_args(FromHouse))  # type: ignore[attr-defined]
    assert len(LANE_SAYS.element_strategies) == len(typing.get_args(FromLane))  # type: ignore[attr-defined]
