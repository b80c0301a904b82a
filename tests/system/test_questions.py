"""A question through real programs: asked, shown on the forge, answered, whoever is killed meanwhile."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from allegro.client.decisions import DecisionBridge
from allegro.client.errors import BadRequest, Expired
from allegro.core.documents.block import Block, read_block
from allegro.core.requests.decisions import NewDecision, NewOption
from allegro.scratch.processes import Forge

from .fleet_fixture import QuickStage
from .test_keys import WORLD

REPOSITORY = "timmy/house"
ASK = ("ask", "Which day shall the door be oiled?", "--option", "Monday", "--option", "Tuesday",
       "--pro", "1:dry", "--con", "2:late", "--recommend", "1", "--expires", "2d")  # fmt: skip


class Questions(QuickStage):
    url = ""
    token = ""
    issue = 0

    async def comments(self) -> list[dict[str, Any]]:
        """Return the comments of the issue, as anybody reads them on the forge."""
        path = f"{self.url}/api/v1/repos/{REPOSITORY}/issues/{self.issue}/comments"
        head = {"Authorization": f"token {self.token}"}
        async with aiohttp.ClientSession(headers=head) as session, session.get(path) as answer:
            return list(await answer.json())

    async def documents(self, id_: str) -> list[str]:
        """Return the texts of the comments whose block names this id."""
        found = []
        for comment in await self.comments():
            block = read_block(comment["body"])
            if isinstance(block, Block) and block.id == id_:
                found.append(str(comment["body"]))
        return found

    async def shown(self, id_: str, words: str) -> str:
        """Wait until the one comment of a question says this; return it."""

        async def says() -> str:
            texts = await self.documents(id_)
            return texts[0] if texts and words in texts[0] else ""

        text = str(await self.until(says, f"a comment says {words}", self.house))
        assert len(await self.documents(id_)) == 1
        return text

    async def kill_house(self) -> None:
        await self.house.end(signal.SIGKILL)
        await self.start_house()
        await self.linked()


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Questions]:
    stage = Questions(tmp_path / "stage")
    try:
        simulator = await stage.start_simulator(WORLD)
        tokens, bots = simulator["tokens"], ("allegro", "allegro-change")
        daily, change = tokens["allegro"]["daily"], tokens["allegro-change"]["change"]
        stage.url, stage.token = simulator["url"], daily
        await stage.prepare(
            Forge(stage.url, REPOSITORY, bots, daily, change), lane={"forge.poll_s": 0.4}
        )
        await stage.simulate(
            "open_issue", repo=REPOSITORY, user="timmy", title="The door", body="creaks"
        )
        stage.issue = 1
        await stage.start_lane()
        await stage.start_house()
        await stage.linked()
        yield stage
    finally:
        await stage.close()


async def test_a_question_is_shown_and_answered_once_although_the_house_is_killed(
    stage: Questions,
) -> None:
    context = f"{REPOSITORY}#{stage.issue}"
    asked = json.loads(await stage.command(*ASK, "--context", context, "--json"))
    await stage.kill_house()
    text = await stage.shown(asked["id"], "**State:** `proposed`")
    for words in ("## 🔄 Allegro Request", "1. `Monday`", "**Recommendation:** `Monday`"):
        assert words in text
    listed = await stage.command("requests")
    assert "Which day shall the door be oiled?" in listed
    for command in ("show", "explain"):
        said = await stage.command(command, asked["id"][:8])
        assert "1  Monday  (recommended)" in said
        assert "allegro answer" in said
    assert "Tuesday" in await stage.command("answer", asked["id"][:8], "2")
    await stage.kill_house()
    text = await stage.shown(asked["id"], "**Answer:** `2. Tuesday`")
    assert "**Answered by:** `terminal, " in text
    await stage.command("answer", asked["id"], "1", code=1)
    said = await stage.command("explain", asked["id"])
    assert "answered  2 Tuesday, by terminal" in said
    assert "answered: 1 by terminal" in said
    assert "no open requests" in await stage.command("requests")
    status = await stage.status()
    assert status["waiting_for_sovereign"] == 0
    made = (await stage.client.get("requests", internal=1))["requests"]
    assert {one["kind"] for one in made} == {"mirror_request"}  # the comment, and nothing else
    assert {c["user"]["login"] for c in await stage.comments()} == {"allegro"}


async def test_a_program_waits_for_its_answer_across_a_kill(stage: Questions) -> None:
    async with DecisionBridge(stage.socket) as questions:
        waits = asyncio.create_task(
            questions.ask_decision("Which?", ["left", "right"], recommendation="right")
        )
        (open_one,) = await stage.until(questions.decisions, "the question is there", stage.house)
        await stage.kill_house()
        await stage.until(stage.status, "the house is there again", stage.house)
        await stage.command("answer", open_one.id, "1")
        answer = await asyncio.wait_for(waits, 60.0)
        assert (answer.option, answer.label, answer.by) == (1, "left", "terminal")
        with pytest.raises(BadRequest, match="the first answer counts"):
            await questions.answer(answer.decision_id, 2)
        short = NewDecision("Now?", (NewOption("yes"), NewOption("no")), expires_in_s=1.0)
        with pytest.raises(Expired, match="nothing is done"):
            await questions.answer_to((await questions.put_decision(short)).id)
