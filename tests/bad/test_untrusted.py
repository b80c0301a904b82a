"""The readers of `core.untrusted` take every bad value and raise for none."""

from __future__ import annotations

import contextlib
from typing import Any

import msgspec
import pytest

from allegro.core.base.canonical import canonical, is_canonical
from allegro.core.base.errors import EdgeError, ProtocolError, Unholdable
from allegro.core.base.events import decode_event
from allegro.core.base.untrusted import (
    Name,
    Number,
    Unreadable,
    names_of,
    number_of,
    plain,
    read_json,
    read_msgpack,
    read_value,
    real_of,
    text_of,
    whole_number,
)
from allegro.core.effects.render import one_line
from allegro.core.protocol.messages import Query
from allegro.link.frames import decode_from_house, decode_from_lane, encode

from . import values as bad


class Form(msgspec.Struct, frozen=True):
    number: Number
    name: Name = ""
    open: dict[str, Any] = {}


GOOD = {"number": 5, "name": "x", "open": {"a": [1, {"b": "c"}]}}


def test_every_bent_json_is_a_value_or_unreadable() -> None:
    for name, raw in bad.bent_json(GOOD):
        for type_ in (Form, dict, object, list[int], str):
            value = read_json(raw, type_)
            if isinstance(value, Form):
                assert 0 <= value.number < 2**53, name
                assert len(value.name) <= 300, name


def test_every_bent_msgpack_is_a_value_or_unreadable() -> None:
    for name, raw in bad.bent_msgpack(GOOD):
        value = read_msgpack(raw, Form)
        assert isinstance(value, Form | Unreadable), name


def test_a_plain_value_can_be_signed_stored_and_sent() -> None:
    for name, raw in bad.bent_msgpack({"a": {"b": 1}}):
        value = read_msgpack(raw, object)
        held = plain(value)
        if isinstance(held, Unreadable):
            continue
        assert canonical(held), name
        assert msgspec.json.encode(held), name
        assert msgspec.msgpack.encode(held), name


@pytest.mark.parametrize("value", [
    float("nan"), float("inf"), 2**53, -(2**53), b"x", (1,), {1: 2}, {"a": msgspec.msgpack.Ext(5, b"x")},
    "\ud800", {"\ud800": 1}, [[[2**60]]], object(),
])  # fmt: skip
def test_what_json_cannot_hold_is_not_plain(value: object) -> None:
    assert isinstance(plain(value), Unreadable)


def test_nesting_beyond_the_limit_is_not_plain() -> None:
    deep: Any = 1
    for _ in range(100_000):
        deep = [deep]
    assert isinstance(plain(deep), Unreadable)
    assert plain([[1]], depth=2) == [[1]]
    assert isinstance(plain([[[1]]], depth=1), Unreadable)


@pytest.mark.parametrize("value", [
    float("nan"), 2**60, {1: 2}, msgspec.msgpack.Ext(5, b"x"), "\ud800", {(1,): 1},
])  # fmt: skip
def test_canonical_raises_one_error_of_ours(value: object) -> None:
    with pytest.raises(Unholdable):
        canonical(value)
    with pytest.raises(ValueError, match="no canonical form"):
        canonical(value)


def test_whole_bodies_end_no_reader_of_bytes() -> None:
    for name, raw in bad.bent_json(
        {"id": "a", "type": "b", "source": "c", "time": "d", "data": {}}
    ):
        assert isinstance(is_canonical(raw), bool), name
        with contextlib.suppress(ValueError):
            decode_event(raw)
        for decode in (decode_from_house, decode_from_lane):
            with pytest.raises(ProtocolError):
                decode(raw)


def test_a_frame_that_cannot_be_written_is_an_edge_error() -> None:
    for value in (2**64, "\ud800", object()):
        with pytest.raises(EdgeError):
            encode(Query(1, "look", {"x": value}))


def test_digits_are_ascii_and_few() -> None:
    assert whole_number("12") == 12
    assert whole_number("0") == 0
    assert whole_number("9007199254740991") == 2**53 - 1
    for text in (
        "",
        "²",
        "٣",
        "-1",
        "+1",
        " 1",
        "1_0",
        "9" * 17,
        "9007199254740992",
        "1.0",
        None,
        5,
    ):
        assert whole_number(text) is None


def test_loose_readers_return_a_safe_value_for_every_row() -> None:
    for _, value in (*bad.VALUES, ("surrogate", "\ud800"), ("big", 2**70), ("nan", float("nan"))):
        assert 0 <= number_of(value) < 2**53
        text_of(value).encode()
        assert len(text_of(value)) <= 2_000
        assert real_of(value) is None or 0 <= (real_of(value) or 0) < 2**53
        assert all(len(name) <= 64 for name in names_of(value))
        read_value(value, Form)


def test_one_line_is_one_line_of_printable_characters() -> None:
    for name, value in (*bad.VALUES, ("big", 10**5_000), ("surrogate", "\ud800")):
        shown = one_line(value)
        assert len(shown.splitlines()) <= 1, name
        assert len(shown) <= 300 * 8 + 1, name
        shown.encode()
        assert not any(ord(char) < 32 or 127 <= ord(char) < 160 for char in shown), name
        assert not set("\u202e\u2066\u200b\u2028") & set(shown), name
