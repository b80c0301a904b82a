"""Requests and reports on the forge: one comment each, at its newest wording, whatever restarts."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from allegro.core.authority.actions.forge import MirrorRequest
from allegro.core.documents.block import Block, read_block
from allegro.core.protocol.queries import Params
from allegro.core.requests.decisions import NewDecision, NewOption
from allegro.core.requests.lifecycle import State, Step
from allegro.core.requests.requests import Request
from allegro.house.documents.build import Documents
from allegro.house.documents.reports import report_name
from allegro.house.ports import Ports
from allegro.house.requests.newest_state import ItemPorts
from allegro.runtime.tasks import ended
from allegro.testing.virtual import SeededDice, VirtualClock
from tests.duties.house import NOT_LINKED, House

CHANGE: dict[str, Any] = {
    "forge": "forge.example.org", "repository": {"id": 7, "name": "home/garden", "private": True},
    "base": "main", "base_commit": "a" * 40, "files": {},
}  # fmt: skip
ASKED: dict[str, Any] = {
    "kind": "propose_change", "branch": "b", "title": "Water", "files": {"a.txt": "aG8="},
    "context": "home/garden#3", "question": "Water the roses?",
}  # fmt: skip


class Shown:
    """A house whose documents are shown, and what their comments say."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.asked: list[str] = []
        self.tasks: list[asyncio.Task[None]] = []
        self.documents: Documents

    async def start(self) -> None:
        await self.start_documents()
        await self.documents.decisions.resume()
        self.tasks = [asyncio.create_task(run()) for run in self.documents.duties().values()]
        await self.settle()

    async def start_documents(self) -> None:
        house = self.house
        ports = Ports(None, house.ledger, house.clock, SeededDice(9), lambda _: None)  # type: ignore[arg-type]
        items = ItemPorts(house.ledger, house.clock, house.set_aside)
        self.documents = Documents(
            ports, items, house.requests, house.settings, (self._ask, self._wake)
        )

    async def _ask(self, name: str, params: Params) -> Any:
        self.asked.append(name)
        return await self.house.ask(name, params)

    def _wake(self) -> None:
        self.house.orders.wake()

    async def settle(self) -> None:
        """Let every duty ask for what it has to ask for."""
        for step in range(3_000):
            await asyncio.sleep(0.001)
            if step % 5 == 0:
                self.house.clock.advance(3.0)
            if step > 20 and (not self.house.is_linked or not self.waiting):
                break
        assert not [task for task in self.tasks if task.done() and task.exception() is not None]

    @property
    def waiting(self) -> int:
        """How many documents are not asked for yet, 0 before the first start."""
        if not self.tasks:
            return 0
        parts = (self.documents._mirror, self.documents._reports, self.documents.report_issue)
        return sum(part.waiting for part in parts)

    async def stop(self) -> None:
        """End it at once, as a kill does: what is only in memory is gone."""
        await ended(self.tasks)

    async def restart(self, *, before: Any = None) -> None:
        await self.stop()
        await self.house.restart()
        if before is not None:
            await before()
        await self.start()

    def bodies(self, name: str) -> list[str]:
        """Return every wording that was asked for of one document, oldest first."""
        actions = [self.house.requests.work(one).action for one in self.house.requests.all()]
        return [a.body for a in actions if isinstance(a, MirrorRequest) and a.request == name]

    async def end(self, request: Request, step: Step, **changes: Any) -> Request:
        approved = await self.house.approve(request)
        self.house.clock.advance(5.0)
        for what in (Step.ORDER, step):
            number = {"order_number": 1, "lane": "a"} if what is Step.ORDER else changes
            moved = await self.house.requests.take_step(approved, what, "as it went", **number)
            assert isinstance(moved, Request), moved
        await self.settle()
        return self.house.now(request)


@pytest.fixture
async def shown(tmp_path: Path) -> AsyncIterator[Shown]:
    house = House(tmp_path, VirtualClock())
    house.lane.world["pin_change"] = CHANGE
    await house.start()
    made = Shown(house)
    await made.start()
    yield made
    with contextlib.suppress(asyncio.CancelledError):
        await made.stop()
    await house.ledger.close()


async def test_a_request_is_shown_in_its_form_and_follows_its_state(shown: Shown) -> None:
    request = await shown.house.propose(**ASKED)
    await shown.settle()
    (text,) = shown.bodies(request.id)
    assert text.startswith("## 🔄 Allegro Request\n\n**Type:** approval\n")
    assert "Water the roses?" in text
    assert "1. `approve`" in text
    assert "a comment here is no approval" in text
    assert read_block(text) == Block(
        document="request", id=request.id, digest=request.digest,
        expires_s=int(request.document.expires_s),
    )  # fmt: skip
    await shown.house.requests.reject(request.id, "not this @week")
    await shown.settle()
    assert "**State:** `rejected`" in shown.bodies(request.id)[-1]
    assert "`not this @\u200bweek`" in shown.bodies(request.id)[-1]
    assert shown.bodies(report_name(request.id)) == []  # nothing was done


@pytest.mark.parametrize(("step", "status"), [
    (Step.RECEIPT, "complete"), (Step.FAIL, "failed"), (Step.CONFLICT, "failed"),
])  # fmt: skip
async def test_a_task_that_ended_leaves_one_report(shown: Shown, step: Step, status: str) -> None:
    request = await shown.house.propose(**ASKED)
    url = "https://forge.example.org/home/garden/pulls/44"
    await shown.end(request, step, artifact=44, url=url)
    (text,) = shown.bodies(report_name(request.id))
    assert text.startswith("## ✅ Allegro Report\n\n**Task:** `Water the roses?`\n")
    assert f"**Status:** {status}\n" in text
    assert "**Duration:** 5.0 s" in text
    assert ("[pull request 44](" in text) == (step is Step.RECEIPT)
    await shown.restart()
    await shown.settle()
    assert shown.bodies(report_name(request.id)) == [text]


async def test_a_report_that_a_kill_kept_back_is_left_at_the_next_start(shown: Shown) -> None:
    request = await shown.house.propose(**ASKED)
    await shown.settle()
    shown.house.is_linked = False
    await shown.end(request, Step.RECEIPT, artifact=44)
    assert shown.bodies(report_name(request.id)) == []
    await shown.restart()
    shown.house.is_linked = True
    await shown.settle()
    assert len(shown.bodies(report_name(request.id))) == 1
    assert "**State:** `done`" in shown.bodies(request.id)[-1]


async def test_what_ended_before_this_release_is_not_reported_at_once(
    tmp_path: Path,
) -> None:
    house = House(tmp_path, VirtualClock())
    house.lane.world["pin_change"] = CHANGE
    await house.start()
    shown = Shown(house)
    before = await house.propose(**ASKED)
    await shown.end(before, Step.RECEIPT, artifact=44)
    await shown.start()
    after = await house.propose(**ASKED)
    await shown.end(after, Step.RECEIPT, artifact=45)
    await shown.restart()
    assert shown.bodies(report_name(before.id)) == []
    assert len(shown.bodies(report_name(after.id))) == 1
    await shown.stop()
    await house.ledger.close()


async def test_of_the_comments_of_before_those_of_open_requests_take_the_new_form(
    tmp_path: Path,
) -> None:
    house = House(tmp_path, VirtualClock())
    house.lane.world["pin_change"] = CHANGE
    await house.start()
    shown = Shown(house)
    settled, waiting = await house.propose(**ASKED), await house.propose(**ASKED)
    await house.mirror(waiting.id, "**Request** as before")
    await house.requests.reject(settled.id, "no")
    await house.mirror(settled.id, "**Request** as before")
    await shown.start()
    assert shown.bodies(settled.id) == ["**Request** as before"]
    assert [text[:18] for text in shown.bodies(waiting.id)] == [
        "**Request** as bef",
        "## 🔄 Allegro Reque",
    ]
    markers = {
        house.requests.work(one).delivery.marker
        for one in house.requests.all()
        if one.kind == "mirror_request" and one.target.endswith("#3") and one.created_s > 0
        and house.requests.work(one).action.request == waiting.id  # type: ignore[attr-defined]
    }  # fmt: skip
    assert len(markers) == 1  # the same place to look: edited, never doubled
    await shown.stop()
    await house.ledger.close()


async def test_nothing_is_left_where_nothing_was_asked(shown: Shown) -> None:
    request = await shown.house.propose(**{**ASKED, "context": ""})
    await shown.end(request, Step.RECEIPT, artifact=44)
    comment = await shown.house.comment()
    await shown.house.requests.take_step(comment, Step.RECEIPT, artifact=5)
    await shown.settle()
    assert [one for one in shown.house.requests.all() if one.internal] == []


async def test_where_mirrors_are_switched_off_nothing_is_shown(tmp_path: Path) -> None:
    house = House(tmp_path, VirtualClock())
    house.lane.world["pin_change"] = CHANGE
    off = msgspec.structs.replace(house.settings.requests, mirror=False)
    house.settings = msgspec.structs.replace(house.settings, requests=off)
    await house.start()
    shown = Shown(house)
    ports = Ports(None, house.ledger, house.clock, SeededDice(9), lambda _: None)  # type: ignore[arg-type]
    items = ItemPorts(house.ledger, house.clock, house.set_aside)
    documents = Documents(ports, items, house.requests, house.settings, (house.ask, lambda: None))
    for name in ("mirror", "reports", "report issue"):
        await asyncio.wait_for(documents.duties()[name](), 5.0)
    await documents.decisions.ask(
        NewDecision("Which?", (NewOption("a"), NewOption("b")), context="home/garden#3")
    )
    request = await house.propose(**ASKED)
    for what in (Step.REJECT,):
        await house.requests.take_step(request, what)
    assert [one for one in house.requests.all() if one.internal] == []
    assert shown.asked == []
    await house.ledger.close()


@pytest.mark.parametrize("state", [State.PROPOSED, State.DONE])
async def test_a_public_repository_learns_nothing_of_a_request_or_report(
    shown: Shown, state: State
) -> None:
    house = shown.house
    place = {**CHANGE["repository"], "private": False}
    house.lane.world["pin_repository"] = {"repository": place, "forge": "forge.example.org"}
    request = await house.propose(**ASKED)
    await shown.settle()
    if state is State.DONE:
        await shown.end(request, Step.RECEIPT, artifact=44)
    for name in (request.id, report_name(request.id)):
        for text in shown.bodies(name):
            for word in ("Water", "approve`", "propose_change", request.digest[:16], "44", "State"):
                assert word not in text
    assert len(shown.bodies(report_name(request.id))) == (state is State.DONE)


async def test_a_lane_that_is_away_delays_a_document_and_loses_none(shown: Shown) -> None:
    shown.house.is_linked = False
    with pytest.raises(type(NOT_LINKED)):
        await shown.house.propose(**ASKED)
    shown.house.is_linked = True
    request = await shown.house.propose(**ASKED)
    shown.house.is_linked = False
    await shown.settle()
    assert shown.bodies(request.id) == []
    shown.house.is_linked = True
    await shown.settle()
    assert len(shown.bodies(request.id)) == 1
