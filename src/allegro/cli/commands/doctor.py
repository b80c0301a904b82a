"""`allegro doctor`: checks the fleet, or one lane on its own machine."""

from __future__ import annotations

from pathlib import Path

import click
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
from allegro.client.house_client import HouseClient, ask_house
from allegro.config import load_lane
from allegro.core.base.timestamps import span
from allegro.core.effects.render import lined
from allegro.core.health.facts import fact_page
from allegro.core.protocol.answers.house import DoctorAnswer

_MARK = {
    "ok": ("ok  ", "green"),
    "warn": ("warn", "yellow"),
    "bad": ("BAD ", "red"),
    "unknown": ("?   ", "yellow"),
}


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
    report = (
        _lane_doctor(config, attack) if config else run_async(ask_house(socket, HouseClient.doctor))
    )
    if as_json:
        print_json(report)
        return 0 if report.ok else 1
    table = Table(box=None, pad_edge=False, show_header=False)
    for fact in lined(report.facts):
        word, style = _MARK.get(fact.state, ("?   ", ""))
        age = f"{span(fact.age_s)} old" if fact.age_s else "now"
        source = Text(f"({fact.code}: {fact.source}, {age})", style="dim")
        table.add_row(Text(word, style=style), Text(fact.what), Text(fact.detail), source)
        if fact.fix and fact.state != "ok":
            table.add_row("", "", Text("→ " + fact.fix, style="italic"), "")
    console().print(table)
    return 0 if report.ok else 1


def _lane_doctor(config: Path, attack: bool) -> DoctorAnswer:
    from allegro.lane.doctor import attack as attacked  # noqa: PLC0415 (the house's doctor
    from allegro.lane.doctor import check  # noqa: PLC0415  loads no lane)

    settings = load_lane(config)
    found = attacked(settings) if attack else run_async(check(settings))
    facts = tuple(fact_page(fact, now_s()) for fact in found)
    return DoctorAnswer(ok=all(fact.state != "bad" for fact in facts), facts=facts)
