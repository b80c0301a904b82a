"""The handshake of the link: each side proves its key before anything else is said. Pure.

Invariant: where `check_greeting` returns a counter-challenge, the peer holds the lane key that was
pinned at pairing and answered this very hello. Where `check_login` returns a trust, the peer holds
the house key that the newest sovereign key certified, with a seat given to that very key, and
answered the counter-challenge of this very connection, for this very lane. `LaneTrust` only moves
forward: the numbers of sovereign key, house key, seat and roster never fall under one sovereign
key, and a fingerprint that was revoked stays revoked.

Order of the messages: hello (the house's challenge), greeting (the lane signs it with its own
challenge), log-in (the house signs that one, and brings certificates). Order inside the log-in:
certificates first, one by one, each judged by the trust that the ones before it left; then the
log-in token, judged by the trust after all of them. One refusal refuses the whole log-in and
changes no trust. The caller writes the new trust to disk before it lets the house in.

Must never happen: a side signs bytes that the other side chose (a challenge is one claim in a
token of its own type, so a signed greeting is of no use elsewhere); a log-in that is relayed to
another lane is accepted there (it names the lane's key); an expired certificate is accepted for
the first time (judged by the later of both clocks); a house key counts without a seat of its own;
a rotation leaves the old house key or seat in force; the recovery key does more here than rotate.

Not promised here: secrecy, which is up to TLS.

Sources: docs/link-protocol.md; docs/adr/0003-three-keys-and-strict-tokens.md;
docs/adr/0022-each-roster-starts-a-new-council.md; RFC 8725 section 3.11 (explicit token types);
RFC 4648 section 5 (a challenge is 32 random bytes in base64url).
"""

from __future__ import annotations

import re

import msgspec

from allegro.core.authority.gate import LaneTrust, Trust, read_sovereign
from allegro.core.authority.roster import check_form
from allegro.core.authority.tokens import (
    CHALLENGE_BYTES,
    TYPES,
    Greeting,
    HouseCertificate,
    Login,
    Revocation,
    Roster,
    Rotation,
    Seat,
    Sign,
    Verify,
    fingerprint,
    issue_token,
    read_token,
    token_kid,
    token_type,
    unb64url,
)
from allegro.core.base.errors import Refusal
from allegro.core.protocol.messages import OLDEST_PROTOCOL, PROTOCOL, Greet, Hello, LogIn

MAX_CERTIFICATES = 256
_SOVEREIGN_KID = re.compile(r"sovereign:([0-9]{1,16})")


def is_challenge(text: str) -> bool:
    """Say whether a text is 32 bytes in the one base64url spelling."""
    try:
        return len(unb64url(text)) == CHALLENGE_BYTES
    except ValueError:
        return False


def greet(
    hello: Hello, trust: Trust, *, counter_challenge: str, version: str, sign: Sign
) -> Greet | Refusal:
    """Return the lane's answer to a hello, in the house's protocol where this lane knows it.

    `counter_challenge` is fresh for each connection; `version` is for people.
    """
    if not OLDEST_PROTOCOL <= hello.protocol <= PROTOCOL:
        older = "lane" if hello.protocol > PROTOCOL else "house"
        return Refusal(
            "wrong_protocol",
            f"this lane speaks link protocols {OLDEST_PROTOCOL} to {PROTOCOL}, the house speaks "
            f"{hello.protocol}: upgrade the {older}",
        )
    if not is_challenge(hello.challenge):
        return Refusal("bad_challenge", "a challenge is 32 bytes in base64url")
    claims = Greeting(
        aud=trust.fleet,
        lane=trust.lane,
        challenge=hello.challenge,
        counter_challenge=counter_challenge,
    )
    return Greet(hello.protocol, issue_token(claims, f"lane:{trust.lane}", sign), version)


def check_greeting(
    message: Greet,
    *,
    challenge: str,
    fleet: str,
    lane_key: bytes,
    verify: Verify,
    protocol: int = PROTOCOL,
) -> str | Refusal:
    """Return the lane's counter-challenge when it is the pinned lane that greets.

    `protocol` is what the hello asked for.
    """
    if message.protocol != protocol:
        return Refusal("wrong_protocol", f"the lane answered in another protocol than {protocol}")
    lane = fingerprint(lane_key)
    claims = read_token(
        message.token, Greeting, kid=f"lane:{lane}", key=lane_key, aud=fleet, verify=verify
    )
    if isinstance(claims, Refusal):
        return claims
    if claims.lane != lane or claims.challenge != challenge:
        return Refusal("wrong_challenge", "the greeting answers another hello")
    if not is_challenge(claims.counter_challenge):
        return Refusal("bad_challenge", "a challenge is 32 bytes in base64url")
    return claims.counter_challenge


def take_token(held: LaneTrust, token: str, *, now_s: float, verify: Verify) -> LaneTrust | Refusal:
    """Return the trust after one sovereign-signed change: key, house, seat, revocation, roster.

    A token that was taken before changes nothing; numbers never fall. The recovery key may sign
    rotations only.
    """
    by_type = {
        TYPES[Rotation]: _take_rotation,
        TYPES[HouseCertificate]: _take_certificate,
        TYPES[Seat]: _take_seat,
        TYPES[Revocation]: _take_revocation,
        TYPES[Roster]: _take_roster,
    }
    take = by_type.get(token_type(token))
    if take is None:
        return Refusal("wrong_type", f"{token_type(token)!r} changes no trust")
    return take(held, token, now_s, verify)


def check_login(
    message: LogIn,
    held: LaneTrust,
    *,
    counter_challenge: str,
    verify: Verify,
    now_s: float = 0.0,
) -> LaneTrust | Refusal:
    """Return the trust after a log-in that holds, certificates taken first.

    `now_s` is the lane's own wall clock. What is accepted for the first time must be in date by
    it and by the time the message claims: neither a liar nor a slow clock revives an old token.
    A house key taken here counts only with a seat given to that very key.
    """
    if len(message.certificates) > MAX_CERTIFICATES:
        return Refusal("too_many_certificates", f"at most {MAX_CERTIFICATES} are read")
    seated = held.trust.house
    for token in message.certificates:
        taken = take_token(held, token, now_s=max(message.now_s, now_s), verify=verify)
        if isinstance(taken, Refusal):
            return taken
        held = taken
        if token_type(token) == TYPES[Seat]:
            seated = held.trust.house
    trust = held.trust
    claims = read_token(
        message.token,
        Login,
        kid=f"house:{trust.house_number}",
        key=trust.house,
        aud=trust.fleet,
        verify=verify,
    )
    if isinstance(claims, Refusal):
        return claims
    if claims.lane != trust.lane:
        return Refusal("wrong_lane", "this log-in was made for another lane")
    if claims.challenge != counter_challenge:
        return Refusal("wrong_challenge", "this log-in answers another greeting")
    if claims.seat != trust.seat:
        return Refusal("wrong_seat", f"seat {claims.seat} is not the newest ({trust.seat})")
    if claims.key_number != trust.sovereign_number:
        return Refusal("old_key", f"the newest sovereign key is number {trust.sovereign_number}")
    if seated != trust.house:
        return Refusal("wrong_seat", "the seat was not given to this house key")
    if held.roster_by < trust.sovereign_number:  # its signer was replaced, and nobody renewed it
        held = msgspec.structs.replace(held, roster=None)
    return held


def _take_rotation(
    held: LaneTrust, token: str, now_s: float, verify: Verify
) -> LaneTrust | Refusal:
    """A sovereign key names only its next; the recovery key may jump, so it can outrun a thief."""
    trust = held.trust
    if _is_past(token, trust):
        return held
    claims = read_token(
        token, Rotation, kid="recovery", key=trust.recovery, aud=trust.fleet, verify=verify
    )
    if isinstance(claims, Refusal):
        claims = read_sovereign(token, Rotation, trust, verify)
        if isinstance(claims, Refusal):
            return claims
        if claims.number != trust.sovereign_number + 1:
            return Refusal("wrong_number", f"the next key is number {trust.sovereign_number + 1}")
    if claims.number <= trust.sovereign_number:
        return held
    if not now_s < claims.exp:
        return Refusal("rotation_expired", "sign the rotation again")
    key = _key(claims.key)
    if isinstance(key, Refusal):
        return key
    # house and seat were the old key's word: the new one must say them again
    return _with(
        held, sovereign=key, sovereign_number=claims.number, house=b"", house_number=0, seat=0
    )


def _is_past(token: str, trust: Trust) -> bool:
    """Say whether a sovereign key replaced since signed this: it changes nothing, so it may pass."""
    found = _SOVEREIGN_KID.fullmatch(token_kid(token))
    return found is not None and int(found[1]) < trust.sovereign_number


def _take_certificate(
    held: LaneTrust, token: str, now_s: float, verify: Verify
) -> LaneTrust | Refusal:
    trust = held.trust
    claims = read_sovereign(token, HouseCertificate, trust, verify)
    if isinstance(claims, Refusal):
        return claims
    key = _key(claims.house)
    if isinstance(key, Refusal):
        return key
    if fingerprint(key) in held.revoked:
        return Refusal("revoked", "this house key was revoked")
    if claims.number == trust.house_number and key == trust.house:
        return held
    if claims.number <= trust.house_number:
        return Refusal("old_key", f"house key {trust.house_number} is newer")
    if not now_s < claims.exp:
        return Refusal("certificate_expired", "certify the house key again")
    return _with(held, house=key, house_number=claims.number)


def _take_seat(held: LaneTrust, token: str, now_s: float, verify: Verify) -> LaneTrust | Refusal:
    del now_s
    trust = held.trust
    claims = read_sovereign(token, Seat, trust, verify)
    if isinstance(claims, Refusal):
        return claims
    if claims.number < trust.seat:
        return Refusal("wrong_seat", f"seat {claims.number}, but {trust.seat} is taken")
    if claims.house != fingerprint(trust.house):
        return Refusal("wrong_seat", "the seat was given to another house key")
    return _with(held, seat=claims.number)


def _take_revocation(
    held: LaneTrust, token: str, now_s: float, verify: Verify
) -> LaneTrust | Refusal:
    del now_s
    trust = held.trust
    if _is_past(token, trust):
        return held
    claims = read_sovereign(token, Revocation, trust, verify)
    if isinstance(claims, Refusal):
        return claims
    held = msgspec.structs.replace(held, revoked=held.revoked | {claims.key})
    # the gate reads the key alone: a revoked one must not stay there for an open session
    return _with(held, house=b"") if claims.key == fingerprint(trust.house) else held


def _take_roster(held: LaneTrust, token: str, now_s: float, verify: Verify) -> LaneTrust | Refusal:
    """A roster that is not newer changes nothing: a house that went back cannot undo a fleet.

    One by a newer sovereign key counts whatever its number: a thief's number binds nobody.
    """
    del now_s
    trust = held.trust
    if _is_past(token, trust):
        return held
    claims = read_sovereign(token, Roster, trust, verify)
    if isinstance(claims, Refusal):
        return claims
    is_same_key = held.roster_by == trust.sovereign_number
    if held.roster is not None and is_same_key and claims.number <= held.roster.number:
        return held
    refusal = check_form(claims)
    by = trust.sovereign_number
    return refusal or msgspec.structs.replace(held, roster=claims, roster_by=by)


def _key(text: str) -> bytes | Refusal:
    try:
        raw = unb64url(text)
    except ValueError as error:
        return Refusal("malformed_token", str(error))
    return raw if len(raw) == 32 else Refusal("malformed_token", "a key is 32 bytes")


def _with(held: LaneTrust, **changes: bytes | int) -> LaneTrust:
    return msgspec.structs.replace(held, trust=msgspec.structs.replace(held.trust, **changes))
