"""The forge duty through outages, lies and crowds: all is journalled, once, and nothing is lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from allegro.adapters.sqlite.archive import open_archive
from allegro.core.base.errors import EdgeError
from allegro.core.base.events import decode_event
from allegro.core.forge.issues import Issue, Repository
from allegro.core.forge.marks import Window
from allegro.core.ports import CommentPage, IssuePage, Unread
from allegro.testing.virtual import BOT, FakeForge, VirtualClock

from .lane import FORGE, GARDEN, SHED, Lane, journal_in, settings_of

DAY_S, WEEK_S = 86_400, 7 * 86_400
DOWN = EdgeError("the forge does not answer", transient=True, status=503, kind="server")

MakeLane = Callable[..., Awaitable[Any]]


@pytest.fixture
async def make_lane(tmp_path: Path) -> AsyncIterator[MakeLane]:
    clock = VirtualClock()
    journals = []

    async def make(
        kind: type[FakeForge] = FakeForge, cap_bytes: int = 500_000_000, **changes: Any
    ) -> Lane:
        journal = await journal_in(tmp_path, clock, cap_bytes)
        journals.append(journal)
        forge = kind(clock)
        forge.make_repository(GARDEN)
        forge.make_repository(SHED)
        lane = Lane(forge, clock, journal, settings_of(**changes))
        await lane.start()
        return lane

    yield make
    for journal in journals:
        await journal.close()


def garden(lane: Lane) -> Any:
    return lane.forge.repositories[1]


async def nothing_is_missing_or_double(lane: Lane) -> None:
    """Compare what was journalled with the forge itself, word for word."""
    snapshots = await lane.snapshots()
    newest = {issue.id: issue for issue in snapshots}
    assert newest == {issue.id: issue for issue in lane.forge.issues.values()}
    told = await lane.told("forge.snapshot")
    assert [id_ for id_, n in Counter(event.id for event in told).items() if n > 1] == []
    versions = Counter((event.subject, event.sealed) for event in told)
    assert [version for version, n in versions.items() if n > 1] == []


async def test_after_a_week_without_the_forge_everything_is_journalled_once(
    make_lane: MakeLane,
) -> None:
    lane = await make_lane(poll_s=60.0)
    lane.forge.open_issue(garden(lane), "before")
    await lane.live(60)
    stood = await lane.journal.marks()

    lane.forge.fault = DOWN
    for day in range(7):  # people whose requests still came through
        for n in range(30):
            lane.forge.comment(lane.forge.open_issue(garden(lane), f"{day}.{n}"), "words")
        await lane.live(DAY_S)
        assert await lane.journal.marks() == stood
    lane.forge.fault = None
    await lane.live(1200)

    await nothing_is_missing_or_double(lane)
    assert len(lane.forge.issues) == 211
    assert len(await lane.told("forge.snapshot.comment")) == 210
    assert len(await lane.told("forge.unreachable")) == 1
    assert len(await lane.told("forge.recovered")) == 1
    assert (await lane.mark()).forge_s > stood[GARDEN].forge_s + WEEK_S - 1


async def test_a_week_without_the_house_loses_no_issue_and_doubles_none(
    make_lane: MakeLane,
) -> None:
    lane = await make_lane(poll_s=1800.0)
    await lane.live(1800)
    lane.linked = False
    lane.clock.advance(60)  # the lease runs out
    for n in range(7 * 8 - 1):
        issue = lane.forge.open_issue(garden(lane), f"issue {n}")
        await lane.live(3600)
        lane.forge.edit(issue, body="more")
        await lane.live(DAY_S / 8 - 3600)
        if n == 20:
            await lane.start()  # the lane itself restarts in the middle

    assert lane.forge.written == []
    await nothing_is_missing_or_double(lane)
    lane.linked = True
    await lane.live(4 * 1800)

    assert sorted(number for _, number in lane.forge.written) == list(range(1, 56))
    await nothing_is_missing_or_double(lane)


async def test_the_marks_stand_while_the_journal_is_full_and_go_on_when_it_is_emptied(
    make_lane: MakeLane,
) -> None:
    lane = await make_lane(cap_bytes=60_000)
    await lane.live(10)
    while lane.journal.has_room:
        lane.forge.open_issue(garden(lane), "w" * 2000)
        await lane.live(5)
    stood = await lane.journal.marks()
    missed = lane.forge.open_issue(garden(lane), "while it was full")
    await lane.live(600)
    assert await lane.journal.marks() == stood

    taken = {event.id for event in await lane.told("forge.snapshot.issue")}
    await lane.journal.acknowledge(lane.journal.head)
    await lane.live(10)

    assert missed in await lane.snapshots()
    again = {event.id for event in await lane.told("forge.snapshot.issue")}
    assert taken & again == set()
    assert (await lane.mark()).forge_s > stood[GARDEN].forge_s


async def test_an_issue_that_shows_only_after_its_second_was_read_is_not_lost(
    make_lane: MakeLane,
) -> None:
    lane = await make_lane(poll_s=2.0, overlap_s=10, triage=False)
    await lane.live(120)
    slow = lane.forge.open_issue(garden(lane), "slow writer", late=True)
    await lane.live(8)
    lane.forge.open_issue(garden(lane), "quick writer")
    await lane.live(1)
    lane.forge.land(slow)
    await lane.live(2)

    titles = [issue.title for issue in await lane.snapshots()]
    assert sorted(titles) == ["quick writer", "slow writer"]


async def test_the_deep_poll_finds_who_was_later_than_the_overlap(make_lane: MakeLane) -> None:
    lane = await make_lane(poll_s=2.0, deep_overlap_s=300, triage=False)
    await lane.live(120)
    slow = lane.forge.open_issue(garden(lane), "very slow writer", late=True)
    await lane.live(200)
    lane.forge.land(slow)
    await lane.live(62)

    assert [issue.title for issue in await lane.snapshots()] == ["very slow writer"]


@pytest.mark.parametrize("lie_s", [3_000, 80_000, 200_000, -3_000, -200_000])
async def test_a_forge_that_lies_about_its_date_hides_nothing(
    make_lane: MakeLane, lie_s: int
) -> None:
    lane = await make_lane()
    await lane.live(60)
    lane.forge.lie_s = lie_s
    await lane.live(300)
    assert (await lane.mark()).forge_s <= lane.clock.now_s()

    lane.forge.fault = DOWN
    hidden = lane.forge.open_issue(garden(lane), "written in the dark")
    await lane.live(60)
    lane.forge.fault, lane.forge.lie_s = None, 0
    await lane.live(120)

    assert hidden.title in [issue.title for issue in await lane.snapshots()]
    assert (await lane.mark()).forge_s <= lane.clock.now_s()


async def test_a_watch_that_fails_does_not_stop_the_others(make_lane: MakeLane) -> None:
    lane = await make_lane(watch=(SHED, GARDEN))
    await lane.live(10)
    stood = await lane.mark(SHED)
    lane.forge.faults[SHED] = DOWN
    lane.forge.open_issue(garden(lane), "in the garden")
    await lane.live(600)
    assert [issue.title for issue in await lane.snapshots()][-1] == "in the garden"
    assert await lane.mark(SHED) == stood
    assert (await lane.mark(GARDEN)).forge_s > stood.forge_s
    assert len(await lane.told("watch.failing")) == 1
    assert lane.state.forge_trouble

    del lane.forge.faults[SHED]
    lane.forge.open_issue(lane.forge.repositories[2], "in the shed")
    await lane.live(120)
    assert [issue.title for issue in await lane.snapshots()].count("in the shed") == 2  # + label
    assert lane.state.forge_trouble == ""


async def test_an_endless_comment_list_of_one_issue_does_not_stop_the_rest(
    make_lane: MakeLane,
) -> None:
    lane = await make_lane()
    await lane.live(10)
    endless, plain = (lane.forge.open_issue(garden(lane), title) for title in ("endless", "plain"))
    lane.forge.comment(endless, "one of a million")
    lane.forge.comment(plain, "the only one")
    lane.forge.unreadable[endless.number] = EdgeError(
        "more than 200 pages", transient=False, kind="too_much"
    )
    before = await lane.mark()
    await lane.live(20)

    assert {issue.title for issue in await lane.snapshots()} == {"endless", "plain"}
    words = [event.sealed for event in await lane.told("forge.snapshot.comment")]
    assert sum(b"the only one" in sealed for sealed in words) == 1
    unread = await lane.told("forge.unread")
    assert {event.data["number"] for event in unread} == {endless.number}
    assert (await lane.mark()).forge_s > before.forge_s


async def test_triage_waits_without_a_lease_and_catches_up(make_lane: MakeLane) -> None:
    lane = await make_lane()
    await lane.live(60)
    lane.linked = False
    await lane.live(60)  # the lease runs out
    lane.forge.open_issue(garden(lane), "new")
    await lane.live(DAY_S / 24)
    assert lane.forge.written == []
    assert len(await lane.snapshots()) == 1

    lane.linked = True
    await lane.live(10)
    assert [number for _, number in lane.forge.written] == [1]
    assert set(lane.forge.issues[1, 1].labels) == {"triage/seen", "status/pending"}


async def test_while_the_council_decides_nothing_a_lane_reads_on_and_changes_nothing(
    make_lane: MakeLane,
) -> None:
    lane = await make_lane(poll_s=5.0)
    lane.forge.open_issue(garden(lane), "before")
    await lane.live(60)
    written = list(lane.forge.written)
    lane.state.leases.clear()
    lane.forge.open_issue(garden(lane), "nobody holds the role")
    lane.clock.advance(60)
    await lane.duty.step()
    assert len(await lane.snapshots()) == 2  # the label of the first is one of them

    lane.undecided = True
    for _ in range(3):
        lane.clock.advance(5)
        await lane.duty.step()
    assert "nobody holds the role" in {issue.title for issue in await lane.snapshots()}
    assert lane.forge.written == written
    assert lane.state.done.what == "polled without the council"
    with pytest.raises(EdgeError, match="another lane holds"):
        lane.duty.listing(1)

    lane.undecided = False
    await lane.live(30)  # the role is held again
    assert [number for _, number in lane.forge.written] == [1, 2]
    assert lane.state.done.what == "polled"
    await nothing_is_missing_or_double(lane)


async def test_the_action_cap_spreads_triage_over_cycles(make_lane: MakeLane) -> None:
    lane = await make_lane(actions_per_cycle=20)
    await lane.live(10)
    for n in range(50):
        lane.forge.open_issue(garden(lane), f"issue {n}")
    counts = []
    for _ in range(4):
        lane.clock.advance(15.0)  # beyond the overlap: what was left over is still remembered
        await lane.step()
        counts.append(len(lane.forge.written))

    assert counts == [20, 40, 50, 50]
    assert len(await lane.told("triage.done")) == 50


async def test_our_own_bots_never_trigger_us(make_lane: MakeLane) -> None:
    lane = await make_lane()
    await lane.live(10)
    lane.forge.open_issue(garden(lane), "by a bot", by=BOT)
    await lane.live(60)
    assert [issue.title for issue in await lane.snapshots()] == ["by a bot"]
    assert lane.forge.written == []


async def test_issues_from_before_the_watch_began_are_journalled_and_left_alone(
    make_lane: MakeLane,
) -> None:
    lane = await make_lane()
    old = lane.forge.open_issue(garden(lane), "old")
    lane.clock.advance(DAY_S)
    await lane.live(10)
    lane.forge.edit(old, title="old, but touched")
    await lane.live(10)
    titles = [issue.title for issue in await lane.snapshots()]
    assert titles == ["old", "old, but touched"]
    assert lane.forge.written == []


async def test_an_issue_we_may_not_label_is_told_once_and_left_alone(make_lane: MakeLane) -> None:
    lane = await make_lane()
    await lane.live(10)
    lane.forge.write_fault = EdgeError("no", transient=False, status=403)
    lane.forge.open_issue(garden(lane))
    await lane.live(120)
    assert len(await lane.told("triage.refused")) == 1


async def test_an_edited_comment_is_found_by_the_sweep(make_lane: MakeLane) -> None:
    lane = await make_lane(triage=False)
    await lane.live(10)
    issue = lane.forge.open_issue(garden(lane))
    comment = lane.forge.comment(issue, "as it was")
    await lane.live(1000)
    lane.forge.edit_comment(issue, comment, "as it is")
    await lane.live(130)

    words = [event.sealed for event in await lane.told("forge.snapshot.comment")]
    assert len(words) == 2
    assert b"as it was" in words[0]
    assert b"as it is" in words[1]


async def test_what_was_deleted_is_found_by_the_reconcile(make_lane: MakeLane) -> None:
    lane = await make_lane(triage=False, reconcile_s=7200.0)
    await lane.live(10)
    first, second = (lane.forge.open_issue(garden(lane), title) for title in "ab")
    gone = lane.forge.comment(first, "a slip")
    lane.forge.comment(first, "stays")
    lane.forge.comment(second, "goes with its issue")
    await lane.live(1000)
    lane.forge.delete_comment(first, gone)
    lane.forge.delete(second)
    await lane.live(1000)
    assert await lane.told("forge.vanished") == []
    await lane.live(7200)

    vanished = [event.subject for event in await lane.told("forge.vanished")]
    assert len(vanished) == 3
    assert f"{FORGE}/1/comment/{gone.id}" in vanished
    assert f"{FORGE}/1#{second.number}" in vanished
    await lane.live(8000)
    assert len(await lane.told("forge.vanished")) == 3


async def test_a_renamed_repository_is_followed_and_its_issues_are_not_new(
    make_lane: MakeLane,
) -> None:
    lane = await make_lane(triage=False)
    await lane.live(10)
    repo = garden(lane)
    lane.forge.open_issue(repo, "before")
    await lane.live(10)
    lane.forge.rename(repo, "home/orchard")
    lane.forge.open_issue(repo, "after")
    await lane.live(400)

    told = await lane.told("forge.snapshot.issue")
    assert [event.subject for event in told] == [f"{FORGE}/{repo.id}#{n}" for n in (1, 2)]
    names = [event.sealed for event in await lane.told("forge.snapshot.repository")]
    assert len(names) == 2
    assert b"home/orchard" in names[1]


async def test_a_change_and_its_return_within_one_second_ends_as_it_is(
    make_lane: MakeLane, tmp_path: Path
) -> None:
    lane = await make_lane(triage=False)
    await lane.live(10)
    issue = lane.forge.open_issue(garden(lane), "A")
    for title in ("A", "B", "A"):  # all in the same second of the forge's clock
        lane.forge.edit(issue, title=title)
        await lane.step()

    assert [seen.title for seen in await lane.snapshots()] == ["A", "B", "A"]
    archive = open_archive(tmp_path / "archive.db", quota_bytes=10**9)
    entries = await lane.journal.read(0, 10**9)
    for _ in range(2):  # the second time under another journal: every event a repeat
        await archive.take("a", "j1", 1, entries, 1.0)
        await archive.take("b", "j2", 1, entries, 1.0)
    newest = await archive.newest(f"{FORGE}/1#1")
    await archive.close()
    assert newest is not None
    assert b'"title":"A"' in decode_event(newest).sealed


async def test_the_shadow_mode_shows_what_would_be_and_writes_nothing(
    make_lane: MakeLane,
) -> None:
    lane = await make_lane(shadow=True)
    await lane.live(10)
    lane.forge.open_issue(garden(lane))
    lane.forge.open_issue(garden(lane))
    await lane.live(120)

    assert lane.forge.written == []
    shadows = [event.data["number"] for event in await lane.told("shadow.effect")]
    assert sorted(shadows) == [1, 2]
    assert await lane.told("action.intent") == []


async def test_who_closed_an_issue_is_told(make_lane: MakeLane) -> None:
    lane = await make_lane(triage=False)
    await lane.live(10)
    issue = lane.forge.open_issue(garden(lane))
    await lane.live(10)
    lane.forge.close(issue, by=BOT)
    await lane.live(10)
    told = await lane.told("forge.snapshot.issue")
    assert told[-1].data["closed_by"] == BOT


async def test_people_who_write_while_pages_are_read_are_all_journalled(
    make_lane: MakeLane,
) -> None:
    lane = await make_lane(watch=("org:home",), triage=False)
    lane.forge.page_size = 5
    await lane.live(10)
    opened: list[Issue] = []

    def write() -> None:
        if len(opened) < 60:
            opened.append(lane.forge.open_issue(garden(lane), f"{len(opened)}"))
            lane.forge.edit(opened[len(opened) // 2], body=f"touched {len(opened)}")

    lane.forge.between = write
    await lane.live(60)
    assert len(opened) == 60
    await nothing_is_missing_or_double(lane)


async def test_only_a_lane_that_polls_now_says_what_a_repository_holds(make_lane: MakeLane) -> None:
    lane = await make_lane(poll_s=5.0)
    lane.forge.open_issue(garden(lane), "one")
    await lane.live(10)
    assert lane.duty.listing(1).issues == (1,)

    lease = lane.state.leases.pop("forge")
    with pytest.raises(EdgeError, match="another lane holds") as told:
        lane.duty.listing(1)
    assert not told.value.transient

    taken = lane.roles.taken["forge"]  # another lane polled meanwhile, and this one took it back
    lane.roles.taken["forge"] = msgspec.structs.replace(taken, epoch=taken.epoch + 1)
    lane.state.leases["forge"] = lease
    lane.forge.open_issue(garden(lane), "two")
    lane.forge.fault = DOWN
    await lane.duty.step()
    with pytest.raises(EdgeError, match="not reconciled yet") as told:
        lane.duty.listing(1)
    assert told.value.transient

    lane.forge.fault = None
    await lane.live(60)
    assert lane.duty.listing(1).issues == (1, 2)


async def test_a_repository_of_an_organisation_fails_alone(make_lane: MakeLane) -> None:
    lane = await make_lane(watch=("org:home",), reconcile_s=100.0)
    no_issues = EdgeError("404", transient=False, status=404, kind="not_found")
    lane.forge.faults[SHED] = no_issues
    await lane.live(100)
    lane.forge.open_issue(garden(lane), "in the garden")
    await lane.live(400)

    assert "in the garden" in {issue.title for issue in await lane.snapshots()}
    assert lane.duty.listing(1).issues == (1,)
    failing = await lane.told("watch.failing")
    assert [event.data["watch"] for event in failing] == [SHED]
    assert lane.state.forge_trouble == ""
    assert lane.duty.cycles > 50
    assert [(fact.code.code, fact.subject) for fact in lane.duty.facts()] == [("forge.watch", SHED)]

    del lane.forge.faults[SHED]
    await lane.live(1000)
    assert [event.data["watch"] for event in await lane.told("watch.recovered")] == [SHED]
    assert lane.duty.facts() == []


async def test_what_came_while_a_repository_failed_is_found_once_it_works(
    make_lane: MakeLane,
) -> None:
    lane = await make_lane(watch=("org:home",))
    await lane.live(20)
    talk = lane.forge.open_issue(lane.forge.repositories[2], "in the shed")
    lane.forge.comment(talk, "words")
    lane.forge.faults[SHED] = DOWN  # the organisation's own list still shows the issue
    lane.forge.open_issue(garden(lane), "in the garden")
    await lane.live(200)
    assert "in the garden" in {issue.title for issue in await lane.snapshots()}

    del lane.forge.faults[SHED]
    await lane.live(1000)
    assert len(await lane.told("forge.snapshot.comment")) == 1
    await nothing_is_missing_or_double(lane)
    assert set(lane.forge.issues[2, 1].labels) == {"triage/seen", "status/pending"}


class Buggy(FakeForge):
    """Meets a bug of ours where the comments of one repository are read."""

    bug_in = 0

    async def conversation(self, repo: Repository, number: int) -> CommentPage | None:
        if repo.id == self.bug_in:
            raise ZeroDivisionError("a bug")
        return await super().conversation(repo, number)


async def test_a_bug_sets_its_repository_aside_and_not_the_lane(make_lane: MakeLane) -> None:
    lane = await make_lane(Buggy, watch=("org:home",))
    await lane.live(20)
    lane.forge.bug_in = 2
    lane.forge.comment(lane.forge.open_issue(lane.forge.repositories[2], "the bug's"), "words")
    lane.forge.open_issue(garden(lane), "in the garden")
    await lane.live(60)
    titles = {issue.title for issue in await lane.snapshots()}
    assert "in the garden" in titles
    failing = await lane.told("watch.failing")
    assert {(event.data["watch"], event.data["kind"]) for event in failing} == {(SHED, "bug")}

    lane.forge.bug_in = 0
    await lane.live(1000)
    await nothing_is_missing_or_double(lane)


async def test_the_wait_that_the_forge_asks_for_is_kept_and_told_against_nobody(
    make_lane: MakeLane,
) -> None:
    lane = await make_lane()
    await lane.live(10)
    waiting = EdgeError("wait", transient=True, sent=False, kind="waiting", retry_after_s=500.0)
    lane.forge.fault = waiting
    before = lane.forge.reads
    assert await lane.step() == 500.0
    assert lane.forge.reads == before + 1
    lane.forge.fault = None
    lane.clock.advance(500)
    await lane.live(10)
    assert await lane.told("watch.failing") == []
    assert lane.state.forge_trouble == ""


async def test_a_repository_made_again_under_its_name_is_taken_up(make_lane: MakeLane) -> None:
    lane = await make_lane()
    old = lane.forge.open_issue(garden(lane), "old one")
    comment = lane.forge.comment(old, "old words")
    await lane.live(60)
    lane.forge.delete(old)
    del lane.forge.repositories[1]
    new = lane.forge.make_repository(GARDEN)
    lane.forge.open_issue(new, "new one")
    await lane.live(60)

    assert "new one" in {issue.title for issue in await lane.snapshots()}
    gone = {event.subject for event in await lane.told("forge.vanished")}
    assert gone == {f"{FORGE}/1", f"{FORGE}/1#1", f"{FORGE}/1/comment/{comment.id}"}
    replaced = await lane.told("watch.replaced")
    assert [(e.data["was"], e.data["repository"]) for e in replaced] == [(1, new.id)]
    assert set(lane.forge.issues[new.id, 1].labels) == {"triage/seen", "status/pending"}
    assert lane.duty.facts() == []


async def test_a_repository_made_again_while_the_lane_was_stopped_is_known_as_another(
    make_lane: MakeLane,
) -> None:
    lane = await make_lane()
    lane.forge.delete(lane.forge.open_issue(garden(lane), "old one"))
    await lane.live(60)
    del lane.forge.repositories[1]
    new = lane.forge.make_repository(GARDEN)
    await lane.start()
    await lane.live(60)
    assert [event.data["was"] for event in await lane.told("watch.replaced")] == [1]
    assert f"{FORGE}/1" in {event.subject for event in await lane.told("forge.vanished")}
    assert lane.duty.listing(new.id).issues == ()


async def test_a_rename_is_home_within_one_poll(make_lane: MakeLane) -> None:
    lane = await make_lane()
    await lane.live(60)
    lane.forge.rename(garden(lane), "home/orchard")
    await lane.step()
    names = [event.sealed for event in await lane.told("forge.snapshot.repository")]
    assert b"home/orchard" in names[-1]


async def test_a_burst_is_labelled_at_once_and_read_once(make_lane: MakeLane) -> None:
    lane = await make_lane(poll_s=5.0)
    await lane.live(60)
    for n in range(600):
        lane.forge.open_issue(garden(lane), f"issue {n}")
    began_s, before = lane.clock.boot_s(), lane.forge.reads
    while len(lane.forge.written) < 600:
        lane.clock.advance(max(await lane.step(), 0.05))
    assert lane.clock.boot_s() - began_s < 30
    assert lane.forge.reads - before < 2.6 * 600  # a label, a look, and the list itself
    assert len(await lane.told("triage.done")) == 600


async def test_the_time_of_triage_is_told_by_the_forges_clock(make_lane: MakeLane) -> None:
    lane = await make_lane()
    lane.forge.skew_s = 3600.0
    await lane.live(60)
    lane.forge.open_issue(garden(lane))
    await lane.live(20)
    (done,) = await lane.told("triage.done")
    assert 0 <= done.data["took_s"] <= 20


@pytest.mark.parametrize("date_s", [0, 253_402_300_799])
async def test_a_watch_that_begins_under_a_wrong_date_labels_all_the_same(
    make_lane: MakeLane, date_s: int
) -> None:
    lane = await make_lane()
    lane.forge.lie_s = date_s - lane.forge.forge_s()
    await lane.live(20)
    lane.forge.lie_s = 0
    lane.forge.open_issue(garden(lane))
    await lane.live(120)
    assert [number for _, number in lane.forge.written] == [1]


class Heavy(FakeForge):
    """Answers at most `room` characters of issue texts, or of comments, in one page."""

    room = 1_000_000
    blocked: frozenset[int] = frozenset()

    async def repository_issues(
        self, repo: Repository, window: Window, page: int, limit: int = 0
    ) -> IssuePage:
        found = await super().repository_issues(repo, window, page, limit)
        size = sum(len(issue.body) for issue in found.issues)
        if size > self.room and limit != 1:
            raise EdgeError("too large", transient=False, kind="too_large")
        if size > self.room:
            odd = tuple(Unread(repo.id, issue.number, 0, "too large") for issue in found.issues)
            return msgspec.structs.replace(found, issues=(), unread=odd)
        return found

    async def repository_comments(
        self, repo: Repository, since_s: int, page: int, limit: int = 0
    ) -> CommentPage:
        found = await super().repository_comments(repo, since_s, page, limit)
        size = sum(len(comment.body) for _, comment in found.comments)
        if size > self.room and limit != 1:
            raise EdgeError("too large", transient=False, kind="too_large")
        if size > self.room:
            odd = tuple(Unread(repo.id, n, one.id, "too large") for n, one in found.comments)
            return msgspec.structs.replace(found, comments=(), unread=odd)
        return found


async def test_large_issues_are_read_in_smaller_parts_and_told_when_too_large(
    make_lane: MakeLane,
) -> None:
    lane = await make_lane(Heavy, triage=False)
    await lane.live(30)
    for n in range(3):
        lane.forge.edit(lane.forge.open_issue(garden(lane), f"large {n}"), body="x" * 600_000)
    lane.forge.edit(lane.forge.open_issue(garden(lane), "huge"), body="x" * 1_300_000)
    before = await lane.mark()
    await lane.live(5)
    lane.forge.open_issue(garden(lane), "after them")
    await lane.live(30)

    titles = {issue.title for issue in await lane.snapshots()}
    assert titles == {"large 0", "large 1", "large 2", "after them"}
    unread = await lane.told("forge.unread")
    assert [(event.data["repository"], event.data["number"]) for event in unread] == [(1, 4)]
    assert b"home/garden#4" in unread[0].sealed
    assert b"shorten or delete" in unread[0].sealed
    assert (await lane.mark()).forge_s > before.forge_s
    assert await lane.told("watch.failing") == []
    assert [fact.code.code for fact in lane.duty.facts()] == ["forge.object_unread"]

    lane.forge.edit(lane.forge.issues[1, 4], body="short now")
    await lane.live(20)
    assert "huge" in {issue.title for issue in await lane.snapshots()}


async def test_large_comments_hold_up_neither_sweep_nor_reconcile(make_lane: MakeLane) -> None:
    lane = await make_lane(Heavy, triage=False, sweep_s=5.0, reconcile_s=60.0)
    await lane.live(30)
    issue = lane.forge.open_issue(garden(lane))
    lane.forge.comment(issue, "x" * 1_200_000)
    lane.forge.comment(issue, "y" * 1_200_000)
    plain = lane.forge.comment(issue, "plain")
    await lane.live(30)
    lane.forge.edit_comment(issue, plain, "edited")
    await lane.live(120)
    words = [event.sealed for event in await lane.told("forge.snapshot.comment")]
    assert any(b"edited" in sealed for sealed in words)
    assert await lane.told("forge.vanished") == []
    assert await lane.told("watch.failing") == []


# --- a forge whose answers carry no clock --------------------------------------------------------


async def polled(lane: Lane, minutes: int, each_s: float = 60.0) -> list[int]:
    """Let an issue be opened every minute; return how many issues each minute's polls were given."""
    given = []
    for number in range(minutes):
        lane.forge.open_issue(garden(lane), f"minute {number}")
        before = lane.forge.given
        await lane.live(each_s)
        given.append(lane.forge.given - before)
    return given


@pytest.mark.parametrize("from_the_start", [True, False])
async def test_polls_of_a_forge_without_a_date_do_not_grow(
    make_lane: MakeLane, from_the_start: bool
) -> None:
    lane = await make_lane(reconcile_s=1e9)
    lane.forge.tells_date = not from_the_start
    await lane.live(120)
    lane.forge.tells_date = False
    given = await polled(lane, 90)
    assert sum(given[-10:]) <= 2 * sum(given[10:20])
    await nothing_is_missing_or_double(lane)
    facts = {fact.code.code: fact for fact in lane.duty.facts()}
    assert facts["forge.clock"].state == "warn"
    lane.forge.tells_date = True
    await lane.live(20)
    assert "forge.clock" not in {fact.code.code for fact in lane.duty.facts()}


@pytest.mark.parametrize("behind_s", [-7_000, 7_000])
async def test_without_a_date_no_issue_is_missed_whatever_the_forges_clock_shows(
    make_lane: MakeLane, behind_s: int
) -> None:
    lane = await make_lane(reconcile_s=1e9)
    lane.forge.skew_s = behind_s
    lane.forge.tells_date = False
    await lane.live(60)
    await polled(lane, 20)
    await lane.start()
    await polled(lane, 20)
    await nothing_is_missing_or_double(lane)


async def test_a_date_of_another_year_makes_no_poll_grow_either(make_lane: MakeLane) -> None:
    lane = await make_lane(reconcile_s=1e9)
    await lane.live(60)
    lane.forge.lie_s = -40_000_000
    given = await polled(lane, 60)
    assert sum(given[-10:]) <= 2 * sum(given[10:20])
    await nothing_is_missing_or_double(lane)
