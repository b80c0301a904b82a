"""What the agent does with a shell, and what it must ask before."""

from __future__ import annotations

import asyncio
import json
import os
import shlex

import pytest
from tests.patience import patient

from allegro.adapters.hermes.gateway import HermesGateway
from allegro.core.agent.sessions import (
    AgentEvent,
    Answered,
    Asked,
    End,
    Gap,
    TextDelta,
    ToolBegan,
    ToolEnded,
)
from allegro.core.agent.tallies import AgentTally
from allegro.testing.models import play

from .agent_backends import Place, all_of, carry_out, end_of, is_gone, lives, new_run

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.usefixtures("tools")]
DANGER = "mkdir -p /tmp/old && rm -rf /tmp/old && echo removed"


def shell(command: str, say: str = "done") -> str:
    """Return a prompt that makes the agent run a command and then answer."""
    return play({"tool": "terminal", "arguments": {"command": command}}, {"say": say})


def output_of(ended: ToolEnded) -> str:
    return str(json.loads(ended.words["result"])["output"])


async def test_only_the_tools_that_were_asked_for_are_on(
    gateway: HermesGateway, place: Place
) -> None:
    assert gateway.wire is not None
    assert await gateway.wire.toolsets() == ["terminal"]
    await carry_out(gateway, new_run(play({"say": "hello"}, tag="which-tools")))
    (call,) = place.asked("which-tools")
    offered = call["tools"]
    assert isinstance(offered, list)
    names = {one["function"]["name"] for one in offered}
    assert "terminal" in names
    assert names <= {"terminal", "process", "process_manage"}


async def test_each_use_of_a_tool_is_told_once_with_its_words_and_its_result(
    gateway: HermesGateway, place: Place
) -> None:
    steps = [{"tool": "terminal", "arguments": {"command": f"echo {n} is $((6 * {n}))"}}
             for n in (7, 9)]  # fmt: skip
    prompt = play(*steps, {"say": "both done"}, tag="two-tools")
    events = await carry_out(gateway, new_run(prompt))
    began, ended = all_of(events, ToolBegan), all_of(events, ToolEnded)
    assert [(one.tool, one.words["args"]["command"]) for one in began] == [
        ("terminal", "echo 7 is $((6 * 7))"), ("terminal", "echo 9 is $((6 * 9))"),
    ]  # fmt: skip
    assert [(one.tool, output_of(one)) for one in ended] == [
        ("terminal", "7 is 42"), ("terminal", "9 is 54"),
    ]  # fmt: skip
    assert [one.call for one in began] == [one.call for one in ended]
    assert len({one.call for one in began}) == 2
    assert all(one.ok and one.duration_ms is not None for one in ended)
    assert end_of(events).output == "both done"
    assert "9 is 54" in str(place.asked("two-tools")[-1]["messages"])


async def test_its_own_record_of_a_session_counts_calls_tools_and_tokens(
    gateway: HermesGateway,
) -> None:
    steps = [{"tool": "terminal", "arguments": {"command": f"echo {n}"}} for n in (1, 2)]
    run = new_run(play(*steps, {"say": "done"}))
    usage = end_of(await carry_out(gateway, run)).usage
    assert await gateway.tally(run.session) == AgentTally(
        calls=3, tools=2, tokens_in=usage["input_tokens"], tokens_out=usage["output_tokens"]
    )
    assert await gateway.tally("never-begun") is None


async def test_what_happens_first_is_told_first(gateway: HermesGateway) -> None:
    step = {"say": "let me see ", "tool": "terminal", "arguments": {"command": "echo hello"}}

    def kinds(events: list[AgentEvent]) -> list[type[AgentEvent]]:
        return [type(event) for event in events
                if isinstance(event, TextDelta | ToolBegan | ToolEnded)]  # fmt: skip

    for _ in range(5):
        events = await carry_out(gateway, new_run(play(step, {"say": "done"})))
        assert kinds(events) == [TextDelta, ToolBegan, ToolEnded, TextDelta]
        assert not all_of(events, Gap)


async def test_a_command_that_fails_is_told_as_failed_and_the_run_goes_on(
    gateway: HermesGateway,
) -> None:
    events = await carry_out(gateway, new_run(shell("echo no; exit 3")))
    (ended,) = all_of(events, ToolEnded)
    assert not ended.ok
    assert json.loads(ended.words["result"])["exit_code"] == 3
    assert end_of(events).end is End.COMPLETED


async def test_the_stream_alone_tells_the_same_of_a_tool(gateway: HermesGateway) -> None:
    assert gateway.wire is not None
    for command, ok in (("true", True), ("false", False)):
        run = await gateway.begin(new_run(shell(command)))
        events = [event async for event in gateway.wire.events(run)]
        assert [one.tool for one in all_of(events, ToolBegan)] == ["terminal"]
        assert [one.ok for one in all_of(events, ToolEnded)] == [ok]


async def test_what_a_tool_tells_in_the_agents_name_is_not_believed(
    gateway: HermesGateway, place: Place
) -> None:
    fact = {"hook": "pre_tool_call", "tool_name": "forged", "tool_call_id": "x", "args": {}}
    code = (
        "import os, socket; door = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); "
        f"print(door.sendto({json.dumps(fact).encode()!r}, os.environ['ALLEGRO_TELEMETRY']))"
    )

    async def allow(run: str, event: AgentEvent) -> None:
        if isinstance(event, Asked):  # the real one asks before a program in words
            await gateway.answer(run, "once")

    before = gateway.telemetry.forged
    run = new_run(shell(f"{place.python} -c {shlex.quote(code)}"))
    events = await carry_out(gateway, run, allow)
    sent = [output_of(one) for one in all_of(events, ToolEnded)]
    assert sent == [str(len(json.dumps(fact)))]
    assert gateway.telemetry.forged == before + 1
    assert [one.tool for one in all_of(events, ToolBegan)] == ["terminal"]


async def test_a_tool_finds_no_control_socket_of_the_agent_and_cannot_make_one(
    gateway: HermesGateway,
) -> None:
    place = "$HOME/.hermes/gateway.sock"
    command = f"for s in {place} /tmp/hermes-gw-*.sock; do test -S $s && echo W''ON; done"

    async def allow(run: str, event: AgentEvent) -> None:
        if isinstance(event, Asked):
            await gateway.answer(run, "once")

    commands = (command, f"rm -f {place} && echo W''ON", f"mv /tmp {place} && echo W''ON", command)
    steps = [{"tool": "terminal", "arguments": {"command": one}} for one in commands]
    events = await carry_out(gateway, new_run(play(*steps, {"say": "done"})), allow)
    outputs = [output_of(one) for one in all_of(events, ToolEnded)]
    assert len(outputs) == len(commands)
    assert not any("WON" in one for one in outputs)


async def test_a_tool_sees_no_key_of_ours(gateway: HermesGateway) -> None:
    events = await carry_out(gateway, new_run(shell("env; cat /proc/*/environ | tr '\\0' '\\n'")))
    (ended,) = all_of(events, ToolEnded)
    assert "API_SERVER_KEY" not in output_of(ended)
    assert "HOME=/home/agent" in output_of(ended)


async def test_a_dangerous_command_asks_one_question_and_once_lets_it_pass_once(
    gateway: HermesGateway,
) -> None:
    async def answer(run: str, event: AgentEvent) -> None:
        if isinstance(event, Asked):
            await gateway.answer(run, "once")

    step = {"tool": "terminal", "arguments": {"command": DANGER}}
    events = await carry_out(gateway, new_run(play(step, step, {"say": "done"})), answer)
    asked = all_of(events, Asked)
    assert [(one.command, one.patterns) for one in asked] == [
        (DANGER, ("delete in root path",))
    ] * 2
    assert all(one.description for one in asked)
    assert all_of(events, Answered) == [Answered("once")] * 2
    assert [output_of(one) for one in all_of(events, ToolEnded)] == ["removed"] * 2
    assert end_of(events).end is End.COMPLETED


async def test_a_question_shows_all_that_would_run(gateway: HermesGateway) -> None:
    hidden = "rm -rf /tmp/old; X_TOKEN=$(echo${IFS}more>/tmp/more)"
    too_long = f"rm -rf /tmp/old; : {'p' * 17_000}; echo more"

    async def answer(run: str, event: AgentEvent) -> None:
        if isinstance(event, Asked):
            await gateway.answer(run, "deny")

    steps = [{"tool": "terminal", "arguments": {"command": one}} for one in (hidden, too_long)]
    events = await carry_out(gateway, new_run(play(*steps, {"say": "done"})), answer)
    first, second = all_of(events, Asked)
    assert (first.command, first.refused) == (hidden, "")
    assert "longer than" in second.refused


async def test_deny_blocks_the_command_and_the_run_goes_on_to_its_end(
    gateway: HermesGateway,
) -> None:
    async def answer(run: str, event: AgentEvent) -> None:
        if isinstance(event, Asked):
            await gateway.answer(run, "deny")

    events = await carry_out(gateway, new_run(shell(DANGER, "then not")), answer)
    order = [type(event) for event in events
             if isinstance(event, ToolBegan | Asked | Answered | ToolEnded)]  # fmt: skip
    assert order == [ToolBegan, Asked, Answered, ToolEnded]
    (ended,) = all_of(events, ToolEnded)
    assert not ended.ok
    assert "denied" in ended.words["error"]
    assert output_of(ended) == ""
    assert (end_of(events).end, end_of(events).output) == (End.COMPLETED, "then not")


async def test_a_command_that_has_no_way_back_is_blocked_unasked(gateway: HermesGateway) -> None:
    events = await carry_out(gateway, new_run(shell("mkfs /dev/sdz")))
    assert not all_of(events, Asked)
    (ended,) = all_of(events, ToolEnded)
    assert "BLOCKED" in ended.words["error"]
    assert end_of(events).end is End.COMPLETED


async def test_stop_ends_a_run_whose_tool_is_working(gateway: HermesGateway) -> None:
    async def stop(run: str, event: AgentEvent) -> None:
        if isinstance(event, ToolBegan):
            await asyncio.sleep(0.2)
            await gateway.stop(run)

    began_s = asyncio.get_running_loop().time()
    events = await carry_out(gateway, new_run(shell("sleep 25; echo late")), stop)
    assert asyncio.get_running_loop().time() - began_s < patient(10)
    assert end_of(events).end is End.STOPPED
    (ended,) = all_of(events, ToolEnded)
    assert not ended.ok
    assert "late" not in output_of(ended)


async def test_stop_ends_a_run_that_waits_for_an_answer(gateway: HermesGateway) -> None:
    async def stop(run: str, event: AgentEvent) -> None:
        if isinstance(event, Asked):
            await gateway.stop(run)

    events = await carry_out(gateway, new_run(shell(DANGER)), stop)
    assert end_of(events).end is End.STOPPED
    assert not any("removed" in output_of(one) for one in all_of(events, ToolEnded))


async def test_what_a_tool_left_running_ends_with_the_gateway(gateway: HermesGateway) -> None:
    """The last of this file: it ends the gateway that all of them share."""
    mark = f"{4_000 + os.getpid() / 1e6:f}"
    left = f"eval 'setsid sleep {mark} >/dev/null 2>&1 </dev/null &'; sleep 0.5; echo left"
    events = await carry_out(gateway, new_run(shell(left)))
    assert [output_of(one) for one in all_of(events, ToolEnded)] == ["left"]
    assert await lives(words=f"sleep {mark}")

    await gateway.close("")

    assert await is_gone(words=f"sleep {mark}")
