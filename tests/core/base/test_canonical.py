from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allegro.core.base.canonical import canonical, is_canonical, keyed_hex, sha256_hex

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text("abcé\n", max_size=3), inner)
    ),
    max_leaves=8,
)


def test_keys_are_sorted_and_nothing_is_wasted() -> None:
    assert canonical({"b": 1, "a": [True, None, "é"]}) == '{"a":[true,null,"é"],"b":1}'.encode()


def test_numbers_are_written_as_ecmascript_writes_them() -> None:
    assert canonical([1e21, 1.0, 0.000001, 1e-7, -0.0]) == b"[1e+21,1,0.000001,1e-7,0]"


@pytest.mark.parametrize("value", [math.nan, math.inf, 2**53, "\ud800", {"\ud800": 1}])
def test_what_json_cannot_hold_exactly_has_no_canonical_form(value: Any) -> None:
    with pytest.raises(ValueError, match="no canonical form"):
        canonical(value)


@pytest.mark.parametrize("raw", [
    b'{"a":1}', b'"\\n"', b"[1,2]", b"null", '"é"'.encode(), b"1e+21",
])  # fmt: skip
def test_canonical_bytes_are_recognised(raw: bytes) -> None:
    assert is_canonical(raw)


@pytest.mark.parametrize("raw", [
    b"", b"{", b' {"a":1}', b'{"a": 1}', b'{"a":1,"a":1}', b'{"b":1,"a":1}', b'"\\u0061"', b"1.0",
    b"1e2", b"-0", b"9007199254740993", b"NaN", b'"\xff"', b"[" * 200_000, b"{}{}", b"1e400",
    b'"\\ud800"',
])  # fmt: skip
def test_any_other_spelling_is_not_canonical(raw: bytes) -> None:
    assert not is_canonical(raw)


def test_a_digest_is_plain_sha256_and_a_keyed_name_is_bound_to_purpose_and_parts() -> None:
    assert sha256_hex(b"") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    names = {
        keyed_hex(b"k", "event", "ab", "c"), keyed_hex(b"k", "event", "a", "bc"),
        keyed_hex(b"k", "event", "abc"), keyed_hex(b"k", "other", "ab", "c"),
        keyed_hex(b"j", "event", "ab", "c"),
    }  # fmt: skip
    assert len(names) == 5


@given(JSON)
def test_canonical_bytes_say_the_same_and_are_their_own_form(value: Any) -> None:
    raw = canonical(value)
    assert json.loads(raw) == value
    assert is_canonical(raw)


@given(JSON)
def test_python_s_own_spelling_is_canonical_only_when_it_is_the_same_bytes(value: Any) -> None:
    raw = json.dumps(value).encode()
    assert is_canonical(raw) == (raw == canonical(value))


@given(st.binary(max_size=40))
def test_any_bytes_get_an_answer(raw: bytes) -> None:
    if is_canonical(raw):
        assert json.dumps(json.loads(raw))
