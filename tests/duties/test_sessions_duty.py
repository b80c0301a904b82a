"""A lane's sessions: begun once, told in order, ended once; `once` for exactly one question."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from allegro.adapters.hermes.wire import HermesWire
from allegro.core.agent.sessions import (
    Answered,
    Asked,
    End,
    Ended,
    TextDelta,
    ToolBegan,
    ToolEnded,
    UsageClaimed,
    question_digest,
)
from allegro.core.agent.tools import why_refused
from allegro.core.base.errors import EdgeError, Unholdable
from allegro.lane.agent.gateways import KEEP_S, MAX_AGE_S
from tests.core.builders import lend_model, run_session

from .agents import (
    ASKED,
    DONE,
    DUTY,
    FROZEN,
    NO_ROOM,
    S1,
    S2,
    Stage,
    hurried,
    settled,
    until,
    words,
)

REFUSED = EdgeError("Hermes answered 429", transient=True, status=429, sent=False)
MALFORMED = EdgeError("Hermes answered 400", transient=False, status=400, sent=False)
LOST = EdgeError("Hermes gave no answer", transient=True)


async def made(**changes: Any) -> Stage:
    stage = Stage(**changes)
    await stage.start()
    return stage


# --- beginning ---------------------------------------------------------------------------------


@hurried
async def test_a_session_begins_once_and_tells_what_it_was_given() -> None:
    stage = await made()
    gateway = await stage.begin(prompt="Water the roses", instructions="be kind")
    (run,) = gateway.runs
    assert (run.session, run.prompt, run.instructions) == (
        S1, "Water the roses", "be kind",
    )  # fmt: skip
    assert stage.types() == [
        "action.intent", "session.accepted", "action.receipt", "session.started",
    ]  # fmt: skip
    accepted = stage.told("session.accepted")[0].data
    assert (accepted["model"], accepted["tools"]) == ("m1", ["file", "terminal"])
    assert stage.told("session.started")[0].data["run"] == "run_1"
    assert all(event.subject == f"session:{S1}" for event in stage.told())
    assert all("roses" not in str(event.data) for event in stage.told())


@hurried
async def test_its_token_opens_the_model_proxy_while_it_runs() -> None:
    stage = await made()
    gateway = await stage.begin()
    grant = stage.proxy.find(f"Bearer {gateway.spec.token}")
    assert grant is not None
    assert (grant.holder, grant.model, grant.is_canary) == (S1, "m1", False)
    gateway.tell(DONE)
    await settled()
    assert stage.proxy.find(f"Bearer {gateway.spec.token}") is None


@hurried
async def test_a_second_order_of_the_same_session_is_a_receipt_and_no_second_run() -> None:
    stage = await made(gateways=2)
    gateway = await stage.begin()
    assert await stage.order(run_session(id=S1)) == "action.receipt"
    gateway.tell(DONE)
    await settled()
    assert await stage.order(run_session(id=S1)) == "action.receipt"
    await stage.restart()
    assert await stage.order(run_session(id=S1)) == "action.receipt"
    assert sum(len(one.runs) for one in stage.host.started) == 1


@hurried
async def test_two_orders_of_one_session_at_the_same_time_begin_it_once() -> None:
    stage = Stage(gateways=2)
    starting = asyncio.ensure_future(stage.start())
    action = run_session(id=S1)
    await asyncio.gather(stage.order(action), stage.order(action))
    starting.cancel()
    assert sum(len(one.runs) for one in stage.host.started) == 1


@hurried
async def test_without_a_free_gateway_the_order_is_void() -> None:
    stage = await made()
    await stage.begin()
    assert await stage.order(run_session(id=S2)) == "action.void"
    assert stage.told("action.void")[0].data["reason"] == "busy"
    assert list(stage.sessions.live) == [S1]


@hurried
async def test_a_gateway_that_gets_free_in_time_is_taken() -> None:
    stage = await made()
    gateway = await stage.begin()
    asyncio.get_running_loop().call_later(5, gateway.tell, DONE)
    await stage.begin(S2)
    assert stage.gateway is not gateway


@pytest.mark.parametrize(("fault", "word"), [(REFUSED, "void"), (MALFORMED, "failed")])
@hurried
async def test_a_run_that_was_refused_is_void_or_failed_and_may_be_begun_again(
    fault: EdgeError, word: str
) -> None:
    stage = await made()
    stage.gateway.begin_fault = fault
    assert await stage.order(run_session(id=S1)) == f"action.{word}"
    assert stage.types("session.end") == []
    assert stage.known == {}
    await settled(5)
    await stage.begin(S1)


@hurried
async def test_no_answer_after_the_prompt_was_sent_is_lost_and_never_begun_again() -> None:
    stage = await made()
    gateway = stage.gateway
    gateway.begin_fault = LOST
    assert await stage.order(run_session(id=S1)) == "action.failed"
    assert stage.told("action.failed")[0].data["reason"] == "answer_lost"
    assert stage.end()[0] == "lost"
    assert gateway.closed == [S1]
    assert stage.proxy.find(f"Bearer {gateway.spec.token}") is None
    await settled(5)
    assert await stage.order(run_session(id=S1)) == "action.receipt"
    assert all(not one.runs for one in stage.host.started)


@hurried
async def test_what_cannot_be_written_down_is_not_begun() -> None:
    stage = await made()
    stage.disk_fault = EdgeError("the disk is full", transient=True)
    with pytest.raises(EdgeError):
        await stage.order(run_session(id=S1))
    stage.disk_fault, stage.page.fault = None, NO_ROOM
    with pytest.raises(EdgeError):
        await stage.order(run_session(id=S2))
    assert all(not one.runs for one in stage.host.started)
    assert stage.sessions.live == {}


@hurried
async def test_a_freeze_that_comes_before_the_prompt_keeps_it() -> None:
    stage = await made()
    permit = stage.permit(run_session(id=S1))
    stage.freezes = FROZEN
    await stage.sessions.carry_out(permit)
    assert stage.told("action.void")[0].data["reason"] == "frozen"
    assert all(not one.runs for one in stage.host.started)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [({"model": "gpt-9"}, "unknown_model"), ({"tools": ("web",)}, "tool_off")],
)
@hurried
async def test_what_a_lane_does_not_have_fails(changes: dict[str, Any], reason: str) -> None:
    stage = await made()
    assert await stage.order(run_session(id=S1, **changes)) == "action.failed"
    assert stage.told("action.failed")[0].data["reason"] == reason


@hurried
async def test_the_gateway_that_is_ready_is_used_in_whatever_order_tools_are_configured() -> None:
    stage = await made(tools=("terminal", "file"))
    ready = stage.gateway
    await stage.begin()
    assert stage.gateway is ready


@hurried
async def test_a_session_that_wants_other_tools_gets_a_gateway_with_exactly_these() -> None:
    stage = await made()
    ready = stage.gateway
    gateway = await stage.begin(tools=("terminal",))
    assert ready.closed == [""]
    assert (gateway.spec.tools, gateway is ready) == (("terminal",), False)


# --- telling -----------------------------------------------------------------------------------


@hurried
async def test_everything_a_session_says_is_told_in_its_order_and_then_its_end() -> None:
    stage = await made()
    gateway = await stage.begin()
    gateway.tell(
        TextDelta("I water"), ToolBegan("terminal", "c1", {"args": "hose"}), TextDelta(" the"),
        ToolEnded("terminal", "c1", True, 12.0, {"result": "wet"}), UsageClaimed("m1", 5, 6),
        TextDelta(" roses"), DONE,
    )  # fmt: skip
    await settled()
    assert stage.types("session.")[2:] == [
        "session.delta", "session.tool_began", "session.delta", "session.tool_ended",
        "session.usage", "session.delta", "session.end",
    ]  # fmt: skip
    text = [words(event)["text"] for event in stage.told("session.delta")]
    assert text == ["I water", " the", " roses"]
    end = stage.told("session.end")[0]
    assert (end.data["state"], end.data["tools"], end.data["claimed"]) == (
        "completed", 1, {"input_tokens": 5},
    )  # fmt: skip
    assert words(end)["output"] == "the roses are watered"
    assert gateway.closed == [S1]
    assert stage.sessions.live == {}
    assert stage.known[S1].ended_s > 0


@hurried
async def test_pieces_of_text_are_joined_only_while_a_commit_is_under_way() -> None:
    stage = await made()
    gateway = await stage.begin()
    for piece in ("a", "b"):
        gateway.tell(TextDelta(piece))
        await settled()
    stage.page.held = asyncio.Event()
    for piece in ("c", "d", "e"):
        gateway.tell(TextDelta(piece))
        await settled()
    stage.page.held.set()
    await settled()
    assert [words(event)["text"] for event in stage.told("session.delta")] == ["a", "b", "c", "de"]


@hurried
async def test_a_disk_that_refuses_for_a_moment_loses_nothing_and_doubles_nothing() -> None:
    stage = await made()
    gateway = await stage.begin()
    stage.page.faults = [NO_ROOM] * 5
    gateway.tell(TextDelta("a"), ToolBegan("terminal", "c1", {}), TextDelta("b"), DONE)
    await until(lambda: bool(stage.told("session.end")))
    assert stage.types("session.")[2:] == [
        "session.delta", "session.tool_began", "session.delta", "session.end",
    ]  # fmt: skip


@hurried
async def test_without_room_a_session_is_stopped_and_its_end_is_told_when_room_returns() -> None:
    stage = await made()
    gateway = await stage.begin()
    stage.page.fault = NO_ROOM
    gateway.tell(TextDelta("untold"))
    await settled(60)
    assert gateway.closed[:1] == [S1]
    assert stage.types("session.end") == []
    stage.page.fault = None
    await settled(5)
    assert stage.end() == ("stopped", "its journal has no room")


@hurried
async def test_a_session_whose_receipt_finds_no_room_has_an_end_when_room_returns() -> None:
    stage = await made()
    stage.page.faults = [None, NO_ROOM]
    await stage.order(run_session(id=S1))
    stage.host.started[-1].tell(DONE)
    await settled(60)
    assert stage.types("session.end") == ["session.end"]


@hurried
async def test_after_a_restart_open_sessions_are_told_as_lost_once() -> None:
    stage = await made()
    await stage.begin()
    await stage.restart()
    assert stage.end()[0] == "lost"
    await stage.restart()
    assert len(stage.told("session.end")) == 1


# --- questions ---------------------------------------------------------------------------------


async def asking(**changes: Any) -> Stage:
    stage = await made(**changes)
    (await stage.begin()).tell(ASKED)
    await settled()
    return stage


@hurried
async def test_a_question_is_told_with_what_would_be_signed_and_waits() -> None:
    stage = await asking()
    (event,) = stage.told("session.question")
    assert event.data["question"] == question_digest(S1, "run_1", 1, ASKED)
    assert words(event)["command"] == ASKED.command
    assert stage.sessions.describe()[0].waits_for_answer == 1
    until_s = event.data["until_s"] - stage.clock.now_s()
    assert until_s == pytest.approx(590, abs=1)
    assert stage.gateway.answers == []


@hurried
async def test_an_approval_of_exactly_this_question_lets_it_pass_once() -> None:
    stage = await asking()
    assert await stage.order(stage.once()) == "action.receipt"
    assert stage.gateway.answers == ["once"]
    await settled()
    assert stage.told("session.answered")[0].data["choice"] == "once"
    kinds = [e.data["kind"] for e in stage.told("action.") if e.data["kind"] == "answer_once"]
    assert len(kinds) == 2
    assert await stage.order(stage.once(id="answer2answer2ab")) == "action.stale"
    assert stage.gateway.answers == ["once"]


@pytest.mark.parametrize(
    "other",
    [
        {"lane": "b"}, {"session": S2}, {"run": "run_2"}, {"number": 2},
        {"question": "c" * 64},
    ],
)  # fmt: skip
@hurried
async def test_an_approval_of_another_lane_session_run_or_question_is_stale(
    other: dict[str, Any],
) -> None:
    stage = await asking()
    assert await stage.order(stage.once(**other)) == "action.stale"
    assert stage.gateway.answers == []
    assert stage.types("action.intent") == ["action.intent"]


@hurried
async def test_the_same_command_asked_again_needs_a_new_approval() -> None:
    stage = await asking()
    first = stage.once()
    await stage.order(first)
    stage.gateway.tell(ASKED)
    await settled()
    assert await stage.order(first) == "action.stale"
    assert stage.gateway.answers == ["once"]
    assert await stage.order(stage.once(id="answer2answer2ab")) == "action.receipt"


@hurried
async def test_one_approval_ordered_twice_at_the_same_time_is_used_once() -> None:
    stage = await asking()
    stage.gateway.deaf = True
    permits = [stage.permit(stage.once()), stage.permit(stage.once())]
    await asyncio.gather(*map(stage.sessions.carry_out, permits))
    assert stage.gateway.answers == ["once"]


@hurried
async def test_a_question_told_at_the_second_try_can_still_be_approved() -> None:
    stage = await made()
    gateway = await stage.begin()
    stage.page.faults = [NO_ROOM]
    gateway.tell(ASKED)
    await until(lambda: bool(stage.told("session.question")))
    assert await stage.order(stage.once()) == "action.receipt"


@hurried
async def test_an_approval_after_the_end_is_stale() -> None:
    stage = await asking()
    once = stage.once()
    stage.gateway.tell(DONE)
    await settled()
    assert await stage.order(once) == "action.stale"
    assert stage.gateway.answers == []


@hurried
async def test_nobody_answers_and_the_agent_is_told_no_before_its_own_deadline() -> None:
    stage = await asking()
    await settled(589)
    assert stage.gateway.answers == []
    await settled(1)
    assert stage.gateway.answers == ["deny"]
    assert stage.told("session.answered")[0].data["choice"] == "deny"
    assert list(stage.sessions.live) == [S1]


@hurried
async def test_in_the_last_seconds_before_the_deadline_an_approval_is_stale() -> None:
    stage = await asking()
    stage.gateway.deaf = True
    await settled(591)
    assert await stage.order(stage.once()) == "action.stale"
    assert "once" not in stage.gateway.answers


@hurried
async def test_a_no_needs_nothing_and_meets_its_own_question_alone() -> None:
    stage = await asking()
    assert not await stage.sessions.answers.deny(S1, 2)
    assert not await stage.sessions.answers.deny(S2, 1)
    assert stage.gateway.answers == []
    assert await stage.sessions.answers.deny(S1, 1)
    assert stage.gateway.answers == ["deny"]


@hurried
async def test_of_two_questions_at_once_none_can_be_approved_and_the_agent_is_told_no() -> None:
    stage = await made()
    gateway = await stage.begin()
    gateway.tell(ASKED, Asked("rm -rf tulips", "delete", ("rm",)))
    await settled()
    assert [event.data["number"] for event in stage.told("session.question")] == [1, 2]
    assert gateway.answers[:1] == ["deny"]
    assert await stage.order(stage.once()) == "action.stale"
    assert "once" not in gateway.answers


@hurried
async def test_a_question_that_is_not_shown_whole_is_told_and_denied_whatever_was_signed() -> None:
    stage = await made()
    gateway = await stage.begin()
    gateway.tell(Asked("rm -rf X=***", "delete", ("rm",), "a part of it is hidden"))
    await settled()
    (event,) = stage.told("session.question")
    assert event.data["refused"] is True
    assert gateway.answers == ["deny"]
    assert await stage.order(stage.once()) == "action.stale"


@hurried
async def test_both_of_two_questions_at_once_are_told_no() -> None:
    stage = await made()
    gateway = await stage.begin()
    gateway.tell(ASKED, Asked("rm -rf tulips", "delete", ("rm",)))
    await settled(700)
    assert gateway.answers == ["deny", "deny"]


@hurried
async def test_an_answer_that_is_not_confirmed_is_no_receipt() -> None:
    stage = await asking()
    stage.gateway.deaf = True
    assert await stage.order(stage.once()) == "action.failed"


@hurried
async def test_the_time_limit_stands_still_while_a_question_waits() -> None:
    stage = await made()
    gateway = await stage.begin(limit_s=100)
    await settled(50)
    gateway.tell(ASKED)
    await settled(300)
    assert await stage.sessions.answers.deny(S1, 1)
    await settled(45)
    assert list(stage.sessions.live) == [S1]
    await settled(10)
    assert stage.end() == ("stopped", "its 100 s were over")
    assert gateway.closed[:1] == [S1]


@hurried
async def test_an_agent_that_never_stops_speaking_is_stopped_at_its_limit() -> None:
    stage = await made()
    gateway = await stage.begin(limit_s=100)
    for _ in range(6_000):
        gateway.tell(TextDelta("on "))
        await settled(0.02)
        if stage.told("session.end"):
            break
    assert stage.end() == ("stopped", "its 100 s were over")
    assert stage.told("session.end")[0].data["duration_s"] < 101


@hurried
async def test_a_question_whose_answer_is_never_confirmed_does_not_stop_the_time_for_ever() -> None:
    stage = await made()
    gateway = await stage.begin(limit_s=100)
    gateway.deaf = True
    await settled(50)
    gateway.tell(ASKED)
    await settled(stage.settings.question_timeout_s + 45)
    assert list(stage.sessions.live) == [S1]
    await settled(10)
    assert stage.end() == ("stopped", "its 100 s were over")


# --- stopping ----------------------------------------------------------------------------------


@hurried
async def test_a_freeze_stops_every_session_and_takes_back_every_token() -> None:
    stage = await made(gateways=2)
    await stage.begin(S1)
    await stage.begin(S2)
    await stage.order(lend_model(id="loan1loan1loan1l", model="m1"))
    token = words(stage.told("action.receipt")[-1])["token"]
    assert stage.proxy.find(f"Bearer {token}") is not None
    stage.sessions.freeze()
    tokens = [token, *(gateway.spec.token for gateway in stage.host.started)]
    assert [stage.proxy.find(f"Bearer {one}") for one in tokens] == [None] * len(tokens)
    await settled()
    assert {(e.data["state"], words(e)["why"]) for e in stage.told("session.end")} == {
        ("stopped", "frozen")
    }
    assert len(stage.told("session.end")) == 2
    assert stage.sessions.live == {}


@hurried
async def test_a_stopped_session_ends_once_with_the_reason_why() -> None:
    stage = await made()
    gateway = await stage.begin()
    assert await stage.sessions.stop(S1, "a person")
    gateway.tell(Ended(End.COMPLETED, "too late", "", {}))
    await settled()
    assert stage.end() == ("stopped", "a person")
    assert not await stage.sessions.stop(S1, "again")


@hurried
async def test_a_clean_stop_of_the_lane_tells_every_end() -> None:
    stage = await made()
    await stage.begin()
    await stage.sessions.close()
    assert stage.end() == ("stopped", "the lane was stopped")
    await stage.restart()
    assert len(stage.told("session.end")) == 1


@hurried
async def test_a_gateway_that_dies_ends_its_session_as_lost() -> None:
    stage = await made()
    gateway = await stage.begin()
    await gateway.close("")
    await settled()
    assert stage.end() == ("lost", "the gateway died")
    assert stage.proxy.find(f"Bearer {gateway.spec.token}") is None


async def test_to_speak_to_a_gateway_that_was_closed_is_an_edge_error() -> None:
    wire = HermesWire("http://127.0.0.1:9", "key")
    await wire.close()
    with pytest.raises(EdgeError):
        await wire.answer("run_1", "once")


@hurried
async def test_a_gateway_that_dies_while_it_waits_is_replaced() -> None:
    stage = await made()
    dead = stage.gateway
    ready, started = stage.gateways.ready, len(stage.host.started)
    dead.gone.set()
    await settled()
    await asyncio.sleep(5)
    await settled()
    assert stage.gateways.ready == ready
    assert len(stage.host.started) == started + 1
    assert dead.closed == [""]
    gateway = await stage.begin()
    assert gateway is not dead


# --- gateways ----------------------------------------------------------------------------------


@hurried
async def test_each_gateway_is_tried_before_it_is_ready_and_its_token_is_shut_again() -> None:
    stage = await made()
    assert stage.gateway.answers == ["deny"]
    assert stage.gateways.tools() == ("file", "terminal")
    assert stage.proxy.find(f"Bearer {stage.gateway.spec.token}") is None


@hurried
async def test_a_hermes_that_does_not_ask_has_every_tool_off() -> None:
    stage = Stage()
    stage.host.asks = False
    await stage.start()
    assert [one.spec.tools for one in stage.host.started] == [("file", "terminal"), ()]
    assert stage.host.started[0].closed == [""]
    assert stage.gateways.tools() == ()
    assert await stage.order(run_session(id=S1, tools=("terminal",))) == "action.failed"
    assert (await stage.begin(S2)).spec.tools == ()


@hurried
async def test_a_hermes_that_asks_about_commands_and_not_about_code_has_code_off_alone() -> None:
    stage = Stage(tools=("code_execution", "terminal"))
    stage.host.asks_code = False
    await stage.start()
    assert stage.gateways.tools() == ("terminal",)
    assert await stage.order(run_session(id=S1, tools=("code_execution", "terminal"))) == (
        "action.failed"
    )
    assert "without asking" in words(stage.told("action.failed")[0])
    assert (await stage.begin(S2)).spec.tools == ("terminal",)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"offers_more": ("tool_search", "tool_call")}, "it offers tool_call, tool_search"),
        ({"offers_more": ("delegate_task",)}, "delegate_task"),
        ({"result": '{"output": "", "exit_code": 0}'}, "it ran what was denied"),
        ({"says": ("an earlier session",)}, "it told its model more than the check"),
    ],
)
@hurried
async def test_a_gateway_that_differs_from_its_tools_is_never_used(
    change: dict[str, Any], why: str
) -> None:
    stage = Stage()
    for name, value in change.items():
        setattr(stage.host, name, value)
    duty = asyncio.create_task(stage.gateways.run(), name=DUTY)
    await settled(60)
    assert stage.gateways.ready == 0
    assert why in stage.gateways.trouble
    assert all(one.closed == [""] for one in stage.host.started)
    assert stage.gateways.tools() == ()
    assert why in stage.gateways.off()["terminal"]
    assert await stage.order(run_session(id=S1, tools=())) == "action.void"
    duty.cancel()


@hurried
async def test_a_check_that_was_not_seen_whole_is_played_again_and_switches_nothing_off() -> None:
    stage = Stage()
    stage.host.check_gap = True
    duty = asyncio.create_task(stage.gateways.run(), name=DUTY)
    await settled(8)
    assert stage.gateways.ready == 0
    assert "not seen whole" in stage.gateways.trouble
    stage.host.check_gap = False
    await settled(60)
    assert (stage.gateways.ready, stage.gateways.tools()) == (1, ("file", "terminal"))
    duty.cancel()


@hurried
async def test_an_agent_without_tools_that_offers_one_is_never_used() -> None:
    stage = Stage(tools=())
    stage.host.offers_more = ("terminal",)
    duty = asyncio.create_task(stage.gateways.run(), name=DUTY)
    await settled(60)
    duty.cancel()
    assert stage.gateways.ready == 0
    assert "it offers terminal with every tool off" in stage.gateways.trouble
    assert stage.gateway.runs == []


@pytest.mark.parametrize("tool", ["delegation", "memory", "a_new_one"])
@hurried
async def test_a_toolset_that_cannot_be_watched_or_checked_is_off_with_the_reason(
    tool: str,
) -> None:
    stage = await made(tools=("terminal", tool))
    assert stage.gateways.tools() == ("terminal",)
    assert await stage.order(run_session(id=S1, tools=(tool,))) == "action.failed"
    assert why_refused(tool) in words(stage.told("action.failed")[0])


# --- a gateway with other tools that starts slowly ------------------------------------------------


@hurried
async def test_a_gateway_that_starts_slowly_is_kept_for_the_session_that_waits_for_it() -> None:
    stage = await made()
    stage.host.start_s = 200.0  # longer than an order lives
    begun = len(stage.host.started)
    orders = 0
    while await stage.order(run_session(id=S1, tools=())) == "action.void":
        orders += 1
        assert orders < 50
    assert orders > 0
    assert len(stage.host.started) == begun + 1  # one start, however many orders
    assert stage.gateway.spec.tools == ()
    assert stage.types("session.started") == ["session.started"]


@hurried
async def test_what_is_kept_for_one_session_is_no_other_session_s() -> None:
    stage = await made()
    stage.host.start_s = 40.0
    assert await stage.order(run_session(id=S1, tools=())) == "action.void"
    await settled(30)
    kept = stage.host.started[-1]
    assert kept.spec.tools == ()
    assert await stage.order(run_session(id=S2, tools=())) == "action.void"
    assert kept.closed == []
    assert (await stage.begin(S1, tools=())) is kept


@hurried
async def test_what_is_kept_for_a_session_that_does_not_come_back_makes_room() -> None:
    stage = await made()
    stage.host.start_s = 40.0
    assert await stage.order(run_session(id=S1, tools=())) == "action.void"
    await settled(KEEP_S + 200)
    assert stage.host.started[-2].closed == [""]
    assert stage.host.started[-1].spec.tools == ("file", "terminal")
    assert stage.gateways.ready == 1


@hurried
async def test_a_start_that_fails_is_told_and_the_next_order_tries_again() -> None:
    stage = await made()
    stage.host.start_fault = EdgeError("no memory", transient=True)
    assert await stage.order(run_session(id=S1, tools=())) == "action.void"
    assert "no memory" in words(stage.told("action.void")[0])
    stage.host.start_fault = None
    await settled(100)
    assert (await stage.begin(S1, tools=())).spec.tools == ()


@hurried
async def test_a_session_with_code_alone_does_not_take_the_tools_of_all_others() -> None:
    stage = await made(tools=("code_execution", "terminal"))
    await stage.sessions.carry_out(stage.permit(run_session(id=S1, tools=("code_execution",))))
    assert stage.gateways.tools() == ("code_execution", "terminal")


@hurried
async def test_without_a_sandbox_every_tool_is_off() -> None:
    stage = Stage()
    stage.host.sandbox_trouble = "no bubblewrap"
    await stage.start()
    assert stage.gateways.tools() == ()
    assert await stage.order(run_session(id=S1, tools=("file",))) == "action.failed"
    assert "no bubblewrap" in words(stage.told("action.failed")[0])
    assert (await stage.begin(S2)).spec.tools == ()


@hurried
async def test_a_gateway_serves_one_session_and_the_next_has_another() -> None:
    stage = await made()
    first = await stage.begin(S1)
    first.tell(DONE)
    await settled(10)
    second = await stage.begin(S2)
    assert second is not first
    assert second.spec.token != first.spec.token
    assert len(first.runs) == len(second.runs) == 1


@hurried
async def test_a_gateway_that_waited_a_day_is_replaced() -> None:
    stage = await made()
    old = stage.gateway
    await settled(86_400 + 200)
    assert old.closed == [""]
    assert stage.gateways.ready == 1


@hurried
async def test_the_canary_is_not_played_on_a_hermes_of_somebody_else() -> None:
    stage = Stage()
    stage.host.is_ours = False
    await stage.start()
    assert stage.gateway.answers == []
    assert stage.gateways.tools() == ("file", "terminal")


@hurried
async def test_no_answer_of_ours_is_more_than_once_or_deny() -> None:
    stage = await asking()
    await stage.order(stage.once())
    stage.gateway.tell(Answered("always"))
    await settled()
    assert stage.gateway.answers == ["once"]


@hurried
async def test_a_gateway_that_cannot_be_made_ends_no_lane_and_is_tried_again() -> None:
    stage = Stage()
    stage.host.start_fault = OSError(24, "Too many open files")
    starting = asyncio.create_task(stage.start())
    await asyncio.sleep(20)
    assert "Too many open files" in stage.gateways.trouble
    stage.host.start_fault = None
    await starting
    assert (stage.gateways.ready, stage.gateways.trouble) == (1, "")


@hurried
async def test_a_gateway_for_a_session_that_cannot_be_made_is_told_and_tried_again() -> None:
    stage = await made()
    stage.host.start_fault = OSError(24, "Too many open files")
    assert await stage.order(run_session(id=S1, tools=("file",))) == "action.void"
    assert "Too many open files" in words(stage.told("action.void")[0])
    stage.host.start_fault = None
    await until(lambda: stage.gateways.ready == 1)


@hurried
async def test_a_bug_met_while_a_session_is_told_ends_it_and_its_gateway_alone() -> None:
    stage = await made()
    gateway = await stage.begin()
    stage.page.faults = [LookupError("a bug")]
    gateway.tell(TextDelta("a"))
    await until(lambda: bool(stage.told("session.end")))
    state, why = stage.end()
    assert state == "lost"
    assert "LookupError: a bug" in why
    assert gateway.closed[:1] == [S1]
    await until(lambda: stage.gateways.ready == 1)
    assert await stage.begin(S2) is not gateway


@hurried
async def test_a_session_has_its_end_though_its_gateway_cannot_be_ended() -> None:
    stage = await made()
    gateway = await stage.begin()
    gateway.close_fault = PermissionError("a bug")
    gateway.tell(DONE)
    await until(lambda: bool(stage.told("session.end")))
    assert stage.end()[0] == "completed"
    await until(lambda: stage.gateways.ready == 1)
    await stage.begin(S2)


@hurried
async def test_a_frozen_session_has_its_end_though_its_gateway_cannot_be_ended() -> None:
    stage = await made()
    gateway = await stage.begin()
    gateway.close_fault = PermissionError("a bug")
    stage.sessions.freeze()
    await until(lambda: bool(stage.told("session.end")))
    assert stage.end() == ("stopped", "frozen")


@hurried
async def test_a_gateway_that_cannot_be_watched_is_replaced() -> None:
    stage = await made()
    dead = stage.gateway
    dead.died_fault = dead.close_fault = OSError("a bug")
    dead.gone.set()
    await until(lambda: stage.gateways.ready == 1 and stage.gateway is not dead)
    assert await stage.begin() is not dead


@hurried
async def test_a_gateway_too_old_that_cannot_be_ended_holds_up_no_other() -> None:
    stage = await made()
    old = stage.gateway
    old.close_fault = RuntimeError("a bug")
    await asyncio.sleep(MAX_AGE_S + 120)
    await until(lambda: stage.gateways.ready == 1 and stage.gateway is not old)
    assert await stage.begin() is not old


@hurried
async def test_an_end_that_no_journal_can_hold_is_told_without_its_words() -> None:
    stage = await made()
    gateway = await stage.begin()
    stage.page.faults = [Unholdable("no row can hold this")]
    gateway.tell(DONE)
    await until(lambda: bool(stage.told("session.end")))
    state, why = stage.end()
    assert state == "completed"
    assert "no row can hold this" in why


@hurried
async def test_lost_sessions_wait_for_room_beside_everything_else() -> None:
    stage = await made()
    await stage.begin()
    stage.remake()
    stage.page.fault = NO_ROOM
    telling = asyncio.create_task(stage.sessions.recover())
    await settled(120)
    assert not telling.done()
    stage.sessions.freeze()
    stage.page.fault = None
    await telling
    assert stage.end()[0] == "lost"
    assert len(stage.told("session.end")) == 1


@hurried
async def test_a_lost_session_that_is_not_told_yet_is_not_begun_again() -> None:
    stage = await made()
    await stage.begin()
    stage.remake()
    stage.page.faults = [NO_ROOM]
    telling = asyncio.create_task(stage.sessions.recover())
    await asyncio.sleep(0)
    runs = sum(len(one.runs) for one in stage.host.started)
    assert await stage.order(run_session(id=S1)) == "action.receipt"
    await telling
    assert sum(len(one.runs) for one in stage.host.started) == runs
