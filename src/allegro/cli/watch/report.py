"""`allegro report`: the morning report, as it was delivered or as it is known now."""

from __future__ import annotations

import datetime
from pathlib import Path

import click

from allegro.cli.exit_codes import Exit
from allegro.cli.help import ASKS_HOUSE, Command
from allegro.cli.output import Failure, run_async, socket_option
from allegro.client.house_client import HouseClient
from allegro.core.effects.render import visible
from allegro.core.reports.answers import ReportAnswer


@click.command(cls=Command, example="allegro report --day 2026-11-28", exits=ASKS_HOUSE)
@click.option(
    "--day", default=None, metavar="DATE", help="The day it is about (default: yesterday)."
)
@click.option("--weekly", is_flag=True, help="The seven days that end with that day.")
@click.option("--html", "form", flag_value="html", help="Print a page for a browser.")
@click.option("--markdown", "form", flag_value="md", help="Print it as it goes to the forge.")
@click.option("--json", "form", flag_value="json", help="Print its facts as one JSON object.")
@socket_option
def report(day: str | None, weekly: bool, form: str | None, socket: Path | None) -> None:
    """Show the morning report of a day, or of a week.

    It is the one that was delivered, where there is one; else it is built now.
    """
    answer = run_async(_asked(socket, _date(day), form or "txt", weekly))
    click.echo(visible(answer.text).rstrip("\n"))


def _date(day: str | None) -> str | None:
    if day is None:
        return None
    try:
        return datetime.date.fromisoformat(day).isoformat()
    except ValueError:
        raise Failure(f"--day {day!r}: expected a date, as in 2026-11-28", Exit.USAGE) from None


async def _asked(socket: Path | None, day: str | None, form: str, weekly: bool) -> ReportAnswer:
    async with HouseClient(socket) as house:
        return await house.report(day, form=form, weekly=weekly)
