"""Reads and makes the sovereign key. Only commands that a person runs import this."""

from __future__ import annotations

from collections.abc import Callable

from allegro.adapters.clock import SystemDice
from allegro.adapters.crypto.signatures import SealingKey, SigningKey, load_signing_key
from allegro.core.base.errors import ConfigError
from allegro.house.files import Fleet, HouseFiles, load_fleet, put_in_place, save_fleet
from allegro.sovereign.ceremony import certified

Passphrase = Callable[[], bytes]
"""Asks for the passphrase; called only for an encrypted key."""


def load_sovereign_key(files: HouseFiles, passphrase: Passphrase) -> SigningKey:
    """Read the sovereign key. Only commands that a person runs may call this."""
    key = load_signing_key(files.sovereign, passphrase)
    fleet, beside = load_fleet(files), files.sovereign.with_name("sovereign.key.new")
    if key.public != fleet.sovereign and beside.exists():  # a rotation was cut before its last step
        key = load_signing_key(beside, passphrase)
        put_in_place(beside, files.sovereign)
    if key.public != fleet.sovereign:
        raise ConfigError((f"{files.sovereign.name} is not the sovereign key of this fleet",))
    return key


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
    save_fleet(files, certified(fleet, sovereign, now_s))
    return recovery
