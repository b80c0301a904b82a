"""Foreign words on a terminal: no line, cursor movement, colour or title of theirs.

Every command that prints what others wrote runs for real on a pseudo-terminal, against a house
whose answers hold hostile words in every field; and each formatter gets every value of the table.
"""

from __future__ import annotations

import asyncio
import os
import pty
import re
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import click
import msgspec
import pytest
import pytest_asyncio
from aiohttp import web
from rich.console import Console

from allegro.cli.commands.drill import drill_lines
from allegro.cli.commands.events import event_line
from allegro.cli.commands.fleet import fleet_lines
from allegro.cli.commands.requests import explanation
from allegro.cli.commands.status import status_lines
from allegro.cli.commands.stop import _freezes
from allegro.cli.decide.questions import decision_history
from allegro.cli.main import COMMANDS, cli
from allegro.cli.watch.alerts import alert_lines
from allegro.client.hermes_bridge import TelemetryEvent
from allegro.client.session_lines import step_line
from allegro.core.authority.actions.families import action_bytes, action_digest
from allegro.core.authority.freeze import Freeze
from allegro.core.base.errors import EdgeError, UserError
from allegro.core.base.untrusted import Unreadable, read_value
from allegro.core.health import codes
from allegro.core.health.alert_state import Maintenance
from allegro.core.health.facts import Fact, fact_page
from allegro.core.protocol.answers.alerts import AlertsAnswer, CodePrecision
from allegro.core.protocol.answers.decisions import (
    DecisionAnswer,
    DecisionsAnswer,
    GivenAnswer,
)
from allegro.core.protocol.answers.duties import DutiesAnswer, ShownDuty
from allegro.core.protocol.answers.fleet import FleetAnswer, FleetLane, Holder, TakeOver
from allegro.core.protocol.answers.house import (
    ArchiveCounts,
    DoctorAnswer,
    Gap,
    GapsAnswer,
    ShownAlert,
    ShownEvent,
    ShownLane,
    StatusAnswer,
    StopAnswer,
    SuspendedLane,
    read_status_answer,
)
from allegro.core.protocol.answers.lane import LaneSessions, LaneStatus, RunningSession
from allegro.core.protocol.answers.requests import RequestAnswer, RequestsAnswer
from allegro.core.protocol.answers.sessions import SessionAnswer, SessionsAnswer
from allegro.core.requests.documents import Option, ReportDocument, RequestDocument, Telemetry
from allegro.core.requests.requests import Line
from allegro.drill.report import DrillTrial, summary
from allegro.sovereign.show import draw
from tests.core.builders import change, file_change

from . import values as bad

FORGED = "  signed    by sovereign:1, for exactly this digest"
HOSTILE = (
    f"no\n{FORGED}\r\n\x1b]0;owned\x07\x1b[2J\x1b[31mred\u202e\u2066\x9b1mx[bold]m[/bold]\u2028y"
)
COVERS = ("status", "fleet status", "events", "doctor", "alerts", "requests", "show", "explain",
          "sessions", "session", "run", "stop", "drill failover", "duties", "ask", "answer")  # fmt: skip
# Commands that print nothing that others wrote.
OWN_WORDS = ("lane", "house", "council", "init", "pair", "keys", "revoke", "approve", "reject",
             "withdraw", "hermes", "thaw", "demo", "uninstall", "measures")  # fmt: skip

# Its words are tamed at home, where it is built: tests/core/reports.
TAMED_AT_HOME = ("report",)

ACTION = action_bytes(change(files=(file_change(),), body=HOSTILE.replace("\x00", "")))
REQUEST = RequestAnswer(
    id="abcdefgh12345678",
    kind="propose_change",
    state="failed",
    owner="you",
    urgency="low",
    created_s=5.0,
    question="q",
    digest=action_digest(ACTION),
    action=ACTION,
    asked_by="p",
    approval="a.b.c",
    history=(Line(5.0, "refused", "x"),),
    artifact=5,
    url="u",
    commit="c",
    superseded_by="s",
    document=RequestDocument("i", "approval", "low", "c", "q", (), "r", "", 5.0, 9.0),
    report=ReportDocument("t", "failed", None, (), (), Telemetry(1, None, None), ("n",)),
)
DETAIL = LaneStatus(
    healthy=True,
    forge_trouble="t",
    done="polled",
    freezes=("f",),
    sessions=LaneSessions(
        local=True,
        ready=1,
        gateways=2,
        trouble="t",
        running=(RunningSession("s", waits_for_answer=3, runs_s=5.0),),
    ),
)
LANE = ShownLane(
    name="allegro", linked=True, trouble="t", since_s=1.0, head=5, home=4, detail=DETAIL
)
STATUS = StatusAnswer(
    house="house",
    frozen=True,
    acting=True,
    seat=1,
    version="v",
    local_only_since_s=3.0,
    freezes=(Freeze("f", 1.0, "b", "r"),),
    lanes=(LANE, msgspec.structs.replace(LANE, linked=False)),
    waiting_for_sovereign=1,
    oldest_waiting_s=5.0,
    blocked="b",
    archive=ArchiveCounts(1, 2),
    alerts=(ShownAlert(code="c", severity="P1", source="s", at_s=1.0, sentence="t", count=3),),
    suspended=(SuspendedLane("a", "r"),),
)
FLEET = FleetAnswer(
    members=("a",),
    roster=3,
    quorum=True,
    local_only_since_s=1.0,
    roles={"forge": Holder("a", 2, 2, 1.0)},
    orders={"forge": ("a",)},
    registers={"forge": "x", "hermes": "y"},
    shared_domains=("d",),
    take_overs=(TakeOver("t", "b", "forge", "a", "w", 3, 1.0, 1.0, 1.0),),
    lanes=(
        FleetLane(
            name="a",
            linked=True,
            answers=True,
            trouble="t",
            held={"forge": 1},
            ready=("r",),
            hears=("h",),
            serves=("forge", "hermes"),
            roster=2,
            freezes_unknown_here=("f",),
        ),
        FleetLane(name="b", linked=True, trouble="t"),
    ),
)
EVENT = ShownEvent(
    row=1,
    time="2026-01-01T00:00:00.000Z",
    lane="a",
    type="t",
    id="i",
    subject="x",
    data={"reason": "r", "step": "s", "number": 1},
    words={"title": "t", "number": 1},
)
FACTS = DoctorAnswer(
    facts=(
        fact_page(Fact(codes.code_of("agent.sandbox"), "bad", "t", "s", "about", at_s=1.0), 6.0),
        fact_page(Fact(codes.code_of("agent.sandbox"), "unknown", "t", "s"), 6.0),
    )
)
ALERTS = AlertsAnswer(
    alerts=(
        ShownAlert(
            id="a",
            severity="P1",
            code="c",
            since_s=1.0,
            notice="n",
            reached_s=2.0,
            count=3,
            source="s",
            sentence="t",
            fix="f",
        ),
    ),
    maintenance=(Maintenance("m", 1.0, 5.0, "c", "l", "s"),),
    precision=(CodePrecision("c", 1, 2, 3),),
)
GAPS = GapsAnswer(
    gaps=(Gap(lane="a", journal="j", first=1, last=2, count=2, reason="r", at_s=1.0),)
)
SESSION = SessionAnswer(
    id="s",
    state="ended",
    end="completed",
    why="w",
    lane="l",
    local=True,
    agent="a",
    model="m",
    provider="p",
    tokens=1,
    tools=1,
    began_s=1.0,
    output=HOSTILE,
)


DECISION = DecisionAnswer(
    id="d",
    digest="d" * 64,
    state="answered",
    owner="sovereign",
    question="q",
    options=(Option("a", ("p",), ("c",)), Option("b")),
    recommend=1,
    urgency="low",
    context="c",
    asked_by="p",
    created_s=5.0,
    expires_s=9.0,
    settled_s=7.0,
    answer=GivenAnswer(1, "a", "terminal", 7.0),
    history=(Line(7.0, "answered", "1 by terminal"),),
)


def plain(answer: object) -> Any:
    """Return an answer as JSON holds it."""
    return msgspec.json.decode(msgspec.json.encode(answer))


def hostile(value: Any) -> Any:
    """Return a copy with hostile words in place of every word but action, digest and states."""
    if isinstance(value, dict):
        kept = {"action", "digest", "urgency", "severity", "state", "kind"}
        return {key: inner if key in kept else hostile(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [hostile(inner) for inner in value]
    return HOSTILE if isinstance(value, str) else value


ANSWERS: dict[str, object] = {
    "/v1/status": STATUS,
    "/v1/fleet": FLEET,
    "/v1/alerts": ALERTS,
    "/v1/doctor": FACTS,
    "/v1/gaps": GAPS,
    "/v1/requests": RequestsAnswer(requests=(REQUEST,)),
    "/v1/requests/x": REQUEST,
    "/v1/requests/x/shown": REQUEST,
    "/v1/sessions": SessionsAnswer(sessions=(SESSION,)),
    "/v1/sessions/x": SESSION,
    "/v1/stop": StopAnswer(freeze="f", lanes_told=1),
    "/v1/requests/gone": {"error": HOSTILE},
    "/v1/decisions": DecisionsAnswer(decisions=(DECISION,)),
    "/v1/decisions/q": DECISION,
    "/v1/decisions/q/shown": DECISION,
    "/v1/decisions/q/wait": DECISION,
    "/v1/duties": DutiesAnswer(
        duties=(ShownDuty(name="d", owner="house", schedule="* * * * *", note="n"),)
    ),
}


@pytest_asyncio.fixture
async def house() -> AsyncIterator[Path]:
    """A house that answers with hostile words; yields its socket."""

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.path == "/v1/events":
            return web.Response(body=msgspec.json.encode(hostile(plain(EVENT))) + b"\n")
        if request.method == "POST" and request.path == "/v1/sessions":
            return web.json_response(plain(msgspec.structs.replace(SESSION, id="x", end="")))
        if request.method == "POST" and request.path == "/v1/decisions":
            return web.json_response(hostile(plain(DECISION)) | {"id": "q"})
        if request.path.endswith("/answer"):
            return web.json_response(hostile(plain(DECISION)))
        body = hostile(plain(ANSWERS.get(request.path, {"error": HOSTILE})))
        status = 404 if "error" in body else 200
        return web.Response(body=msgspec.json.encode(body), status=status)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    with tempfile.TemporaryDirectory() as folder:
        socket = Path(folder) / "house.sock"
        await web.UnixSite(runner, str(socket)).start()
        yield socket
        await runner.cleanup()


async def on_a_terminal(*arguments: str) -> str:
    """Run a command on a pseudo-terminal; return all that it wrote to it."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "200"}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "allegro", *arguments,
        stdin=asyncio.subprocess.DEVNULL, stdout=theirs, stderr=theirs, env=environment,
    )  # fmt: skip
    os.close(theirs)
    written = bytearray()

    def read() -> None:
        while True:
            try:
                piece = os.read(ours, 65_536)
            except OSError:  # the other end is closed
                return
            if not piece:
                return
            written.extend(piece)

    reader = asyncio.create_task(asyncio.to_thread(read))
    await asyncio.wait_for(process.wait(), 60)
    await asyncio.wait_for(reader, 30)
    os.close(ours)
    return written.decode("utf-8", "replace")


_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def assert_tame(written: str) -> None:
    """Only our own colours and line ends stand among printable characters; no line is forged."""
    plain = _COLOUR.sub("", written)
    for char in plain:
        assert char in "\r\n" or (char >= " " and not "\x7f" <= char < "\xa0"), repr(char)
        assert char not in "\u202e\u2066\u2028\u200b", repr(char)
    assert "\x1b[31mred" not in written
    for line in plain.splitlines():
        assert not line.startswith((FORGED, "red", "y")), line
    assert "Traceback" not in plain


@pytest.mark.parametrize("command", [
    "status", "fleet status", "doctor", "alerts list", "events", "events --gaps", "requests --all", "show x",
    "explain x", "show q", "explain q", "answer q 1", "ask hello --option a --option b",
    "ask hello --option a --option b --wait", "sessions", "session x", "stop", "explain gone", "run hello", "drill failover --live",
    "duties",
])  # fmt: skip
async def test_hostile_words_stay_inside_their_line_on_a_terminal(
    house: Path, command: str
) -> None:
    written = await on_a_terminal(*command.split(), "--socket", str(house))
    assert_tame(written)
    assert written.strip()


def test_every_command_is_looked_at() -> None:
    looked = {name.split()[0] for name in (*COVERS, *OWN_WORDS, *TAMED_AT_HOME)}
    assert looked == set(COMMANDS)


LINES: dict[str, tuple[Any, Callable[[Any], list[str]]]] = {
    "status": (STATUS, lambda answer: status_lines(answer, 100.0)),
    "fleet": (FLEET, lambda answer: fleet_lines(answer, 100.0)),
    "alerts": (ALERTS, lambda answer: alert_lines(answer, 100.0)),
    "explain": (REQUEST, explanation),
    "decision": (DECISION, decision_history),
    "event": (EVENT, lambda event: [event_line(event)]),
}
"""What each screen prints of which answer."""


@pytest.mark.parametrize("kind", LINES)
def test_each_word_of_the_table_stays_inside_its_line(kind: str) -> None:
    answer, lines_of = LINES[kind]
    before, whole = len(lines_of(answer)), plain(answer)
    for path in bad.paths(whole):
        for row in bad.TEXTS:
            if not isinstance(_at(whole, path), str):
                continue
            bent = read_value(bad.replaced(whole, path, row.value), type(answer))
            if isinstance(bent, Unreadable):  # a lane's own word, longer than its bound
                assert "detail" in path or path == ("action",), (path, row.name)
                continue
            lines = lines_of(bent)
            assert len(lines) <= before + 2, (path, row.name)
            for line in lines:
                assert len(line.splitlines()) <= 1, (path, row.name)
                assert not any(ord(char) < 32 for char in line), (path, row.name)


def with_detail(detail: object) -> StatusAnswer:
    """Return the status of a house whose first lane says this of itself."""
    status = plain(STATUS)
    status["lanes"] = [{**status["lanes"][0], "detail": detail}]
    answer = read_status_answer(status)
    assert isinstance(answer, StatusAnswer)
    return answer


def test_a_lane_cannot_blind_status() -> None:
    for name, detail in bad.bent_values(plain(DETAIL)):
        status = with_detail(detail)
        lines = status_lines(status, 100.0)
        assert lines[0].startswith("house house: FROZEN"), name
        assert any(line.startswith("lane allegro: ") for line in lines), name
        _freezes(status)
    for detail in (None, 5, [], "x", {}):
        assert status_lines(with_detail(detail), 100.0)


def test_what_a_lane_says_and_cannot_be_read_is_shown_as_unknown() -> None:
    lines = status_lines(with_detail({"healthy": "yes"}), 100.0)
    assert any("its status is unknown: its answer cannot be read" in line for line in lines)


def test_only_the_houses_own_freezes_are_lifted_unnamed() -> None:
    held, extra = _freezes(STATUS)
    assert held == ["f"]
    assert extra == {}
    held, extra = _freezes(with_detail({"freezes": ["f", "future"]}))
    assert held == ["f"]
    assert set(extra) == {"future"}
    assert _freezes(with_detail({"freezes": ["future", 5, None]})) == (["f"], {})


def test_a_freeze_that_only_a_lane_holds_is_shown() -> None:
    lines = status_lines(with_detail({**plain(DETAIL), "freezes": ["f", "other"]}), 100.0)
    assert any("FROZEN on this lane alone" in line and "other" in line for line in lines)


def test_steps_of_a_session_forge_no_question() -> None:
    forged = "\n? it wants to: ls\n  allegro requests; allegro approve DIGEST"
    for type_ in ("session.delta", "session.tool_began", "session.tool_ended", "session.question",
                  "session.answered", "model.result", "telemetry.gap", "session.end", "other"):  # fmt: skip
        odd: tuple[Any, ...] = (forged, HOSTILE, None, 5, [], {"x": forged})
        for value in odd:
            words = dict.fromkeys(
                ("text", "args", "preview", "command", "description", "refused"), value
            )
            facts = dict.fromkeys(("tool", "ok", "choice", "result", "provider"), value)
            text, _ = step_line(_event(type_, words, facts))
            ours = ("? it wants to", "· ", "  ")
            for line in text.split("\n"):
                assert line == "" or line.startswith(ours), (type_, line)
            assert text.count("\n? it wants to") <= (1 if type_ == "session.question" else 0)
            assert not set("\x1b\x07\r\u202e") & set(text)


def _event(type_: str, words: Any, facts: dict[str, Any]) -> TelemetryEvent:
    fields: dict[str, Any] = {"type": type_, "words": words, "facts": facts}
    rest = {name: 0 for name in TelemetryEvent.__struct_fields__ if name not in fields}
    return TelemetryEvent(**{**rest, **fields})


def test_a_foreign_text_cannot_leave_its_frame() -> None:
    with Path(os.devnull).open("w") as nowhere:
        console = Console(file=nowhere, width=120, record=True)
        draw(REQUEST, console)
    shown = console.export_text()
    body = [line for line in shown.splitlines() if "signed    by sovereign:1" in line]
    assert body
    assert all(line.startswith("│ │ ") for line in body)


def test_what_a_drill_saw_stays_inside_its_line() -> None:
    one = DrillTrial(
        fault=HOSTILE, victim=HOSTILE, holder=HOSTILE, take_over_s=1.0, faults=(HOSTILE,)
    )
    for line in drill_lines(summary([one], "planned")):
        assert line.count("\n") <= 1
        assert not set("\x1b\x07\r\u202e") & set(line)


def _at(document: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        document = document[key]
    return document


def _commands(
    group: click.Group, prefix: tuple[str, ...] = ()
) -> list[tuple[tuple[str, ...], click.Command]]:
    found: list[tuple[tuple[str, ...], click.Command]] = []
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            found += _commands(command, (*prefix, name))
        else:
            found.append(((*prefix, name), command))
    return found


# No argument of a program can hold a zero byte; one that is no UTF-8 arrives with surrogates.
_ARGUMENTS = (
    *(bad.Bad(row.name, row.value.replace("\x00", "")) for row in bad.TEXTS),
    bad.Bad("no UTF-8", "\udcff"),
)
_STARTS = {("lane",), ("house",), ("council",), ("demo",), ("drill", "failover"), ("init", "house"),
           ("init", "lane")}  # fmt: skip


@pytest.mark.parametrize(("name", "command"), _commands(cli), ids=lambda value: (
    " ".join(value) if isinstance(value, tuple) else None
))  # fmt: skip
def test_every_argument_takes_every_text(
    tmp_path: Path, name: tuple[str, ...], command: click.Command
) -> None:
    """A bad argument is a usage error or a sentence; no command ends in a traceback."""
    for parameter in command.params:
        for row in _ARGUMENTS:
            arguments = _arguments(command, parameter, row.value, tmp_path)
            try:
                if name in _STARTS:  # these would start programs: the arguments are read only
                    command.make_context(name[-1], arguments)
                else:
                    cli.main([*name, *arguments], standalone_mode=False)
            except (click.exceptions.Exit, click.ClickException, click.Abort, UserError, EdgeError):
                continue


def _arguments(command: click.Command, bent: click.Parameter, text: str, folder: Path) -> list[str]:
    """Return the arguments of a command with one of them bent, the others harmless."""
    found: list[str] = []
    for parameter in command.params:
        value = text if parameter is bent else _harmless(parameter, folder)
        if value is None:
            continue
        if isinstance(parameter, click.Option) and not parameter.is_flag:
            found.append(f"{parameter.opts[0]}={value}")
        elif isinstance(parameter, click.Argument):
            found += ["--", value]
    return found


def _harmless(parameter: click.Parameter, folder: Path) -> str | None:
    match parameter.name:
        case "socket" | "config":
            return str(folder / "none")
        case _ if isinstance(parameter, click.Argument) or parameter.required:
            return "abcdefgh12345678"
        case _:
            return None
