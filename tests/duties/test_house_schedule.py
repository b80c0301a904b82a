"""The house runs its scheduled duties, keeps every record, and says what a lane did not run."""

from __future__ import annotations

import asyncio
import datetime
import gzip
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from allegro.adapters.folder import Folder
from allegro.adapters.sqlite.archive import SqliteArchive, open_archive
from allegro.adapters.sqlite.ledger import SqliteLedger, make_ledger, open_ledger
from allegro.core.base.errors import EdgeError, Refusal
from allegro.core.base.events import Event, decode_event, encode_event
from allegro.core.base.sequence import Kept
from allegro.core.health import codes
from allegro.core.health.codes import CODES, agent
from allegro.core.health.duty_runs import ENDED_MEANWHILE, DutyPlan, DutyRun, DutyView, Ending
from allegro.core.health.schedule import Punctuality, Schedule
from allegro.core.protocol.answers.house import LinkedLane
from allegro.core.settings import HouseDuties
from allegro.core.stores import SetAside
from allegro.house.lanes import Lanes
from allegro.house.ports import Ports, Reactions
from allegro.house.schedule.book import HouseBook
from allegro.house.schedule.exports import KEPT_DAYS, DayExports
from allegro.house.schedule.failover import TARGET_S, FailoverDrill
from allegro.house.schedule.runbook import InUse, RunbookCheck, can_fire, judged
from allegro.house.schedule.shipped import NONE_CONFIGURED, places, shipped
from allegro.house.schedule.telemetry import TelemetryCheck
from allegro.house.schedule.watch import MAX_DUTIES, DutyWatch
from allegro.house.schedule.wing import ScheduleWing
from allegro.runtime.scheduled_duty import DutyResult, ScheduledDuty
from allegro.runtime.timetable import Timetable
from allegro.testing.virtual import SeededDice, VirtualClock
from tests.docs.render import ROOT
from tests.duties.alerts import noted

DAY_S, HOUR_S = 86_400.0, 3600.0
NOON_S = datetime.datetime(2026, 6, 1, 12, tzinfo=datetime.UTC).timestamp()
PLAN: dict[str, Any] = {
    "duty": "hermes-health", "role": "", "cron": "0 3 * * *", "grace_s": 3600.0,
    "due_s": NOON_S + 15 * HOUR_S,
}  # fmt: skip


class FakeLanes:
    """What the wing asks of `Lanes`. `handed_s` is how long a hand-over takes, None for never."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self.up = {"a": True, "b": True}
        self.home = True
        self.council = frozenset(self.up)
        self.holder = "a"
        self.handed_s: float | None = 3.0
        self.asked: list[tuple[str, str, dict[str, Any]]] = []
        self.views: list[DutyView] = []
        self._rested_s: float | None = None

    def names(self) -> frozenset[str]:
        return frozenset(self.up)

    def describe(self) -> list[LinkedLane]:
        return [LinkedLane(name=name, linked=up) for name, up in self.up.items()]

    def linked(self) -> list[tuple[str, str, None]]:
        return [(name, name, None) for name, up in self.up.items() if up]

    def members(self) -> frozenset[str]:
        return self.council

    def is_home(self, lane: str) -> bool:
        return self.up.get(lane, False) and self.home

    def serves(self, lane: str) -> list[str]:
        return ["forge"]

    def roles_of(self, lane: str) -> dict[str, int]:
        return {"forge": 7} if lane == self.holder else {}

    async def ask_lane(self, lane: str, method: str, params: dict[str, Any]) -> Any:
        self.asked.append((lane, method, params))
        if method == "run_duty":
            return msgspec.to_builtins(self.views.pop(0))
        if method == "rest":
            self._rested_s = self._clock.boot_s()
            return {"held": {}}
        is_over = (
            self.handed_s is not None
            and self._rested_s is not None
            and self._clock.boot_s() - self._rested_s >= self.handed_s
        )
        return {"lane": lane, "held": {"forge": 8} if is_over and lane != self.holder else {}}


class Home:
    """A house's wing of scheduled duties on real stores."""

    def __init__(self, folder: Path, clock: VirtualClock) -> None:
        self.folder, self.clock = folder, clock
        self.lanes = FakeLanes(clock)
        self.alerts: list[tuple[str, str]] = []
        self.own: list[ScheduledDuty] = []
        self._seq: dict[str, int] = {}
        self.archive: SqliteArchive
        self.ledger: SqliteLedger
        self.wing: ScheduleWing

    def start(self) -> None:
        self.archive = open_archive(
            self.folder / "archive.db", quota_bytes=10**9, same=lambda *_: False
        )
        if not (self.folder / "ledger.db").exists():
            make_ledger(self.folder / "ledger.db")
        self.ledger = open_ledger(self.folder / "ledger.db")
        self.make()

    def make(self) -> None:
        """Make the wing anew, as a restart does."""
        self.ports = Ports(
            self.archive, self.ledger, self.clock, SeededDice(1),
            lambda event: json.loads(event.sealed) if event.sealed else None,
        )  # fmt: skip
        book = HouseBook(self.ports)
        lanes = cast(Lanes, self.lanes)
        watch = DutyWatch(self.ports, lanes, Reactions(noted(self.alerts), self._aside), book)
        timetable = Timetable(self.own, book, self.clock, datetime.UTC)
        self.wing = ScheduleWing(timetable, watch, lanes, self.clock)

    async def _aside(self, aside: SetAside, stored: bytes) -> None:
        self.alerts.append(("high", f"set aside: {aside.reason}"))

    async def tell(
        self, type_: str, data: dict[str, Any], *, lane: str = "a", result: str = ""
    ) -> None:
        seq = self._seq[lane] = self._seq.get(lane, 0) + 1
        sealed = json.dumps({"result": result}).encode() if result else b""
        event = Event(
            f"{lane}{seq}", type_, f"lane:{lane}", "2030-01-01T00:00:00Z", data=data, sealed=sealed
        )
        kept = [Kept(encode_event(event))]
        taken = await self.archive.take(lane, "j" + lane, seq, kept, self.clock.now_s())
        assert not isinstance(taken, Refusal)

    async def ran(self, lane: str = "a", ending: str = "ran", **more: Any) -> None:
        data = {
            "duty": "hermes-health", "role": "", "due_s": PLAN["due_s"], "begun_s": PLAN["due_s"],
            "duration_s": 4.0, "punctuality": "on time", "next_s": PLAN["due_s"] + DAY_S,
            "figures": {"tried": 1.0}, **more,
        }  # fmt: skip
        await self.tell(f"duty.{ending}", data, lane=lane, result="passed its check")

    async def live(self, seconds: float) -> None:
        until_s = self.clock.boot_s() + seconds
        while self.clock.boot_s() < until_s:
            await self.wing.timetable.step()
            await self.wing.timetable.idle()
            await self.wing.watch.step()
            self.clock.advance(20)

    def bad(self) -> list[tuple[str, str, str]]:
        found = [(f.code.code, f.state, f.subject) for f in self.wing.facts()]
        return [one for one in found if one[1] != "ok"]

    async def records(self) -> list[tuple[str, str]]:
        runs = await self.ledger.duties.runs(0.0, 1e11)
        return [(one.owner, one.run.ending.value) for one in runs]

    async def own_events(self) -> list[Event]:
        events = [decode_event(one.stored) for one in await self.archive.events(0, 1000)]
        return [event for event in events if event.source == "house"]

    async def close(self) -> None:
        await self.wing.timetable.stop()
        await self.archive.close()
        await self.ledger.close()


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[Home]:
    home = Home(tmp_path, VirtualClock(NOON_S))
    home.start()
    yield home
    await home.close()


def duty(name: str, cron: str, run: Any) -> ScheduledDuty:
    return ScheduledDuty(name=name, schedule=Schedule(cron), run=run)


# --- what lanes run ------------------------------------------------------------------------------


async def test_a_run_of_a_lane_is_kept_and_shown_with_its_result(home: Home) -> None:
    await home.tell("duty.planned", PLAN)
    await home.live(15 * HOUR_S + 60)
    await home.ran()
    await home.live(60)
    (shown,) = home.wing.shown()
    assert (shown.name, shown.owner, shown.state) == ("hermes-health", "lane a", "ok")
    assert shown.last is not None
    assert (shown.last.result, shown.last.figures) == ("passed its check", {"tried": 1.0})
    assert shown.due_s == PLAN["due_s"] + DAY_S
    assert await home.records() == [("lane a", "ran")]
    home.make()
    await home.live(60)
    assert home.wing.shown() == (shown,)


async def test_a_duty_of_a_lane_that_did_not_run_is_said_within_its_grace_and_recorded_once(
    home: Home,
) -> None:
    await home.tell("duty.planned", PLAN)
    await home.live(15 * HOUR_S + 3500)
    assert home.bad() == []
    await home.live(200)
    assert home.bad() == [(codes.DUTY_MISSED.code, "bad", "hermes-health of lane a")]
    home.make()
    await home.live(HOUR_S)
    assert await home.records() == [("lane a", "missed")]
    (event,) = await home.own_events()
    assert (event.type, event.data["owner"]) == ("duty.missed", "lane a")
    await home.ran(punctuality="missed")
    await home.live(60)
    assert home.bad() == []
    assert [state for _, state in await home.records()] == ["missed", "ran"]


async def test_what_a_lane_that_is_not_linked_did_is_unknown_not_missed(home: Home) -> None:
    await home.tell("duty.planned", PLAN)
    home.lanes.up["a"] = False
    await home.live(17 * HOUR_S)
    assert home.bad() == [(codes.DUTY_MISSED.code, "unknown", "hermes-health of lane a")]
    assert home.wing.shown()[0].state == "unknown"
    assert await home.records() == []
    home.lanes.up["a"] = True
    await home.ran()
    await home.live(60)
    assert home.bad() == []


async def test_a_run_that_failed_at_a_lane_that_is_gone_is_said_by_the_house(home: Home) -> None:
    await home.tell("duty.planned", PLAN)
    await home.ran(ending="failed")
    await home.live(60)
    assert home.bad() == [], "a linked lane says it itself"
    home.lanes.up["a"] = False
    assert home.bad() == [(codes.DUTY_FAILED.code, "bad", "hermes-health of lane a")]
    assert home.wing.shown()[0].state == "failed"


async def test_a_duty_of_a_role_is_moved_on_by_whichever_lane_ran_it(home: Home) -> None:
    plan = {**PLAN, "duty": "forge-poll-health", "role": "forge"}
    await home.tell("duty.planned", plan, lane="a")
    await home.tell("duty.planned", plan, lane="b")
    await home.live(60)
    assert [one.owner for one in home.wing.shown()] == ["role forge"]
    await home.ran("b", duty="forge-poll-health", role="forge")
    await home.tell("duty.planned", plan, lane="a")  # it starts again, its memory lost
    await home.live(17 * HOUR_S)
    assert home.bad() == []
    assert home.wing.watch.served_s("forge", "forge-poll-health") == PLAN["due_s"]
    await home.live(DAY_S)
    assert home.bad() == [(codes.DUTY_MISSED.code, "bad", "forge-poll-health of role forge")]


async def test_a_duty_that_was_switched_off_is_expected_no_more(home: Home) -> None:
    await home.tell("duty.planned", PLAN)
    await home.tell("duty.planned", {**PLAN, "cron": "", "due_s": 0.0})
    await home.live(20 * HOUR_S)
    assert home.bad() == []
    assert home.wing.shown()[0].state == "off"


async def test_duties_of_a_lane_that_is_unpaired_are_forgotten(home: Home) -> None:
    await home.tell("duty.planned", PLAN)
    await home.live(60)
    del home.lanes.up["a"]
    await home.live(60)
    assert home.wing.shown() == ()
    assert await home.ledger.duties.watched() == []


async def test_a_lane_that_names_duties_without_end_fills_nothing(home: Home) -> None:
    for number in range(MAX_DUTIES + 20):
        await home.tell("duty.planned", {**PLAN, "duty": f"d{number}"})
    await home.tell("duty.planned", {**PLAN, "role": "king"})
    await home.live(20)
    assert len(home.wing.shown()) == MAX_DUTIES
    assert {one.owner for one in home.wing.shown()} == {"lane a"}


async def test_a_lane_cannot_put_its_next_due_time_out_of_sight(home: Home) -> None:
    await home.tell("duty.planned", PLAN)
    await home.ran(next_s=9e10)
    await home.live(60)
    assert home.wing.shown()[0].due_s < NOON_S + 367 * DAY_S


# --- what the house runs -------------------------------------------------------------------------


async def test_a_run_of_the_house_is_in_the_ledger_and_in_the_archive(home: Home) -> None:
    async def work() -> DutyResult:
        return DutyResult("swept", {"items": 2})

    home.own = [duty("sweep", "0 13 * * *", work)]
    home.make()
    await home.live(2 * HOUR_S)
    assert await home.records() == [("house", "ran")]
    (event,) = await home.own_events()
    assert (event.type, event.data["result"]) == ("duty.ran", "swept")
    (plan,) = home.wing.plans()
    assert (plan.served_s, plan.due_s) == (NOON_S + HOUR_S, NOON_S + 25 * HOUR_S)
    assert home.wing.shown()[0].state == "ok"


async def test_a_house_killed_in_the_middle_of_a_run_says_at_its_start_that_it_failed(
    home: Home,
) -> None:
    endless = asyncio.Event()

    async def work() -> DutyResult:
        await endless.wait()
        return DutyResult("never")

    home.own = [duty("sweep", "0 13 * * *", work)]
    home.make()
    await home.wing.timetable.step()
    home.clock.advance(HOUR_S + 1)
    await home.wing.timetable.step()
    home.wing.timetable._tasks.cancel()
    home.make()
    await home.wing.timetable.step()
    (one,) = await home.ledger.duties.runs(0.0, 1e11)
    assert (one.run.ending, one.run.result) == (Ending.FAILED, ENDED_MEANWHILE)
    assert home.bad() == [(codes.DUTY_FAILED.code, "bad", "sweep")]


async def test_a_person_runs_a_duty_at_its_owner(home: Home) -> None:
    async def work() -> DutyResult:
        return DutyResult("swept")

    home.own = [duty("sweep", "0 13 * * *", work)]
    home.make()
    await home.tell("duty.planned", PLAN)
    await home.live(20)
    (own,) = await home.wing.run_now("sweep")
    assert own.last is not None
    assert (own.state, own.last.due_s) == ("ok", 0.0)
    plan = DutyPlan(duty="hermes-health", cron="0 3 * * *", due_s=PLAN["due_s"])
    run = DutyRun(duty="hermes-health", ending=Ending.RAN, begun_s=NOON_S, result="passed")
    home.lanes.views = [DutyView(plan=plan, is_running=True), DutyView(plan=plan, last=run)]
    (shown,) = await home.wing.run_now("hermes-health@a")
    assert (shown.owner, shown.last) == ("lane a", run)
    assert [asked[2]["begun_s"] > 0 for asked in home.lanes.asked] == [False, True]
    for unknown in ("nothing", "sweep@lane a"):
        with pytest.raises(EdgeError, match="no duty is named"):
            await home.wing.run_now(unknown)


async def test_each_shipped_duty_has_its_line_and_each_empty_place_says_so(home: Home) -> None:
    settings = HouseDuties(log_sync="")
    exports = DayExports(home.ports, Folder(home.folder / "exports"), datetime.UTC)
    drill = FailoverDrill(cast(Lanes, home.lanes), home.clock, str)
    checked = TelemetryCheck(home.ports, cast(Lanes, home.lanes))
    known = shipped(settings, exports, drill, RunbookCheck(_own_page, _everything), checked)
    schedules = {one.name: one.schedule for one in known}
    assert schedules["log-rollup"] == Schedule("10 0 * * *", 3600.0)
    assert schedules["log-sync"] is None
    home.own = [*known, *places(known)]
    home.make()
    await home.live(20)
    notes = {one.name: (one.state, one.note) for one in home.wing.shown()}
    assert notes["backup"] == notes["restore-drill"] == ("off", NONE_CONFIGURED)
    assert notes["log-sync"] == ("off", "off in the configuration")
    brought = duty("backup", "0 4 1 * *", exports.sync)
    assert [one.name for one in places([brought])] == ["restore-drill"]


# --- the drill -----------------------------------------------------------------------------------


def drill_of(home: Home, busy: str = "") -> FailoverDrill:
    clock = home.clock

    class Ticking:
        """A clock that goes on whenever somebody sleeps."""

        now_s, boot_s = clock.now_s, clock.boot_s

        async def sleep(self, seconds: float) -> None:
            clock.advance(seconds)

    return FailoverDrill(cast(Lanes, home.lanes), Ticking(), lambda: busy)


async def test_the_drill_hands_the_forge_role_over_and_takes_the_time(home: Home) -> None:
    result = await drill_of(home).run()
    assert result.is_good
    assert result.text == "forge went from a to b in 3.0 s"
    assert result.figures["took_s"] == 3.0
    assert {lane for lane, method, _ in home.lanes.asked if method == "rest"} == {"a", "b"}


async def test_a_role_that_nobody_takes_in_time_fails_the_drill(home: Home) -> None:
    home.lanes.handed_s = None
    with pytest.raises(EdgeError, match=f"nobody took forge from a within {TARGET_S:g} s"):
        await drill_of(home).run()


async def test_one_lane_or_no_council_is_said_and_fails_nothing(home: Home) -> None:
    home.lanes.council = frozenset()
    assert (await drill_of(home).run()).text == "not possible: the lanes form no council"
    del home.lanes.up["b"]
    result = await drill_of(home).run()
    assert (result.text, result.is_good) == ("not possible: there is one lane", True)
    assert home.lanes.asked == []


async def test_no_drill_is_done_while_work_runs(home: Home) -> None:
    result = await drill_of(home, "1 orders, 0 sessions run").run()
    assert (result.text, result.figures["done"]) == (
        "not done now: 1 orders, 0 sessions run", 0,
    )  # fmt: skip
    assert home.lanes.asked == []


async def test_a_fleet_that_lost_its_other_lanes_fails_the_drill_and_keeps_its_role(
    home: Home,
) -> None:
    home.lanes.up["b"] = False
    with pytest.raises(EdgeError, match="no other lane than a"):
        await drill_of(home).run()
    assert home.lanes.asked == []


# --- the runbook ---------------------------------------------------------------------------------


def _everything() -> InUse:
    return InUse(forge=True, agent=True, council=True)


async def _own_page() -> str:
    return (ROOT / "docs" / "runbook.md").read_text("utf-8")


async def test_every_code_that_can_fire_leads_to_a_section_of_the_page_that_comes_with_it() -> None:
    result = await RunbookCheck(_own_page, _everything).run()
    assert result.is_good, result.text
    assert result.figures["codes"] == len(CODES)


def test_a_section_that_is_gone_is_named_with_the_code_that_needs_it() -> None:
    page = (ROOT / "docs" / "runbook.md").read_text("utf-8")
    cut = page.replace("### A duty did not run", "### Something else")
    result = judged(can_fire(_everything()), cut)
    assert not result.is_good
    assert "duty.missed (#a-duty-did-not-run)" in result.text


def test_codes_of_parts_that_are_off_need_no_section() -> None:
    found = {one.code for one in can_fire(InUse(forge=True, agent=False, council=True))}
    assert agent.HERMES.code not in found
    assert codes.DUTY_MISSED.code in found
    assert len(found) < len(CODES)


# --- the day's log -------------------------------------------------------------------------------


def exports_of(home: Home) -> DayExports:
    return DayExports(home.ports, Folder(home.folder / "exports"), datetime.UTC)


async def test_a_day_that_ended_is_written_once_with_every_event_and_no_words(home: Home) -> None:
    await home.tell("lane.beat", {"done": "polled"})
    await home.tell("session.end", {"state": "completed", "session": "s"}, result="secret words")
    await home.tell("model.result", {"tokens_in": 5, "tokens_out": 7}, lane="b")
    home.clock.advance(DAY_S)
    await home.tell("lane.beat", {"done": "polled"})
    exports = exports_of(home)
    result = await exports.roll_up()
    assert (result.figures["days"], result.figures["events"]) == (1, 3)
    day = home.folder / "exports" / "2026-06-01"
    digest = json.loads((day / "digest.json").read_bytes())
    assert digest["types"] == {"lane.beat": 1, "model.result": 1, "session.end": 1}
    assert (digest["lanes"], digest["sessions"]) == ({"a": 2, "b": 1}, {"completed": 1})
    assert (digest["model_calls"], digest["tokens"]) == (1, 12)
    raw = (day / "events.jsonl.gz").read_bytes()
    lines = [json.loads(line) for line in gzip.decompress(raw).splitlines()]
    assert [line["type"] for line in lines] == ["lane.beat", "session.end", "model.result"]
    assert b"secret" not in gzip.decompress(raw)
    assert (await exports.roll_up()).figures == {"days": 0}
    (day / "digest.json").unlink()
    await exports.roll_up()
    assert (day / "events.jsonl.gz").read_bytes() == raw, "the same archive gives the same bytes"


async def test_days_that_were_slept_over_are_written_when_it_wakes_a_week_at_most(
    home: Home,
) -> None:
    await home.tell("lane.beat", {"done": "polled"})
    home.clock.advance(20 * DAY_S)
    await home.tell("lane.beat", {"done": "polled"})
    home.clock.advance(DAY_S)
    result = await exports_of(home).roll_up()
    assert (result.figures["days"], result.figures["events"]) == (KEPT_DAYS, 1)


async def test_what_was_lost_or_damaged_in_the_folder_is_written_again(home: Home) -> None:
    await home.tell("lane.beat", {"done": "polled"})
    home.clock.advance(3 * DAY_S)
    exports = exports_of(home)
    first = await exports.sync()
    assert (first.figures["days"], first.figures["written_again"]) == (3, 3)
    assert (await exports.sync()).figures["written_again"] == 0
    folder = home.folder / "exports"
    (folder / "2026-06-01" / "events.jsonl.gz").write_bytes(b"bent")
    (folder / "2026-06-02" / "digest.json").write_text('{"date": "2026-06-03"}')
    assert (await exports.sync()).figures["written_again"] == 2
    manifest = json.loads((folder / "manifest.json").read_bytes())
    assert set(manifest["files"]) == {
        f"2026-06-0{n}/events.jsonl.gz" for n in (1, 2, 3)
    }  # fmt: skip


async def test_an_archive_that_holds_nothing_has_no_day_to_write(home: Home) -> None:
    assert (await exports_of(home).roll_up()).figures == {"days": 0}
    assert (await exports_of(home).sync()).figures["days"] == 0


async def test_a_folder_that_cannot_be_written_fails_the_run(home: Home) -> None:
    (home.folder / "exports").write_text("a file")
    await home.tell("lane.beat", {"done": "polled"})
    home.clock.advance(DAY_S)
    with pytest.raises(EdgeError, match="cannot write"):
        await exports_of(home).roll_up()


def test_a_record_says_how_it_stood_to_its_due_time() -> None:
    assert {one.value for one in Punctuality} == {"on time", "late", "missed"}
