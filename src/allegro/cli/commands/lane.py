"""The programs of a lane: its daemon, and the council's server beside it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from allegro.cli.help import ONE_ON_A_FOLDER, Command
from allegro.cli.output import log_json
from allegro.config import load_lane

CONFIG = click.Path(path_type=Path, dir_okay=False)


@click.command(
    cls=Command, example="allegro lane --config /etc/allegro/lane.toml", exits=ONE_ON_A_FOLDER
)
@click.option("--config", type=CONFIG, required=True, help="lane.toml")
@click.option("--leave-safe-mode", is_flag=True, help="Forget earlier crashes and write again.")
@click.option("--check", is_flag=True, help="Check the configuration only.")
@click.option("--log-level", default="info", type=click.Choice(["debug", "info", "warning"]))
def lane(config: Path, leave_safe_mode: bool, check: bool, log_level: str) -> int:
    """Run the lane daemon."""
    settings = load_lane(config)
    if check:
        click.echo(f"{config.name}: configuration is valid")
        return 0
    from allegro.lane.app import run  # noqa: PLC0415 (--check needs none of it)

    log_json(log_level)
    return asyncio.run(run(settings, leave_safe_mode=leave_safe_mode))


@click.command(cls=Command, example="allegro council --config /etc/allegro/lane.toml")
@click.option("--config", type=CONFIG, required=True, help="lane.toml")
@click.option("--log-level", default="info", type=click.Choice(["debug", "info", "warning"]))
def council(config: Path, log_level: str) -> int:
    """Run this lane's council server.

    A program and unit of its own, so that a restart of the lane does not restart the council.
    """
    settings = load_lane(config)
    from allegro.lane.fleet.council_server import run  # noqa: PLC0415 (a lane alone needs none of it)

    log_json(log_level)
    return asyncio.run(run(settings))
