"""Events, doctor, stop and thaw."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import msgspec
from rich.table import Table
from rich.text import Text

from allegro.cli.exit_codes import Exit
from allegro.cli.help import ASKS_HOUSE, Command
from allegro.cli.output import (
    Failure,
    console,
    json_option,
    now_s,
    print_json,
    run_async,
    socket_option,
)
from allegro.cli.secrets import passphrase
from allegro.client.house_client import HouseClient, get, post
from allegro.config import load_house, load_lane
from allegro.core.base.timestamps import span
from allegro.core.base.untrusted import names_of
from allegro.core.effects.render import lined, one_line
from allegro.core.health.facts import fact_page

_SHOWN_FACTS = {"number", "kind", "step", "reason", "took_s", "issues"}
_MARK = {
    "ok": ("ok  ", "green"), "warn": ("warn", "yellow"), "bad": ("BAD ", "red"),
    "unknown": ("?   ", "yellow"),
}  # fmt: skip


@click.command(cls=Command, example="allegro events --type forge. --last 20", exits=ASKS_HOUSE)
@click.option("--follow", is_flag=True, help="Keep following: print new events as they arrive.")
@click.option("--after", type=int, default=None, help="Start after this row.")
@click.option("--last", type=int, default=50, help="Print the newest rows, this many.")
@click.option("--type", "prefix", default="", help="Only event types with this prefix.")
@click.option("--gaps", is_flag=True, help="Show gaps only.")
@socket_option
@json_option
def events(
    follow: bool,
    after: int | None,
    last: int,
    prefix: str,
    gaps: bool,
    socket: Path | None,
    as_json: bool,
) -> None:
    """List archived events, decrypted, oldest first."""
    if gaps:
        response = run_async(get(socket, "gaps"))
        for gap in lined(response["gaps"]) if not as_json else []:
            click.echo(
                f"{gap['lane']} {gap['journal']} {gap['first']}–{gap['last']}: {gap['count']} {gap['reason']}"
            )
        if as_json:
            print_json(response)
        return
    where: dict[str, str | int] = {"last": last} if after is None else {"after": after}
    run_async(_print_events(socket, {**where, "prefix": prefix, "follow": int(follow)}, as_json))


async def _print_events(socket: Path | None, params: dict[str, str | int], as_json: bool) -> None:
    async with HouseClient(socket) as house:
        async for event in house.events(**params):
            if as_json:
                print_json({"schema": "allegro.event/1", **event})
            else:
                click.echo(event_line(event))


def event_line(event: dict[str, Any]) -> str:
    """Return one line for one event."""
    words, time = event["words"], one_line(event["time"], 40)
    if isinstance(words, dict) and "title" in words:
        content = f"#{one_line(words.get('number'), 20)} {one_line(words['title'], 80)}"
    elif isinstance(words, dict) and "body" in words:
        content = one_line(words["body"], 80)
    else:
        content = "" if words is None else one_line(words, 80)
    facts = {k: v for k, v in event["data"].items() if k in _SHOWN_FACTS}
    clear = one_line(msgspec.json.encode(facts).decode(), 200) if facts else ""
    lane, type_ = one_line(event["lane"], 40), one_line(event["type"], 60)
    return f"{event['row']:>6} {time[11:23]} {lane} {type_:<24} {clear} {content!r}"


@click.command(
    cls=Command,
    example="allegro doctor --config /etc/allegro/lane.toml",
    exits={**ASKS_HOUSE, Exit.REFUSED: "a check failed"},
)
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    default=None,
    help="On a lane: lane.toml. Checks this machine; no running lane is needed.",
)
@click.option("--attack", is_flag=True, help="On a lane: try to break out of its own sandbox.")
@socket_option
@json_option
def doctor(config: Path | None, attack: bool, socket: Path | None, as_json: bool) -> int:
    """Check everything, and show how to fix what is wrong.

    Each result comes with its source and its age.
    """
    if attack and config is None:
        raise Failure("--attack runs on a lane: add --config lane.toml", 2)
    report = _lane_doctor(config, attack) if config else run_async(get(socket, "doctor"))
    if as_json:
        print_json(report)
        return 0 if report["ok"] else 1
    table = Table(box=None, pad_edge=False, show_header=False)
    for fact in lined(report["facts"]):
        word, style = _MARK.get(fact["state"], ("?   ", ""))
        source = (
            f"{fact['source']}, {span(fact['age_s'])} old"
            if fact["age_s"]
            else f"{fact['source']}, now"
        )
        table.add_row(
            Text(word, style=style), Text(fact["what"]), Text(fact["detail"]),
            Text(f"({fact['code']}: {source})", style="dim"),
        )  # fmt: skip
        if fact["fix"] and fact["state"] != "ok":
            table.add_row("", "", Text("→ " + fact["fix"], style="italic"), "")
    console().print(table)
    return 0 if report["ok"] else 1


def _freezes(status: dict[str, Any]) -> tuple[list[str], dict[str, str]]:
    """Return the ids of the house's freezes, and those that only a lane reports, with that lane.

    A lane may report anything: what is not a valid id is left out, and none is signed unasked.
    """
    held = [freeze["id"] for freeze in status["freezes"]]
    extra: dict[str, str] = {}
    for lane in status["lanes"]:
        detail = lane["detail"] if isinstance(lane["detail"], dict) else {}
        for id_ in names_of(detail.get("freezes")):
            if id_ and id_ not in held:
                extra.setdefault(id_, lane["name"])
    return held, extra


def _lane_doctor(config: Path, attack: bool) -> dict[str, Any]:
    from allegro.lane.doctor import attack as attacked  # noqa: PLC0415 (the house's doctor
    from allegro.lane.doctor import check  # noqa: PLC0415  loads no lane)

    settings = load_lane(config)
    found = attacked(settings) if attack else run_async(check(settings))
    facts = [msgspec.to_builtins(fact_page(fact, now_s())) for fact in found]
    good = all(fact["state"] != "bad" for fact in facts)
    return {"schema": "allegro.doctor/1", "ok": good, "facts": facts}


@click.command(cls=Command, example='allegro stop --reason "looks odd"', exits=ASKS_HOUSE)
@click.option("--reason", default="stopped by hand", help="Shown with the freeze.")
@socket_option
@json_option
def stop(reason: str, socket: Path | None, as_json: bool) -> None:
    """Freeze every write, on every lane, now. Needs no key."""
    response = run_async(post(socket, "stop", {"reason": reason, "by": "command line"}))
    if as_json:
        print_json(response)
    else:
        click.echo(
            f"frozen: {one_line(response['freeze'])}, {response['lanes_told']} lanes were informed at once"
        )


@click.command(cls=Command, example="allegro thaw --all --config house.toml", exits=ASKS_HOUSE)
@click.argument("ids", nargs=-1)
@click.option("--all", "every", is_flag=True, help="Lift every freeze that the house holds.")
@click.option("--config", type=click.Path(path_type=Path), required=True, help="house.toml")
@json_option
def thaw(ids: tuple[str, ...], every: bool, config: Path, as_json: bool) -> None:
    """Lift freezes by id, signed with the sovereign key.

    --all lifts the freezes that the house holds. A freeze that only a lane reports is lifted only by
    its whole id, so that a lane cannot get ids of its own choice signed.
    """
    from allegro.house.files import files_of, load_fleet, socket_of  # noqa: PLC0415
    from allegro.sovereign import ceremony  # noqa: PLC0415
    from allegro.sovereign.keystore import load_sovereign_key  # noqa: PLC0415

    settings = load_house(config)
    socket, files = socket_of(settings), files_of(settings)
    held, extra = _freezes(run_async(get(socket, "status")))
    wanted = held if every else [id_ for id_ in held if ids and id_.startswith(ids)]
    wanted += [id_ for id_ in extra if id_ in ids]
    for id_, lane in extra.items():
        if id_ not in wanted:
            click.echo(f"not lifted, only lane {lane} reports it: {one_line(id_)}", err=True)
    if not wanted:
        if not held:
            raise Failure("nothing is frozen")
        raise click.UsageError(
            f"give the id of a freeze, or --all. The house holds: {', '.join(held)}"
        )
    fleet = load_fleet(files)
    key = load_sovereign_key(files, passphrase)
    response: dict[str, Any] = {}
    for token in ceremony.thaw(fleet, key, wanted, now_s()):
        response = run_async(post(socket, "thaw", {"token": token}))
    if as_json:
        print_json({**response, "freezes": wanted})
    else:
        click.echo(f"thawed: {', '.join(one_line(id_) for id_ in wanted)}")
