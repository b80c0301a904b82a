"""Labels and branches of our bots are told, with few requests (G13)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from allegro.core.base.errors import EdgeError
from allegro.core.base.events import Event
from allegro.lane.forge.footprints import PUSH_PAGES
from allegro.testing.virtual import BOT, HUMAN, FakeForge, VirtualClock
from tests.duties.lane import GARDEN, Lane, journal_in, settings_of

COMMITS = ("a" * 40, "b" * 40, "c" * 40)


@pytest.fixture
def forge() -> FakeForge:
    made = FakeForge(VirtualClock())
    made.make_repository(GARDEN)
    return made


class MakeLane:
    """Starts lanes, each again on the same journal."""

    def __init__(self, forge: FakeForge, folder: Path) -> None:
        self._forge, self._folder = forge, folder
        self.journals: list[Any] = []

    async def __call__(self, **changes: Any) -> Lane:
        clock = self._forge.clock
        self.journals.append(await journal_in(self._folder, clock))
        lane = Lane(self._forge, clock, self.journals[-1], settings_of(**changes))
        await lane.start()
        return lane


@pytest.fixture
async def make_lane(forge: FakeForge, tmp_path: Path) -> AsyncIterator[MakeLane]:
    made = MakeLane(forge, tmp_path)
    yield made
    for journal in made.journals:
        await journal.close()


async def labels(lane: Lane) -> list[Event]:
    return await lane.told("forge.snapshot.label")


async def branches(lane: Lane) -> list[Event]:
    return await lane.told("forge.snapshot.branch")


async def test_a_label_of_our_bot_is_told_with_who_and_when(
    forge: FakeForge, make_lane: MakeLane
) -> None:
    lane = await make_lane(triage=False)
    await lane.live(20)
    repo = next(iter(forge.repositories.values()))
    issue = forge.open_issue(repo)
    forge.label(issue, "kind/bug", by=HUMAN)
    await lane.live(20)
    assert await labels(lane) == []
    at_s = forge.forge_s()
    forge.label(issue, "status/done", by=BOT)
    await lane.live(20)
    [told] = await labels(lane)
    assert told.subject.startswith(f"forge.example.org/{repo.id}#{issue.number}/label/")
    assert told.data["number"] == issue.number
    assert (told.data["repository"], told.data["author_id"]) == (repo.id, BOT)
    assert (told.data["created_s"], told.data["label"] > 0) == (at_s, True)
    assert "status/done" not in str(told.data)


async def test_a_label_is_told_once_also_after_a_restart(
    forge: FakeForge, make_lane: MakeLane
) -> None:
    lane = await make_lane(triage=False)
    await lane.live(20)
    issue = forge.open_issue(next(iter(forge.repositories.values())))
    forge.label(issue, "status/done", by=BOT)
    await lane.live(20)
    await lane.start()
    forge.comment(issue, "a word")
    forge.label(issue, "kind/bug")
    await lane.live(120)
    assert len(await labels(lane)) == 1


async def test_what_this_lane_labels_itself_costs_no_look_at_the_history(
    forge: FakeForge, make_lane: MakeLane
) -> None:
    lane = await make_lane()
    await lane.live(20)
    forge.open_issue(next(iter(forge.repositories.values())))
    await lane.live(20)
    assert forge.written
    assert await labels(lane) == []


async def test_old_labels_are_not_asked_for(forge: FakeForge, make_lane: MakeLane) -> None:
    repo = next(iter(forge.repositories.values()))
    forge.label(forge.open_issue(repo), "status/done", by=BOT)
    forge.clock.advance(3_600)
    lane = await make_lane(triage=False)
    await lane.live(60)
    assert await labels(lane) == []


async def test_branches_that_were_there_are_no_news_and_new_and_moved_ones_are(
    forge: FakeForge, make_lane: MakeLane
) -> None:
    repo = next(iter(forge.repositories.values()))
    forge.push(repo, "main", COMMITS[0])
    lane = await make_lane(triage=False)
    await lane.live(120)
    assert await branches(lane) == []
    forge.push(repo, "theirs", COMMITS[1], by=HUMAN)
    forge.push(repo, "ours", COMMITS[1], by=BOT)
    forge.push(repo, "nobodys", COMMITS[1], by=None)
    await lane.live(1_300)
    told = await branches(lane)
    assert sorted(event.data["author_id"] for event in told) == [0, HUMAN, BOT]
    assert {event.data["commit"] for event in told} == {COMMITS[1]}
    assert {event.data["repository"] for event in told} == {repo.id}
    assert "ours" not in str([event.data for event in told])
    forge.push(repo, "main", COMMITS[2], by=BOT)
    await lane.live(1_300)
    assert [event.data["commit"] for event in await branches(lane)][3:] == [COMMITS[2]]


async def test_a_branch_that_was_deleted_and_made_again_is_new(
    forge: FakeForge, make_lane: MakeLane
) -> None:
    repo = next(iter(forge.repositories.values()))
    forge.push(repo, "main", COMMITS[0])
    lane = await make_lane(triage=False)
    await lane.live(120)
    for _ in range(2):
        forge.push(repo, "ours", COMMITS[1], by=BOT)
        await lane.live(1_300)
        forge.branches_of[repo.id].pop("ours")
        await lane.live(1_300)
    assert len(await branches(lane)) == 2


async def test_a_list_of_branches_that_fails_stops_nothing_and_is_told(
    forge: FakeForge, make_lane: MakeLane
) -> None:
    repo = next(iter(forge.repositories.values()))
    lane = await make_lane(triage=False)
    forge.branch_fault = EdgeError("500", transient=True, status=500, kind="server")
    await lane.live(700)
    forge.open_issue(repo)
    await lane.live(20)
    assert len(await lane.snapshots()) == 1
    [told] = await lane.told("forge.unread")
    assert b"branches" in told.sealed
    assert await lane.told("watch.failing") == []
    forge.branch_fault = None


async def test_a_thousand_branches_are_one_baseline(forge: FakeForge, make_lane: MakeLane) -> None:
    repo = next(iter(forge.repositories.values()))
    for number in range(1_200):
        forge.push(repo, f"b{number}", COMMITS[0])
    lane = await make_lane(triage=False)
    await lane.live(30)
    assert await branches(lane) == []
    await lane.start()
    await lane.live(700)
    assert await branches(lane) == []


async def test_who_moves_our_branch_unseen_is_not_taken_for_us(
    forge: FakeForge, make_lane: MakeLane
) -> None:
    """A person may hide what he does from the record of activities, and that may be late."""
    repo = next(iter(forge.repositories.values()))
    lane = await make_lane(triage=False)
    await lane.live(120)
    forge.push(repo, "ours", COMMITS[0], by=BOT)
    await lane.live(1_300)
    forge.push(repo, "ours", COMMITS[1], by=None)
    await lane.live(1_300)
    assert [event.data["author_id"] for event in await branches(lane)] == [BOT, 0]


async def test_a_push_behind_pages_of_other_activity_is_found(
    forge: FakeForge, make_lane: MakeLane
) -> None:
    """Somebody may push what he likes to bury what another pushed."""
    repo = next(iter(forge.repositories.values()))
    lane = await make_lane(triage=False)
    await lane.live(120)
    forge.push(repo, "ours", COMMITS[0], by=BOT)
    for number in range(6 * forge.page_size):
        forge.push(repo, "noise", f"{number:040x}", by=HUMAN)
    await lane.live(1_300)
    told = {event.data["commit"]: event.data["author_id"] for event in await branches(lane)}
    assert told[COMMITS[0]] == BOT
    assert await lane.told("forge.unread") == []


async def test_the_record_of_activities_is_read_no_further_than_the_last_look(
    forge: FakeForge, make_lane: MakeLane
) -> None:
    repo = next(iter(forge.repositories.values()))
    for number in range(40 * forge.page_size):
        forge.push(repo, "noise", f"{number:040x}", by=HUMAN)
    lane = await make_lane(triage=False)
    await lane.live(2_000)
    before = forge.pages_of_pushes
    forge.push(repo, "nobodys", COMMITS[1], by=None)
    await lane.live(1_300)
    assert [event.data["author_id"] for event in await branches(lane)] == [0]
    assert forge.pages_of_pushes - before == 1
    assert await lane.told("forge.unread") == []


async def test_a_record_too_long_to_read_is_told(forge: FakeForge, make_lane: MakeLane) -> None:
    repo = next(iter(forge.repositories.values()))
    lane = await make_lane(triage=False)
    await lane.live(120)
    forge.push(repo, "ours", COMMITS[0], by=BOT)
    for number in range((PUSH_PAGES + 1) * forge.page_size):
        forge.push(repo, "noise", f"{number:040x}", by=HUMAN)
    await lane.live(1_300)
    assert {event.data["author_id"] for event in await branches(lane)} == {0, HUMAN}
    [told] = await lane.told("forge.unread")
    assert b"pages of activities" in told.sealed
