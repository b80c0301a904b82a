"""The fold of the archive: each event once, whatever happens between; a scripted day is known."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from allegro.core.measures.buckets import spans_of
from allegro.core.measures.minutes import Counted
from allegro.core.protocol.payloads.actions import TriageDone
from allegro.core.protocol.payloads.fleet import RoleTaken
from allegro.core.protocol.payloads.house import (
    FleetProbed,
    LinkCaughtUp,
    LinkDown,
    LinkUp,
    RequestSettled,
)
from allegro.core.protocol.payloads.lane import JournalGap, LaneBeat
from allegro.core.protocol.payloads.polls import ForgeMark, SnapshotIssue
from allegro.core.protocol.payloads.sessions import SessionDelta, SessionEnd

from .measured import NOON, MeasuredArchive

HOUR = 3600.0


@pytest.fixture
async def day(tmp_path: Path) -> AsyncIterator[MeasuredArchive]:
    made = MeasuredArchive(tmp_path)
    await made.open()
    yield made
    await made.close()


def issue(number: int, updated_s: float, **more: object) -> SnapshotIssue:
    values = {
        "repository": 7, "number": number, "state": "open", "updated_s": int(updated_s),
        "created_s": int(updated_s), "author_id": 5, "is_pull": False, "comments": 0,
        "issue_id": number, "closed_s": 0, **more,
    }  # fmt: skip
    return SnapshotIssue(**values)  # type: ignore[arg-type]


def settled(kind: str, from_s: float, to_s: float, **more: object) -> RequestSettled:
    values = {
        "request": f"{kind}{to_s}", "kind": kind, "state": "done", "lane": "a",
        "created_s": from_s - 60, "decided_s": from_s, "settled_s": to_s, **more,
    }  # fmt: skip
    return RequestSettled(**values)  # type: ignore[arg-type]


def beat(**seen: object) -> LaneBeat:
    return LaneBeat(done="polled", done_s=0.0, cycles=1, **seen)  # type: ignore[arg-type]


def taken(why: str = "expired", before: str = "b", act_s: float = 0.5) -> RoleTaken:
    return RoleTaken(
        role="forge", epoch=2, before=before, why=why, silent_s=5.0, take_s=1.0, act_s=act_s
    )


async def scripted(day: MeasuredArchive) -> None:
    """A day with known truth: linked from noon on, an hour without a link from 14 to 15 h."""
    await day.own(LinkUp(lane="a", since_s=NOON, behind=0), NOON)
    await day.tell(issue(1, NOON - 9 * HOUR), NOON + 1)  # the first reading is no sample
    await day.tell(issue(2, NOON + 100), NOON + 104)
    await day.tell(issue(3, NOON + 200), NOON + 250)
    await day.tell(TriageDone(kind="mark_seen", took_s=12.0), NOON + 260)
    await day.tell(SessionDelta(session="s"), NOON + 300.04, born_s=NOON + 300)
    await day.tell(SessionEnd(session="s", state="completed"), NOON + 310.02, born_s=NOON + 310)
    await day.tell(SessionEnd(session="t", state="failed"), NOON + 320.02, born_s=NOON + 320)
    await day.own(settled("propose_change", NOON + 400, NOON + 430), NOON + 431)
    await day.own(settled("comment", NOON + 500, NOON + 520), NOON + 521)
    await day.own(settled("comment", NOON + 600, NOON + 690, state="failed"), NOON + 691)
    await day.tell(taken(), NOON + 700)
    await day.tell(taken(why="offered"), NOON + 710)
    await day.own(LinkDown(lane="a", since_s=NOON + 2 * HOUR), NOON + 2 * HOUR + 3)
    await day.own(LinkUp(lane="a", since_s=NOON + 3 * HOUR, behind=9), NOON + 3 * HOUR + 1)
    await day.tell(issue(4, NOON + 2 * HOUR + 60), NOON + 3 * HOUR + 8)
    await day.tell(beat(), NOON + 3 * HOUR + 9, born_s=NOON + 2 * HOUR + 9)
    await day.own(LinkCaughtUp(lane="a", took_s=11.0, entries=9), NOON + 3 * HOUR + 11)
    await day.own(settled("comment", NOON + 2.5 * HOUR, NOON + 3 * HOUR + 15), NOON + 3 * HOUR + 16)


async def test_each_figure_of_a_scripted_day_is_the_known_truth_or_says_why_it_cannot_be(
    day: MeasuredArchive,
) -> None:
    await scripted(day)
    rows = await day.rows(NOON - HOUR, NOON + 4 * HOUR)

    poll = rows["poll.latency"]
    assert (poll.count, poll.within, poll.largest) == (3, 3, 50.0)
    assert (poll.waited, poll.waited_s) == (1, HOUR - 60)
    assert rows["sync.recovery"].value == 11.0
    assert rows["buffer.age"].value == HOUR
    assert rows["triage.time"].value == 12.0
    assert rows["pull.time"].value == 30.0
    assert (rows["comment.time"].value, rows["comment.time"].waited_s) == (20.0, HOUR / 2)
    assert rows["comment.time"].count == 2
    assert rows["failover.time"].value == 6.5
    assert (rows["pulls.rate"].value, rows["pulls.rate"].verdict) == (1.0, "as asked")
    assert (rows["sessions.rate"].within, rows["sessions.rate"].count) == (1, 2)
    assert rows["sessions.rate"].verdict == "missed"
    assert rows["telemetry.lag"].count == 3
    assert rows["telemetry.lag"].value == pytest.approx(0.04, rel=0.03)
    for silent in ("syncthing.lag", "alerts.false"):
        assert rows[silent].value is None
        assert rows[silent].verdict == "not measurable yet"
        assert rows[silent].reason


async def test_a_row_of_which_nothing_happened_is_not_measurable_and_says_so(
    day: MeasuredArchive,
) -> None:
    rows = await day.rows(NOON - HOUR, NOON)
    assert {row.verdict for row in rows.values()} == {"not measurable yet"}
    assert all(row.reason for row in rows.values())


async def test_uptime_is_of_minutes_that_others_looked_at_and_never_of_self_reports(
    day: MeasuredArchive,
) -> None:
    for minute in range(10):
        at_s = NOON + 60 * minute
        await day.tell(beat(hears=("b",), house_s=2.0), at_s)
        if minute < 4:
            await day.tell(beat(misses=("a",)), at_s, lane="b")
    # c is down and says, much later, that it was well: nobody saw it
    await day.own(FleetProbed(linked=("a",), silent=("c",)), NOON + 60)
    await day.own(FleetProbed(linked=("a",), silent=("c",)), NOON + 120)
    await day.tell(beat(hears=("c",)), NOON + 3 * HOUR, lane="c", born_s=NOON + 60)

    await day.fold.fold_on()
    minutes = await day.book.minutes(spans_of(NOON, NOON + HOUR))

    assert minutes["a"] == Counted(10, 10)  # the house saw it, whatever b missed
    assert minutes["b"] == Counted(10, 10)  # seen by its own link first, then by lane a
    assert minutes["c"] == Counted(2, 0)
    assert minutes["house"] == Counted(10, 10)
    rows = await day.rows(NOON, NOON + HOUR)
    assert rows["uptime"].value == pytest.approx(20 / 22)
    assert {part.name for part in rows["uptime"].parts} == {"a", "b", "c", "house"}


async def test_what_a_journal_gave_up_misses_the_promise_of_seven_days(
    day: MeasuredArchive,
) -> None:
    await day.tell(beat(), NOON + 5, born_s=NOON)
    await day.tell(JournalGap(reason="full", shed=5, count=40, first=1, last=40), NOON + 6)
    rows = await day.rows(NOON, NOON + HOUR)
    assert (rows["buffer.age"].value, rows["buffer.age"].verdict) == (5.0, "missed")


async def test_a_forge_whose_clock_is_off_moves_no_sample(day: MeasuredArchive) -> None:
    await day.own(LinkUp(lane="a", since_s=NOON, behind=0), NOON)
    await day.tell(issue(1, NOON), NOON)
    for n in range(3):
        at_s = NOON + 10 + n
        mark = ForgeMark(watch="w", forge_s=1, wall_s=at_s, date_s=int(at_s) - 600)
        await day.tell(mark, at_s)
    await day.tell(issue(2, NOON + 100 - 600), NOON + 104)
    rows = await day.rows(NOON, NOON + HOUR)
    assert rows["poll.latency"].largest == pytest.approx(4.0, abs=1.0)


async def test_a_lane_cannot_speak_of_links_requests_or_probes(day: MeasuredArchive) -> None:
    await day.tell(settled("propose_change", NOON, NOON + 1), NOON + 1)
    await day.tell(LinkCaughtUp(lane="b", took_s=1.0, entries=5), NOON + 2)
    await day.tell(FleetProbed(linked=(), silent=("b",)), NOON + 3)
    rows = await day.rows(NOON, NOON + HOUR)
    assert rows["pulls.rate"].count == 0
    assert rows["sync.recovery"].value is None
    assert rows["uptime"].value is None


async def test_a_house_that_was_killed_counts_its_links_as_down_since_it_last_heard(
    day: MeasuredArchive,
) -> None:
    await day.own(LinkUp(lane="a", since_s=NOON, behind=0), NOON)
    await day.tell(issue(1, NOON), NOON + 1)
    await day.tell(beat(), NOON + 60)
    await day.own(LinkUp(lane="a", since_s=NOON + 1060, behind=1), NOON + 1061)
    await day.tell(issue(2, NOON + 500), NOON + 1065)
    rows = await day.rows(NOON, NOON + HOUR)
    assert rows["poll.latency"].largest == 5.0
    assert rows["poll.latency"].waited_s == 560.0


async def test_a_fold_that_stops_anywhere_and_goes_on_gives_the_same_figures(
    day: MeasuredArchive, tmp_path: Path
) -> None:
    await scripted(day)
    once = await day.rows(NOON - HOUR, NOON + 4 * HOUR)
    (tmp_path / "again").mkdir()
    again = MeasuredArchive(tmp_path / "again")
    await again.open()
    for stored in await day.archive.events(0, 100):
        if stored.lane == "house":
            await again.archive.add([stored.stored], stored.at_s)
        else:
            await again.raw(stored.stored, stored.at_s, lane=stored.lane)
        await again.fold.fold_on()
        await again.reopen()
    assert await again.rows(NOON - HOUR, NOON + 4 * HOUR) == once
    await again.close()


async def test_an_older_copy_of_the_archive_is_noticed_and_folded_anew(
    day: MeasuredArchive, tmp_path: Path
) -> None:
    await day.tell(TriageDone(kind="mark_seen", took_s=1.0), NOON)
    await day.close()
    shutil.copy(tmp_path / "archive.db", tmp_path / "older.db")
    await day.open()
    for n in range(2, 6):
        await day.tell(TriageDone(kind="mark_seen", took_s=float(n)), NOON + n)
    assert (await day.rows(NOON, NOON + HOUR))["triage.time"].count == 5
    await day.close()
    for name in ("archive.db-wal", "archive.db-shm"):
        (tmp_path / name).unlink(missing_ok=True)
    shutil.copy(tmp_path / "older.db", tmp_path / "archive.db")
    await day.open()
    day._seq["a"] = 1
    for n in range(10, 19):  # it grows past the row that was folded, with other events
        await day.tell(TriageDone(kind="mark_seen", took_s=float(n)), NOON + n)
    row = (await day.rows(NOON, NOON + HOUR))["triage.time"]
    assert (row.count, row.largest) == (10, 18.0)


async def test_another_archive_is_folded_from_its_first_row(
    day: MeasuredArchive, tmp_path: Path
) -> None:
    await day.tell(TriageDone(kind="mark_seen", took_s=1.0), NOON)
    await day.rows(NOON, NOON + HOUR)
    await day.close()
    for path in tmp_path.glob("archive.db*"):
        path.unlink()
    day._seq.clear()
    await day.open()
    await day.tell(TriageDone(kind="mark_seen", took_s=2.0), NOON)
    row = (await day.rows(NOON, NOON + HOUR))["triage.time"]
    assert (row.count, row.largest) == (1, 2.0)


async def test_a_damaged_file_of_figures_is_made_anew(day: MeasuredArchive, tmp_path: Path) -> None:
    await scripted(day)
    before = await day.rows(NOON - HOUR, NOON + 4 * HOUR)
    await day.close()
    for path in tmp_path.glob("measures.db-*"):
        path.unlink()
    (tmp_path / "measures.db").write_bytes(b"no database at all" * 400)
    await day.open()
    assert await day.rows(NOON - HOUR, NOON + 4 * HOUR) == before


async def test_an_unreadable_event_is_counted_and_passed(day: MeasuredArchive) -> None:
    odd = (
        b'{"specversion":"1.0","id":"x","type":"triage.done","source":"s","time":"t",'
        b'"data":{"took_s":1},"sealed":"not base64!"}'
    )
    await day.raw(odd, NOON)
    await day.tell(TriageDone(kind="mark_seen", took_s=3.0), NOON + 1)
    rows = await day.rows(NOON, NOON + HOUR)
    assert rows["triage.time"].count == 1
    assert day.fold.place.unreadable == 1


async def test_a_year_is_read_from_days_and_a_window_from_quarters(day: MeasuredArchive) -> None:
    for n in range(400):
        await day.tell(TriageDone(kind="mark_seen", took_s=float(n % 7)), NOON - n * 86_400.0)
    year = await day.rows(NOON - 365 * 86_400, NOON + 900)
    assert year["triage.time"].count == 366
    part = await day.rows(NOON - 2 * 86_400 + 900, NOON)
    assert part["triage.time"].count == 1


async def test_rows_of_a_day_are_found_without_reading_the_archive(day: MeasuredArchive) -> None:
    for n in range(6):
        await day.tell(TriageDone(kind="mark_seen", took_s=1.0), NOON + n * HOUR)
    await day.fold.fold_on()
    assert await day.book.arrived(spans_of(NOON + HOUR, NOON + 3 * HOUR)) == (2, 3)
    assert await day.book.arrived(spans_of(NOON + 9 * HOUR, NOON + 10 * HOUR)) == (1, 0)


async def test_a_journal_lasts_by_the_pace_at_which_it_filled_without_a_link(
    day: MeasuredArchive,
) -> None:
    await day.own(LinkUp(lane="a", since_s=NOON, behind=0), NOON)
    await day.own(LinkDown(lane="a", since_s=NOON + 60), NOON + 62)
    await day.own(LinkUp(lane="a", since_s=NOON + 3 * HOUR, behind=9), NOON + 3 * HOUR)
    kept = {0: 100, 61: 1_000, 61 + 1_800: 90_000, 61 + 3_600: 37_000, 61 + 7_300: 36_000}
    for after_s, bytes_ in kept.items():
        payload = beat(kept_bytes=bytes_, cap_bytes=10_000_000)
        await day.tell(payload, NOON + 3 * HOUR + 5, born_s=NOON + after_s)
    room = (await day.rows(NOON - HOUR, NOON + 4 * HOUR))["buffer.room"]
    assert room.count == 1
    assert room.value == 10_000_000 / 36_000 * 3_600
    assert room.verdict == "met"


async def test_a_journal_of_a_linked_lane_says_nothing_about_how_long_it_lasts(
    day: MeasuredArchive,
) -> None:
    await day.own(LinkUp(lane="a", since_s=NOON, behind=0), NOON)
    for hour in range(4):
        await day.tell(beat(kept_bytes=hour * 9_000_000, cap_bytes=10_000_000), NOON + hour * HOUR)
    assert (await day.rows(NOON, NOON + 5 * HOUR))["buffer.room"].value is None
