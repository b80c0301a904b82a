"""What the house daemon reads of its state folder: its own keys and what it knows of its fleet.

The sovereign key is not read here: `allegro.sovereign`, which no daemon imports, does that.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import msgspec

from allegro.adapters.crypto.signatures import (
    SealingKey,
    SigningKey,
    load_sealing_key,
    load_signing_key,
)
from allegro.adapters.files import hold_file
from allegro.adapters.state_form import Form, Newer, bring_forward, load, numbered, save
from allegro.core.authority.tokens import (
    C,
    Roster,
    Verify,
    read_token,
    sovereign_kid,
)
from allegro.core.base.errors import ConfigError, Refusal
from allegro.core.base.untrusted import Unreadable
from allegro.core.settings import HouseSettings


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


FLEET = Form((numbered(Fleet),))
"""Number 1 is the fleet file of commit a8b1bd5, which holds no number."""


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
    def measures(self) -> Path:
        return self.folder / "measures.db"

    @property
    def reports(self) -> Path:
        return self.folder / "reports"

    @property
    def exports(self) -> Path:
        return self.folder / "exports"

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
    fleet = load(files.fleet, FLEET, Fleet)
    if fleet is None:
        raise ConfigError((f"{files.fleet.name} is missing: run `allegro init house`",))
    if isinstance(fleet, Newer):
        raise ConfigError((fleet.reason,))
    if isinstance(fleet, Unreadable):
        raise ConfigError(
            (f"{files.fleet.name} is damaged ({fleet}): put back a copy; do not init anew",)
        )
    return fleet


def save_fleet(files: HouseFiles, fleet: Fleet) -> None:
    """Replace the fleet file. Only inside `changing`, or no other command may have run since."""
    save(files.fleet, FLEET, fleet)


@contextlib.contextmanager
def changing(files: HouseFiles, signer: bytes | None = None) -> Iterator[Fleet]:
    """Hold the fleet file while it is read, changed and saved: two commands lose no update.

    `signer` is the public sovereign key that will sign; it was read before the lock was taken. Raises
    ConfigError when it is not the fleet's sovereign key any more.
    """
    with hold_file(files.folder / "fleet.lock", files.fleet.name):
        bring_forward(files.fleet, FLEET)
        fleet = load_fleet(files)
        if signer is not None and signer != fleet.sovereign:
            raise ConfigError(("another command replaced the sovereign key; run this again",))
        yield fleet


def bring_fleet_forward(files: HouseFiles) -> None:
    """Step the fleet file to the number that this program writes, after a copy.

    Raises ConfigError for a missing, damaged or newer file and where no copy can be made.
    """
    if files.fleet.exists():
        with changing(files):
            return
    load_fleet(files)


def load_house_key(files: HouseFiles) -> SigningKey:
    key = load_signing_key(files.house)
    fleet, beside = load_fleet(files), files.house.with_name("house.key.new")
    if key.public != fleet.house and beside.exists():
        key = load_signing_key(beside)
        put_in_place(beside, files.house)
    return key


def put_in_place(beside: Path, path: Path) -> None:
    """Rename a new key over the old one; the daemon or a command may have done so already."""
    with contextlib.suppress(FileNotFoundError):
        beside.replace(path)


def load_sealing(files: HouseFiles) -> SealingKey:
    return load_sealing_key(files.sealing)


def with_lane(fleet: Fleet, lane: KnownLane) -> Fleet:
    """Return the fleet with a lane added, or replaced when the name was paired before."""
    others = tuple(known for known in fleet.lanes if known.name != lane.name)
    return msgspec.structs.replace(fleet, lanes=(*others, lane))
