"""The newer Hermes behind a lane: sessions, questions, files that steer it, its control socket."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from .agent_fixture import (
    NEWER,
    Agency,
    joined_text,
    marker,
    needs_newer,
    open_agency,
    terminal,
    types,
)
from .attacks import PLAIN, filled

pytestmark = [pytest.mark.slow, needs_newer, pytest.mark.asyncio(loop_scope="module")]
TOOLS = ["terminal", "file", "delegation", "code_execution"]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def agency(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Agency]:
    """A running fleet whose one gateway is the newer Hermes."""
    folder = tmp_path_factory.mktemp("newer")
    lane = {"hermes.folder": str(NEWER), "hermes.tools": TOOLS}
    async with open_agency(folder, lane=lane) as opened:
        await opened.ready(1, 60)
        yield opened


async def test_what_cannot_be_watched_or_asked_about_is_off_with_the_reason(
    agency: Agency,
) -> None:
    lane = await agency.lane_sessions()
    assert lane["tools"] == ["file", "terminal"]
    assert "neither told nor asked" in lane["off"]["delegation"]
    assert "without asking" in lane["off"]["code_execution"]
    assert lane["version"].startswith("0.22.2")


async def test_a_session_is_told_whole_and_calls_its_model_no_more_than_it_must(
    agency: Agency,
) -> None:
    tag = marker("whole")
    step = {"say": "let me see ", **terminal("echo hello")}
    session = await agency.begin(step, {"say": "piece", "pieces": 5, "gap_ms": 20}, tag=tag)
    result = await agency.result(session)
    events = await agency.events_of(session)
    assert (result.state, result.tools) == ("completed", 1)
    assert joined_text(events).endswith("piece0 piece1 piece2 piece3 piece4")
    assert types(events, "telemetry.gap") == []
    assert types(events, "session.tool_began", "session.tool_ended") == [
        "session.tool_began", "session.tool_ended",
    ]  # fmt: skip
    assert len(agency.calls(tag)) == 2  # none for a title


async def test_a_command_and_a_file_that_steers_are_asked_about_and_run_once(
    agency: Agency,
) -> None:
    write = {"tool": "write_file", "arguments": {"path": "AGENTS.md", "content": "be kind\n"}}
    session = await agency.begin(
        terminal("rm -rf /tmp/nothing; echo r''an"),
        write,
        terminal("cat AGENTS.md"),
        {"say": "done"},
    )
    command = await agency.question(session)
    assert command["notes"]["command"] == "rm -rf /tmp/nothing; echo r''an"
    await agency.theatre.approve(command)
    file = await agency.question(session, 2)
    assert file["notes"]["command"].splitlines() == [
        "<write to AGENTS.md>", 'write_file "AGENTS.md"', "+ be kind", "+ ",
    ]  # fmt: skip
    await agency.theatre.approve(file)
    result = await agency.result(session)
    outputs = await agency.output_of_tools(session)
    assert (result.state, result.denied) == ("completed", 0)
    assert "ran" in outputs[0]
    assert "be kind" in outputs[2]


async def test_a_tool_does_not_reach_the_control_socket(agency: Agency) -> None:
    (attack,) = [one for one in PLAIN if "control socket" in one.name]
    session = await agency.begin(terminal(filled(attack, {})), {"say": "done"})
    result = await agency.result(session)
    (output,) = await agency.output_of_tools(session)
    assert result.state == "completed"
    assert "Operation not permitted" in output  # nobody takes the file in its place away
    assert "WON" not in output


async def test_a_stopped_session_ends_as_stopped(agency: Agency) -> None:
    tag = marker("stopped")
    session = await agency.begin({"say": "slow", "pieces": 400, "gap_ms": 40}, tag=tag)
    await agency.turn(tag)
    assert await agency.bridge.stop_session(session)
    assert (await agency.result(session)).state == "stopped"
