"""Questions at the house: kept, answered once, ended in time, shown; nothing else comes of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from allegro.adapters.sqlite.ledger import open_ledger
from allegro.core.base.errors import EdgeError, Refusal
from allegro.core.documents.block import Block, read_block
from allegro.core.requests.decisions import Decision, DecisionState, NewDecision, NewOption
from allegro.house.documents.decisions import MOST_OPEN, REMEMBERED_S, Decisions
from allegro.testing.virtual import SeededDice, VirtualClock
from tests.duties.house import House, until
from tests.duties.test_documents import Shown

DAYS = (NewOption("Monday", ("dry",)), NewOption("Tuesday", (), ("late",)))


def new(**changes: Any) -> NewDecision:
    values: dict[str, Any] = {
        "question": "Which day?", "options": DAYS, "recommend": 1, "context": "home/garden#3",
        "asked_by": "garden.py (pid 1)",
    }  # fmt: skip
    return NewDecision(**{**values, **changes})


@pytest.fixture
async def shown(tmp_path: Path) -> AsyncIterator[Shown]:
    made = Shown(House(tmp_path, VirtualClock()))
    await made.house.start()
    await made.start()
    yield made
    await made.stop()
    await made.house.ledger.close()


def book(shown: Shown) -> Decisions:
    return shown.documents.decisions


def why(found: Decision | Refusal) -> str:
    assert isinstance(found, Refusal), found
    return found.reason


async def test_a_question_is_shown_answered_once_and_shown_with_its_answer(shown: Shown) -> None:
    asked = await book(shown).ask(new())
    await shown.settle()
    (text,) = shown.bodies(asked.id)
    for words in ("## 🔄 Allegro Request\n\n**Type:** decision\n", "Which day?", "1. `Monday`",
                  "   - Pros: `dry`", "**Recommendation:** `Monday`", "a comment here is no answer"):  # fmt: skip
        assert words in text
    assert read_block(text) == Block(
        document="request", id=asked.id, digest=asked.digest,
        expires_s=int(asked.document.expires_s),
    )  # fmt: skip
    after = await book(shown).answered(asked.id, 2, "telegram 5:6", asked.digest[:16])
    assert isinstance(after, Decision)
    refusal = await book(shown).answered(asked.id, 1, "terminal", asked.digest)
    assert why(refusal) == "answered"
    await shown.settle()
    newest = shown.bodies(asked.id)[-1]
    assert "**State:** `answered`" in newest
    assert "**Answer:** `2. Tuesday`" in newest
    assert "**Answered by:** `telegram 5:6, " in newest
    held = book(shown).find_exact(asked.id)
    assert held is not None
    assert [line.what for line in held.history] == ["asked", "answered", "refused"]
    assert "terminal" in held.history[-1].detail


async def test_an_answer_causes_nothing(shown: Shown) -> None:
    asked = await book(shown).ask(new(context=""))
    before = shown.house.requests.all()
    await book(shown).answered(asked.id, 1, "terminal", asked.digest)
    await shown.settle()
    await shown.house.step()
    assert shown.house.requests.all() == before == []
    assert shown.house.lane.orders == []
    assert shown.asked == []


async def test_whatever_is_killed_a_question_and_its_answer_stand(shown: Shown) -> None:
    asked = await book(shown).ask(new())
    await shown.restart()
    (held,) = book(shown).open()
    assert held == asked
    assert len(shown.bodies(asked.id)) == 1
    await book(shown).answered(asked.id, 2, "terminal")
    await shown.stop()  # before the answer is shown
    await shown.restart()
    await shown.restart()
    kept = book(shown).find_exact(asked.id)
    assert kept is not None
    assert kept.answer is not None
    assert kept.answer.option == 2
    assert why(await book(shown).answered(asked.id, 1, "terminal")) == "answered"
    assert ["Tuesday`" in text.rpartition("**Answer:**")[2] for text in shown.bodies(asked.id)][-1]
    assert len(shown.bodies(asked.id)) == 2


async def test_a_question_that_nobody_answers_ends_and_does_nothing(shown: Shown) -> None:
    asked = await book(shown).ask(new(expires_in_s=600.0))
    shown.house.clock.advance(600.0)
    assert why(await book(shown).answered(asked.id, 1, "terminal")) == "expired"
    await book(shown).end_expired()
    await shown.settle()
    held = book(shown).find_exact(asked.id)
    assert held is not None
    assert held.state is DecisionState.EXPIRED
    assert "**State:** `expired`" in shown.bodies(asked.id)[-1]


async def test_it_ends_while_the_house_was_off(shown: Shown) -> None:
    asked = await book(shown).ask(new(expires_in_s=600.0))
    await shown.stop()
    shown.house.clock.advance(3_600.0)
    await shown.restart()
    await until(lambda: book(shown).open() == [])
    assert why(await book(shown).answered(asked.id, 1, "terminal")) == "expired"


async def test_asked_twice_with_one_key_it_is_one_question(shown: Shown) -> None:
    first = await book(shown).ask(new(key="k"))
    await shown.restart()
    again = await book(shown).ask(new(key="k", asked_by="garden.py (pid 2)"))
    assert again.id == first.id
    other = await book(shown).ask(new(key="k", asked_by="other.py (pid 1)"))
    assert other.id != first.id
    with pytest.raises(EdgeError, match="used before"):
        await book(shown).ask(new(key="k", question="Which week?"))
    assert (await book(shown).ask(new())).id != (await book(shown).ask(new())).id


@pytest.mark.parametrize(("prefix", "reason"), [
    ("", "not_found"), ("zz", "not_found"), ("\udcff", "not_found"), ("x" * 5_000, "not_found"),
])  # fmt: skip
async def test_a_question_that_there_is_not_is_refused(
    shown: Shown, prefix: str, reason: str
) -> None:
    await book(shown).ask(new())
    assert why(await book(shown).answered(prefix, 1, "terminal")) == reason
    assert why(await book(shown).look_up(prefix)) == reason
    assert why(await book(shown).wait(prefix, 0.01)) == reason
    assert why(await book(shown).withdraw(prefix)) == reason


async def test_a_name_that_begins_two_questions_names_neither(shown: Shown) -> None:
    for _ in range(20):
        await book(shown).ask(new())
    ids = [one.id for one in book(shown).all()]
    prefix = next(id_[0] for id_ in ids if sum(one[0] == id_[0] for one in ids) > 1)
    assert why(book(shown).find(prefix)) == "ambiguous"


async def test_a_wait_ends_with_the_answer(shown: Shown) -> None:
    asked = await book(shown).ask(new())
    waits = asyncio.create_task(book(shown).wait(asked.id, 30.0))
    await asyncio.sleep(0.01)
    await book(shown).answered(asked.id, 1, "terminal")
    found = await asyncio.wait_for(waits, 5.0)
    assert isinstance(found, Decision)
    assert found.state is DecisionState.ANSWERED
    open_one = await book(shown).ask(new())
    assert await book(shown).wait(open_one.id, 0.01) == open_one


async def test_of_answers_at_the_same_moment_one_counts(shown: Shown) -> None:
    asked = await book(shown).ask(new())
    found = await asyncio.gather(
        *(book(shown).answered(asked.id, 1 + n % 2, f"by {n}") for n in range(20))
    )
    assert sum(isinstance(one, Decision) for one in found) == 1
    assert isinstance(found[0], Decision)


async def test_what_ended_long_ago_leaves_memory_and_stays_on_disk(shown: Shown) -> None:
    asked = await book(shown).ask(new())
    await book(shown).answered(asked.id, 1, "terminal")
    shown.house.clock.advance(REMEMBERED_S + 1.0)
    await book(shown).end_expired()
    assert book(shown).all() == []
    found = await book(shown).look_up(asked.id[:6])
    assert isinstance(found, Decision)
    assert found.answer is not None


async def test_only_so_many_questions_wait_at_once(shown: Shown) -> None:
    shown.house.is_linked = False
    for _ in range(MOST_OPEN):
        await book(shown).ask(new(context=""))
    with pytest.raises(EdgeError, match="already"):
        await book(shown).ask(new())


async def test_a_public_repository_learns_nothing_of_a_question(shown: Shown) -> None:
    world = shown.house.lane.world["pin_repository"]
    shown.house.lane.world["pin_repository"] = {
        **world, "repository": {**world["repository"], "private": False},
    }  # fmt: skip
    asked = await book(shown).ask(new())
    await shown.settle()
    await book(shown).answered(asked.id, 2, "terminal")
    await shown.settle()
    (text,) = shown.bodies(asked.id)
    for words in ("Which", "Monday", "Tuesday", "answered", asked.digest[:16]):
        assert words not in text


async def test_without_an_issue_a_question_is_shown_at_the_configured_one(tmp_path: Path) -> None:
    house = House(tmp_path, VirtualClock())
    home = msgspec.structs.replace(house.settings.requests, home="home/garden#9")
    house.settings = msgspec.structs.replace(house.settings, requests=home)
    await house.start()
    shown = Shown(house)
    await shown.start()
    asked = await book(shown).ask(new(context="no issue"))
    await shown.settle()
    assert len(shown.bodies(asked.id)) == 1
    await shown.stop()
    await house.ledger.close()


async def test_a_question_that_cannot_be_read_is_set_aside_and_hides_no_other(
    tmp_path: Path,
) -> None:
    file, clock = tmp_path / "ledger.db", VirtualClock()
    ledger = open_ledger(file)
    decisions = Decisions(ledger, clock, SeededDice(4), 600.0)
    good, bad = await decisions.ask(new()), await decisions.ask(new())
    await ledger._worker.run(
        lambda c: c.execute("UPDATE decision SET stored = x'00' WHERE id = ?", (bad.id,))
    )
    await ledger.close()
    ledger = open_ledger(file)
    assert [one.item for one in ledger.damaged] == [f"decision {bad.id}"]
    again = Decisions(ledger, clock, SeededDice(5), 600.0)
    await again.resume()
    assert [one.id for one in again.all()] == [good.id]
    await ledger.close()
