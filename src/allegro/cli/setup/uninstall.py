"""What to remove when allegro is to go: a plan that a person carries out."""

from __future__ import annotations

import os
from pathlib import Path

import click
import msgspec
from rich.table import Table
from rich.text import Text

from allegro.cli.help import Command
from allegro.cli.output import console, json_option, print_json
from allegro.cli.setup.made import Made, house_things, lane_things
from allegro.config import load_house, load_lane
from allegro.core.base.errors import ConfigError

DEFAULT_HOUSE = "~/.config/allegro/house.toml"


@click.command(cls=Command, example="allegro uninstall --plan --config /etc/allegro/lane.toml")
@click.option("--plan", is_flag=True, required=True, help="Show what there is to remove.")
@click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    default=None,
    help=f"lane.toml or house.toml (default: {DEFAULT_HOUSE}).",
)
@json_option
def uninstall(plan: bool, config: Path | None, as_json: bool) -> None:
    """List what allegro made, and how to remove it.

    The list also holds what a person was asked to make: users, tokens, units, hooks. It changes
    nothing.
    """
    del plan
    path = (config or Path(DEFAULT_HOUSE)).expanduser()
    what, things = _things(path)
    if as_json:
        print_json(
            {
                "schema": "allegro.uninstall/1",
                "what": what,
                "config": str(path),
                "things": [{**msgspec.to_builtins(one), "there": _is_there(one)} for one in things],
            }
        )
        return
    click.echo(f"{what} of {path}: what there is to remove, top to bottom. Nothing was changed.")
    _draw(things)


def _things(path: Path) -> tuple[str, list[Made]]:
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError((f"{path}: cannot be read: {error}. Name it with --config",)) from error
    if "[lane]" in text:
        return "lane", lane_things(load_lane(path), path)
    return "house", house_things(load_house(path), path)


def _is_there(one: Made) -> bool | None:
    """Say whether a file or folder is there now; None for what is not on this disk."""
    if one.kind not in {"file", "folder", "socket"}:
        return None
    path = Path(one.what)
    return any(path.parent.glob(path.name)) if one.pattern else os.path.lexists(path)


def _draw(things: list[Made]) -> None:
    table = Table(box=None, pad_edge=False)
    for name in ("", "kind", "what", "owner", "made by", "removed by", "note"):
        table.add_column(name)
    for one in things:
        mark = {True: "*", False: "-", None: " "}[_is_there(one)]
        table.add_row(
            *map(Text, (mark, one.kind, one.what, one.owner, one.by, one.remove, one.note))
        )
    console().print(table)
    click.echo("* is on this disk, - is not; the rest is elsewhere or cannot be seen from here")
