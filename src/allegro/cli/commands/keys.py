"""Rotates and revokes keys, and prints what each could have done since when."""

from __future__ import annotations

from pathlib import Path

import click

from allegro.adapters.clock import SystemDice
from allegro.adapters.crypto.signatures import SigningKey
from allegro.cli.help import ASKS_HOUSE, Group
from allegro.cli.output import Failure, now_s, run_async
from allegro.cli.secrets import passphrase, reload
from allegro.client.errors import HouseUnreachable
from allegro.client.house_client import HouseClient
from allegro.config import load_house
from allegro.core.base.timestamps import rfc3339
from allegro.house.files import Fleet, files_of, load_fleet, socket_of
from allegro.sovereign import ceremony
from allegro.sovereign.ceremony import revoke_lane, rotate_house, rotate_sovereign
from allegro.sovereign.keystore import load_sovereign_key

_CONFIG = click.option(
    "--config", type=click.Path(path_type=Path), required=True, help="house.toml"
)


@click.group(cls=Group, example="allegro keys rotate house --config house.toml", exits=ASKS_HOUSE)
def keys() -> None:
    """Rotate keys, or use the recovery key."""


@keys.command("rotate", example="allegro keys rotate sovereign --config house.toml")
@_CONFIG
@click.argument("which", type=click.Choice(["sovereign", "house"]))
@click.option(
    "--recovery", is_flag=True, help="Sign with the recovery key, where the old key is lost."
)
@click.option("--passphrase/--no-passphrase", "ask", default=True, help="Encrypt the new key.")
def rotate(config: Path, which: str, recovery: bool, ask: bool) -> None:
    """Replace the sovereign key or the house key; linked lanes take the new one at once."""
    settings = load_house(config)
    files, at_s = files_of(settings), now_s()
    before = load_fleet(files)
    if which == "house":
        fleet = rotate_house(files, load_sovereign_key(files, passphrase), at_s)
        click.echo(f"house key {fleet.house_number}; the old one is revoked")
        _print_old_power(before, "orders and log-in, nothing without an approval")
    else:
        old = _recovery_key() if recovery else load_sovereign_key(files, passphrase)
        secret = passphrase() if ask else None
        fleet = rotate_sovereign(files, old, at_s, secret, by_recovery=recovery)
        click.echo(f"sovereign key {fleet.sovereign_number}; lanes refuse lower numbers")
        _print_old_power(before, "approve anything the policy allows to be approved")
    reload(socket_of(settings))


@keys.command(
    "recovery-stop", example="allegro keys recovery-stop --config house.toml", exits=ASKS_HOUSE
)
@_CONFIG
def recovery_stop(config: Path) -> None:
    """Stop the fleet with the recovery key."""
    settings = load_house(config)
    fleet = load_fleet(files_of(settings))
    key = _recovery_key()
    freeze = f"recovery{SystemDice().token(8).hex()}"
    token = ceremony.recovery_stop(fleet, key, freeze, now_s())

    async def send() -> int:
        async with HouseClient(socket_of(settings)) as house:
            await house.stop("recovery stop", "recovery key")
            return (await house.bring(token)).lanes

    try:
        click.echo(f"the stop reached {run_async(send())} lanes")
    except HouseUnreachable as error:
        raise Failure(
            f"{error}\nno lane was reached. Stop each on its own machine: systemctl stop allegro-lane",
            3,
        ) from error


@click.group(cls=Group, example="allegro revoke lane first --config house.toml")
def revoke() -> None:
    """Take a lane, the house key or a token out of the fleet."""


@revoke.command("house", example="allegro revoke house --config house.toml")
@_CONFIG
def revoke_house(config: Path) -> None:
    """Revoke the house key and make a new one for this house."""
    settings = load_house(config)
    files = files_of(settings)
    before = load_fleet(files)
    fleet = rotate_house(files, load_sovereign_key(files, passphrase), now_s())
    click.echo(f"house key {before.house_number} is revoked; house key {fleet.house_number} acts")
    _print_old_power(before, "orders and log-in, nothing without an approval")
    reload(socket_of(settings))


@revoke.command("token", example="allegro revoke token --config house.toml")
@_CONFIG
def revoke_token(config: Path) -> None:
    """Stop using the change token. The daily token lives on a lane: revoke the lane."""
    settings = load_house(config)
    if not settings.forge.change_token_file:
        raise Failure("house.toml names no change token")
    path = Path(settings.forge.change_token_file).expanduser()
    since = rfc3339(path.stat().st_mtime) if path.exists() else "unknown"
    path.unlink(missing_ok=True)
    click.echo(f"{path.name} is deleted; orders carry no change token any more")
    click.echo(f"who had it since {since} could: push branches and open pull requests,")
    click.echo("never to a protected branch; lanes held it in memory during an order")
    click.echo("next: delete it at the forge, then write a new one into the same file (mode 0600)")


@revoke.command("lane", example="allegro revoke lane first --config house.toml")
@_CONFIG
@click.argument("name")
def revoke_lane_command(config: Path, name: str) -> None:
    """Revoke a lane: the house never dials it again."""
    settings = load_house(config)
    files = files_of(settings)
    fleet = revoke_lane(files, load_sovereign_key(files, passphrase), name)
    click.echo(f"lane {name} is revoked")
    click.echo(f"since {rfc3339(fleet.began_s)} at the earliest it could have:")
    click.echo("  - written as the daily token's user: issues, comments, labels")
    click.echo("  - used the change token of orders it was given")
    click.echo("  - read everything it carried while it ran; nothing that was stored before")
    click.echo("next: delete its daily token and the change token at the forge")
    reload(socket_of(settings))


def _recovery_key() -> SigningKey:
    entered: str = click.prompt("recovery key", hide_input=True, err=True)
    try:
        return SigningKey.from_bytes(bytes.fromhex(entered.replace(" ", "")))
    except ValueError as error:
        raise Failure("that is not a recovery key: 64 hex digits", 2) from error


def _print_old_power(before: Fleet, power: str) -> None:
    click.echo(f"who had the old key since {rfc3339(before.began_s)} could: {power}")


keys.add_command(revoke)
