"""The newer Hermes behind a lane: sessions, questions, files that steer it, its control socket."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from allegro.client.hermes_bridge import HermesResult

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


class Whole(msgspec.Struct, frozen=True):
    """A session of two commands, the second of which reaches for the control socket."""

    tag: str
    result: HermesResult
    events: list[dict[str, Any]]
    outputs: list[str]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def whole(agency: Agency) -> Whole:
    tag = marker("whole")
    (attack,) = [one for one in PLAIN if "control socket" in one.name]
    step = {"say": "let me see ", **terminal("echo hello")}
    last = {"say": "piece", "pieces": 5, "gap_ms": 20}
    session = await agency.begin(step, terminal(filled(attack, {})), last, tag=tag)
    result = await agency.result(session)
    return Whole(
        tag, result, await agency.events_of(session), await agency.output_of_tools(session)
    )


async def test_a_session_is_told_whole_and_calls_its_model_no_more_than_it_must(
    agency: Agency, whole: Whole
) -> None:
    assert (whole.result.state, whole.result.tools) == ("completed", 2)
    assert joined_text(whole.events).endswith("piece0 piece1 piece2 piece3 piece4")
    assert types(whole.events, "telemetry.gap") == []
    pair = ["session.tool_began", "session.tool_ended"]
    assert types(whole.events, *pair) == 2 * pair
    assert len(agency.calls(whole.tag)) == 3  # none for a title


async def test_a_tool_does_not_reach_the_control_socket(whole: Whole) -> None:
    output = whole.outputs[1]
    assert "Operation not permitted" in output  # nobody takes the file in its place away
    assert "WON" not in output


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


async def test_a_stopped_session_ends_as_stopped(agency: Agency) -> None:
    tag = marker("stopped")
    session = await agency.begin({"say": "slow", "pieces": 400, "gap_ms": 40}, tag=tag)
    await agency.turn(tag)
    assert await agency.bridge.stop_session(session)
    assert (await agency.result(session)).state == "stopped"
