"""Reports are kept, brought once, and shown as they were brought."""

from __future__ import annotations

import datetime
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from allegro.core.base.errors import EdgeError
from allegro.core.health.alerts import Alert, Course, Phase
from allegro.core.health.codes import Severity
from allegro.core.protocol.payloads.lane import LaneBeat
from allegro.core.protocol.payloads.sessions import SessionEnd
from allegro.core.settings import HouseDuties
from allegro.house.reports.duties import ReportDuties
from allegro.house.reports.reporter import Delivery
from allegro.testing.virtual import VirtualClock

from .reported import ReportedHouse, well

SIX_S = datetime.datetime(2027, 3, 29, 4, tzinfo=datetime.UTC).timestamp()
"""Six in the morning in Berlin, of the day after a Sunday with 23 hours."""


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[ReportedHouse]:
    made = ReportedHouse(tmp_path, VirtualClock(SIX_S))
    await made.open()
    made.said.lanes = well("a")
    for days in range(-2, 3):  # each of these days a lane is heard
        at_s = SIX_S + (days - 0.5) * 86_400
        await made.tell(LaneBeat(done="polled", done_s=0.0, cycles=1), at_s=at_s)
    yield made
    await made.close()


async def test_a_report_is_of_the_owners_yesterday_whatever_its_length(
    house: ReportedHouse,
) -> None:
    day = house.reporter.yesterday()
    assert day.date.isoformat() == "2027-03-28"
    assert day.end_s - day.start_s == 23 * 3_600


async def test_a_report_is_kept_in_every_form_and_brought_in_two(house: ReportedHouse) -> None:
    said = await house.reporter.run()
    assert said == "2027-03-28: all well"
    names = [name for name in house.store.names() if name.startswith("2027-03-28")]
    assert names == [f"2027-03-28.{form}" for form in ("html", "json", "md", "sent", "txt")]
    brought = house.brought[0]
    assert brought.whole == house.store.read("2027-03-28.md")
    assert brought.short.startswith("Morning report 2027-03-28: all well.")


async def test_on_monday_the_week_is_reported_too(house: ReportedHouse) -> None:
    await house.reporter.run()
    names = [name for name in house.store.names() if "W" in name]
    assert names == [f"2027-W12.{form}" for form in ("html", "json", "md", "svg", "txt")]
    week = json.loads(house.store.read("2027-W12.json") or "")
    assert [one["date"] for one in week["days"]][::6] == ["2027-03-22", "2027-03-28"]


async def test_what_was_delivered_is_what_is_shown_later(house: ReportedHouse) -> None:
    await house.reporter.run()
    kept = await house.reporter.answer(datetime.date(2027, 3, 28), "md", weekly=False)
    house.said.lanes = []
    again = await house.reporter.answer(datetime.date(2027, 3, 28), "md", weekly=False)
    assert again == kept
    assert kept.is_kept
    built = await house.reporter.answer(datetime.date(2027, 3, 27), "md", weekly=False)
    assert not built.is_kept
    assert "Not all well" in built.text


async def test_the_same_facts_and_the_same_time_are_the_same_bytes(house: ReportedHouse) -> None:
    await house.tell(SessionEnd(session="s", state="completed"))
    day = datetime.date(2027, 3, 27)
    for form in ("md", "txt", "html", "json"):
        one = await house.reporter.answer(day, form, weekly=False)
        other = await house.reporter.answer(day, form, weekly=False)
        assert one.text == other.text


@pytest.mark.parametrize("day", ["2027-03-29", "2027-04-01", "1999-01-01"])
async def test_a_day_that_is_not_over_or_long_gone_is_refused(
    house: ReportedHouse, day: str
) -> None:
    with pytest.raises(EdgeError, match="a day that is over"):
        await house.reporter.answer(datetime.date.fromisoformat(day), "md", weekly=False)


async def test_one_way_that_refuses_is_said_and_holds_no_other_up(house: ReportedHouse) -> None:
    taken: list[Delivery] = []

    async def forge(delivery: Delivery) -> None:
        taken.append(delivery)

    house.is_refusing = True
    house.reporter.add_way("forge", forge)
    assert "not by chat (the channel is down)" in await house.reporter.run()
    assert len(taken) == 1


async def test_a_report_that_no_way_takes_fails_its_duty(house: ReportedHouse) -> None:
    house.is_refusing = True
    with pytest.raises(EdgeError, match="no way took the report"):
        await house.reporter.run()
    assert house.store.read("2027-03-28.md") is not None


async def test_a_report_that_was_not_built_is_told_in_the_next_one(house: ReportedHouse) -> None:
    await house.reporter.run()
    house.clock.advance(2 * 86_400)
    said = await house.reporter.run()
    assert said == "2027-03-30: not all well: 1 wrong"
    assert "a report did not arrive: folder" in house.brought[-1].whole


async def test_a_late_report_is_marked_so(house: ReportedHouse) -> None:
    await house.reporter.run(late_s=3 * 3_600.0)
    assert "Late by 3 h" in house.brought[0].whole


async def test_a_report_that_was_not_sent_is_told_in_itself_and_in_the_next_one(
    house: ReportedHouse,
) -> None:
    house.is_refusing = True
    with pytest.raises(EdgeError):
        await house.reporter.run()
    assert "a report did not arrive: chat (this report)" in (
        house.store.read("2027-03-28.md") or ""
    )
    house.is_refusing = False
    house.clock.advance(86_400)
    assert await house.reporter.run() == "2027-03-29: not all well: 1 wrong"
    assert "a report did not arrive: chat" in house.brought[-1].whole


async def test_a_program_that_died_between_writing_and_sending_is_noticed(
    house: ReportedHouse,
) -> None:
    await house.reporter.run()
    (house.folder / "reports" / "2027-03-28.sent").unlink()
    house.clock.advance(86_400)
    assert await house.reporter.run() == "2027-03-29: not all well: 1 wrong"
    assert "the program ended before it was sent" in house.brought[-1].whole


# --- as scheduled duties -------------------------------------------------------------------------


def duties_of(
    house: ReportedHouse, morning_report: str = "0 7 * * *", metrics_report: str = "0 6 * * *"
) -> ReportDuties:
    settings = HouseDuties(morning_report=morning_report, metrics_report=metrics_report)
    return ReportDuties(house.reporter, house.measures, house.clock, settings)


async def test_the_three_reports_are_duties_with_the_configured_times(house: ReportedHouse) -> None:
    found = {duty.name: duty for duty in duties_of(house, metrics_report="").made()}
    assert set(found) == {"morning-report", "metrics-report", "throughput-report"}
    assert found["morning-report"].schedule is not None
    assert found["metrics-report"].schedule is None


async def test_a_report_in_its_time_is_not_late_and_one_after_a_sleep_is(
    house: ReportedHouse,
) -> None:
    result = await duties_of(house, morning_report="0 6 * * *").report()
    assert result.text == "2027-03-28: all well"
    assert "Late" not in house.brought[-1].whole
    house.clock.advance(86_400 + 3 * 3_600)
    await duties_of(house, morning_report="0 6 * * *").report()
    assert "Late by 3 h" in house.brought[-1].whole


async def test_a_report_that_a_person_asks_for_again_is_not_called_late(
    house: ReportedHouse,
) -> None:
    duties = duties_of(house, morning_report="0 6 * * *")
    await duties.report()
    house.clock.advance(5 * 3_600)
    await duties.report()
    assert "Late" not in house.brought[-1].whole


async def test_figures_of_the_day_and_of_the_week_are_the_results_of_their_duties(
    house: ReportedHouse,
) -> None:
    house.clock.advance(-10 * 3_600)
    await house.tell(SessionEnd(session="s", state="completed"))
    house.clock.advance(10 * 3_600)
    duties = duties_of(house)
    day, week = await duties.day(), await duties.week()
    assert day.figures["sessions.rate"] == 1.0
    assert day.text.startswith("2027-03-28: ")
    assert "sessions carried: 0.4 a day" in week.text  # of two days and a quarter


# --- days of before ------------------------------------------------------------------------------


async def test_a_day_of_which_nothing_came_home_is_not_called_quiet(house: ReportedHouse) -> None:
    answer = await house.reporter.answer(datetime.date(2027, 3, 20), "txt", weekly=False)
    assert "nothing came home that day: no lane was heard" in answer.text
    assert "Not all well" in answer.text


async def test_a_day_long_ago_is_never_called_all_well_by_what_holds_now(
    house: ReportedHouse,
) -> None:
    house.clock.advance(-3 * 86_400)
    await house.tell(SessionEnd(session="s", state="completed"))
    house.clock.advance(3 * 86_400)
    answer = await house.reporter.answer(datetime.date(2027, 3, 26), "txt", weekly=False)
    assert "1 completed" in answer.text
    assert "that day is too long ago" in answer.text
    assert "Not all well" in answer.text


async def test_a_week_shows_each_day_as_it_was_reported(house: ReportedHouse) -> None:
    house.said.lanes = []
    await house.reporter.run()
    assert "not all well" in (house.store.read("2027-03-28.txt") or "").lower()
    house.said.lanes = well("a")
    week = await house.reporter.week(house.reporter.yesterday())
    assert week.days[-1].lanes == ()


async def test_an_alert_that_was_over_by_morning_is_told_and_one_after_an_old_day_is_not(
    house: ReportedHouse,
) -> None:
    day = house.reporter.yesterday()
    over = Course(phase=Phase.RECOVERED, begun_s=day.start_s - 60, well_s=day.start_s + 60)
    condition = Alert("house.disk", "", "", Severity.P1, {}, day.start_s - 60, day.start_s - 60,
                      is_condition=True, course=over)  # fmt: skip
    house.said.alerts = [condition]
    assert "1 alert was raised or holds" in (await shown(house, day.date))
    assert "1 alert was raised" not in (await shown(house, datetime.date(2027, 3, 20)))


async def test_an_alert_before_the_day_that_is_over_is_not_told_again(house: ReportedHouse) -> None:
    day = house.reporter.yesterday()
    house.said.alerts = [
        Alert("lane.silent", "", "b", Severity.P1, {}, day.start_s - 900, day.start_s - 800)
    ]
    assert "alert was raised" not in (await shown(house, day.date))


async def shown(house: ReportedHouse, day: datetime.date) -> str:
    return (await house.reporter.answer(day, "txt", weekly=False)).text
