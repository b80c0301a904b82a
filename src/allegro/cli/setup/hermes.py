"""Hermes on a lane's own machine: install it."""

from __future__ import annotations

from pathlib import Path

import click

from allegro.cli.help import Group
from allegro.cli.output import json_option, print_json
from allegro.config import load_lane

CONFIG = click.Path(path_type=Path, dir_okay=False)
_EXAMPLE = "allegro hermes install --config /etc/allegro/lane.toml"


@click.group(cls=Group, example=_EXAMPLE)
def hermes() -> None:
    """Install Hermes Agent on this lane."""


@hermes.command(example=_EXAMPLE)
@click.option("--config", type=CONFIG, required=True, help="lane.toml")
@json_option
def install(config: Path, as_json: bool) -> None:
    """Install Hermes into its own virtual environment, if it is not there."""
    from allegro.adapters.hermes.install import (  # noqa: PLC0415 (only here)
        folder_of,
        python_of,
        version_of,
    )
    from allegro.adapters.hermes.install import install as put  # noqa: PLC0415

    settings = load_lane(config)
    state = Path(settings.lane.state_dir).expanduser()
    folder = folder_of(settings.hermes, state)
    version = version_of(python_of(settings.hermes, state))
    made = not version
    version = version or put(folder)
    if as_json:
        print_json({"schema": "allegro.hermes/1", "version": version, "installed": made})
    else:
        click.echo(f"hermes-agent {version} {'was installed' if made else 'is installed already'}")
