"""Sessions of the agent on a lane: run one, list them, show one."""

from __future__ import annotations

from pathlib import Path
from typing import TypedDict, Unpack

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
from allegro.client.hermes_bridge import HermesBridge, HermesResult
from allegro.client.house_client import ask_house
from allegro.client.session_lines import step_line
from allegro.core.base.timestamps import span
from allegro.core.effects.render import framed, lined, one_line, visible
from allegro.core.protocol.event_types import EventType


@click.command(
    cls=Command,
    example='allegro run "Why does it creak?" --issue timmy/house#1',
    exits={**ASKS_HOUSE, Exit.REFUSED: "the session did not end as completed"},
)
@click.argument("prompt")
@click.option("--model", default=None, help="One of the lane's models (default: as configured).")
@click.option(
    "--issue", default="", help="owner/name#12: quote it into the prompt, and show progress there."
)
@click.option(
    "--tool", "tools", multiple=True, help="Allow only this one of the lane's tools; repeat."
)
@click.option("--no-tools", is_flag=True, help="Allow no tool.")
@click.option(
    "--network", is_flag=True, help="Allow network although an issue's text is in the prompt."
)
@click.option(
    "--limit-s", type=click.IntRange(1, 86_400), default=3600, help="Longest duration, in seconds."
)
@click.option("--follow/--quiet", default=True, help="Print each step as it happens.")
@socket_option
@json_option
def run(prompt: str, socket: Path | None, as_json: bool, **options: Unpack[_RunOptions]) -> int:
    """Run a session of the agent on a lane, and wait for its end."""
    return run_async(_run(prompt, options, socket, as_json))


class _RunOptions(TypedDict):
    """The options of `run` that say what session it is, and whether its steps are printed."""

    model: str | None
    issue: str
    tools: tuple[str, ...]
    no_tools: bool
    network: bool
    limit_s: int
    follow: bool


async def _run(prompt: str, options: _RunOptions, socket: Path | None, as_json: bool) -> int:
    import asyncio  # noqa: PLC0415

    tools = () if options["no_tools"] else options["tools"] or None
    follow = options["follow"] and not as_json
    async with HermesBridge(socket) as bridge, HermesBridge(socket) as stream:
        session = await bridge.begin_session(
            prompt,
            options["model"],
            tools=tools,
            issue=options["issue"],
            network=options["network"],
            limit_s=options["limit_s"],
        )
        if not as_json:
            click.echo(f"session {one_line(session)}", err=True)
        shown = asyncio.create_task(_show_steps(stream, session)) if follow else None
        try:
            result = await bridge.result(session)
            if shown is not None:
                await asyncio.wait({shown}, timeout=2.0)
        finally:
            if shown is not None:
                shown.cancel()
    if as_json:
        print_json({"schema": "allegro.result/1", **msgspec.to_builtins(result)})
    else:
        if not follow:
            click.echo(visible(result.output))
        click.echo(_last_line(result), err=True)
    return 0 if result.state == "completed" else 1


async def _show_steps(bridge: HermesBridge, session: str) -> None:
    """Print a session's steps until its end."""
    in_text = False
    async for event in bridge.stream_telemetry(session):
        text, new_line = step_line(event, in_text=in_text)
        if text:
            click.echo(text, nl=new_line)
            in_text = event.type == EventType.SESSION_DELTA
        if event.type == EventType.SESSION_END:
            return


def _last_line(result: HermesResult) -> str:
    cost = "cost unknown" if result.cost_usd is None else f"{result.cost_usd:.4f} USD"
    took = "" if result.duration_s is None else f" in {result.duration_s:.1f} s"
    place = " (local)" if result.local else ""
    why = f": {one_line(result.why)}" if result.why else ""
    return (
        f"{one_line(result.state)}{took}{place}{why} · {one_line(result.model)} · {result.tokens} tokens, {cost} · "
        f"{result.tools} tool calls, {result.denied} denied"
    )


@click.command(cls=Command, example="allegro sessions --limit 5", exits=ASKS_HOUSE)
@click.option("--limit", type=click.IntRange(1, 500), default=20, help="How many.")
@socket_option
@json_option
def sessions(limit: int, socket: Path | None, as_json: bool) -> None:
    """List sessions, newest last."""
    response = run_async(ask_house(socket, lambda house: house.sessions(limit)))
    if as_json:
        print_json(response)
        return
    if not response.sessions:
        click.echo("no sessions")
        return
    table = Table(box=None, pad_edge=False)
    for name in ("id", "state", "lane", "model", "age", "tokens", "tools", "why"):
        table.add_column(name)
    at_s = now_s()
    for one in lined(response.sessions):
        counts = (one.model, one.tokens, one.tools) if one.has_begun else ("", "", "")
        model, tokens, tools = counts
        age = span(at_s - one.began_s)
        state, why = one.end or one.state, one.why[:60]
        cells = (one.id[:10], state, one.lane, model, age, tokens, tools, why)
        table.add_row(*(Text(str(cell)) for cell in cells))
    console().print(table)


@click.command(cls=Command, example="allegro session 6d393f9d --stop", exits=ASKS_HOUSE)
@click.argument("id_", metavar="ID")
@click.option("--stop", is_flag=True, help="Stop it at once.")
@socket_option
@json_option
def session(id_: str, stop: bool, socket: Path | None, as_json: bool) -> None:
    """Show one session; with --stop, stop it."""
    if stop:
        response = run_async(ask_house(socket, lambda house: house.stop_session(id_)))
        if as_json:
            print_json(response)
        elif not response.stopped:
            raise Failure("no lane runs this session any more")
        else:
            click.echo(f"{one_line(response.id)}: stopped")
        return
    found = run_async(ask_house(socket, lambda house: house.session(id_)))
    if as_json:
        print_json(found)
        return
    for name in (*_REQUEST, *_RECORD) if found.has_begun else _REQUEST:
        if (value := getattr(found, name)) not in {None, ""}:
            click.echo(f"{name:<11} {one_line(value, 2_000)}")
    if found.output:
        click.echo("\n" + framed(found.output))


_REQUEST = ("id", "state", "end", "why", "lane")
_RECORD = (
    "local",
    "agent",
    "model",
    "provider",
    "tokens",
    "cost_usd",
    "calls",
    "tools",
    "questions",
    "denied",
    "duration_s",
)
