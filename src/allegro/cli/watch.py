"""Looking after it: status, events, doctor, stop and thaw."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import msgspec
from rich.table import Table
from rich.text import Text

from allegro.cli.output import (
    EXIT_FROZEN,
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
from allegro.core.approvals import Thaw, issue_token, sovereign_kid
from allegro.core.render import visible
from allegro.core.timestamps import span

THAW_LIFE_S = 7 * 86_400
_MARK = {"ok": ("ok  ", "green"), "warn": ("warn", "yellow"), "bad": ("BAD ", "red")}


@click.command()
@socket_option
@json_option
def status(socket: Path | None, as_json: bool) -> int:
    """The fleet at a glance. Exit code 4 while frozen, 1 when a lane is not linked."""
    told = run_async(get(socket, "status"))
    if as_json:
        print_json(told)
    else:
        for line in status_lines(told, now_s()):
            click.echo(visible(line))
    if told["frozen"]:
        return EXIT_FROZEN
    return 0 if all(lane["linked"] for lane in told["lanes"]) and told["lanes"] else 1


def _session_lines(sessions: dict[str, Any] | None) -> list[str]:
    """Return what a lane's agent does, and which of its gateways waits for an answer."""
    if sessions is None:
        return []
    place = " beside the house" if sessions["local"] else ""
    lines = [
        f"  agent{place}: {sessions['ready']} of {sessions['gateways']} gateways ready, "
        f"{len(sessions['running'])} sessions run"
        + (f"; {sessions['trouble']}" if sessions["trouble"] else "")
    ]
    for one in sessions["running"]:
        waits = one["waits_for_answer"]
        state = f"WAITS for an answer to question {waits}" if waits else "runs"
        lines.append(f"    session {one['session'][:10]} {state}, {span(one['runs_s'])} old")
    return lines


def status_lines(told: dict[str, Any], now_s: float) -> list[str]:
    """Return the lines of `status`."""
    state = "FROZEN" if told["frozen"] else "acting" if told["acting"] else "following"
    lines = [f"house {told['house']}: {state}, seat {told['seat']}, allegro {told['version']}"]
    if told["local_only_since_s"] is not None:
        lines.append(
            f"LOCAL ONLY for {span(now_s - told['local_only_since_s'])}: no lane can be reached"
        )
    lines += [
        f"  freeze {f['id']} by {f['by']} {span(now_s - f['at_s'])} ago: {f['reason']}"
        for f in told["freezes"]
    ]
    for lane in told["lanes"]:
        if not lane["linked"]:
            lines.append(f"lane {lane['name']}: NOT LINKED: {lane['trouble']}")
            continue
        detail = lane["detail"] or {}
        trouble = detail.get("forge_trouble") or ("ok" if detail.get("healthy") else "unhealthy")
        lines.append(
            f"lane {lane['name']}: linked for {span(now_s - lane['since_s'])}, "
            f"{max(0, lane['head'] - lane['home'])} events on the way, {trouble}; "
            f"last: {detail.get('done', '?')}"
        )
        lines += _session_lines(detail.get("sessions"))
    if not told["lanes"]:
        lines.append("no lane is paired: run `allegro pair` on both sides")
    waiting = told["waiting_for_sovereign"]
    oldest = f", the oldest for {span(told['oldest_waiting_s'])}" if waiting else ""
    lines.append(f"{waiting} requests wait for you{oldest}")
    if told["blocked"]:
        lines.append(f"orders wait: {told['blocked']}")
    lines.append(
        f"archive: {told['archive']['events']} events, {told['archive']['repeats_dropped']} repeats dropped"
    )
    lines += [
        f"alert ({a['urgency']}) {span(now_s - a['at_s'])} ago: {a['told']}"
        for a in told["alerts"][-5:]
    ]
    return lines


@click.command()
@click.option("--follow", is_flag=True, help="Go on as they arrive.")
@click.option("--after", type=int, default=None, help="Behind this row.")
@click.option("--last", type=int, default=50, help="The newest so many rows.")
@click.option("--type", "prefix", default="", help="Only types that begin like this.")
@click.option("--gaps", is_flag=True, help="The named gaps instead.")
@socket_option
@json_option
def events(
    follow: bool, after: int | None, last: int, prefix: str, gaps: bool, socket: Path | None,
    as_json: bool,
) -> None:  # fmt: skip
    """What came home, oldest first, words opened."""
    if gaps:
        told = run_async(get(socket, "gaps"))
        for gap in told["gaps"] if not as_json else []:
            click.echo(
                f"{gap['lane']} {gap['journal']} {gap['first']}–{gap['last']}: {gap['count']} {gap['reason']}"
            )
        if as_json:
            print_json(told)
        return
    where: dict[str, str | int] = {"last": last} if after is None else {"after": after}
    run_async(_print_events(socket, {**where, "prefix": prefix, "follow": int(follow)}, as_json))


async def _print_events(socket: Path | None, params: dict[str, str | int], as_json: bool) -> None:
    async with HouseClient(socket) as house:
        async for event in house.events(**params):
            if as_json:
                print_json({"schema": "allegro.event/1", **event})
            else:
                click.echo(visible(event_line(event)))


def event_line(event: dict[str, Any]) -> str:
    """Return one line for one event."""
    words = event["words"]
    if isinstance(words, dict) and "title" in words:
        told = f"#{words.get('number')} {words['title']}"
    elif isinstance(words, dict) and "body" in words:
        told = str(words["body"])
    else:
        told = "" if words is None else str(words)
    data = {
        k: v
        for k, v in event["data"].items()
        if k in {"number", "kind", "step", "reason", "took_s", "issues"}
    }
    clear = msgspec.json.encode(data).decode() if data else ""
    return f"{event['row']:>6} {event['time'][11:23]} {event['lane']} {event['type']:<24} {clear} {told[:80]!r}"


@click.command()
@click.option(
    "--config", type=click.Path(path_type=Path), default=None,
    help="On a lane: lane.toml. Checks this machine; no running lane is needed.",
)  # fmt: skip
@click.option("--attack", is_flag=True, help="On a lane: try to break out of its sandbox.")
@socket_option
@json_option
def doctor(config: Path | None, attack: bool, socket: Path | None, as_json: bool) -> int:
    """Every fact that matters, where it comes from, how old it is, how to mend it."""
    if attack and config is None:
        raise Failure("--attack runs on a lane: add --config lane.toml", 2)
    told = _lane_doctor(config, attack) if config else run_async(get(socket, "doctor"))
    if as_json:
        print_json(told)
        return 0 if told["ok"] else 1
    table = Table(box=None, pad_edge=False, show_header=False)
    for fact in told["facts"]:
        word, style = _MARK.get(fact["verdict"], ("?   ", ""))
        source = f"{fact['source']}, {span(fact['age_s'])} old" if fact["age_s"] else fact["source"]
        table.add_row(
            Text(word, style=style), Text(visible(fact["what"])), Text(visible(fact["told"])),
            Text(f"({source})", style="dim"),
        )  # fmt: skip
        if fact["mend"] and fact["verdict"] != "ok":
            table.add_row("", "", Text("→ " + visible(fact["mend"]), style="italic"), "")
    console().print(table)
    return 0 if told["ok"] else 1


def _freezes(status: dict[str, Any]) -> list[str]:
    """Return the freezes of the house and those that only a lane still holds."""
    held = [freeze["id"] for freeze in status["freezes"]]
    for lane in status["lanes"]:
        held += (lane["detail"] or {}).get("freezes", [])
    return list(dict.fromkeys(held))


def _lane_doctor(config: Path, attack: bool) -> dict[str, Any]:
    from allegro.lane.app_doctor import attack as attacked  # noqa: PLC0415 (the house's doctor
    from allegro.lane.app_doctor import check  # noqa: PLC0415  loads no lane)

    settings = load_lane(config)
    found = attacked(settings) if attack else run_async(check(settings))
    facts = [msgspec.to_builtins(fact) for fact in found]
    good = all(fact["verdict"] != "bad" for fact in facts)
    return {"schema": "allegro.doctor/1", "ok": good, "facts": facts}


@click.command()
@click.option("--reason", default="stopped by hand", help="Why.")
@socket_option
@json_option
def stop(reason: str, socket: Path | None, as_json: bool) -> None:
    """Freeze every effect, everywhere, now. Needs no key."""
    told = run_async(post(socket, "stop", {"reason": reason, "by": "command line"}))
    if as_json:
        print_json(told)
    else:
        click.echo(f"frozen: {told['freeze']}, {told['lanes_told']} lanes told at once")


@click.command()
@click.argument("ids", nargs=-1)
@click.option("--all", "every", is_flag=True, help="Every freeze there is.")
@click.option("--config", type=click.Path(path_type=Path), required=True, help="house.toml")
@json_option
def thaw(ids: tuple[str, ...], every: bool, config: Path, as_json: bool) -> None:
    """Lift freezes by id, signed with the sovereign key."""
    from allegro.house.files import (  # noqa: PLC0415
        files_of,
        load_fleet,
        load_sovereign_key,
        socket_of,
    )

    settings = load_house(config)
    socket, files = socket_of(settings), files_of(settings)
    held = _freezes(run_async(get(socket, "status")))
    wanted = held if every else [one for one in held if one.startswith(ids)] if ids else []
    if not wanted:
        raise click.UsageError(f"no such freeze; there are: {', '.join(held) or 'none'}")
    fleet = load_fleet(files)
    key = load_sovereign_key(files, passphrase)
    claims = Thaw(aud=fleet.id, freezes=tuple(wanted), exp=int(now_s()) + THAW_LIFE_S)
    token = issue_token(claims, sovereign_kid(fleet.sovereign_number), key.sign)
    told = run_async(post(socket, "thaw", {"token": token}))
    if as_json:
        print_json({**told, "freezes": wanted})
    else:
        click.echo(f"thawed: {', '.join(wanted)}")
