"""The house's keys and what it knows of its fleet, in files of its owner."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from allegro.adapters.clock import SystemDice
from allegro.adapters.files import hold_file, load_state, write_state
from allegro.adapters.signatures import (
    SealingKey,
    SigningKey,
    load_sealing_key,
    load_signing_key,
)
from allegro.adapters.sqlite.ledger import make_ledger
from allegro.core.approvals import (
    MAX_TOKEN_BYTES,
    C,
    HouseCertificate,
    Member,
    Revocation,
    Roster,
    Rotation,
    Seat,
    Verify,
    b64url,
    fingerprint,
    issue_token,
    read_token,
    sovereign_kid,
    unb64url,
)
from allegro.core.errors import ConfigError, Refusal
from allegro.core.roster import check_roster
from allegro.core.settings import HouseSettings
from allegro.core.untrusted import Unreadable, read_json, unreadable

FIRST_ACCEPTANCE_S = 30 * 86_400
RECOVERY_JUMP = 2**32
ROSTER_JUMP = 1_000
Passphrase = Callable[[], bytes]


class KnownLane(msgspec.Struct, frozen=True):
    """A lane this house is paired with. `key` is its public key, `pin` of its certificate."""

    name: str
    key: bytes
    url: str
    pin: bytes | None
    revoked: bool = False


class Fleet(msgspec.Struct, frozen=True):
    """Public facts of the fleet and the tokens lanes need. No private key is in here.

    `secret` is the fleet secret that event ids are made with, `marker` the key of markers and
    branch suffixes: both stay at home but for the pairing line.
    """

    id: str
    began_s: float
    sovereign: bytes
    sovereign_number: int
    recovery: bytes
    house: bytes
    house_number: int
    certificate: str
    seat: int
    seat_token: str
    sealing: bytes
    secret: bytes
    marker: bytes
    rotations: tuple[str, ...] = ()
    revocations: tuple[str, ...] = ()
    lanes: tuple[KnownLane, ...] = ()
    roster: Roster | None = None
    roster_token: str = ""

    @property
    def roster_tokens(self) -> tuple[str, ...]:
        """The roster as lanes take it; nothing before there was one."""
        return (self.roster_token,) if self.roster_token else ()

    def read(self, token: str, expect: type[C], verify: Verify) -> C | Refusal:
        """Read a token that must be signed by the sovereign key of now."""
        kid = sovereign_kid(self.sovereign_number)
        return read_token(token, expect, kid=kid, key=self.sovereign, aud=self.id, verify=verify)


class HouseFiles(msgspec.Struct, frozen=True):
    """The names of everything in the house's state folder."""

    folder: Path

    @property
    def sovereign(self) -> Path:
        return self.folder / "sovereign.key"

    @property
    def house(self) -> Path:
        return self.folder / "house.key"

    @property
    def sealing(self) -> Path:
        return self.folder / "sealing.key"

    @property
    def fleet(self) -> Path:
        return self.folder / "fleet.json"

    @property
    def archive(self) -> Path:
        return self.folder / "archive.db"

    @property
    def ledger(self) -> Path:
        return self.folder / "ledger.db"

    @property
    def socket(self) -> Path:
        return self.folder / "house.sock"


def files_of(settings: HouseSettings) -> HouseFiles:
    return HouseFiles(Path(settings.house.state_dir).expanduser())


def socket_of(settings: HouseSettings) -> Path:
    if settings.house.socket:
        return Path(settings.house.socket).expanduser()
    return files_of(settings).socket


def load_fleet(files: HouseFiles) -> Fleet:
    """Read the fleet. Raises ConfigError when the file is missing or damaged, and says which."""
    fleet = load_state(files.fleet, Fleet)
    if fleet is None:
        raise ConfigError((f"{files.fleet.name} is missing: run `allegro init house`",))
    if isinstance(fleet, Unreadable):
        raise ConfigError(
            (f"{files.fleet.name} is damaged ({fleet}): put back a copy; do not init anew",)
        )
    return fleet


def save_fleet(files: HouseFiles, fleet: Fleet) -> None:
    """Replace the fleet file. Only inside `changing`, or no other command may have run since."""
    write_state(files.fleet, fleet)


@contextlib.contextmanager
def changing(files: HouseFiles, sovereign: SigningKey | None = None) -> Iterator[Fleet]:
    """Hold the fleet file while it is read, changed and saved: two commands lose no update.

    `sovereign` is the key that will sign; it was read before the lock was taken. Raises ConfigError
    when it is not the fleet's sovereign key any more.
    """
    with hold_file(files.folder / "fleet.lock", files.fleet.name):
        fleet = load_fleet(files)
        if sovereign is not None and sovereign.public != fleet.sovereign:
            raise ConfigError(("another command replaced the sovereign key; run this again",))
        yield fleet


def add_lane(files: HouseFiles, lane: KnownLane) -> None:
    """Take a paired lane into the fleet, in the place of one of the same name."""
    with changing(files) as fleet:
        save_fleet(files, with_lane(fleet, lane))


def load_house_key(files: HouseFiles) -> SigningKey:
    key = load_signing_key(files.house)
    fleet, beside = load_fleet(files), files.house.with_name("house.key.new")
    if key.public != fleet.house and beside.exists():
        key = load_signing_key(beside)
        _put_in_place(beside, files.house)
    return key


def load_sealing(files: HouseFiles) -> SealingKey:
    return load_sealing_key(files.sealing)


def load_sovereign_key(files: HouseFiles, passphrase: Passphrase) -> SigningKey:
    """Read the sovereign key. Only commands a person runs may call this; the daemon never does."""
    key = load_signing_key(files.sovereign, passphrase)
    fleet, beside = load_fleet(files), files.sovereign.with_name("sovereign.key.new")
    if key.public != fleet.sovereign and beside.exists():  # a rotation was cut before its last step
        key = load_signing_key(beside, passphrase)
        _put_in_place(beside, files.sovereign)
    if key.public != fleet.sovereign:
        raise ConfigError((f"{files.sovereign.name} is not the sovereign key of this fleet",))
    return key


def _put_in_place(beside: Path, path: Path) -> None:
    """Rename a new key over the old one; the daemon or a command may have done so already."""
    with contextlib.suppress(FileNotFoundError):
        beside.replace(path)


def make_house(files: HouseFiles, now_s: float, passphrase: bytes | None) -> SigningKey:
    """Make every key and the fleet; return the recovery key, which is kept nowhere.

    Raises ConfigError when there is a house already.
    """
    if files.fleet.exists() or files.sovereign.exists():
        raise ConfigError((f"{files.folder} holds a house already; nothing was changed",))
    files.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    sovereign, house, sealing = SigningKey.make(), SigningKey.make(), SealingKey.make()
    recovery, dice = SigningKey.make(), SystemDice()
    fleet_id = dice.token(16).hex()
    sovereign.save(files.sovereign, passphrase)
    house.save(files.house)
    sealing.save(files.sealing)
    fleet = Fleet(
        id=fleet_id,
        began_s=now_s,
        sovereign=sovereign.public,
        sovereign_number=1,
        recovery=recovery.public,
        house=house.public,
        house_number=1,
        certificate="",
        seat=1,
        seat_token="",
        sealing=sealing.public,
        secret=dice.token(32),
        marker=dice.token(32),
    )
    make_ledger(files.ledger)
    save_fleet(files, certified(fleet, sovereign, now_s))
    return recovery


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
    with changing(files, sovereign) as before:
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
    with changing(files, sovereign) as before:
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
    with changing(files, None if by_recovery else old) as before:
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
        _put_in_place(beside, files.sovereign)
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
    with changing(files, sovereign) as before:
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
        _put_in_place(beside, files.house)
    return fleet


def revoke_lane(files: HouseFiles, sovereign: SigningKey, name: str) -> Fleet:
    """Take a lane out of the fleet. Raises ConfigError for an unknown name."""
    with changing(files, sovereign) as before:
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


def with_lane(fleet: Fleet, lane: KnownLane) -> Fleet:
    """Return the fleet with a lane added, or replaced when the name was paired before."""
    others = tuple(known for known in fleet.lanes if known.name != lane.name)
    return msgspec.structs.replace(fleet, lanes=(*others, lane))
