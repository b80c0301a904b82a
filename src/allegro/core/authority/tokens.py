"""Signed tokens: one type for each purpose, read strictly.

Invariant: `read_token` returns claims only for a token that the expected key signed, for the
expected purpose, key name and fleet, and whose bytes are the only spelling of what they say. A
token is a JWS in compact form; its header holds exactly `alg`, `kid` and `typ`; header and payload
are each their own canonical JSON; the payload is a struct without unknown or missing fields. Each
purpose has a `typ` of its own (`TYPES`), so a log-in cannot stand for an approval, nor any token
for another.

Order of the checks, fixed: size, three parts in base64url with one spelling, header canonical and
of the right shape, `alg`, `typ`, `kid`, signature, payload canonical, claims, audience. No claim
is looked at before the signature holds. The caller names the key; the token never chooses it.

Expiry is not checked here. Whose clock counts depends on the purpose: `gate` judges an approval's
`exp` by a trusted wall clock, `link.handshake` judges the `exp` of a certificate only at its first
acceptance, and an order has no wall time at all.

Must never happen: an algorithm other than EdDSA with Ed25519 (no `none`, no HMAC, no Ed448); a
header with more fields, such as `crit` or `jwk`; `exp` as a string or a float; two spellings of one
token; trust in `token_type` or `token_kid`, which read an unverified header and may only decide
which check to run next.

Sources: RFC 7515 sections 4.1.1 (alg), 4.1.4 (kid), 4.1.9 (typ) and 7.1 (compact form); RFC 8037
section 3.1 (EdDSA in JWS); RFC 8032 section 5.1 (Ed25519); RFC 4648 section 5 (base64url, here
without padding as RFC 7515 section 2 says); RFC 8785 (canonical JSON); RFC 8725 sections 3.1 and
3.11 (fixed algorithm, explicit type). ADR docs/adr/0003-three-keys-and-strict-tokens.md.
tests/vectors/approvals.json holds more than 250 tokens with the exact reason each is refused for.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Callable
from typing import TypeVar

import msgspec

from allegro.core.base.canonical import canonical, is_canonical
from allegro.core.base.errors import Refusal
from allegro.core.base.untrusted import Unreadable, read_json

MAX_TOKEN_BYTES = 16_384
CHALLENGE_BYTES = 32

Verify = Callable[[bytes, bytes, bytes], bool]
"""(public key of 32 bytes, message, signature) -> is it this key's Ed25519 signature?"""

Sign = Callable[[bytes], bytes]
"""message -> Ed25519 signature, by a key that stays with its owner."""


class Claims(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What every token says: `aud` is the random id of the fleet."""

    aud: str


class Approval(Claims, frozen=True):
    """The sovereign allows the action of this digest until `exp` (Unix s), under seat `seat`."""

    digest: str
    exp: int
    iat: int
    seat: int


class Order(Claims, frozen=True):
    """The house tells one lane to carry out one action now. Lives `ttl_s` from its challenge."""

    lane: str
    challenge: str
    number: int
    digest: str
    seat: int
    ttl_s: int


class Login(Claims, frozen=True):
    """The house answers a lane's challenge on the link."""

    lane: str
    challenge: str
    seat: int
    key_number: int


class Greeting(Claims, frozen=True):
    """The lane answers the house's challenge and poses its own."""

    lane: str
    challenge: str
    counter_challenge: str


class HouseCertificate(Claims, frozen=True):
    """The sovereign names the key that may sign orders and log-in. `exp`: first acceptance."""

    house: str
    number: int
    exp: int


class Pairing(Claims, frozen=True):
    """The sovereign takes a lane into the fleet. `exp` limits the first acceptance."""

    lane: str
    name: str
    sealing: str
    recovery: str
    exp: int


class Thaw(Claims, frozen=True, omit_defaults=True):
    """The sovereign lifts exactly these freezes. `exp` limits the first acceptance.

    `mutes` are senders (channel:person) whose stops by chat count no more, `hears` those whose
    count again.
    """

    freezes: tuple[str, ...]
    exp: int
    mutes: tuple[str, ...] = ()
    hears: tuple[str, ...] = ()


class Seat(Claims, frozen=True):
    """The sovereign gives the right to act to the house with this key."""

    number: int
    house: str


class Rotation(Claims, frozen=True):
    """The old sovereign key, or the recovery key, names the new one and its number."""

    key: str
    number: int
    exp: int


class Revocation(Claims, frozen=True):
    """The sovereign takes a key out of the fleet: `what` is `house` or `lane`."""

    what: str
    key: str


class RecoveryStop(Claims, frozen=True):
    """The recovery key stops the fleet."""

    freeze: str
    exp: int


class StandingOrder(Claims, frozen=True):
    """What the sovereign allows in advance. Known to the gate, which refuses it for now."""

    kinds: tuple[str, ...]
    repositories: tuple[str, ...]
    count: int
    exp: int


class Member(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A lane in the council. `lane` is its key's fingerprint, `address` host:port of its server,
    `certificate` the PEM of the only certificate that server may show."""

    lane: str
    name: str
    address: str
    certificate: str
    domain: str


class Roster(Claims, frozen=True):
    """The sovereign says which lanes form the council, and who is preferred for each role.

    Each roster is a council of its own: a higher number starts with an empty store. No members
    is no fleet.
    """

    number: int
    members: tuple[Member, ...]
    roles: dict[str, tuple[str, ...]]


TYPES: dict[type[Claims], str] = {
    Approval: "allegro-approval+jwt",
    Order: "allegro-order+jwt",
    Login: "allegro-login+jwt",
    Greeting: "allegro-greeting+jwt",
    HouseCertificate: "allegro-house+jwt",
    Pairing: "allegro-pairing+jwt",
    Thaw: "allegro-thaw+jwt",
    Seat: "allegro-seat+jwt",
    Rotation: "allegro-rotation+jwt",
    Revocation: "allegro-revocation+jwt",
    RecoveryStop: "allegro-recovery-stop+jwt",
    StandingOrder: "allegro-standing-order+jwt",
    Roster: "allegro-roster+jwt",
}


class _Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    alg: str
    kid: str
    typ: str


C = TypeVar("C", bound=Claims)


def fingerprint(public_key: bytes) -> str:
    """Name a public key: the first 32 hex digits of its SHA-256."""
    return hashlib.sha256(public_key).hexdigest()[:32]


def sovereign_kid(number: int) -> str:
    """Name the sovereign key of this number; numbers only ever grow."""
    return f"sovereign:{number}"


def b64url(raw: bytes) -> str:
    """Write base64url without padding (RFC 7515 section 2)."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def unb64url(text: str) -> bytes:
    """Read base64url without padding (RFC 4648 section 5).

    Raises ValueError unless the text is the one spelling of its bytes.
    """
    try:
        raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, UnicodeEncodeError) as error:
        raise ValueError(f"not base64url: {error}") from error
    if b64url(raw) != text:
        raise ValueError("not the one base64url spelling of its bytes")
    return raw


def issue_token(claims: Claims, kid: str, sign: Sign) -> str:
    """Return the signed compact form of these claims (RFC 7515 section 7.1).

    `kid` names the key that `sign` uses: `sovereign:N`, `house:N`, `lane:FINGERPRINT` or
    `recovery`. Raises KeyError for claims that have no `typ` in `TYPES`.
    """
    header = {"alg": "EdDSA", "kid": kid, "typ": TYPES[type(claims)]}
    signing_input = f"{b64url(canonical(header))}.{b64url(canonical(claims))}"
    return f"{signing_input}.{b64url(sign(signing_input.encode()))}"


def read_token(
    token: str, expect: type[C], *, kid: str, key: bytes, aud: str, verify: Verify
) -> C | Refusal:
    """Return the claims of a token that is exactly what is expected here, else the first reason.

    `key` is the 32 raw bytes of the public key that must have signed; any other length refuses.
    `aud` is the fleet's id. Never raises on what a token holds: a `Refusal.reason` is one of
    `token_too_large`, `malformed_token`, `not_canonical`, `wrong_algorithm`, `wrong_type`,
    `wrong_key`, `bad_signature`, `wrong_audience`. Expiry is the caller's to check.
    """
    parsed = _split(token)
    if isinstance(parsed, Refusal):
        return parsed
    header_raw, payload_raw, signature, signing_input = parsed
    refusal = _check_header(header_raw, TYPES[expect], kid)
    if refusal is not None:
        return refusal
    if len(key) != 32 or len(signature) != 64 or not verify(key, signing_input, signature):
        return Refusal("bad_signature", f"not signed by {kid}")
    if not is_canonical(payload_raw):
        return Refusal("not_canonical", "payload is not its own RFC 8785 form")
    claims = read_json(payload_raw, expect)
    if isinstance(claims, Unreadable):
        return Refusal("malformed_token", claims.reason)
    if claims.aud != aud:
        return Refusal("wrong_audience", "meant for another fleet")
    return claims


def _split(token: str) -> tuple[bytes, bytes, bytes, bytes] | Refusal:
    if len(token) > MAX_TOKEN_BYTES:
        return Refusal("token_too_large", f"more than {MAX_TOKEN_BYTES} characters")
    parts = token.split(".")
    if len(parts) != 3:
        return Refusal("malformed_token", "not three parts")
    try:
        header, payload, signature = (unb64url(part) for part in parts)
    except ValueError as error:
        return Refusal("malformed_token", str(error))
    return header, payload, signature, f"{parts[0]}.{parts[1]}".encode()


def _check_header(raw: bytes, typ: str, kid: str) -> Refusal | None:
    if not is_canonical(raw):
        return Refusal("not_canonical", "header is not its own RFC 8785 form")
    header = read_json(raw, _Header)
    if isinstance(header, Unreadable):
        return Refusal("malformed_token", f"header: {header.reason}")
    if header.alg != "EdDSA":
        return Refusal("wrong_algorithm", f"alg is {header.alg!r}, must be EdDSA")
    if header.typ != typ:
        return Refusal("wrong_type", f"typ is {header.typ!r}, must be {typ}")
    if header.kid != kid:
        return Refusal("wrong_key", f"signed for {header.kid!r}, must be {kid}")
    return None


def token_type(token: str) -> str:
    """Return the `typ` a token claims, unverified; empty when it has no readable header."""
    return _claimed(token).typ


def token_kid(token: str) -> str:
    """Return the `kid` a token claims, unverified; empty when it has no readable header."""
    return _claimed(token).kid


def _claimed(token: str) -> _Header:
    parsed = _split(token)
    if isinstance(parsed, Refusal):
        return _Header("", "", "")
    header = read_json(parsed[0], _Header)
    return _Header("", "", "") if isinstance(header, Unreadable) else header
