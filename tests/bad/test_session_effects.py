"""A fault of our own in one act of a session is told, and ends neither lane nor other sessions."""

from __future__ import annotations

import pytest

from allegro.core.authority.actions.family import Action
from tests.core.builders import run_session
from tests.duties.agents import ASKED, DONE, S1, S2, Stage, hurried, settled, words

BUG = ValueError("an answer nobody expected")


async def made() -> Stage:
    stage = Stage(gateways=2)
    await stage.start()
    return stage


async def broken(stage: Stage, action: Action) -> None:
    """Carry an order out that meets the bug, and set it aside as the desk does."""
    permit = stage.permit(action)
    with pytest.raises(ValueError, match="nobody expected"):
        await stage.sessions.carry_out(permit)
    await stage.sessions.set_aside(permit, BUG)


@hurried
async def test_a_session_that_may_have_begun_is_lost_and_the_next_one_runs() -> None:
    stage = await made()
    for gateway in stage.host.started:
        gateway.begin_fault = BUG
    await broken(stage, run_session(id=S1))
    assert stage.end()[0] == "lost"
    told = stage.told("action.")[-1]
    assert (told.type, told.data["reason"]) == ("action.failed", "bug")
    assert "nobody expected" in words(told)
    assert stage.sessions.live == {}
    for gateway in stage.host.started:
        gateway.begin_fault = None
    await settled(10.0)
    await stage.begin(S2)
    assert await stage.order(run_session(id=S1)) == "action.receipt"
    assert [run.session for one in stage.host.started for run in one.runs] == [S2]


@hurried
async def test_an_answer_that_meets_a_bug_is_told_and_its_session_goes_on() -> None:
    stage = await made()
    gateway = await stage.begin()
    gateway.tell(ASKED)
    await settled()
    gateway.answer_fault = BUG
    await broken(stage, stage.once())
    told = stage.told("action.")[-1]
    assert (told.type, told.data["reason"]) == ("action.failed", "bug")
    assert list(stage.sessions.live) == [S1]
    gateway.answer_fault = None
    gateway.tell(DONE)
    await settled()
    assert stage.end()[0] == "completed"
