"""What the sovereign key signs: approvals, thaws, seat, roster, rotations, revocations, pairings.

Invariant: each function gets the key as an argument from a command that a person runs, signs one
thing, and changes the fleet file under its lock with the key that is still the fleet's. None of them
takes anything from a lane or from the house daemon but what its caller has shown before.
"""

from __future__ import annotations

import msgspec

from allegro.adapters.crypto.signatures import SigningKey
from allegro.core.authority.pairing import HouseAnswer, LaneOffer, answer_line
from allegro.core.authority.roster import check_roster
from allegro.core.authority.tokens import (
    MAX_TOKEN_BYTES,
    Approval,
    HouseCertificate,
    Member,
    Pairing,
    RecoveryStop,
    Revocation,
    Roster,
    Rotation,
    Seat,
    Thaw,
    b64url,
    fingerprint,
    issue_token,
    sovereign_kid,
    unb64url,
)
from allegro.core.base.errors import ConfigError
from allegro.core.base.untrusted import Unreadable, read_json, unreadable
from allegro.house.files import (
    Fleet,
    HouseFiles,
    KnownLane,
    changing,
    put_in_place,
    save_fleet,
    with_lane,
)

FIRST_ACCEPTANCE_S = 30 * 86_400
PAIRING_LIFE_S = 86_400
STOP_LIFE_S = 3600
THAW_LIFE_S = 7 * 86_400
THAWED_AT_ONCE = 50
RECOVERY_JUMP = 2**32
ROSTER_JUMP = 1_000


def approve(fleet: Fleet, key: SigningKey, digest: str, at_s: float, lives_s: int) -> str:
    """Return the approval of the action with this digest, good for `lives_s` seconds from `at_s`."""
    claims = Approval(
        aud=fleet.id, digest=digest, exp=int(at_s) + lives_s, iat=int(at_s), seat=fleet.seat
    )
    return issue_token(claims, sovereign_kid(fleet.sovereign_number), key.sign)


def thaw(fleet: Fleet, key: SigningKey, freezes: list[str], at_s: float) -> list[str]:
    """Return the thaws of these freezes, as many tokens as their number needs."""
    kid = sovereign_kid(fleet.sovereign_number)
    parts = (freezes[at : at + THAWED_AT_ONCE] for at in range(0, len(freezes), THAWED_AT_ONCE))
    return [
        issue_token(
            Thaw(aud=fleet.id, freezes=tuple(ids), exp=int(at_s) + THAW_LIFE_S), kid, key.sign
        )
        for ids in parts
    ]


def mute(
    fleet: Fleet, key: SigningKey, mutes: tuple[str, ...], hears: tuple[str, ...], at_s: float
) -> str:
    """Return a thaw that lifts nothing, and says whose stops by chat count no more or again.

    Senders are `channel:person`, such as `telegram:77`.
    """
    claims = Thaw(aud=fleet.id, freezes=(), exp=int(at_s) + THAW_LIFE_S, mutes=mutes, hears=hears)
    return issue_token(claims, sovereign_kid(fleet.sovereign_number), key.sign)


def recovery_stop(fleet: Fleet, recovery: SigningKey, freeze: str, at_s: float) -> str:
    """Return a stop signed with the recovery key. `freeze` must be a random id."""
    claims = RecoveryStop(aud=fleet.id, freeze=freeze, exp=int(at_s) + STOP_LIFE_S)
    return issue_token(claims, "recovery", recovery.sign)


def pair(files: HouseFiles, key: SigningKey, offer: LaneOffer, at_s: float) -> str:
    """Take a lane into the fleet, in the place of one of the same name; return the answer line."""
    with changing(files, key.public) as fleet:
        raw = unb64url(offer.key)
        pairing = Pairing(
            aud=fleet.id, lane=fingerprint(raw), name=offer.name, sealing=b64url(fleet.sealing),
            recovery=b64url(fleet.recovery), exp=int(at_s) + PAIRING_LIFE_S,
        )  # fmt: skip
        pin = bytes.fromhex(offer.pin) if offer.pin else None
        save_fleet(files, with_lane(fleet, KnownLane(offer.name, raw, offer.url, pin)))
    return answer_line(
        HouseAnswer(
            fleet=fleet.id,
            sovereign=b64url(fleet.sovereign),
            sovereign_number=fleet.sovereign_number,
            house=b64url(fleet.house),
            secret=b64url(fleet.secret),
            pairing=issue_token(pairing, sovereign_kid(fleet.sovereign_number), key.sign),
            certificate=fleet.certificate,
            seat=fleet.seat_token,
        )
    )


def certified(fleet: Fleet, sovereign: SigningKey, now_s: float) -> Fleet:
    """Return the fleet with house certificate and seat signed by this sovereign key."""
    kid = sovereign_kid(fleet.sovereign_number)
    certificate = HouseCertificate(
        aud=fleet.id,
        house=b64url(fleet.house),
        number=fleet.house_number,
        exp=int(now_s) + FIRST_ACCEPTANCE_S,
    )
    seat = Seat(aud=fleet.id, number=fleet.seat, house=fingerprint(fleet.house))
    return msgspec.structs.replace(
        fleet,
        certificate=issue_token(certificate, kid, sovereign.sign),
        seat_token=issue_token(seat, kid, sovereign.sign),
        roster_token=issue_token(fleet.roster, kid, sovereign.sign) if fleet.roster else "",
    )


def sign_roster(
    files: HouseFiles, sovereign: SigningKey, members: tuple[Member, ...],
    roles: dict[str, tuple[str, ...]], above: int = 0,
) -> Fleet:  # fmt: skip
    """Say which lanes form the council from now on. Raises ConfigError for what cannot be.

    `above` is the highest number a lane says it keeps: a house that was restored from an older
    copy must sign a higher one. A lane that tells a far higher one is not followed.
    """
    with changing(files, sovereign.public) as before:
        number = before.roster.number if before.roster else 0
        number = max(number, above if above <= number + ROSTER_JUMP else 0) + 1
        roster = Roster(aud=before.id, number=number, members=members, roles=roles)
        if (refusal := check_roster(roster)) is not None:
            raise ConfigError((refusal.detail,))
        token = issue_token(roster, sovereign_kid(before.sovereign_number), sovereign.sign)
        if len(token) > MAX_TOKEN_BYTES:
            raise ConfigError(("this roster is too large for one token",))
        fleet = msgspec.structs.replace(before, roster=roster, roster_token=token)
        save_fleet(files, fleet)
    return fleet


def take_seat(files: HouseFiles, sovereign: SigningKey, now_s: float) -> Fleet:
    """Raise the seat number and give it to this house. Open approvals are void from then on."""
    with changing(files, sovereign.public) as before:
        raised = msgspec.structs.replace(before, seat=before.seat + 1)
        fleet = certified(raised, sovereign, now_s)
        save_fleet(files, fleet)
    return fleet


def rotate_sovereign(
    files: HouseFiles, old: SigningKey, now_s: float, passphrase: bytes | None, *, by_recovery: bool
) -> Fleet:
    """Replace the sovereign key; the old one (or the recovery key) names the new one.

    The recovery key jumps ahead, so that a thief who rotated first does not stay ahead.
    Raises ConfigError when the old key is not the one it is given as.
    """
    with changing(files, None if by_recovery else old.public) as before:
        if by_recovery and old.public != before.recovery:
            raise ConfigError(("that is not the recovery key of this fleet",))
        new = SigningKey.make()
        rotation = Rotation(
            aud=before.id,
            key=b64url(new.public),
            number=before.sovereign_number + (RECOVERY_JUMP if by_recovery else 1),
            exp=int(now_s) + FIRST_ACCEPTANCE_S,
        )
        kid = "recovery" if by_recovery else sovereign_kid(before.sovereign_number)
        token = issue_token(rotation, kid, old.sign)
        fleet = msgspec.structs.replace(
            before,
            sovereign=new.public,
            sovereign_number=rotation.number,
            rotations=(*before.rotations, token),
            revocations=_signed_again(before.revocations, sovereign_kid(rotation.number), new),
        )
        beside = files.sovereign.with_name("sovereign.key.new")
        beside.unlink(missing_ok=True)
        new.save(beside, passphrase)
        save_fleet(files, certified(fleet, new, now_s))
        put_in_place(beside, files.sovereign)
    return fleet


def _signed_again(tokens: tuple[str, ...], kid: str, key: SigningKey) -> tuple[str, ...]:
    """Return our own revocations under a new sovereign key: lanes forget the old one."""
    return tuple(issue_token(_revocation(token), kid, key.sign) for token in tokens)


def _revocation(token: str) -> Revocation:
    try:
        claims = read_json(unb64url(token.split(".")[1]), Revocation)
    except (IndexError, ValueError) as error:
        claims = unreadable(error)
    if isinstance(claims, Unreadable):
        raise ConfigError((f"a revocation in fleet.json is damaged ({claims}): put back a copy",))
    return claims


def rotate_house(files: HouseFiles, sovereign: SigningKey, now_s: float) -> Fleet:
    """Replace the house key and revoke the old one."""
    with changing(files, sovereign.public) as before:
        new = SigningKey.make()
        revocation = Revocation(aud=before.id, what="house", key=fingerprint(before.house))
        token = issue_token(revocation, sovereign_kid(before.sovereign_number), sovereign.sign)
        fleet = msgspec.structs.replace(
            before,
            house=new.public,
            house_number=before.house_number + 1,
            seat=before.seat + 1,
            revocations=(*before.revocations, token),
        )
        beside = files.house.with_name("house.key.new")
        beside.unlink(missing_ok=True)
        new.save(beside)
        save_fleet(files, certified(fleet, sovereign, now_s))
        put_in_place(beside, files.house)
    return fleet


def revoke_lane(files: HouseFiles, sovereign: SigningKey, name: str) -> Fleet:
    """Take a lane out of the fleet. Raises ConfigError for an unknown name."""
    with changing(files, sovereign.public) as before:
        lane = next((lane for lane in before.lanes if lane.name == name), None)
        if lane is None:
            known = ", ".join(lane.name for lane in before.lanes) or "none"
            raise ConfigError((f"no lane named {name!r}; known: {known}",))
        revocation = Revocation(aud=before.id, what="lane", key=fingerprint(lane.key))
        token = issue_token(revocation, sovereign_kid(before.sovereign_number), sovereign.sign)
        lanes = tuple(
            msgspec.structs.replace(known, revoked=True) if known.name == name else known
            for known in before.lanes
        )
        fleet = msgspec.structs.replace(
            before, lanes=lanes, revocations=(*before.revocations, token)
        )
        save_fleet(files, fleet)
    return fleet
