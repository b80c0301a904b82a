"""`allegro duties`: what runs at times of the clock, how the last run ended, when the next is due."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec
from rich.table import Table
from rich.text import Text

from allegro.cli.exit_codes import Exit
from allegro.cli.help import ASKS_HOUSE, Command
from allegro.cli.output import console, json_option, now_s, print_json, run_async, socket_option
from allegro.client.house_client import HouseClient
from allegro.core.base.timestamps import rfc3339, span
from allegro.core.effects.render import one_line
from allegro.core.protocol.answers.duties import DutiesAnswer, DutyRunAnswer, ShownDuty

_BAD = {"failed", "missed"}
_STYLE = {"ok": "green", "failed": "red", "missed": "red", "unknown": "yellow", "running": "cyan"}


@click.command(
    cls=Command,
    example="allegro duties --run log-rollup",
    exits={**ASKS_HOUSE, Exit.REFUSED: "a duty failed or did not run in time"},
)
@click.option(
    "--run",
    "name",
    default=None,
    metavar="NAME",
    help="Run this duty now; NAME@OWNER where several have it.",
)
@socket_option
@json_option
def duties(name: str | None, socket: Path | None, as_json: bool) -> int:
    """Show what runs on a schedule, and how it ended.

    With --run, run one now where it belongs: at the house, or on its lane.
    """
    answer = run_async(_answer(socket, name))
    if as_json:
        print_json(msgspec.to_builtins(answer))
    else:
        _show(answer.duties, now_s())
    return 1 if any(duty.state in _BAD for duty in answer.duties) else 0


async def _answer(socket: Path | None, name: str | None) -> DutiesAnswer | DutyRunAnswer:
    async with HouseClient(socket) as house:
        if name is None:
            return await house.duties()
        return await house.run_duty(name.replace("_", "-"))


def _show(found: tuple[ShownDuty, ...], at_s: float) -> None:
    table = Table(box=None, pad_edge=False)
    for title in ("duty", "owner", "schedule", "state", "last run", "next due", "result"):
        table.add_column(title)
    for duty in found:
        table.add_row(
            Text(one_line(duty.name)),
            Text(one_line(duty.owner)),
            Text(one_line(duty.schedule) or "-"),
            Text(duty.state, style=_STYLE.get(duty.state, "")),
            Text(_last_words(duty, at_s)),
            Text(rfc3339(duty.due_s) if duty.due_s else "-"),
            Text(_result_words(duty), style="dim"),
        )
    console().print(table)


def _last_words(duty: ShownDuty, at_s: float) -> str:
    last = duty.last
    if last is None:
        return "never"
    how = last.punctuality if last.due_s else "asked for"
    took = f", took {span(last.duration_s)}" if last.begun_s else ""
    return f"{span(max(0.0, at_s - last.at_s))} ago, {how}{took}"


def _result_words(duty: ShownDuty) -> str:
    last = one_line(duty.last.result) if duty.last is not None else ""
    return "; ".join(filter(None, (one_line(duty.note), last)))
