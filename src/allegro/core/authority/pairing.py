"""How a house and a lane meet: one line each way, and six words that both screens show."""

from __future__ import annotations

import hashlib
from typing import Annotated

import msgspec
from msgspec import Meta

from allegro.core.authority.gate import Trust
from allegro.core.authority.tokens import (
    HouseCertificate,
    Pairing,
    Seat,
    Verify,
    b64url,
    fingerprint,
    read_token,
    sovereign_kid,
    unb64url,
)
from allegro.core.base.canonical import canonical
from allegro.core.base.errors import Refusal
from allegro.core.base.untrusted import Number, Unreadable, read_json

_CONSONANTS = "bdfghjklmnprstvz"
_VOWELS = "aiou"


class LaneOffer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the lane says: who it is and how it is reached. Nothing in it is secret.

    `pin` is the SHA-256 of its certificate in hex, empty where a public CA or a socket serves.
    """

    name: Annotated[str, Meta(pattern=r"\A[a-z0-9-]{1,32}\Z")]
    key: str
    url: Annotated[str, Meta(pattern=r"\A(wss?://|ws\+unix:///)[!-~]{1,500}\Z")]
    pin: Annotated[str, Meta(pattern=r"\A([0-9a-f]{64})?\Z")]


class HouseAnswer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the house says back. `secret` is shared by the fleet: keep the line to yourself."""

    fleet: str
    sovereign: str
    sovereign_number: Number
    house: str
    secret: str
    pairing: str
    certificate: str
    seat: str


class Paired(msgspec.Struct, frozen=True):
    """What a lane keeps of its pairing besides its trust. Keys are raw bytes."""

    name: str
    sealing: bytes
    secret: bytes


def offer_line(offer: LaneOffer) -> str:
    return "allegro-lane:" + b64url(canonical(offer))


def answer_line(answer: HouseAnswer) -> str:
    return "allegro-house:" + b64url(canonical(answer))


def read_offer(line: str) -> LaneOffer | Refusal:
    offer = _read(line, "allegro-lane:", LaneOffer)
    if isinstance(offer, LaneOffer) and _key(offer.key) is None:
        return Refusal("malformed_line", "the lane's key is damaged; copy the whole line")
    return offer  # type: ignore[return-value]


def accept_answer(
    line: str, offer: LaneOffer, *, now_s: float, verify: Verify
) -> tuple[Trust, Paired] | Refusal:
    """Return what a lane believes from now on, when the house's line is for this very lane."""
    answer = _read(line, "allegro-house:", HouseAnswer)
    if isinstance(answer, Refusal):
        return answer
    assert isinstance(answer, HouseAnswer)
    lane_key, sovereign, secret = _key(offer.key), _key(answer.sovereign), _key(answer.secret)
    if lane_key is None or sovereign is None or secret is None:
        return Refusal("malformed_line", "a key in the line is damaged; copy the whole line")
    signed = {
        "kid": sovereign_kid(answer.sovereign_number), "key": sovereign, "aud": answer.fleet,
        "verify": verify,
    }  # fmt: skip
    pairing = read_token(answer.pairing, Pairing, **signed)  # type: ignore[arg-type]
    certificate = read_token(answer.certificate, HouseCertificate, **signed)  # type: ignore[arg-type]
    seat = read_token(answer.seat, Seat, **signed)  # type: ignore[arg-type]
    for claims in (pairing, certificate, seat):
        if isinstance(claims, Refusal):
            return claims
    assert isinstance(pairing, Pairing)
    assert isinstance(certificate, HouseCertificate)
    assert isinstance(seat, Seat)
    if pairing.lane != fingerprint(lane_key):
        return Refusal("wrong_lane", "this line was made for another lane")
    if not now_s < pairing.exp:
        return Refusal("pairing_expired", "pair again: the line is too old")
    keys = (_key(certificate.house), _key(pairing.sealing), _key(pairing.recovery))
    house, sealing, recovery = keys
    if house is None or sealing is None or recovery is None or seat.house != fingerprint(house):
        return Refusal("malformed_line", "the keys in the line do not belong together")
    trust = Trust(
        fleet=answer.fleet, lane=pairing.lane, sovereign=sovereign,
        sovereign_number=answer.sovereign_number, house=house, house_number=certificate.number,
        recovery=recovery, seat=seat.number,
    )  # fmt: skip
    return trust, Paired(pairing.name, sealing, secret)


def six_words(offer: LaneOffer, line: str) -> str:
    """Return six pronounceable words for offer and answer together (96 bits, proquints).

    Both screens show the same six, or somebody stood in between.
    """
    digest = hashlib.sha256(b"allegro pairing\0" + canonical(offer) + line.encode()).digest()
    return " ".join(_proquint(digest[at : at + 2]) for at in range(0, 12, 2))


def _proquint(raw: bytes) -> str:
    number = int.from_bytes(raw, "big")
    return (
        _CONSONANTS[number >> 12]
        + _VOWELS[number >> 10 & 3]
        + _CONSONANTS[number >> 6 & 15]
        + _VOWELS[number >> 4 & 3]
        + _CONSONANTS[number & 15]
    )


def _read(
    line: str, prefix: str, type_: type[LaneOffer] | type[HouseAnswer]
) -> LaneOffer | HouseAnswer | Refusal:
    line = line.strip()
    if not line.startswith(prefix):
        return Refusal("malformed_line", f"the line must begin with {prefix}")
    damaged = Refusal("malformed_line", "the line is damaged; copy the whole line")
    try:
        raw = unb64url(line.removeprefix(prefix))
    except ValueError:
        return damaged
    read: LaneOffer | HouseAnswer | Unreadable = read_json(raw, type_)
    return damaged if isinstance(read, Unreadable) else read


def _key(text: str) -> bytes | None:
    try:
        raw = unb64url(text)
    except ValueError:
        return None
    return raw if len(raw) == 32 else None
