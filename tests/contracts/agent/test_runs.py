"""A run from its first word to its end: text, history, models, stop, failures."""

from __future__ import annotations

import asyncio

import pytest
from tests.patience import patient

from allegro.adapters.hermes.gateway import HermesGateway
from allegro.adapters.hermes.stream_lines import LOOK_S
from allegro.core.agent.sessions import AgentEvent, End, Ended, Gap, TextDelta, UsageClaimed
from allegro.core.authority.actions.agent import Turn
from allegro.testing.models import play

from .agent_backends import (
    MODELS,
    Place,
    all_of,
    beside,
    carry_out,
    end_of,
    follow,
    new_run,
    steal_stream,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")


def text_of(events: list[AgentEvent]) -> str:
    return "".join(delta.text for delta in all_of(events, TextDelta))


async def test_a_text_run_streams_its_words_in_order_and_ends_completed_with_them(
    gateway: HermesGateway,
) -> None:
    prompt = play({"say": "word", "pieces": 40, "gap_ms": 2})
    events = await carry_out(gateway, new_run(prompt))
    assert text_of(events) == "".join(f"word{number} " for number in range(40))
    assert len(all_of(events, TextDelta)) > 1
    end = end_of(events)
    assert (end.end, end.output) == (End.COMPLETED, text_of(events).strip())
    assert end.usage["total_tokens"] == end.usage["input_tokens"] + end.usage["output_tokens"]


async def test_an_answer_longer_than_a_stream_s_line_may_be_ends_all_the_same(
    gateway: HermesGateway, place: Place
) -> None:
    if place.is_real and place.is_new:
        pytest.skip("the newer Hermes thinks about so many words for half a minute")
    end = end_of(await carry_out(gateway, new_run(play({"squares": 250, "pieces": 1_200}))))
    assert end.end is End.COMPLETED
    assert end.output.startswith("0 1 4 9 16 25 36 ")


async def test_the_use_of_a_model_is_claimed_once_a_call(gateway: HermesGateway) -> None:
    events = await carry_out(gateway, new_run(play({"say": "hello"})))
    end = end_of(events)
    claimed = UsageClaimed("stub", end.usage["input_tokens"], end.usage["output_tokens"])
    assert all_of(events, UsageClaimed) == [claimed]


async def test_what_the_model_thinks_is_no_part_of_its_answer(gateway: HermesGateway) -> None:
    events = await carry_out(gateway, new_run(play({"think": "hm, hm", "say": "yes"})))
    assert text_of(events) == "yes"
    assert end_of(events).output == "yes"


@pytest.mark.parametrize("model", MODELS)
async def test_the_model_that_is_asked_for_is_the_one_that_is_called(
    gateway: HermesGateway, place: Place, model: str
) -> None:
    run = new_run(play({"say": "hello"}, tag=f"for-{model}"), model)
    assert end_of(await carry_out(gateway, run)).end is End.COMPLETED
    assert [one["model"] for one in place.asked(f"for-{model}")] == [model]


async def test_the_conversation_before_reaches_the_model(
    gateway: HermesGateway, place: Place
) -> None:
    history = (Turn("user", "what is before?"), Turn("assistant", "this is before"))
    run = new_run(play({"say": "hello"}, tag="after-all"), history=history)
    await carry_out(gateway, run)
    (call,) = place.asked("after-all")
    messages = call["messages"]
    assert isinstance(messages, list)
    said = [(one["role"], one["content"]) for one in messages if one["role"] != "system"]
    assert said == [*((turn.role, turn.text) for turn in history), ("user", run.prompt)]


async def test_each_run_begins_without_what_the_one_before_said(
    gateway: HermesGateway, place: Place
) -> None:
    await carry_out(gateway, new_run(play({"say": "hello"}, tag="tell-nobody")))
    await carry_out(gateway, new_run(play({"say": "hello"}, tag="the-second")))
    assert "tell-nobody" not in str(place.asked("the-second"))


async def test_stop_ends_a_run_that_is_writing_and_another_can_begin(
    gateway: HermesGateway,
) -> None:
    async def stop(run: str, event: AgentEvent) -> None:
        if isinstance(event, TextDelta) and event.text.startswith("w5"):
            await gateway.stop(run)

    run = new_run(play({"say": "w", "pieces": 2_000, "gap_ms": 5}))
    events = await carry_out(gateway, run, stop)
    assert end_of(events).end is End.STOPPED
    assert len(all_of(events, TextDelta)) < 1_000
    after = await carry_out(gateway, new_run(play({"say": "still here"})))
    assert end_of(after).output == "still here"


async def test_a_provider_that_refuses_our_key_fails_the_run_at_once(
    gateway: HermesGateway, place: Place
) -> None:
    run = new_run(play({"status": 401, "body": "no such key"}, tag="refused-key"))
    end = end_of(await carry_out(gateway, run))
    assert (end.end, end.output) == (End.FAILED, "")
    assert "401" in end.error
    assert "no such key" in end.error
    assert len(place.asked("refused-key")) == 1


@pytest.mark.usefixtures("quick_retries")
@pytest.mark.parametrize("status", [429, 500, 503])
async def test_a_provider_that_fails_for_a_moment_is_tried_again(
    gateway: HermesGateway, place: Place, status: int
) -> None:
    step = {"status": status, "times": 2, "then": {"say": "late"}}
    end = end_of(await carry_out(gateway, new_run(play(step, tag=f"moment-{status}"))))
    assert (end.end, end.output) == (End.COMPLETED, "late")
    assert len(place.asked(f"moment-{status}")) == 3


@pytest.mark.usefixtures("quick_retries")
async def test_a_provider_that_goes_on_failing_fails_the_run(
    gateway: HermesGateway, place: Place
) -> None:
    run = new_run(play({"status": 500, "body": "boom"}, tag="goes-on"))
    end = end_of(await carry_out(gateway, run))
    assert end.end is End.FAILED
    assert "boom" in end.error
    assert len(place.asked("goes-on")) == 3


async def test_an_answer_that_is_cut_is_gone_on_with(gateway: HermesGateway) -> None:
    events = await carry_out(gateway, new_run(play({"say": "x", "pieces": 5, "half": True})))
    end = end_of(events)
    assert (end.end, "".join(end.output.split())) == (End.COMPLETED, "x0ok")
    assert not all_of(events, Gap)


async def test_a_run_that_nobody_began_is_unknown(gateway: HermesGateway) -> None:
    assert gateway.wire is not None
    assert await gateway.wire.state("run_of_nobody") is None
    lost = [event async for event in gateway.wire.events("run_of_nobody")]
    assert [type(event) for event in lost] == [Gap, type(end_of(lost))]
    assert end_of(lost).end is End.LOST


async def test_a_stream_that_somebody_else_cut_is_a_gap_and_then_the_end(
    gateway: HermesGateway, place: Place
) -> None:
    run = await gateway.begin(new_run(play({"say": "w", "pieces": 60, "gap_ms": 30})))
    await steal_stream(gateway, run)
    await asyncio.sleep(0.2)  # an old Hermes sees with its next event that the reader went
    events = await follow(gateway, run)
    whole = "".join(f"w{number} " for number in range(60))
    end = end_of(events)
    assert (end.end, end.output) == (End.COMPLETED, whole.strip())
    if place.is_new:  # its streams can be read again
        assert text_of(events) == whole
        assert not all_of(events, Gap)
    else:
        assert len(all_of(events, Gap)) == 1
        assert text_of(events) == ""


async def test_words_that_another_reader_took_are_a_gap_before_the_end(
    gateway: HermesGateway, place: Place
) -> None:
    run = await gateway.begin(new_run(play({"say": "w", "pieces": 60, "gap_ms": 10})))
    other = beside(gateway, run)
    both = [await follow(gateway, run), await other]
    whole = [f"w{number}" for number in range(60)]
    assert [end_of(events).output.split() for events in both] == [whole] * 2
    if place.is_new:
        assert [text_of(events).split() for events in both] == [whole] * 2
        assert not any(all_of(events, Gap) for events in both)
    else:
        assert sorted(text_of(both[0]).split() + text_of(both[1]).split()) == sorted(whole)
        assert [len(all_of(events, Gap)) for events in both] == [1, 1]
        assert all(isinstance(events[-1], Ended) for events in both)


async def test_a_stream_that_is_fed_no_more_though_it_stays_open_is_a_gap_and_then_the_end(
    gateway: HermesGateway, place: Place
) -> None:
    async def steal(run: str, event: AgentEvent) -> None:
        if isinstance(event, TextDelta) and event.text.split()[0] == "w5":
            await steal_stream(gateway, run)

    began_s = asyncio.get_running_loop().time()
    events = await carry_out(
        gateway, new_run(play({"say": "w", "pieces": 60, "gap_ms": 30})), steal
    )
    assert asyncio.get_running_loop().time() - began_s < patient(15)
    whole = "".join(f"w{number} " for number in range(60))
    end = end_of(events)
    assert (end.end, end.output) == (End.COMPLETED, whole.strip())
    assert len(all_of(events, Gap)) == (0 if place.is_new else 1)
    assert (text_of(events) == whole) is place.is_new


async def test_a_silent_agent_is_waited_for_and_no_gap(gateway: HermesGateway) -> None:
    events = await carry_out(
        gateway, new_run(play({"say": "w", "pieces": 2, "gap_ms": 1000 * (LOOK_S + 0.5)}))
    )
    assert (text_of(events), all_of(events, Gap)) == ("w0 w1 ", [])


async def test_a_reader_who_comes_late_is_told_everything(gateway: HermesGateway) -> None:
    run = await gateway.begin(new_run(play({"say": "early ", "pieces": 3})))
    await asyncio.sleep(0.5)
    events = await follow(gateway, run)
    assert text_of(events) == "early 0 early 1 early 2 "
    assert end_of(events).end is End.COMPLETED
