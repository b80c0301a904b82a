"""Asks for a passphrase, and makes a running house reload its keys after they changed."""

from __future__ import annotations

import os
from pathlib import Path

import click

from allegro.cli.output import run_async
from allegro.client.errors import HouseUnreachable
from allegro.client.house_client import HouseClient, ask_house
from allegro.core.base.errors import ConfigError


def passphrase() -> bytes:
    """Return the sovereign key's passphrase: from a file named in the environment, or asked."""
    named = os.environ.get("ALLEGRO_PASSPHRASE_FILE")
    if named:
        try:
            return Path(named).read_text("utf-8").strip().encode()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(
                (f"ALLEGRO_PASSPHRASE_FILE: {named}: cannot be read: {error}",)
            ) from error
    entered: str = click.prompt("passphrase of the sovereign key", hide_input=True, err=True)
    return entered.encode()


def reload(socket: Path) -> bool:
    """Make a running house read its changed keys; print a line when none is running."""
    try:
        run_async(ask_house(socket, HouseClient.reload))
    except HouseUnreachable:
        click.echo("the house is not running; it will read the change when it starts", err=True)
        return False
    return True
