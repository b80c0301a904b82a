"""Stop everything at once; thaw what was stopped, signed with the sovereign key."""

from __future__ import annotations

from pathlib import Path

import click

from allegro.cli.help import ASKS_HOUSE, Command
from allegro.cli.output import (
    Failure,
    json_option,
    now_s,
    print_json,
    run_async,
    socket_option,
)
from allegro.cli.secrets import passphrase
from allegro.client.house_client import HouseClient, ask_house
from allegro.config import load_house
from allegro.core.effects.render import one_line
from allegro.core.protocol.answers.house import StatusAnswer, ThawAnswer


@click.command(cls=Command, example='allegro stop --reason "looks odd"', exits=ASKS_HOUSE)
@click.option("--reason", default="stopped by hand", help="Shown with the freeze.")
@socket_option
@json_option
def stop(reason: str, socket: Path | None, as_json: bool) -> None:
    """Freeze every write, on every lane, now. Needs no key."""
    response = run_async(ask_house(socket, lambda house: house.stop(reason, "command line")))
    if as_json:
        print_json(response)
    else:
        click.echo(
            f"frozen: {one_line(response.freeze)}, {response.lanes_told} lanes were informed at once"
        )


@click.command(cls=Command, example="allegro thaw --all --config house.toml", exits=ASKS_HOUSE)
@click.argument("ids", nargs=-1)
@click.option("--all", "every", is_flag=True, help="Lift every freeze that the house holds.")
@click.option("--mute", multiple=True, help="CHANNEL:ID of a sender whose stops count no more.")
@click.option("--hear", multiple=True, help="CHANNEL:ID of a sender whose stops count again.")
@click.option("--config", type=click.Path(path_type=Path), required=True, help="house.toml")
@json_option
def thaw(
    ids: tuple[str, ...],
    every: bool,
    config: Path,
    as_json: bool,
    **senders: tuple[str, ...],
) -> None:
    """Lift freezes by id, signed with the sovereign key.

    --all lifts the freezes that the house holds. A freeze that only a lane reports is lifted only by
    its whole id, so that a lane cannot get ids of its own choice signed.
    """
    from allegro.house.files import files_of, load_fleet, socket_of  # noqa: PLC0415
    from allegro.sovereign import ceremony  # noqa: PLC0415
    from allegro.sovereign.keystore import load_sovereign_key  # noqa: PLC0415

    settings = load_house(config)
    socket, files = socket_of(settings), files_of(settings)
    held, extra = _freezes(run_async(ask_house(socket, HouseClient.status)))
    wanted = held if every else [id_ for id_ in held if ids and id_.startswith(ids)]
    wanted += [id_ for id_ in extra if id_ in ids]
    for id_, lane in extra.items():
        if id_ not in wanted:
            click.echo(f"not lifted, only lane {lane} reports it: {one_line(id_)}", err=True)
    if not wanted and not any(senders.values()):
        if not held:
            raise Failure("nothing is frozen")
        raise click.UsageError(
            f"give the id of a freeze, or --all. The house holds: {', '.join(held)}"
        )
    fleet = load_fleet(files)
    key = load_sovereign_key(files, passphrase)
    thawed = False
    tokens = ceremony.thaw(fleet, key, wanted, now_s())
    if any(senders.values()):
        tokens.insert(0, ceremony.mute(fleet, key, senders["mute"], senders["hear"], now_s()))
    for token in tokens:
        thawed = run_async(_thaw(socket, token)).thawed
    if as_json:
        print_json({"thawed": thawed, "freezes": wanted})
    else:
        for what, names in (
            ("thawed", wanted),
            ("muted", senders["mute"]),
            ("heard", senders["hear"]),
        ):
            if names:
                click.echo(f"{what}: {', '.join(map(one_line, names))}")


async def _thaw(socket: Path, token: str) -> ThawAnswer:
    async with HouseClient(socket) as house:
        return await house.thaw(token)


def _freezes(status: StatusAnswer) -> tuple[list[str], dict[str, str]]:
    """Return the ids of the house's freezes, and those that only a lane reports, with that lane.

    A lane may report anything: none of it is signed unasked.
    """
    held = [freeze.id for freeze in status.freezes]
    extra: dict[str, str] = {}
    for lane in status.lanes:
        for id_ in lane.detail.freezes if lane.detail is not None else ():
            if id_ and id_ not in held:
                extra.setdefault(id_, lane.name)
    return held, extra
