"""Requests that wait for a decision, and the decisions."""

from __future__ import annotations

import contextlib
from pathlib import Path

import click
import msgspec
from rich.table import Table
from rich.text import Text

from allegro.cli.decide.questions import (
    decision_history,
    decision_lines,
    found_decision,
    refuse_decision,
)
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
from allegro.core.protocol.answers.decisions import DecisionAnswer
from allegro.core.protocol.answers.requests import RequestAnswer, RequestBrief, RequestsAnswer
from allegro.sovereign.show import checked_action, draw


@click.command(cls=Command, example="allegro requests", exits=ASKS_HOUSE)
@click.option("--all", "show_all", is_flag=True, help="Settled requests too.")
@socket_option
@json_option
def requests(show_all: bool, socket: Path | None, as_json: bool) -> None:
    """List open requests and questions, newest last."""
    response, questions = run_async(ask_house(socket, _listed))
    open_states = {"proposed", "approved", "ordered", "sent", "unknown"}
    asked = tuple(one for one in response.requests if show_all or one.state in open_states)
    questions = tuple(one for one in questions if show_all or one.state in open_states)
    if as_json:
        found = msgspec.structs.replace(response, requests=asked)
        print_json({**msgspec.to_builtins(found), "decisions": questions})
        return
    rows: list[RequestBrief | DecisionAnswer] = [*asked, *questions]
    rows.sort(key=lambda one: one.created_s)
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


async def _listed(house: HouseClient) -> tuple[RequestsAnswer, tuple[DecisionAnswer, ...]]:
    """Return requests and questions; a house of before knows no questions."""
    response = await house.requests()
    with contextlib.suppress(BadRequest):
        return response, (await house.decisions()).decisions
    return response, ()


async def _found(house: HouseClient, id_: str) -> RequestAnswer | DecisionAnswer:
    """Return a request, or the question of this name where there is no such request."""
    try:
        return await house.request(id_)
    except BadRequest:
        decision = await found_decision(house, id_)
        if decision is None:
            raise
        return decision


def _what(one: RequestBrief | DecisionAnswer) -> str:
    """Return what is asked; first, what you noted of it by chat."""
    if isinstance(one, DecisionAnswer):
        return one.question[:100]
    noted = f"[{one.noted}: needs your signature] " if one.noted else ""
    return f"{noted}{one.question[:100]}"


@click.command(cls=Command, example="allegro show 17f8c783", exits=ASKS_HOUSE)
@click.argument("id_", metavar="ID")
@socket_option
@json_option
def show(id_: str, socket: Path | None, as_json: bool) -> None:
    """Show what an approval would sign, or a question.

    What would be signed is shown exactly, computed from the very bytes.
    """
    request = run_async(ask_house(socket, lambda house: _found(house, id_)))
    if isinstance(request, DecisionAnswer):
        _show_decision(request, socket, as_json=as_json)
        return
    if as_json:
        _, action = checked_action(request)
        checked = {"kind": kind_of(action), "digest": request.digest}
        print_json({**msgspec.to_builtins(request), "checked": checked})
        return
    draw(request, console())
    with contextlib.suppress(BadRequest):  # a follower shows, and notes nothing
        run_async(ask_house(socket, lambda house: house.note_shown(request.id)))


def _show_decision(decision: DecisionAnswer, socket: Path | None, *, as_json: bool) -> None:
    if as_json:
        print_json(decision)
        return
    for line in decision_lines(decision):
        click.echo(line)
    with contextlib.suppress(BadRequest):
        run_async(ask_house(socket, lambda house: house.note_decision_shown(decision.id)))


@click.command(
    cls=Command, example='allegro reject 17f8c783 --reason "not this week"', exits=ASKS_HOUSE
)
@click.argument("id_", metavar="ID")
@click.option("--reason", required=True, help="Kept with the request.")
@socket_option
@json_option
def reject(id_: str, reason: str, socket: Path | None, as_json: bool) -> None:
    """Reject a request."""
    answer = run_async(ask_house(socket, lambda house: _reject(house, id_, reason)))
    report_decision(answer, "rejected", as_json=as_json)


async def _reject(house: HouseClient, id_: str, reason: str) -> RequestAnswer:
    found = await _found(house, id_)
    if isinstance(found, DecisionAnswer):
        refuse_decision(found, "rejected")
    return await house.reject(id_, reason)


@click.command(cls=Command, example="allegro withdraw 17f8c783", exits=ASKS_HOUSE)
@click.argument("id_", metavar="ID")
@socket_option
@json_option
def withdraw(id_: str, socket: Path | None, as_json: bool) -> None:
    """Withdraw a request, a question or an approval.

    An approval only before its order is sent.
    """
    answer = run_async(ask_house(socket, lambda house: _withdraw(house, id_)))
    report_decision(answer, "withdrawn", as_json=as_json)


async def _withdraw(house: HouseClient, id_: str) -> RequestAnswer | DecisionAnswer:
    found = await _found(house, id_)
    if isinstance(found, DecisionAnswer):
        return await house.withdraw_decision(found.id)
    return await house.withdraw(id_)


@click.command(cls=Command, example="allegro explain 17f8c783", exits=ASKS_HOUSE)
@click.argument("id_", metavar="ID")
@socket_option
@json_option
def explain(id_: str, socket: Path | None, as_json: bool) -> None:
    """Show the history of a request or a question.

    Who asked, what was shown, which key signed, which lane had the order, what was written.
    """
    request = run_async(ask_house(socket, lambda house: _found(house, id_)))
    if isinstance(request, DecisionAnswer):
        if as_json:
            print_json(request)
        else:
            click.echo("\n".join(decision_history(request)))
        return
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


def report_decision(answer: RequestAnswer | DecisionAnswer, outcome: str, *, as_json: bool) -> None:
    """Print what a decision came to."""
    if as_json:
        print_json(answer)
    else:
        click.echo(f"{one_line(answer.id)}: {outcome} ({one_line(answer.state)})")
