"""`allegro measures`: what was promised, and what was measured of it."""

from __future__ import annotations

import re
from pathlib import Path

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
    print_json,
    run_async,
    socket_option,
)
from allegro.client.house_client import HouseClient
from allegro.core.base.timestamps import rfc3339, span
from allegro.core.effects.render import one_line
from allegro.core.measures.answers import (
    MeasuresAnswer,
    RowAnswer,
    prometheus_lines,
    target_words,
    value_words,
)

_UNITS = {"m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 7 * 86_400.0}
_MARK = {
    "met": ("ok  ", "green"),
    "missed": ("MISS", "red"),
    "as asked": ("-   ", ""),
    "not measurable yet": ("?   ", ""),
}


@click.command(
    cls=Command,
    example="allegro measures --window 7d",
    exits={**ASKS_HOUSE, Exit.REFUSED: "a figure misses its target"},
)
@click.option(
    "--window", default="7d", metavar="SPAN", help="How far back, as in 90m, 24h, 7d or 52w."
)
@click.option("--prometheus", is_flag=True, help="Print Prometheus' text format.")
@socket_option
@json_option
def measures(window: str, prometheus: bool, socket: Path | None, as_json: bool) -> int:
    """Show what was promised and what was measured.

    Each figure comes with its samples, its method and its source.
    """
    answer = run_async(_asked(socket, window_s(window)))
    if as_json:
        print_json(msgspec.to_builtins(answer))
    elif prometheus:
        click.echo(prometheus_lines(answer), nl=False)
    else:
        _show(answer)
    return 1 if any(row.verdict == "missed" for row in answer.rows) else 0


def window_s(text: str) -> float:
    """Return the seconds of a span such as `7d`. Raises Failure with a sentence."""
    found = re.fullmatch(r"([1-9][0-9]{0,5})([mhdw])", text)
    if found is None:
        raise Failure(f"--window {text!r}: expected a span such as 90m, 24h, 7d or 52w", Exit.USAGE)
    return int(found[1]) * _UNITS[found[2]]


async def _asked(socket: Path | None, seconds: float) -> MeasuresAnswer:
    async with HouseClient(socket) as house:
        return await house.measures(seconds)


def _show(answer: MeasuresAnswer) -> None:
    table = Table(box=None, pad_edge=False)
    for title in ("", "measure", "value", "target", "samples", "method (source)"):
        table.add_column(title)
    for row in answer.rows:
        word, style = _MARK.get(row.verdict, ("?   ", ""))
        about = row.reason or row.method
        table.add_row(
            Text(word, style=style),
            Text(one_line(row.title)),
            Text(_value(row)),
            Text(target_words(row)),
            Text(_samples(row)),
            Text(f"{one_line(about)} ({one_line(row.source)})", style="dim"),
        )
    console().print(table)
    click.echo(f"from {rfc3339(answer.from_s)} to {rfc3339(answer.to_s)}")
    if answer.began_s > answer.from_s:
        click.echo(f"the archive begins at {rfc3339(answer.began_s)}")
    if answer.unreadable:
        click.echo(f"{answer.unreadable} events cannot be read and were passed over")


def _value(row: RowAnswer) -> str:
    if row.value is None:
        return row.verdict
    how = {"largest": "largest ", "smallest": "smallest ", "p99": "p99 "}.get(row.shown, "")
    waited = f"; {row.waited} waited, {span(row.waited_s)} at most" if row.waited else ""
    return f"{how}{value_words(row.value, row.unit)}{waited}"


def _samples(row: RowAnswer) -> str:
    return f"{row.within} of {row.count}" if row.count else "none"
