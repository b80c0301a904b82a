"""The readers of bytes from outside, by example and at their bounds. tests/bad holds the table."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest

from allegro.core.base.untrusted import (
    Name,
    Number,
    Unreadable,
    is_text,
    names_of,
    number_of,
    plain,
    read_json,
    read_loose_json,
    read_msgpack,
    read_value,
    real_of,
    text_of,
    unreadable,
    whole_number,
)


class Form(msgspec.Struct, frozen=True):
    number: Number
    name: Name = ""


FORM = Form(5, "x")
NO_NUMBER = "Expected `int`, got `str` - at `$.number`"


def nested(depth: int, leaf: Any = 1) -> Any:
    """Return a leaf within so many lists and dicts, in turn."""
    for level in range(depth):
        leaf = [leaf] if level % 2 else {"in": leaf}
    return leaf


# --- typed values -------------------------------------------------------------------------------


def test_bytes_become_a_value_of_the_type_that_was_asked_for() -> None:
    assert read_json(b'{"number":5,"name":"x"}', Form) == FORM
    assert read_json('{"number":5,"name":"x"}', Form) == FORM
    assert read_msgpack(msgspec.msgpack.encode(FORM), Form) == FORM
    assert read_value({"number": 5, "name": "x"}, Form) == FORM


def test_what_does_not_fit_its_type_is_unreadable_and_says_where() -> None:
    wrong = {"number": "5"}
    for read in (
        read_json(b'{"number":"5"}', Form), read_msgpack(msgspec.msgpack.encode(wrong), Form),
        read_value(wrong, Form),
    ):  # fmt: skip
        assert read == Unreadable(NO_NUMBER)
        assert str(read) == NO_NUMBER


def test_what_is_no_json_and_no_msgpack_says_so() -> None:
    for read in (
        read_json(b"{", Form), read_msgpack(b"\xc1", Form), read_loose_json(b"{"),
    ):  # fmt: skip
        assert isinstance(read, Unreadable)
    assert str(read_json(b"{", Form)).startswith("DecodeError: ")
    assert str(read_loose_json(b"{")).startswith("JSONDecodeError: ")


def test_a_reason_is_cut_to_200_characters() -> None:
    assert unreadable(ValueError("x" * 300)).reason == "ValueError: " + "x" * 188
    assert unreadable(msgspec.ValidationError("x" * 300)).reason == "x" * 200


# --- sloppy JSON --------------------------------------------------------------------------------


@pytest.mark.parametrize(("raw", "value"), [
    (b'\xef\xbb\xbf{"a": 1}', {"a": 1}),
    (b'{"a": NaN, "b": [Infinity, -Infinity, 1.5, 2]}', {"a": None, "b": [None, None, 1.5, 2]}),
    (b'{"a": "one\ntwo"}', {"a": "one\ntwo"}),
    (b'{"a": "\\ud83d", "b\\udc00": "\xc3\xa9"}', {"a": "?", "b?": "\u00e9"}),
    (b'"\xff"', "\ufffd"),
    (b'["ok", true, null]', ["ok", True, None]),
])  # fmt: skip
def test_sloppy_json_becomes_what_strict_json_holds(raw: bytes, value: Any) -> None:
    assert read_loose_json(raw) == value


def test_sloppy_json_may_be_64_levels_deep_and_no_deeper() -> None:
    assert read_loose_json(msgspec.json.encode(nested(64))) == nested(64)
    deeper = read_loose_json(msgspec.json.encode(nested(65)))
    assert deeper == Unreadable("ValueError: nested too deep")


# --- plain values -------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [
    None, True, False, 0, 2**53 - 1, 1 - 2**53, 1.5, "", "x", "\u00e9", "\ud7ff", "\ue000", [], {},
    {"a": {"\u00e9": [1, None, {"c": "d"}]}},
])  # fmt: skip
def test_a_value_that_json_holds_is_plain_and_comes_back_as_it_is(value: Any) -> None:
    assert plain(value) is value


@pytest.mark.parametrize(("value", "reason"), [
    (b"x", "a value of type bytes that JSON cannot hold"),
    ([(1,)], "a value of type tuple that JSON cannot hold"),
    ({"a": 2**53}, "a value of type int that JSON cannot hold"),
    (-(2**53), "a value of type int that JSON cannot hold"),
    (math.inf, "a value of type float that JSON cannot hold"),
    ({1: 2}, "a key that is no word"), ([{"\ud800": 1}], "a key that is no word"),
    ({"a": 1, None: 2}, "a key that is no word"),
])  # fmt: skip
def test_what_is_not_plain_says_what_it_is(value: Any, reason: str) -> None:
    assert plain(value) == Unreadable(reason)


def test_a_lone_surrogate_is_no_text() -> None:
    for word in ("\ud800", "\udbff", "\udc00", "\udfff", "a\udfffb"):
        assert not is_text(word)
        assert isinstance(plain([word]), Unreadable)


def test_a_plain_value_is_nested_as_deep_as_was_asked_and_no_deeper() -> None:
    for form in (lambda leaf: [leaf], lambda leaf: {"in": leaf}):
        twice = form(form(1))
        assert plain(twice, depth=2) is twice
        assert plain(twice, depth=1) == Unreadable("nested too deep")
    for depth in (63, 64):
        value = nested(depth)
        assert plain(value) is value
    assert plain(nested(65)) == Unreadable("nested too deep")


# --- single words and numbers -------------------------------------------------------------------


def test_a_word_is_cut_and_can_always_be_written() -> None:
    assert text_of("caf\u00e9") == "caf\u00e9"
    assert text_of("abc", 2) == "ab"
    assert text_of("a\ud800b") == "a?b"
    assert text_of("x" * 2_001) == "x" * 2_000
    assert (text_of(5), text_of(None)) == ("", "")


def test_a_list_gives_at_most_64_words_of_at_most_64_characters() -> None:
    assert names_of(["a", 5, "b"]) == ("a", "", "b")
    assert names_of(["x" * 65]) == ("x" * 64,)
    assert names_of([str(at) for at in range(65)]) == tuple(str(at) for at in range(64))
    assert (names_of("abc"), names_of(None)) == ((), ())


def test_a_count_is_a_whole_number_from_0_and_below_2_to_the_53() -> None:
    assert [number_of(value) for value in (0, 1, 5, 2**53 - 1)] == [0, 1, 5, 2**53 - 1]
    assert {number_of(value) for value in (-1, 2**53, True, 1.0, "5", None)} == {0}


def test_a_real_number_is_finite_from_0_and_below_2_to_the_53() -> None:
    assert [real_of(value) for value in (0, 0.5, 7)] == [0.0, 0.5, 7.0]
    assert isinstance(real_of(7), float)
    refused = (-0.5, -1, 2**53, 2.0**53, True, math.nan, math.inf, "5", None)
    assert [real_of(value) for value in refused] == [None] * len(refused)


def test_digits_are_read_below_a_limit() -> None:
    assert whole_number("9", limit=10) == 9
    assert whole_number("10", limit=10) is None
    assert whole_number("0" * 16) == 0
    assert whole_number("0" * 17) is None
    assert whole_number("") is None
