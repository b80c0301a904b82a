"""Taps and lanes' questions as they come home: bound to what was shown, once, and never an effect."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from allegro.adapters.sqlite.journal import open_journal
from allegro.core.base.events import Event, decode_event
from allegro.core.base.sequence import Kept
from allegro.core.chat.taps import question_subject
from allegro.core.requests.decisions import Decision, NewDecision, NewOption
from allegro.house.documents.heard import MOST_OF_A_LANE
from allegro.lane.context.questions import ask_owner
from allegro.lane.context.recorder import Author, Recorder
from allegro.testing.virtual import PlainSealer, SeededDice, VirtualClock
from tests.bad.event_house import SEALER, EventHouse
from tests.bad.event_samples import Sample, encoded

QUESTION = NewDecision("Which?", (NewOption("a"), NewOption("b")), expires_in_s=3_600.0)


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[EventHouse]:
    made = EventHouse(tmp_path, 10**8)
    await made.start()
    yield made
    await made.stop()


async def bring(house: EventHouse, id_: str, type_: str, sample: Sample, lane: str = "a") -> None:
    sealed = b""
    if sample.words is not None:
        sealed = SEALER.seal(id_, msgspec.json.encode(sample.words))
    await house.send(lane, [msgspec.json.encode(encoded(id_, type_, sample, sealed))])
    await house.follow.step()


def tap(decision: Decision, **changes: Any) -> Sample:
    data: dict[str, Any] = {
        "by": "telegram:77", "verb": "answer", "subject": question_subject(decision.id),
        "shown": decision.digest[:16], "option": 2,
    }  # fmt: skip
    return Sample({**data, **changes}, subject="")


async def test_a_tap_answers_once_and_names_channel_sender_and_lane(house: EventHouse) -> None:
    asked = await house.decisions.ask(QUESTION)
    before = house.house.requests.all()
    for number in range(3):
        await bring(house, f"e{number}", "chat.noted", tap(asked))
    held = house.decisions.find_exact(asked.id)
    assert held is not None
    assert held.answer is not None
    assert (held.answer.option, held.answer.by) == (2, "tap telegram:77, read by lane a")
    assert [line.what for line in held.history] == ["asked", "answered"]
    await bring(house, "e9", "chat.noted", tap(asked, option=1))
    held = house.decisions.find_exact(asked.id)
    assert held is not None
    assert held.answer is not None
    assert held.answer.option == 2
    assert held.history[-1].what == "refused"
    assert house.house.requests.all() == before


@pytest.mark.parametrize("changes", [
    {"shown": ""}, {"shown": "f" * 16}, {"shown": 5}, {"option": 0}, {"option": 3}, {"verb": "approve"},
    {"subject": "q:"}, {"subject": "q:none"}, {"option": 2**60}, {"option": -1}, {"option": "2"},
])  # fmt: skip
async def test_a_tap_for_anything_else_answers_nothing(
    house: EventHouse, changes: dict[str, Any]
) -> None:
    asked = await house.decisions.ask(QUESTION)
    await bring(house, "e1", "chat.noted", tap(asked, **changes))
    assert house.aside == []
    held = house.decisions.find_exact(asked.id)
    assert held is not None
    assert held.answer is None


async def test_a_lane_that_makes_up_taps_fills_no_history(house: EventHouse) -> None:
    asked = await house.decisions.ask(QUESTION)
    for number in range(60):
        await bring(
            house, f"e{number}", "chat.noted", tap(asked, shown=f"{number:016x}", option=3 + number)
        )
    held = house.decisions.find_exact(asked.id)
    assert held is not None
    assert len(held.history) <= 21
    assert held.answer is None


def _no_gap(reason: str, shed: int, count: int, first: int, last: int) -> Event:
    raise AssertionError("nothing is shed")


async def test_a_lane_asks_its_owner_once_for_each_key(tmp_path: Path) -> None:
    clock = VirtualClock()
    journal = await open_journal(
        tmp_path / "journal.db", cap_bytes=10**8, reserved_share=0.1, new_id="j",
        now_s=clock.now_s, gap_event=_no_gap,
    )  # fmt: skip
    by = Author("a", b"s" * 32)
    recorder = Recorder(journal, PlainSealer(), clock, SeededDice(1), by=by)
    for key in ("disk full", "disk full", "other"):
        await ask_owner(recorder, QUESTION, key)
    told = [one.body for one in await journal.read(0, 10**6) if isinstance(one, Kept)]
    await journal.close()
    events = [decode_event(body) for body in told]
    assert len({event.id for event in events}) == 2
    assert {event.type for event in events} == {"decision.asked"}
    assert "Which" not in str([event.data for event in events])


async def test_a_lanes_question_waits_at_home_under_its_name(house: EventHouse) -> None:
    words = msgspec.to_builtins(QUESTION)
    for number in range(2):
        sample = Sample({"urgency": "low", "options": 2}, {**words, "asked_by": "the house"})
        await bring(house, f"e{number}", "decision.asked", sample)
        await bring(house, f"e{number}", "decision.asked", sample)
    assert [one.asked_by for one in house.decisions.open()] == ["lane a", "lane a"]
    for number in range(2, 30):
        sample = Sample({"urgency": "low", "options": 2}, words)
        await bring(house, f"e{number}", "decision.asked", sample)
    assert len(house.decisions.open()) == MOST_OF_A_LANE
    await bring(house, "other", "decision.asked", Sample({"urgency": "low"}, words), lane="honest")
    assert house.decisions.open()[-1].asked_by == "lane honest"


@pytest.mark.parametrize("words", [
    None, "x", 5, {}, {"question": "q"}, {"question": "q", "options": []},
    {"question": "q", "options": [{"label": "a"}]},
    {"question": "", "options": [{"label": "a"}, {"label": "b"}]},
    {"question": "q", "options": [{"label": "a"}, {"label": "b"}], "expires_in_s": -1},
    {"question": "q", "options": [{"label": "a"}, {"label": "b"}], "recommend": 9},
    {"question": "q" * 5_000, "options": [{"label": "a"}, {"label": "b"}]},
])  # fmt: skip
async def test_a_question_that_cannot_be_asked_is_set_aside_by_nobody(
    house: EventHouse, words: Any
) -> None:
    await bring(house, "e1", "decision.asked", Sample({"urgency": "low", "options": 2}, words))
    assert house.decisions.all() == []
    assert house.aside == []
