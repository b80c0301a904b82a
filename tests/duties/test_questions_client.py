"""What programs and a person's terminal ask the house about questions, over its real routes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from allegro.cli.main import cli
from allegro.client.decisions import DecisionBridge
from allegro.client.errors import BadRequest, Expired, StillOpen, Withdrawn
from allegro.core.requests.decisions import NewDecision, NewOption
from allegro.core.requests.documents import Option
from tests.bad.api_house import ApiHouse, api_house


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[ApiHouse]:
    async with api_house(tmp_path) as made:
        yield made


@pytest.fixture
async def bridge(api: ApiHouse) -> AsyncIterator[DecisionBridge]:
    async with DecisionBridge(api.socket, wait_s=20.0) as made:
        yield made


async def typed(api: ApiHouse, *words: str) -> Result:
    """Type a command, as a person does."""
    runner = CliRunner()
    arguments = [*words, "--socket", str(api.socket)]
    return await asyncio.to_thread(runner.invoke, cli, arguments, standalone_mode=False)


async def test_options_are_words_or_have_reasons_and_one_is_recommended(
    api: ApiHouse, bridge: DecisionBridge
) -> None:
    options: list[str | Option | NewOption] = [
        "left",
        Option("right", ("sunny",)),
        NewOption("back", (), ("far",)),
    ]
    waits = asyncio.create_task(
        bridge.ask_decision("Which way?", options, "right", 3600.0, "home/garden#3")
    )
    while not api.decisions.open():
        await asyncio.sleep(0.01)
    (asked,) = await bridge.decisions()
    assert (asked.recommend, asked.context, asked.owner) == (2, "home/garden#3", "sovereign")
    assert [one.label for one in asked.options] == ["left", "right", "back"]
    assert (asked.options[1].pros, asked.options[2].cons) == (("sunny",), ("far",))
    await api.decisions.answered(asked.id, 3, "telegram 5:6", asked.digest[:16])
    answer = await waits
    assert (answer.option, answer.label, answer.by) == (3, "back", "telegram 5:6")


@pytest.mark.parametrize(("options", "more"), [
    (["one"], {}), (list("abcdefg"), {}), (["a", "A"], {}), (["a", "b"], {"recommendation": 3}),
    (["a", "b"], {"recommendation": "c"}), (["a", "b"], {"expires_s": 0.0}),
    (["a", "b"], {"expires_s": float("nan")}), (["a", "b" * 500], {}), (["a", "\udcff"], {}),
])  # fmt: skip
async def test_what_cannot_be_asked_is_refused_and_nothing_is_kept(
    api: ApiHouse, bridge: DecisionBridge, options: list[str], more: dict[str, Any]
) -> None:
    with pytest.raises(BadRequest):
        await bridge.ask_decision("Which?", options, **more)
    assert api.decisions.all() == []


async def test_a_wait_ends_as_its_question_does(api: ApiHouse, bridge: DecisionBridge) -> None:
    new = NewDecision("Which?", (NewOption("a"), NewOption("b")), expires_in_s=60.0)
    first, second = await bridge.put_decision(new), await bridge.put_decision(new)
    with pytest.raises(StillOpen) as open_one:
        await bridge.answer_to(first.id, wait_s=0.05)
    assert open_one.value.request_id == first.id
    await bridge.withdraw(first.id)
    with pytest.raises(Withdrawn):
        await bridge.answer_to(first.id)
    api.house.clock.advance(61.0)
    await api.decisions.end_expired()
    with pytest.raises(Expired, match="nothing is done"):
        await bridge.answer_to(second.id)
    with pytest.raises(BadRequest, match="expired"):
        await bridge.answer(second.id, 1)


async def test_a_person_asks_looks_and_answers_at_a_terminal(api: ApiHouse) -> None:
    asked = await typed(api, "ask", "Which day?", "--option", "Monday", "--option", "Tuesday",
                        "--pro", "1:dry", "--expires", "12h", "--urgency", "high")  # fmt: skip
    assert "allegro answer" in asked.output
    (held,) = api.decisions.open()
    assert held.document.expires_s - held.document.created_s == 12 * 3_600
    assert held.document.options[0].pros == ("dry",)
    listed = await typed(api, "requests")
    assert "Which day?" in listed.output
    assert "sovereign" in listed.output
    said = await typed(api, "answer", held.id[:10], "2")
    assert said.output.strip().endswith(f"{held.id}: answered 2 Tuesday")
    again = await typed(api, "answer", held.id, "1")
    assert "the first answer counts" in str(again.exception)
    assert "no open requests" in (await typed(api, "requests")).output
    for words in ("reject --reason no", "approve"):
        refused = await typed(api, *words.split(), held.id)
        assert refused.exception is not None
    held_again = api.decisions.find_exact(held.id)
    assert held_again is not None
    assert held_again.answer is not None
    assert held_again.answer.by == "terminal"


async def test_a_question_is_taken_back_at_a_terminal(api: ApiHouse) -> None:
    await typed(api, "ask", "Which day?", "--option", "a", "--option", "b")
    (held,) = api.decisions.open()
    said = await typed(api, "withdraw", held.id[:8])
    assert "withdrawn" in said.output
    assert api.decisions.open() == []


@pytest.mark.parametrize("words", [
    "--expires 2", "--expires -1d", "--expires 1.5h", "--expires ²d", "--expires 999999999d",
    "--pro x", "--pro 0:x", "--pro 7:x", "--pro 1:", "--recommend 0", "--urgency now",
])  # fmt: skip
async def test_an_argument_that_cannot_be_read_is_wrong_usage(api: ApiHouse, words: str) -> None:
    said = await typed(api, "ask", "q", "--option", "a", "--option", "b", *words.split())
    assert isinstance(said.exception, click.UsageError)
    assert api.decisions.all() == []
