"""Alerts: what holds, what was said of it, and what a person does with it."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import click

from allegro.cli.help import ASKS_HOUSE, Group
from allegro.cli.output import json_option, now_s, print_json, run_async, socket_option
from allegro.client.house_client import HouseClient
from allegro.core.base.timestamps import rfc3339, span
from allegro.core.effects.render import lined, one_line
from allegro.core.health.alert_state import Maintenance
from allegro.core.protocol.answers.alerts import AlertsAnswer
from allegro.core.protocol.answers.house import ShownAlert
from allegro.core.protocol.asked import NewMaintenance

T = TypeVar("T")
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


class Duration(click.ParamType[float]):
    """`30m`, `2h`, `1d`: a number and s, m, h or d."""

    name = "duration"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        if isinstance(value, float):
            return value
        found = re.fullmatch(r"([0-9]{1,6})([smhd])", str(value))
        if found is None:
            self.fail("give a number and a unit, as in 30m, 2h or 1d", param, ctx)
        return int(found[1]) * _UNITS[found[2]]


_FOR = click.option(
    "--for", "for_s", type=Duration(), default="1h", help="How long, as in 30m, 2h or 1d."
)
_ID = click.argument("id_", metavar="ID")


@click.group(cls=Group, example="allegro alerts", exits=ASKS_HOUSE, invoke_without_command=True)
@click.pass_context
def alerts(ctx: click.Context) -> None:
    """Show alerts; acknowledge, snooze and judge them.

    Maintenance can be announced too: what it names calls nobody meanwhile. An ID is that of the
    list or its beginning, a code, or the reference of a message.
    """
    if ctx.invoked_subcommand is None:
        ctx.invoke(list_, socket=None, as_json=False)


def _asked(socket: Path | None, ask: Callable[[HouseClient], Awaitable[T]]) -> T:
    async def work() -> T:
        async with HouseClient(socket) as house:
            return await ask(house)

    return run_async(work())


@alerts.command("list", example="allegro alerts list --json", exits=ASKS_HOUSE)
@socket_option
@json_option
def list_(socket: Path | None, as_json: bool) -> None:
    """List alerts, most urgent first, and how useful each code was."""
    answer = _asked(socket, lambda house: house.alerts())
    if as_json:
        print_json(answer)
        return
    for line in alert_lines(answer, now_s()):
        click.echo(line)


def alert_lines(answer: AlertsAnswer, at_s: float) -> list[str]:
    """Return the lines of `alerts`; every foreign word in them stays within its line."""
    shown = lined(answer)
    lines = [line for one in shown.alerts for line in _lines(one, at_s)] or ["no alerts"]
    lines += [
        f"maintenance {one.id} of {_named(one)} until {rfc3339(one.until_s)}"
        for one in shown.maintenance
    ]
    lines += [
        f"{one.code}: {one.useful} useful of {one.judged} judged of {one.sent} sent"
        for one in shown.precision
    ]
    return lines


def _lines(one: ShownAlert, at_s: float) -> list[str]:
    age = span(at_s - one.since_s)
    if one.phase == "recovered":
        age += f", over for {span(at_s - one.over_s)}"
    said = "nobody was called"
    if one.notice:
        said = f"{one.notice} is on its way"
        if one.reached_s:
            said = f"{one.notice} arrived {span(at_s - one.reached_s)} ago"
    if one.snoozed_until_s > at_s:
        said += f", snoozed until {rfc3339(one.snoozed_until_s)}"
    times = f", {one.count} times" if one.count > 1 else ""
    head = f"{one.id} {one.severity} {one.phase} {one.code} for {age}{times}"
    lines = [f"{head}, says {one.source}: {one.sentence}", f"         {said}"]
    return [*lines, f"         → {one.fix}"] if one.phase != "recovered" else lines


def _named(one: Maintenance) -> str:
    parts = (("code", one.code), ("lane", one.lane), ("subject", one.subject))
    return ", ".join(f"{name} {value}" for name, value in parts if value) or "everything but P0"


@alerts.command(example="allegro alerts ack 1f0c9a2e", exits=ASKS_HOUSE)
@_ID
@socket_option
@json_option
def ack(id_: str, socket: Path | None, as_json: bool) -> None:
    """Acknowledge: no more reminders while this trouble lasts, a day at most."""
    _act(id_, "ack", socket, as_json=as_json)


@alerts.command(example="allegro alerts snooze 1f0c9a2e --for 2h", exits=ASKS_HOUSE)
@_ID
@_FOR
@socket_option
@json_option
def snooze(id_: str, for_s: float, socket: Path | None, as_json: bool) -> None:
    """Say nothing of it for a while, a week at most."""
    _act(id_, "snooze", socket, as_json=as_json, for_s=for_s)


@alerts.command(example="allegro alerts useful 1f0c9a2e", exits=ASKS_HOUSE)
@_ID
@socket_option
@json_option
def useful(id_: str, socket: Path | None, as_json: bool) -> None:
    """Judge an alarm as useful; each code shows how many of its alarms were."""
    _act(id_, "useful", socket, as_json=as_json)


@alerts.command(example="allegro alerts noise 1f0c9a2e", exits=ASKS_HOUSE)
@_ID
@socket_option
@json_option
def noise(id_: str, socket: Path | None, as_json: bool) -> None:
    """Judge an alarm as noise."""
    _act(id_, "noise", socket, as_json=as_json)


def _act(id_: str, act: str, socket: Path | None, *, as_json: bool, **body: float) -> None:
    answer = _asked(socket, lambda house: house.act_on_alert(id_, act, **body))
    if as_json:
        print_json(answer)
    else:
        click.echo(f"{act}: {answer.alerts} alerts")


@alerts.command(example="allegro alerts maintenance --for 2h --lane vps", exits=ASKS_HOUSE)
@_FOR
@click.option("--code", default="", help="A code, or its beginning up to a dot.")
@click.option("--lane", default="", help="A lane.")
@click.option("--subject", default="", help="A subject, as the list shows it.")
@click.option("--end", default="", metavar="ID", help="End this window now.")
@socket_option
@json_option
def maintenance(for_s: float, socket: Path | None, as_json: bool, end: str, **names: str) -> None:
    """Announce maintenance: what it names calls nobody until its end, a month at most.

    A P0 is held back only by a window that names its whole code.
    """
    if end:
        answer = _asked(socket, lambda house: house.end_maintenance(end))
    else:
        new = NewMaintenance(for_s, **names)
        answer = _asked(socket, lambda house: house.begin_maintenance(new))
    if as_json:
        print_json(answer)
    elif end:
        click.echo(f"maintenance {one_line(answer.id)} is over")
    else:
        click.echo(f"maintenance {one_line(answer.id)} until {rfc3339(answer.until_s or 0.0)}")
