"""A lane's scheduled duties: its Hermes and its polls are tried, and what came of it comes home."""

from __future__ import annotations

from pathlib import Path

import pytest

from allegro.adapters.sqlite.journal import open_journal
from allegro.core.base.errors import EdgeError
from allegro.core.base.events import decode_event
from allegro.core.base.sequence import Kept
from allegro.core.health.duty_runs import DutyRun, Ending
from allegro.core.protocol.payloads.duties import DutyEnded, DutyFailed, DutyPlanned, DutyRan
from allegro.core.protocol.payloads.reading import read_payload
from allegro.lane.agent.health_check import HealthCheck
from allegro.lane.context.recorder import Author, Recorder
from allegro.lane.folder.duties import load_duties, save_duties
from allegro.lane.forge.polling.poll_health import PollHealth, judged
from allegro.lane.schedule.book import LaneBook
from allegro.lane.schedule.tenure import SETTLE_S, Tenure
from allegro.runtime.duty_events import plan_of, run_of
from allegro.testing.virtual import FakeForge, PlainSealer, SeededDice, VirtualClock

from .agents import Stage, hurried, until
from .lane import GARDEN, Lane, settings_of
from .scheduled import Machine

GONE = EdgeError("the forge is gone", transient=True)


async def test_each_run_is_an_event_that_says_all_and_comes_home_once(tmp_path: Path) -> None:
    clock, file = VirtualClock(), tmp_path / "duties.json"
    journal = await open_journal(
        tmp_path / "journal.db", cap_bytes=10_000_000, reserved_share=0.1, new_id="j1",
        now_s=clock.now_s, gap_event=lambda *_: pytest.fail("no gap"),
    )  # fmt: skip
    recorder = Recorder(journal, PlainSealer(), clock, SeededDice(1), by=Author("a", b"s" * 32))
    machine = Machine(clock)
    machine.add("sweep", "*/10 * * * *", grace_s=60.0)

    def started() -> None:
        book = LaneBook(recorder, load_duties(file), lambda known: save_duties(file, known))
        machine.book = book  # type: ignore[assignment]
        machine.start()

    started()
    await machine.live(700)
    await machine.timetable.idle()
    started()
    await machine.live(60)
    entries = await journal.read(0, 1_000_000)
    events = [decode_event(one.body) for one in entries if isinstance(one, Kept)]
    planned, ran = [read_payload(event) for event in events]
    assert isinstance(planned, DutyPlanned)
    assert isinstance(ran, DutyRan)
    plan = plan_of(planned)
    assert getattr(plan, "cron", "") == "*/10 * * * *"
    words = "done"
    assert run_of(ran, words) == load_duties(file)["sweep"].last
    assert ran.next_s > ran.due_s
    assert b"done" in events[1].sealed
    await journal.close()


def test_an_event_of_a_lane_that_is_no_record_is_said_to_be_none() -> None:
    good = DutyFailed(
        duty="sweep", role="", due_s=5.0, begun_s=6.0, duration_s=1.0, punctuality="late",
        next_s=9.0,
    )  # fmt: skip
    assert isinstance(run_of(good, "why"), DutyRun)
    for bent in ({"punctuality": "soon"}, {"due_s": 1e15}, {"duty": "x" * 10_000}):
        fields = {name: getattr(good, name) for name in good.__struct_fields__}
        one: DutyEnded = DutyFailed(**{**fields, **bent})
        assert not isinstance(run_of(one, ""), DutyRun)


@hurried
async def test_the_check_of_hermes_replaces_a_gateway_that_waits_by_one_that_was_tried() -> None:
    stage = Stage()
    await stage.start()
    await until(lambda: stage.gateways.ready > 0)
    before = stage.gateways._ready[0].token
    result = await HealthCheck(stage.gateways, stage.clock).run()
    assert result.is_good
    assert "passed its check" in result.text
    assert result.figures["tried"] == 1
    assert stage.gateways._ready[0].token != before


@hurried
async def test_the_check_of_hermes_fails_with_what_the_canary_found() -> None:
    stage = Stage()
    await stage.start()
    await until(lambda: stage.gateways.ready > 0)
    stage.host.asks = False
    with pytest.raises(EdgeError, match="did not ask before a dangerous command"):
        await HealthCheck(stage.gateways, stage.clock).run()


@hurried
async def test_the_check_of_hermes_disturbs_no_session_and_says_that_it_tried_nothing() -> None:
    stage = Stage()
    await stage.start()
    await stage.begin()
    result = await HealthCheck(stage.gateways, stage.clock).run()
    assert (result.is_good, result.figures) == (True, {"tried": 0})


async def test_the_check_of_polls_sees_a_watch_that_stands_still(tmp_path: Path) -> None:
    clock = VirtualClock()
    journal = await open_journal(
        tmp_path / "journal.db", cap_bytes=10_000_000, reserved_share=0.1, new_id="j1",
        now_s=clock.now_s, gap_event=lambda *_: pytest.fail("no gap"),
    )  # fmt: skip
    forge = FakeForge(clock)
    forge.make_repository(GARDEN)
    lane = Lane(forge, clock, journal, settings_of())
    await lane.start()
    never = judged(lane.duty.health(), 5.0)
    assert (never.is_good, never.figures["never_read"]) == (False, 1)
    for _ in range(3):
        await lane.step()
        clock.advance(5)
    well = judged(lane.duty.health(), 5.0)
    assert (well.is_good, well.figures["watches"]) == (True, 1)
    assert well.figures["oldest_s"] <= 10
    forge.fault = GONE
    for _ in range(100):
        await lane.step()
        clock.advance(5)
    old = judged(lane.duty.health(), 5.0)
    assert (old.is_good, old.figures["too_old"]) == (False, 1)
    assert f"too old: {GARDEN}" in old.text
    await journal.close()


def test_the_check_of_polls_names_what_it_found() -> None:
    health = PollHealth({"a/b": 4.0, "c/d": None}, ("c/d",), 2)
    result = judged(health, 5.0)
    assert "never read: c/d" in result.text
    assert "failing: c/d" in result.text
    assert "2 things on the forge could not be read" in result.text
    assert not result.is_good


def test_a_role_counts_as_held_once_the_house_had_time_to_say_what_was_served() -> None:
    clock, held = VirtualClock(), {"forge": 3}
    tenure = Tenure(lambda: held, "forge", clock)
    assert not tenure.is_settled()
    clock.advance(SETTLE_S)
    assert tenure.is_settled()
    held["forge"] = 4
    assert not tenure.is_settled()
    clock.advance(SETTLE_S)
    assert tenure.is_settled()
    held.clear()
    assert not tenure.is_settled()


def test_the_endings_of_a_run_have_an_event_each() -> None:
    names = {ending.value for ending in Ending}
    assert {payload.type_.value for payload in (DutyRan, DutyFailed)} <= {
        f"duty.{n}" for n in names
    }
