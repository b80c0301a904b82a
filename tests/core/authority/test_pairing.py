from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from allegro.adapters.crypto.signatures import verify
from allegro.core.authority.gate import Trust
from allegro.core.authority.pairing import (
    HouseAnswer,
    LaneOffer,
    Paired,
    accept_answer,
    answer_line,
    offer_line,
    read_offer,
    six_words,
)
from allegro.core.authority.tokens import (
    HouseCertificate,
    Pairing,
    Seat,
    b64url,
    fingerprint,
    issue_token,
)
from allegro.core.base.errors import Refusal
from tests.core.builders import HOUSE, LANE, RECOVERY, SOVEREIGN, STRANGER, TRUST, key_of, refused

OFFER = LaneOffer("allegro", b64url(LANE.public), "wss://lane.example.org:8443", "ab" * 32)
SECRET, SEALING = bytes(range(32)), key_of("sealing").public


def answer(
    *, pairing: dict[str, Any] | None = None, house: dict[str, Any] | None = None,
    seat: dict[str, Any] | None = None, **changes: Any,
) -> str:  # fmt: skip
    pairing_claims = Pairing(**{
        "aud": "fleet", "lane": fingerprint(LANE.public), "name": "allegro",
        "sealing": b64url(SEALING), "recovery": b64url(RECOVERY.public), "exp": 1000,
        **(pairing or {}),
    })  # fmt: skip
    certificate = HouseCertificate(
        **{"aud": "fleet", "house": b64url(HOUSE.public), "number": 1, "exp": 1000, **(house or {})}
    )
    seat_claims = Seat(
        **{"aud": "fleet", "number": 1, "house": fingerprint(HOUSE.public), **(seat or {})}
    )
    made = HouseAnswer(
        fleet="fleet", sovereign=b64url(SOVEREIGN.public), sovereign_number=1,
        house=b64url(HOUSE.public), secret=b64url(SECRET),
        pairing=issue_token(pairing_claims, "sovereign:1", SOVEREIGN.sign),
        certificate=issue_token(certificate, "sovereign:1", SOVEREIGN.sign),
        seat=issue_token(seat_claims, "sovereign:1", SOVEREIGN.sign),
    )  # fmt: skip
    return answer_line(msgspec.structs.replace(made, **changes))


def accept(
    line: str, offer: LaneOffer = OFFER, now_s: float = 10.0
) -> tuple[Trust, Paired] | Refusal:
    return accept_answer(line, offer, now_s=now_s, verify=verify)


def test_an_offer_survives_its_line() -> None:
    assert read_offer(f"  {offer_line(OFFER)}\n") == OFFER


@pytest.mark.parametrize("line", [
    "", "allegro-house:e30", "allegro-lane:e30", "allegro-lane:!", "allegro-lane:bnVsbA",
    offer_line(OFFER)[:-3], offer_line(msgspec.structs.replace(OFFER, key=b64url(bytes(31)))),
    offer_line(msgspec.structs.replace(OFFER, key="%")),
])  # fmt: skip
def test_a_damaged_offer_is_told_as_such(line: str) -> None:
    assert refused(read_offer(line), "malformed_line")


def test_a_lane_believes_what_the_house_s_line_says_and_the_sovereign_signed() -> None:
    assert accept(answer()) == (TRUST, Paired("allegro", SEALING, SECRET))


@pytest.mark.parametrize(("changes", "reason"), [
    ({"secret": "short"}, "malformed_line"), ({"sovereign": b64url(bytes(31))}, "malformed_line"),
    ({"sovereign": b64url(STRANGER.public)}, "bad_signature"),
    ({"sovereign_number": 2}, "wrong_key"), ({"fleet": "other"}, "wrong_audience"),
    ({"pairing": {"lane": fingerprint(STRANGER.public)}}, "wrong_lane"),
    ({"pairing": {"exp": 10}}, "pairing_expired"),
    ({"pairing": {"sealing": "short"}}, "malformed_line"),
    ({"pairing": {"recovery": "short"}}, "malformed_line"),
    ({"pairing": {"aud": "other"}}, "wrong_audience"),
    ({"house": {"house": "short"}}, "malformed_line"),
    ({"house": {"aud": "other"}}, "wrong_audience"),
    ({"seat": {"house": fingerprint(STRANGER.public)}}, "malformed_line"),
    ({"seat": {"aud": "other"}}, "wrong_audience"),
])  # fmt: skip
def test_a_line_that_does_not_hold_together_is_refused(
    changes: dict[str, Any], reason: str
) -> None:
    assert refused(accept(answer(**changes)), reason)


def test_the_tokens_of_a_line_cannot_be_exchanged_for_each_other() -> None:
    token = issue_token(Seat(aud="fleet", number=1, house="x"), "sovereign:1", SOVEREIGN.sign)
    assert refused(accept(answer(pairing=None, certificate=token)), "wrong_type")


def test_a_damaged_answer_is_told_as_such() -> None:
    assert refused(accept("allegro-house:e30"), "malformed_line")
    assert refused(accept(offer_line(OFFER)), "malformed_line")


def test_an_offer_whose_key_is_damaged_gets_no_answer() -> None:
    assert refused(accept(answer(), msgspec.structs.replace(OFFER, key="x")), "malformed_line")


def test_both_screens_show_the_same_six_words() -> None:
    words = six_words(OFFER, answer()).split()
    assert len(words) == 6
    assert all(len(word) == 5 for word in words)
    copied = read_offer(offer_line(OFFER))
    assert isinstance(copied, LaneOffer)
    assert six_words(copied, answer()) == " ".join(words)


@given(st.sampled_from(["name", "key", "url", "pin"]), st.text(max_size=10))
def test_whoever_stands_between_changes_the_words(field: str, other: str) -> None:
    changed = msgspec.structs.replace(OFFER, **{field: other})
    assert changed == OFFER or six_words(changed, answer()) != six_words(OFFER, answer())


@given(st.text(max_size=40))
def test_no_line_makes_it_raise(text: str) -> None:
    for prefix in ("", "allegro-lane:", "allegro-house:"):
        assert isinstance(read_offer(prefix + text), Refusal)
        assert isinstance(accept(prefix + text), Refusal)
