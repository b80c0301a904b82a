"""Collecting a window of the forge's time while it moves."""

from __future__ import annotations

from allegro.adapters.clock import SystemClock
from allegro.core.forge.issues import Repository
from allegro.core.forge.marks import Window
from allegro.core.ports import IssuePage
from allegro.lane.forge.collect import ReadPage, collect
from allegro.lane.forge.intake import Intake
from allegro.lane.forge.polling.reconcile import Manner, Reconcile
from allegro.lane.forge.snapshots import Taking

from .forge_backends import Site
from .lane import FORGE, Lane
from .people import People

ALL = Window(0, None)


def reading(lane: Lane, repo_read: list[tuple[Window, int]], read: ReadPage) -> ReadPage:
    """Return a reader that writes down what it was asked."""
    del lane

    async def noting(window: Window, page: int, limit: int) -> IssuePage:
        repo_read.append((window, page))
        return await read(window, page, limit)

    return noting


async def test_a_crowd_of_one_second_is_collected_whole(
    lane: Lane, people: People, site: Site
) -> None:
    repo = await people.repository()
    with site.one_second():
        made = await people.many_issues(repo, site.crowd)
    asked: list[tuple[Window, int]] = []
    read = reading(lane, asked, lambda w, page, _: lane.reader.repository_issues(repo, w, page))
    first = await read(ALL, 1, 0)
    since_s = min(issue.updated_s for issue in first.issues) - 3_600
    collected = await collect(read, Window(since_s, None), page_size=50)
    assert {issue.number for issue in collected.issues} == made
    assert any(window.until_s is not None for window, _ in asked)
    taking = Taking(lane.recorder, FORGE, {})
    await compare(lane, taking, repo)
    events = await lane.events()
    snapshots = [event for event in events if event.type == "forge.snapshot.issue"]
    assert {event.data["number"] for event in snapshots} == made
    assert len(snapshots) == len(made)


async def test_issues_that_move_while_they_are_read_are_not_lost(
    lane: Lane, people: People, site: Site
) -> None:
    """After each page somebody answers an issue of it: it leaves its second for a later one."""
    repo = await people.repository()
    with site.one_second():
        made = await people.many_issues(repo, 130)
    await people.next_second()
    left = 6

    async def read(window: Window, page: int, _: int) -> IssuePage:
        nonlocal left
        found = await lane.reader.repository_issues(repo, window, page)
        if left and found.issues and window.until_s is not None:
            left -= 1
            await people.comment(repo, found.issues[0].number, "moved")
        return found

    oldest = await lane.reader.repository_issues(repo, ALL, 1)
    since_s = min(issue.updated_s for issue in oldest.issues) - 60
    collected = await collect(read, Window(since_s, None), page_size=50)
    assert {issue.number for issue in collected.issues} == made


async def test_what_was_deleted_meanwhile_is_told_as_vanished_once(
    lane: Lane, people: People
) -> None:
    repo = await people.repository()
    keep, gone = await people.issue(repo), await people.issue(repo)
    kept = await people.comment(repo, keep, "stays")
    lost = await people.comment(repo, keep, "goes")
    taking = Taking(lane.recorder, FORGE, {})
    for _ in range(2):
        await compare(lane, taking, repo)
    await people.delete_issue(repo, gone)
    await people.delete_comment(repo, lost)
    before = lane.journal.head.seq
    for _ in range(2):
        await compare(lane, taking, repo)
    vanished = [event for event in await lane.events(before) if event.type == "forge.vanished"]
    assert sorted(event.subject.rpartition("/")[2] for event in vanished) == sorted(
        [str(lost), f"{repo.id}#{gone}"]
    )
    assert taking.known_comments(repo.id, keep) == {kept}


async def compare(lane: Lane, taking: Taking, repo: Repository) -> None:
    intake = Intake(lane.reader, lane.recorder, taking, SystemClock())
    await Reconcile(
        lane.reader, lane.recorder, intake, repo, Manner(50, 2**33, False), lambda _: None
    ).run()
