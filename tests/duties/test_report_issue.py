"""The morning report on the forge: one comment a period, edited in place, whatever restarts."""

from __future__ import annotations

import datetime
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from allegro.config import load_house
from allegro.core.base.errors import ConfigError
from allegro.core.requests.lifecycle import Step
from allegro.core.settings import ReportSettings
from allegro.house.documents.report_issue import HELD, Delivery, ReportIssue, name_of
from allegro.testing.virtual import VirtualClock
from tests.duties.house import House
from tests.duties.test_documents import Shown

DAY = datetime.date(2026, 11, 29)
NEXT = datetime.date(2026, 11, 30)
BY_DAY, BY_WEEK = "morning report 2026-11-29", "morning report 2026-W48"


async def shown_with(folder: Path, settings: ReportSettings) -> Shown:
    house = House(folder, VirtualClock())
    house.settings = msgspec.structs.replace(house.settings, report=settings)
    await house.start()
    shown = Shown(house)
    await shown.start()
    return shown


@pytest.fixture
async def daily(tmp_path: Path) -> AsyncIterator[Shown]:
    shown = await shown_with(tmp_path, ReportSettings(issue="home/garden#2"))
    yield shown
    await shown.stop()
    await shown.house.ledger.close()


def place(shown: Shown) -> ReportIssue:
    return shown.documents.report_issue


async def test_a_day_has_one_comment_that_is_edited(daily: Shown) -> None:
    for words in ("# Good morning", "# Good morning", "# Good morning, again"):
        await place(daily).publish(DAY, words)
        await daily.settle()
    await place(daily).publish(NEXT, "# Next")
    await daily.settle()
    assert daily.bodies(BY_DAY) == ["# Good morning", "# Good morning, again"]
    assert daily.bodies("morning report 2026-11-30") == ["# Next"]
    issues = {daily.house.requests.work(one).action.issue for one in daily.house.requests.all()}  # type: ignore[attr-defined]
    assert issues == {2}


async def test_a_week_has_one_comment_with_its_newest_report(tmp_path: Path) -> None:
    shown = await shown_with(tmp_path, ReportSettings(issue="home/garden#2", per="week"))
    for day, words in ((DAY, "sunday"), (datetime.date(2026, 11, 27), "friday"), (NEXT, "monday")):
        await place(shown).publish(day, words)
        await shown.settle()
    assert shown.bodies(BY_WEEK) == ["sunday"]
    assert shown.bodies("morning report 2026-W49") == ["monday"]
    await shown.stop()
    await shown.house.ledger.close()


async def test_a_report_that_a_kill_kept_back_is_shown_at_the_next_start_once(daily: Shown) -> None:
    daily.house.is_linked = False
    await place(daily).publish(DAY, "kept")
    await daily.settle()
    assert (await place(daily).delivery(DAY)).state == "waiting"
    await daily.restart()
    daily.house.is_linked = True
    for _ in range(2):
        await daily.settle()
        await daily.restart()
    await place(daily).publish(DAY, "kept")
    await daily.settle()
    assert daily.bodies(BY_DAY) == ["kept"]


async def test_it_is_told_how_far_a_report_is(daily: Shown) -> None:
    assert (await place(daily).delivery(DAY)).state == "none"
    await place(daily).publish(DAY, "words")
    await daily.settle()
    assert (await place(daily).delivery(DAY)).state == "waiting"
    asked = daily.house.requests.newest_mirror(BY_DAY)
    assert asked is not None
    await daily.house.requests.take_step(asked, Step.RECEIPT, url="https://f.example.org/a/b")
    assert await place(daily).delivery(DAY) == Delivery("shown", "https://f.example.org/a/b")
    assert (await place(daily).delivery(NEXT)).state == "none"
    await place(daily).publish(NEXT, "words")
    await daily.settle()
    failed = daily.house.requests.newest_mirror("morning report 2026-11-30")
    assert failed is not None
    await daily.house.requests.take_step(failed, Step.FAIL, "the issue is locked")
    assert await place(daily).delivery(NEXT) == Delivery("failed", "", "the issue is locked")


async def test_without_an_issue_nothing_is_taken(tmp_path: Path) -> None:
    shown = Shown(House(tmp_path, VirtualClock()))
    await shown.house.start()
    await shown.start_documents()
    await place(shown).publish(DAY, "words")
    await place(shown).run()
    assert (await place(shown).delivery(DAY)).state == "off"
    assert shown.house.requests.all() == []
    await shown.house.ledger.close()


async def test_a_public_repository_learns_of_a_report_only_that_it_is_there(daily: Shown) -> None:
    world = daily.house.lane.world["pin_repository"]
    daily.house.lane.world["pin_repository"] = {
        **world, "repository": {**world["repository"], "private": False},
    }  # fmt: skip
    await place(daily).publish(DAY, "# Secrets")
    await daily.settle()
    (text,) = daily.bodies(BY_DAY)
    assert "Secrets" not in text
    assert "`2026-11-29`" in text


@pytest.mark.parametrize("words", ["x" * 200_000, "é\n\n" * 60_000, "\udcff" * 90_000, ""])
async def test_a_report_of_any_length_fits_a_comment(daily: Shown, words: str) -> None:
    await place(daily).publish(DAY, words)
    await daily.settle()
    (text,) = daily.bodies(BY_DAY)
    assert 0 < len(text.encode()) <= 60_000
    assert ("cut" in text) == (len(words) > 60_000)


async def test_of_many_days_the_newest_are_held(daily: Shown) -> None:
    daily.house.is_linked = False
    for number in range(HELD + 3):
        await place(daily).publish(DAY + datetime.timedelta(days=number), f"report {number}")
    daily.house.is_linked = True
    await daily.restart()
    await daily.settle()
    assert daily.bodies(name_of("2026-11-29")) == []
    assert daily.bodies(name_of("2026-12-09")) == [f"report {HELD + 2}"]


@pytest.mark.parametrize(
    "issue", ["x", "a/b", "a/b#0", "a/b#²", "a/b#1\n", "a b/c#1", "/#1", "a/b/c#1"]
)
def test_an_issue_that_is_none_is_a_fault_of_the_file(tmp_path: Path, issue: str) -> None:
    file = tmp_path / "house.toml"
    words = msgspec.json.encode(issue).decode()
    file.write_text(f'[house]\nname = "h"\nstate_dir = "s"\n[report]\nissue = {words}\n')
    with pytest.raises(ConfigError, match=r"report\.issue"):
        load_house(file)
