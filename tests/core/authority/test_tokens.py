from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allegro.adapters.crypto.signatures import verify
from allegro.core.authority.tokens import (
    MAX_TOKEN_BYTES,
    TYPES,
    Claims,
    Seat,
    Thaw,
    b64url,
    fingerprint,
    issue_token,
    read_token,
    sovereign_kid,
    token_kid,
    token_type,
    unb64url,
)
from allegro.core.base.errors import Refusal
from tests.core.builders import SOVEREIGN, STRANGER, refused

SEAT = Seat(aud="fleet", number=3, house="h" * 32)


def read(token: str, *, aud: str = "fleet", key: bytes = SOVEREIGN.public) -> Claims | Refusal:
    return read_token(token, Seat, kid="sovereign:1", key=key, aud=aud, verify=verify)


def issued(claims: Claims = SEAT, kid: str = "sovereign:1") -> str:
    return issue_token(claims, kid, SOVEREIGN.sign)


def with_header(header: bytes, payload: bytes = b"{}") -> str:
    signed = f"{b64url(header)}.{b64url(payload)}"
    return f"{signed}.{b64url(SOVEREIGN.sign(signed.encode()))}"


def test_a_token_is_read_as_it_was_issued() -> None:
    assert read(issued()) == SEAT


def test_a_token_is_a_jws_that_any_library_can_take_apart() -> None:
    header, payload, signature = issued().split(".")
    assert json.loads(base64.urlsafe_b64decode(header + "==")) == {
        "alg": "EdDSA", "kid": "sovereign:1", "typ": "allegro-seat+jwt",
    }  # fmt: skip
    assert json.loads(base64.urlsafe_b64decode(payload + "==")) == {
        "aud": "fleet", "number": 3, "house": "h" * 32,
    }  # fmt: skip
    assert verify(SOVEREIGN.public, f"{header}.{payload}".encode(), unb64url(signature))


def test_a_token_of_another_key_number_type_or_fleet_is_refused() -> None:
    assert refused(read(issued(), key=STRANGER.public), "bad_signature")
    assert refused(read(issued(), key=SOVEREIGN.public[:31]), "bad_signature")
    assert refused(read(issued(kid="sovereign:2")), "wrong_key")
    assert refused(read(issued(Thaw(aud="fleet", freezes=(), exp=1))), "wrong_type")
    assert refused(read(issued(), aud="other"), "wrong_audience")


@pytest.mark.parametrize(("header", "reason"), [
    (b'{"alg":"none","kid":"sovereign:1","typ":"allegro-seat+jwt"}', "wrong_algorithm"),
    (b'{"alg":"EdDSA", "kid":"sovereign:1","typ":"allegro-seat+jwt"}', "not_canonical"),
    (b'{"alg":"EdDSA","kid":"sovereign:1"}', "malformed_token"),
])  # fmt: skip
def test_a_header_is_exactly_three_known_words(header: bytes, reason: str) -> None:
    assert refused(read(with_header(header)), reason)


@pytest.mark.parametrize(("payload", "reason"), [
    (b'{"aud":"fleet","house":"h","number":3 }', "not_canonical"),
    (b'{"aud":"fleet","house":"h","number":"3"}', "malformed_token"),
    (b'{"aud":"fleet","house":"h","more":1,"number":3}', "malformed_token"),
])  # fmt: skip
def test_a_payload_is_strict_even_when_the_sovereign_signed_it(payload: bytes, reason: str) -> None:
    header = b'{"alg":"EdDSA","kid":"sovereign:1","typ":"allegro-seat+jwt"}'
    assert refused(read(with_header(header, payload)), reason)


def test_an_oversized_token_is_not_even_taken_apart() -> None:
    assert refused(read("x" * (MAX_TOKEN_BYTES + 1)), "token_too_large")


def test_no_two_purposes_share_a_type() -> None:
    assert len(set(TYPES.values())) == len(TYPES)
    assert set(TYPES) == set(Claims.__subclasses__())


def test_keys_are_named_by_fingerprint_and_number() -> None:
    assert fingerprint(b"") == "e3b0c44298fc1c149afbf4c8996fb924"
    assert sovereign_kid(7) == "sovereign:7"
    assert (b64url(b"\0\0\x17"), b64url(b"\0")) == ("AAAX", "AA")


def test_a_token_says_its_type_and_key_before_it_is_verified() -> None:
    assert (token_type(issued()), token_kid(issued())) == ("allegro-seat+jwt", "sovereign:1")


@pytest.mark.parametrize("token", ["", "a.b", "!.e30.", with_header(b"{}"), with_header(b'"\xff"')])
def test_what_is_no_token_has_no_type_and_no_key(token: str) -> None:
    assert (token_type(token), token_kid(token)) == ("", "")


@pytest.mark.parametrize("text", ["QQ==", "QR", "Q", "+A", "/A", "Q Q", "QQ\n", "é"])
def test_bytes_have_one_base64url_spelling(text: str) -> None:
    with pytest.raises(ValueError, match=r"base64url|ASCII"):
        unb64url(text)


@given(st.binary(max_size=60))
def test_base64url_gives_back_every_byte(raw: bytes) -> None:
    assert unb64url(b64url(raw)) == raw
    assert "=" not in b64url(raw)


@given(st.integers(0, 10_000), st.characters())
def test_no_change_of_a_single_character_leaves_a_token_valid(at: int, char: str) -> None:
    token = issued()
    at %= len(token)
    changed = token[:at] + char + token[at + 1 :]
    assert changed == token or isinstance(read(changed), Refusal)


@given(st.text(max_size=80))
def test_rubbish_is_refused_and_never_raises(text: str) -> None:
    assert isinstance(read(text), Refusal)
    assert token_type(text) == ""


def test_each_refusal_of_a_token_says_what_was_expected() -> None:
    header = b'{"alg":"EdDSA","kid":"sovereign:1","typ":"allegro-seat+jwt"}'
    answers = [
        read("x" * (MAX_TOKEN_BYTES + 1)),
        read("x" * MAX_TOKEN_BYTES),
        read("a.b.c.d"),
        read("+A.e30.e30"),
        read(with_header(b"{ }")),
        read(with_header(b"{}")),
        read(with_header(header.replace(b"EdDSA", b"none"))),
        read(issued(Thaw(aud="fleet", freezes=(), exp=1))),
        read(issued(kid="sovereign:2")),
        read(issued(), key=STRANGER.public),
        read(with_header(header, b"{ }")),
        read(with_header(header, b"{}")),
        read(issued(), aud="other"),
    ]
    assert str(read("Q.e30.e30")).startswith("malformed_token: not base64url: ")
    assert [str(answer) for answer in answers] == [
        f"token_too_large: more than {MAX_TOKEN_BYTES} characters",
        "malformed_token: not three parts",
        "malformed_token: not three parts",
        "malformed_token: not the one base64url spelling of its bytes",
        "not_canonical: header is not its own RFC 8785 form",
        "malformed_token: header: Object missing required field `alg`",
        "wrong_algorithm: alg is 'none', must be EdDSA",
        "wrong_type: typ is 'allegro-thaw+jwt', must be allegro-seat+jwt",
        "wrong_key: signed for 'sovereign:2', must be sovereign:1",
        "bad_signature: not signed by sovereign:1",
        "not_canonical: payload is not its own RFC 8785 form",
        "malformed_token: Object missing required field `number`",
        "wrong_audience: meant for another fleet",
    ]


@pytest.mark.parametrize(("key_bytes", "signature_bytes", "good"), [
    (32, 64, True), (31, 64, False), (33, 64, False), (32, 63, False), (32, 65, False),
])  # fmt: skip
def test_a_key_or_signature_of_another_length_is_refused_whoever_verifies(
    key_bytes: int, signature_bytes: int, good: bool
) -> None:
    token = f"{issued().rsplit('.', 1)[0]}.{b64url(bytes(signature_bytes))}"
    answer = read_token(
        token, Seat, kid="sovereign:1", key=bytes(key_bytes), aud="fleet", verify=lambda *_: True
    )
    assert answer == SEAT if good else refused(answer, "bad_signature")
