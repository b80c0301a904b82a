"""`allegro approve`: shows what is signed, asks, signs."""

from __future__ import annotations

from pathlib import Path

import click

from allegro.cli.commands.requests import report_decision
from allegro.cli.help import ASKS_HOUSE, Command
from allegro.cli.output import (
    Failure,
    console,
    json_option,
    now_s,
    run_async,
    socket_option,
)
from allegro.cli.secrets import passphrase
from allegro.client.house_client import ask_house
from allegro.client.socket import default_state_dir
from allegro.config import load_house
from allegro.core.authority.actions.families import action_digest, kind_of
from allegro.core.authority.policy import Needs, needs_of
from allegro.core.base.timestamps import rfc3339
from allegro.sovereign.show import checked_action, draw


@click.command(
    cls=Command, example="allegro approve 5a71e461e2290a94 --config house.toml", exits=ASKS_HOUSE
)
@click.argument("digest")
@click.option("--config", type=click.Path(path_type=Path), default=None, help="house.toml")
@click.option(
    "--valid-s",
    type=click.IntRange(10, 2_592_000),
    default=None,
    help="Seconds until the approval expires.",
)
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@socket_option
@json_option
def approve(
    digest: str,
    config: Path | None,
    valid_s: int | None,
    yes: bool,
    socket: Path | None,
    as_json: bool,
) -> None:
    """Approve exactly what `show` shows, by its digest.

    The first 8 digits of the digest are enough. Shows the content again and asks before it signs.
    """
    from allegro.house.files import HouseFiles, files_of, load_fleet  # noqa: PLC0415
    from allegro.sovereign import ceremony  # noqa: PLC0415
    from allegro.sovereign.keystore import load_sovereign_key  # noqa: PLC0415

    if len(digest) < 8:
        raise Failure("DIGEST is too short: give at least 8 digits", 2)
    settings = load_house(config) if config else None
    files = files_of(settings) if settings else HouseFiles(default_state_dir())
    house = socket or _socket_beside(config)
    request = run_async(ask_house(house, lambda client: client.request(digest)))
    raw, action = checked_action(request)
    if needs_of(kind_of(action)) is not Needs.APPROVAL:
        raise Failure(f"{kind_of(action)} needs no approval")
    if not as_json:
        draw(request, console())
        run_async(ask_house(house, lambda client: client.note_shown(request.id)))
    if not yes and not click.confirm("Approve exactly this?", err=True):
        raise Failure("not approved")
    fleet = load_fleet(files)
    key = load_sovereign_key(files, passphrase)
    at_s = int(now_s())
    lives_s = valid_s or int(settings.requests.approval_s if settings else 86_400)
    token = ceremony.approve(fleet, key, action_digest(raw), at_s, lives_s)
    answer = run_async(ask_house(house, lambda client: client.approve(request.id, token)))
    report_decision(answer, f"approved until {rfc3339(at_s + lives_s)}", as_json=as_json)


def _socket_beside(config: Path | None) -> Path | None:
    if config is None:
        return None
    from allegro.house.files import socket_of  # noqa: PLC0415

    return socket_of(load_house(config))
