"""The programs of a lane: its daemon, and the council's server beside it."""

from __future__ import annotations

from pathlib import Path

import click

from allegro.cli.output import log_json, run_async
from allegro.config import load_lane

CONFIG = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.option("--config", type=CONFIG, required=True, help="lane.toml")
@click.option("--leave-safe-mode", is_flag=True, help="Forget earlier crashes and act again.")
@click.option("--check", is_flag=True, help="Check the configuration and end.")
@click.option("--log-level", default="info", type=click.Choice(["debug", "info", "warning"]))
def lane(config: Path, leave_safe_mode: bool, check: bool, log_level: str) -> int:
    """Run a lane."""
    settings = load_lane(config)
    if check:
        click.echo(f"{config.name}: good")
        return 0
    from allegro.lane.app import run  # noqa: PLC0415 (--check needs none of it)

    log_json(log_level)
    return run_async(run(settings, leave_safe_mode=leave_safe_mode))


@click.command()
@click.option("--config", type=CONFIG, required=True, help="lane.toml")
@click.option("--log-level", default="info", type=click.Choice(["debug", "info", "warning"]))
def council(config: Path, log_level: str) -> int:
    """Keep this lane's council server running as the fleet's roster says.

    A program and unit of its own, so that starting the lane again does not shake the council.
    """
    settings = load_lane(config)
    from allegro.lane.fleet.council_server import run  # noqa: PLC0415 (a lane alone needs none of it)

    log_json(log_level)
    return run_async(run(settings))
