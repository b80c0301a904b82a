"""The house daemon, and what changes its seat."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from allegro.cli.help import ONE_ON_A_FOLDER, Group
from allegro.cli.output import log_json, now_s
from allegro.cli.secrets import passphrase, reload
from allegro.config import load_house
from allegro.house.files import files_of, socket_of

CONFIG = click.Path(path_type=Path, dir_okay=False)


@click.group(
    cls=Group,
    invoke_without_command=True,
    example="allegro house --config ~/.config/allegro/house.toml",
    exits=ONE_ON_A_FOLDER,
)
@click.option("--config", type=CONFIG, default=None, help="house.toml  [required]")
@click.option("--check", is_flag=True, help="Check the configuration only.")
@click.option("--log-level", default="info", type=click.Choice(["debug", "info", "warning"]))
@click.pass_context
def house(ctx: click.Context, config: Path | None, check: bool, log_level: str) -> int:
    """Run the house daemon, or make this machine the acting house."""
    if ctx.invoked_subcommand is not None:
        ctx.obj = config  # loaded by the command, so that its help needs none
        return 0
    config = _required(config)
    settings = load_house(config)
    if check:
        click.echo(f"{config.name}: configuration is valid")
        return 0
    from allegro.house.app import run  # noqa: PLC0415 (--check needs none of it)

    log_json(log_level)
    return asyncio.run(run(settings))


@house.command("take-seat", example="allegro house --config ~/.config/allegro/house.toml take-seat")
@click.pass_context
def take_seat_command(ctx: click.Context) -> None:
    """Make this machine the acting house; lanes then refuse every other one."""
    from allegro.sovereign.ceremony import take_seat  # noqa: PLC0415 (the daemon loads no such code)
    from allegro.sovereign.keystore import load_sovereign_key  # noqa: PLC0415

    settings = load_house(_required(ctx.obj))
    files = files_of(settings)
    fleet = take_seat(files, load_sovereign_key(files, passphrase), now_s())
    click.echo(f"seat {fleet.seat} is taken by this house")
    click.echo("open approvals are void; their requests wait for a new approval")
    reload(socket_of(settings))


def _required(config: Path | None) -> Path:
    if config is None:
        raise click.UsageError("Missing option '--config'.")
    return config
