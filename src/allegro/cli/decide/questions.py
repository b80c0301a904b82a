"""Questions with options: put one, answer one, show one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click

from allegro.cli.exit_codes import Exit
from allegro.cli.help import ASKS_HOUSE, Command
from allegro.cli.output import Failure, json_option, print_json, run_async, socket_option
from allegro.client.decisions import DecisionBridge
from allegro.client.errors import BadRequest
from allegro.client.house_client import HouseClient, ask_house
from allegro.core.base.timestamps import rfc3339
from allegro.core.effects.render import framed, one_line
from allegro.core.protocol.answers.decisions import DecisionAnswer
from allegro.core.protocol.asked import GiveAnswer
from allegro.core.requests.decisions import MAX_REASON, MOST_OPTIONS, NewDecision, NewOption
from allegro.core.requests.documents import URGENCIES

_SPAN = re.compile(r"([0-9]{1,8})(s|min|h|d|w)")
_UNITS = {"s": 1, "min": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_NUMBERS = frozenset(map(str, range(1, MOST_OPTIONS + 1)))


def _seconds(_: click.Context, param: click.Parameter, value: str | None) -> float | None:
    """Read a length of time, as in 90s, 30min, 12h, 2d, 1w."""
    match = _SPAN.fullmatch(value or "")
    if value is not None and match is None:
        why = f"{one_line(value, 40)!r} is no time: write it as 90s, 30min, 12h, 2d"
        raise click.BadParameter(why, param=param)
    return None if match is None else float(int(match[1]) * _UNITS[match[2]])


def _reasons(
    _: click.Context, param: click.Parameter, values: tuple[str, ...]
) -> tuple[tuple[int, str], ...]:
    """Read what speaks for or against options, as in 1:dry: an option's number and the words."""
    found = []
    for value in values:
        number, _colon, words = value.partition(":")
        if number not in _NUMBERS or not words.strip():
            why = f"{one_line(value, 40)!r}: write it as 1:the reason"
            raise click.BadParameter(why, param=param)
        found.append((int(number), words.strip()[:MAX_REASON]))
    return tuple(found)


@click.command(
    cls=Command,
    example='allegro ask "Which day?" --option Monday --option Tuesday --recommend 1 --expires 2d',
    exits={**ASKS_HOUSE, Exit.REFUSED: "refused; with --wait also: it ended without an answer"},
)
@click.argument("question")
@click.option("--option", "labels", multiple=True, required=True, help="One answer; 2 to 6 times.")
@click.option("--pro", "pros", multiple=True, callback=_reasons, help="For an option, as in 1:dry.")
@click.option("--con", "cons", multiple=True, callback=_reasons, help="Against one, as in 2:late.")
@click.option("--recommend", type=click.IntRange(1, MOST_OPTIONS), default=None,
              help="The number of the option you would choose.")  # fmt: skip
@click.option("--expires", callback=_seconds, default=None,
              help="How long it may be answered, as in 12h or 2d (default: requests.expiry_s).")  # fmt: skip
@click.option("--context", default="", help="What it is about: owner/name#12 shows it there.")
@click.option("--urgency", type=click.Choice(URGENCIES), default="medium", help="How urgent it is.")
@click.option("--wait", is_flag=True, help="Wait for the answer and print its number.")
@socket_option
@json_option
def ask(question: str, wait: bool, socket: Path | None, as_json: bool, **asked: Any) -> None:
    """Put a question with options.

    An answer is read; it causes nothing. Nobody answers in time: nothing is done.
    """
    new = NewDecision(
        question=question,
        options=tuple(
            NewOption(label, _of(number, asked["pros"]), _of(number, asked["cons"]))
            for number, label in enumerate(asked["labels"], 1)
        ),
        recommend=asked["recommend"] or 0,
        context=asked["context"],
        urgency=asked["urgency"],
        expires_in_s=asked["expires"],
    )
    run_async(_ask(new, wait, socket, as_json=as_json))


async def _ask(new: NewDecision, wait: bool, socket: Path | None, *, as_json: bool) -> None:
    async with DecisionBridge(socket, wait_s=float("inf")) as bridge:
        decision = await bridge.put_decision(new)
        if not wait:
            _print_asked(decision, as_json=as_json)
            return
        click.echo(f"question {one_line(decision.id)} waits for an answer", err=True)
        answer = await bridge.answer_to(decision.id)
        if as_json:
            print_json(await bridge.decision(decision.id))
        else:
            click.echo(f"{answer.option} {one_line(answer.label)}")


def _print_asked(decision: DecisionAnswer, *, as_json: bool) -> None:
    if as_json:
        print_json(decision)
        return
    click.echo(f"question {one_line(decision.id)} until {rfc3339(decision.expires_s)}")
    click.echo(f"  allegro answer {one_line(decision.id)} N")


@click.command(cls=Command, example="allegro answer 17f8c783 2", exits=ASKS_HOUSE)
@click.argument("id_", metavar="ID")
@click.argument("option", type=click.IntRange(1, MOST_OPTIONS))
@socket_option
@json_option
def answer(id_: str, option: int, socket: Path | None, as_json: bool) -> None:
    """Answer a question. The first answer counts.

    It is noted who answered, when and by which way; nothing else happens because of it.
    """
    decision = run_async(ask_house(socket, lambda house: _answer(house, id_, option)))
    if as_json:
        print_json(decision)
        return
    held = decision.answer
    chosen = f"{held.option} {one_line(held.label)}" if held else "nothing"
    click.echo(f"{one_line(decision.id)}: answered {chosen}")


async def _answer(house: HouseClient, id_: str, option: int) -> DecisionAnswer:
    shown = await house.decision(id_)
    return await house.answer_decision(shown.id, GiveAnswer(option, shown.digest, "terminal"))


async def found_decision(house: HouseClient, id_: str) -> DecisionAnswer | None:
    """Return the question whose id begins so, None where the house knows none."""
    try:
        return await house.decision(id_)
    except BadRequest:
        return None


def refuse_decision(decision: DecisionAnswer, verb: str) -> None:
    """End a command that is for requests. Raises Failure with what to do instead."""
    id_ = one_line(decision.id)
    raise Failure(f"{id_} is a question and cannot be {verb}: allegro answer {id_} N")


def decision_lines(decision: DecisionAnswer) -> list[str]:
    """Return a question as `show` prints it; no foreign word leaves its line."""
    lines = [
        f"question {one_line(decision.id)}: {one_line(decision.state)}",
        f"  asked     {rfc3339(decision.created_s)} by {one_line(decision.asked_by) or 'a program'}",
        f"  until     {rfc3339(decision.expires_s)}; then: {one_line(decision.default)}",
        f"  urgency   {one_line(decision.urgency)}",
        f"  context   {one_line(decision.context) or 'none'}",
        f"  digest    {one_line(decision.digest)}",
        *framed(decision.question).split("\n"),
    ]
    for number, option in enumerate(decision.options, 1):
        mark = "  (recommended)" if number == decision.recommend else ""
        lines.append(f"  {number}  {one_line(option.label)}{mark}")
        lines += [f"       + {one_line(one)}" for one in option.pros]
        lines += [f"       - {one_line(one)}" for one in option.cons]
    held = decision.answer
    if held is not None:
        chosen = f"{held.option} {one_line(held.label)}"
        lines.append(f"  answered  {chosen}, by {one_line(held.by)} at {rfc3339(held.at_s)}")
    elif decision.owner:
        lines.append(f"  answer    allegro answer {one_line(decision.id)} N")
    return lines


def decision_history(decision: DecisionAnswer) -> list[str]:
    """Return a question's life as `explain` prints it."""
    return [
        *decision_lines(decision),
        "  policy    an answer causes nothing: no action belongs to a question",
        *(
            f"  {one_line(line.what, 20):<9} {rfc3339(line.at_s)}  {one_line(line.detail)}"
            for line in decision.history
        ),
    ]


def _of(number: int, reasons: tuple[tuple[int, str], ...]) -> tuple[str, ...]:
    return tuple(words for of, words in reasons if of == number)
