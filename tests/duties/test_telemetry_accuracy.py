"""The weekly check of telemetry: counted by others, never a journal against itself."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from allegro.core.agent.sessions import ToolBegan, UsageClaimed
from allegro.core.agent.tallies import AgentTally, Counts, SessionTally, compared
from allegro.core.base.errors import EdgeError
from allegro.house.lanes import Lanes
from allegro.house.schedule.telemetry import TelemetryCheck
from allegro.lane.agent.tallies import ASK_S
from allegro.testing.virtual import VirtualClock

from .agents import DONE, S1, Stage, hurried, until
from .test_house_schedule import DAY_S, NOON_S, FakeLanes, Home

TALLY = SessionTally(session=S1, ended_s=NOON_S, agent=AgentTally(2, 1, 10, 5), calls=2, tokens=15)


class CountingLanes(FakeLanes):
    """Lanes with an agent, which answer with these tallies; an error is raised."""

    tallies: Any = ()

    def serves(self, lane: str) -> list[str]:
        return ["hermes"] if lane == "a" else []

    async def ask_lane(self, lane: str, method: str, params: dict[str, Any]) -> Any:
        assert (lane, method) == ("a", "tallies")
        if isinstance(self.tallies, EdgeError):
            raise self.tallies
        return msgspec.to_builtins(self.tallies)


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[Home]:
    home = Home(tmp_path, VirtualClock(NOON_S))
    home.lanes = CountingLanes(home.clock)
    home.start()
    yield home
    await home.close()


def check_of(home: Home, *tallies: SessionTally) -> TelemetryCheck:
    cast(CountingLanes, home.lanes).tallies = tallies
    return TelemetryCheck(home.ports, cast(Lanes, home.lanes))


async def session_came_home(home: Home, session: str = S1, *, tools: int = 1) -> None:
    talk = {"session": session}
    for n in range(tools):
        await home.tell("session.tool_began", {**talk, "tool": "file", "call": str(n)})
    for call in (1, 1, 2):  # the first was tried at two providers
        tokens = {"tokens_in": 3, "tokens_out": 2}
        await home.tell("model.result", {**talk, **tokens, "call": call})
    await home.tell("session.end", {**talk, "state": "completed"})


async def test_a_session_that_came_home_whole_counts_as_such(home: Home) -> None:
    await session_came_home(home)
    home.clock.advance(3600)
    result = await check_of(home, TALLY).run()
    assert result.is_good
    assert result.text == "4 of 4 items of 1 sessions came home"
    figures = dict(result.figures)
    assert (figures["accuracy"], figures["tokens_off"], figures["with_own_record"]) == (1.0, 0, 1)


async def test_what_the_agent_counted_and_nobody_journalled_is_found(home: Home) -> None:
    await session_came_home(home, tools=0)
    home.clock.advance(3600)
    result = await check_of(home, TALLY).run()
    assert not result.is_good
    assert (result.figures["expected"], result.figures["received"]) == (4, 3)
    assert f"1 differ: {S1[:12]}" in result.text


async def test_a_session_of_which_nothing_came_home_is_missed_whole(home: Home) -> None:
    await session_came_home(home, "another")
    home.clock.advance(3600)
    result = await check_of(home, TALLY).run()
    assert (result.figures["expected"], result.figures["received"]) == (4, 0)
    assert result.figures["tokens_off"] == 15


async def test_what_ended_just_now_or_long_ago_is_not_compared(home: Home) -> None:
    home.clock.advance(60)
    assert (await check_of(home, TALLY).run()).figures["sessions"] == 0
    home.clock.advance(9 * DAY_S)
    assert (await check_of(home, TALLY).run()).figures["sessions"] == 0


async def test_lanes_that_cannot_be_asked_are_named_and_one_alone_fails_the_check(
    home: Home,
) -> None:
    await session_came_home(home)
    home.clock.advance(3600)
    home.lanes.up["b"] = False
    result = await check_of(home, TALLY).run()
    assert (result.is_good, result.text.endswith("; not asked: b")) == (True, True)
    home.lanes.up["a"] = False
    with pytest.raises(EdgeError, match="no lane can be asked"):
        await check_of(home, TALLY).run()


async def test_a_fleet_without_an_agent_has_nothing_to_compare(home: Home) -> None:
    del home.lanes.up["a"]
    result = await check_of(home).run()
    assert (result.is_good, result.text) == (True, "no lane runs sessions")


@pytest.mark.parametrize("answer", [None, {}, [{"session": 5}], ["x"], [{}], 7])
async def test_an_answer_that_is_no_list_of_tallies_fails_the_check(
    home: Home, answer: Any
) -> None:
    check = check_of(home)
    cast(CountingLanes, home.lanes).tallies = answer
    with pytest.raises(EdgeError, match="the tallies of lane a cannot be read"):
        await check.run()


@given(st.integers(0, 50), st.integers(0, 50), st.integers(0, 50), st.integers(0, 1))
def test_no_more_is_received_than_was_expected(calls: int, tools: int, had: int, ends: int) -> None:
    tally = SessionTally(session="s", agent=AgentTally(calls, tools), calls=had)
    found = compared(tally, Counts(ends, had, had, 0))
    assert 0 <= found.received <= found.expected
    assert found.expected == 1 + tools + max(calls, had)


# --- where a lane counts -------------------------------------------------------------------------


@hurried
async def test_a_lane_keeps_what_the_agents_own_record_says_of_a_session() -> None:
    stage = Stage()
    await stage.start()
    gateway = await stage.begin()
    gateway.counted = AgentTally(3, 1, 30, 9)
    gateway.tell(ToolBegan("file", "1", {}), UsageClaimed("m1", 5, 5), DONE)
    await until(lambda: bool(stage.tallies.all()))
    (tally,) = stage.tallies.all()
    assert (tally.session, tally.agent) == (S1, AgentTally(3, 1, 30, 9))
    assert tally.ended_s > 0


@hurried
async def test_an_agent_that_tells_nothing_of_itself_holds_up_no_end() -> None:
    for counted in (None, EdgeError("gone", transient=True)):
        stage = Stage()
        await stage.start()
        gateway = await stage.begin()
        gateway.counted = counted
        before_s = stage.clock.boot_s()
        gateway.tell(DONE)
        await until(lambda s=stage: bool(s.tallies.all()))  # type: ignore[misc]
        assert stage.tallies.all()[0].agent is None
        assert stage.clock.boot_s() - before_s < ASK_S + 1
