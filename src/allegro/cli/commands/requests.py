"""Requests that wait for a decision, and the decisions."""

from __future__ import annotations

import contextlib
from pathlib import Path

import click
import msgspec
from rich.table import Table
from rich.text import Text

from allegro.cli.help import ASKS_HOUSE, Command
from allegro.cli.output import (
    console,
    json_option,
    now_s,
    print_json,
    run_async,
    socket_option,
)
from allegro.client.errors import BadRequest
from allegro.client.house_client import HouseClient, ask_house
from allegro.core.authority.actions.families import kind_of
from allegro.core.authority.policy import needs_of
from allegro.core.authority.tokens import token_kid
from allegro.core.base.timestamps import rfc3339, span
from allegro.core.effects.render import lined, one_line
from allegro.core.protocol.answers.requests import RequestAnswer, RequestBrief
from allegro.sovereign.show import checked_action, draw


@click.command(cls=Command, example="allegro requests", exits=ASKS_HOUSE)
@click.option("--all", "show_all", is_flag=True, help="Settled requests too.")
@socket_option
@json_option
def requests(show_all: bool, socket: Path | None, as_json: bool) -> None:
    """List open requests, newest last."""
    response = run_async(ask_house(socket, HouseClient.requests))
    open_states = {"proposed", "approved", "ordered", "sent", "unknown"}
    rows = tuple(one for one in response.requests if show_all or one.state in open_states)
    if as_json:
        print_json(msgspec.structs.replace(response, requests=rows))
        return
    if not rows:
        click.echo("no open requests")
        return
    table = Table(box=None, pad_edge=False)
    for name in ("id", "state", "owner", "urgency", "age", "what"):
        table.add_column(name)
    at_s = now_s()
    for one in lined(rows):
        table.add_row(
            Text(one.id[:10]),
            Text(one.state),
            Text(one.owner or "–"),
            Text(one.urgency),
            span(at_s - one.created_s),
            Text(_what(one)),
        )
    console().print(table)


def _what(one: RequestBrief) -> str:
    """Return what is asked; first, what you noted of it by chat."""
    noted = f"[{one.noted}: needs your signature] " if one.noted else ""
    return f"{noted}{one.question[:100]}"


@click.command(cls=Command, example="allegro show 17f8c783", exits=ASKS_HOUSE)
@click.argument("id_", metavar="ID")
@socket_option
@json_option
def show(id_: str, socket: Path | None, as_json: bool) -> None:
    """Show exactly what an approval would sign.

    It is computed from the very bytes that would be signed.
    """
    request = run_async(ask_house(socket, lambda house: house.request(id_)))
    if as_json:
        _, action = checked_action(request)
        checked = {"kind": kind_of(action), "digest": request.digest}
        print_json({**msgspec.to_builtins(request), "checked": checked})
        return
    draw(request, console())
    with contextlib.suppress(BadRequest):  # a follower shows, and notes nothing
        run_async(ask_house(socket, lambda house: house.note_shown(request.id)))


@click.command(
    cls=Command, example='allegro reject 17f8c783 --reason "not this week"', exits=ASKS_HOUSE
)
@click.argument("id_", metavar="ID")
@click.option("--reason", required=True, help="Kept with the request.")
@socket_option
@json_option
def reject(id_: str, reason: str, socket: Path | None, as_json: bool) -> None:
    """Reject a request."""
    answer = run_async(ask_house(socket, lambda house: house.reject(id_, reason)))
    report_decision(answer, "rejected", as_json=as_json)


@click.command(cls=Command, example="allegro withdraw 17f8c783", exits=ASKS_HOUSE)
@click.argument("id_", metavar="ID")
@socket_option
@json_option
def withdraw(id_: str, socket: Path | None, as_json: bool) -> None:
    """Withdraw a request, or an approval before its order is sent."""
    answer = run_async(ask_house(socket, lambda house: house.withdraw(id_)))
    report_decision(answer, "withdrawn", as_json=as_json)


@click.command(cls=Command, example="allegro explain 17f8c783", exits=ASKS_HOUSE)
@click.argument("id_", metavar="ID")
@socket_option
@json_option
def explain(id_: str, socket: Path | None, as_json: bool) -> None:
    """Show the history of a request.

    Who asked, what was shown, which key signed, which lane had the order, what was written.
    """
    request = run_async(ask_house(socket, lambda house: house.request(id_)))
    if as_json:
        more = {"schema": "allegro.explain/1", "policy": needs_of(request.kind).value}
        print_json({**msgspec.to_builtins(request), **more})
        return
    for line in explanation(request):
        click.echo(line)


def explanation(request: RequestAnswer) -> list[str]:
    """Return the lines of `explain`; every foreign word in them stays within its line."""
    shown = lined(request)
    lines = [
        f"{shown.kind} {shown.id}: {shown.state}",
        f"  policy    {shown.kind} needs {needs_of(shown.kind).value}",
        f"  asked     {rfc3339(shown.created_s)}  {shown.document.question} (by {shown.asked_by or 'a program'})",
        f"  digest    {shown.digest}",
    ]
    if shown.approval:
        signer = one_line(token_kid(request.approval or ""), 64)
        lines.append(f"  signed    by {signer}, for exactly this digest")
    lines += [f"  {line.what:<9} {rfc3339(line.at_s)}  {line.detail}" for line in shown.history]
    if shown.state == "done":
        lines.append(f"  receipt   {shown.artifact} {shown.url} {shown.commit[:12]}".rstrip())
    if shown.superseded_by:
        lines.append(f"  renewed   as {shown.superseded_by}")
    report = shown.report
    lines.append(f"  report    {report.status}; next: {'; '.join(report.next_steps) or 'nothing'}")
    return lines


def report_decision(answer: RequestAnswer, outcome: str, *, as_json: bool) -> None:
    """Print what a decision came to."""
    if as_json:
        print_json(answer)
    else:
        click.echo(f"{one_line(answer.id)}: {outcome} ({one_line(answer.state)})")
