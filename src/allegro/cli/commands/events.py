"""Archived events, opened; and the gaps between them."""

from __future__ import annotations

from pathlib import Path
from typing import TypedDict, Unpack

import click
import msgspec

from allegro.cli.help import ASKS_HOUSE, Command
from allegro.cli.output import (
    json_option,
    print_json,
    run_async,
    socket_option,
)
from allegro.client.house_client import HouseClient, ask_house
from allegro.core.effects.render import lined, one_line
from allegro.core.protocol.answers.house import ShownEvent

_SHOWN_FACTS = {"number", "kind", "step", "reason", "took_s", "issues"}


@click.command(cls=Command, example="allegro events --type forge. --last 20", exits=ASKS_HOUSE)
@click.option("--follow", is_flag=True, help="Keep following: print new events as they arrive.")
@click.option("--after", type=int, default=None, help="Start after this row.")
@click.option("--last", type=int, default=50, help="Print the newest rows, this many.")
@click.option("--type", "prefix", default="", help="Only event types with this prefix.")
@click.option("--gaps", is_flag=True, help="Show gaps only.")
@socket_option
@json_option
def events(gaps: bool, socket: Path | None, as_json: bool, **wanted: Unpack[_Wanted]) -> None:
    """List archived events, decrypted, oldest first."""
    if gaps:
        response = run_async(ask_house(socket, HouseClient.gaps))
        for gap in lined(response.gaps) if not as_json else ():
            click.echo(f"{gap.lane} {gap.journal} {gap.first}–{gap.last}: {gap.count} {gap.reason}")
        if as_json:
            print_json(response)
        return
    after = wanted["after"]
    where: dict[str, str | int] = {"last": wanted["last"]} if after is None else {"after": after}
    where |= {"prefix": wanted["prefix"], "follow": int(wanted["follow"])}
    run_async(_print_events(socket, where, as_json))


class _Wanted(TypedDict):
    """The options of `events` that say which are printed."""

    follow: bool
    after: int | None
    last: int
    prefix: str


async def _print_events(socket: Path | None, params: dict[str, str | int], as_json: bool) -> None:
    async with HouseClient(socket) as house:
        async for event in house.shown_events(**params):
            if as_json:
                print_json({"schema": "allegro.event/1", **msgspec.to_builtins(event)})
            else:
                click.echo(event_line(event))


def event_line(event: ShownEvent) -> str:
    """Return one line for one event."""
    words, time = event.words, one_line(event.time, 40)
    if isinstance(words, dict) and "title" in words:
        content = f"#{one_line(words.get('number'), 20)} {one_line(words['title'], 80)}"
    elif isinstance(words, dict) and "body" in words:
        content = one_line(words["body"], 80)
    else:
        content = "" if words is None else one_line(words, 80)
    facts = {k: v for k, v in event.data.items() if k in _SHOWN_FACTS}
    clear = one_line(msgspec.json.encode(facts).decode(), 200) if facts else ""
    lane, type_ = one_line(event.lane, 40), one_line(event.type, 60)
    return f"{event.row:>6} {time[11:23]} {lane} {type_:<24} {clear} {content!r}"
