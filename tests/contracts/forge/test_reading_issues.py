"""Issues, comments and time lines, as polls and looks read them."""

from __future__ import annotations

import pytest

from allegro.core.forge.issues import Issue
from allegro.core.forge.marks import Window

from .forge_backends import Site
from .lane import Lane
from .people import People

ALL = Window(0, None)


async def test_since_and_before_are_inclusive_whole_seconds(lane: Lane, people: People) -> None:
    repo = await people.repository()
    number = await people.issue(repo)
    issue = await lane.reader.issue(repo, number)
    assert issue is not None
    at_s = issue.updated_s
    for window, count in (
        (Window(at_s, None), 1),
        (Window(at_s + 1, None), 0),
        (Window(0, at_s), 1),
        (Window(0, at_s - 1), 0),
        (Window(at_s, at_s), 1),
    ):
        page = await lane.reader.repository_issues(repo, window, 1)
        assert (len(page.issues), page.total) == (count, count), window
        assert page.date_s >= at_s


async def test_a_poll_shows_every_state_and_pull_requests_too(lane: Lane, people: People) -> None:
    repo = await people.repository()
    closed, still_open = await people.issue(repo, "one"), await people.issue(repo, "two")
    await people.edit_issue(repo, closed, state="closed")
    await people.commit(repo, {"b.txt": "b\n"}, new_branch="work")
    pull = await people.pull(repo, "work", "three")
    page = await lane.reader.repository_issues(repo, ALL, 1)
    shown = {issue.number: (issue.state, issue.is_pull_request) for issue in page.issues}
    assert shown == {
        closed: ("closed", False),
        still_open: ("open", False),
        pull: ("open", True),
    }
    assert page.total == 3
    assert next(issue.closed_s for issue in page.issues if issue.number == closed)


async def test_a_poll_comes_in_pages_with_the_total(lane: Lane, people: People) -> None:
    repo = await people.repository()
    made = await people.many_issues(repo, 53)
    pages = [await lane.reader.repository_issues(repo, ALL, page) for page in (1, 2, 3)]
    assert [len(page.issues) for page in pages] == [50, 3, 0]
    assert {page.total for page in pages} == {53}
    assert {issue.number for page in pages for issue in page.issues} == made


async def test_an_organisations_issues_come_from_all_its_repositories(
    lane: Lane, people: People
) -> None:
    organisation = await people.organisation()
    one = await people.repository(organisation=organisation)
    two = await people.repository(organisation=organisation)
    outside = await people.repository()
    first, second = await people.issue(one, "one"), await people.issue(two, "two")
    await people.issue(outside, "not theirs")
    await people.edit_issue(one, first, state="closed")
    page = await lane.reader.organisation_issues(organisation, ALL, 1)
    shown = {(issue.repository.id, issue.number, issue.state) for issue in page.issues}
    assert shown == {(one.id, first, "closed"), (two.id, second, "open")}
    assert page.total == 2
    assert {issue.repository.name for issue in page.issues} == {one.name, two.name}
    at_s = max(issue.updated_s for issue in page.issues)
    late = await lane.reader.organisation_issues(organisation, Window(at_s + 1, None), 1)
    assert (late.issues, late.total) == ((), 0)


async def test_an_issue_has_labels_assignees_and_people(lane: Lane, people: People) -> None:
    repo = await people.repository()
    number = await people.issue(repo, "title", "text\nof two lines")
    plain = await lane.reader.issue(repo, number)
    assert plain is not None
    assert (plain.labels, plain.assignees, plain.milestone) == ((), (), None)
    assert (plain.author, plain.author_id) == (people.owner, people.owner_id)
    assert (plain.title, plain.body) == ("title", "text\nof two lines")
    await people.label(repo, number, "kind/bug")
    await people.edit_issue(repo, number, assignees=[people.owner])
    await people.comment(repo, number, "hello")
    full = await lane.reader.issue(repo, number)
    assert full is not None
    assert (full.labels, full.assignees) == (("kind/bug",), (people.owner,))
    assert full.comment_count == 1
    assert full.id == plain.id
    assert full.url.endswith(f"/issues/{number}")


async def test_someone_who_is_gone_is_the_ghost(lane: Lane, people: People, site: Site) -> None:
    if not site.own:
        pytest.skip("not our server: nobody is made or deleted on it")
    repo = await people.repository()
    login, password = await people.newcomer()
    await people.admit(repo, login)
    path = f"/repos/{repo.name}/issues"
    response = await people.call("POST", path, {"title": "t"}, password_of=(login, password))
    await people.call(
        "POST",
        f"{path}/{response['number']}/comments",
        {"body": "c"},
        password_of=(login, password),
    )
    await people.delete_person(login)
    issue = await lane.reader.issue(repo, response["number"])
    comments = await lane.reader.comments(repo, response["number"])
    assert issue is not None
    assert comments is not None
    assert (issue.author_id, comments[0].author_id) == (-1, -1)
    page = await lane.reader.repository_issues(repo, ALL, 1)
    assert [found.author_id for found in page.issues] == [-1]
    entries = await lane.reader.timeline(repo, response["number"])
    assert [entry.author_id for entry in entries] == [-1]


async def test_comments_of_an_issue_come_all_at_once_oldest_first(
    lane: Lane, people: People
) -> None:
    repo = await people.repository()
    number = await people.issue(repo)
    assert await lane.reader.comments(repo, number) == ()
    made = [await people.comment(repo, number, f"comment {n}") for n in range(55)]
    comments = await lane.reader.comments(repo, number)
    assert comments is not None
    assert [comment.id for comment in comments] == made
    assert {comment.author_id for comment in comments} == {people.owner_id}


async def test_only_the_comments_of_the_repository_show_an_edit(lane: Lane, people: People) -> None:
    repo = await people.repository()
    number = await people.issue(repo)
    edited = await people.comment(repo, number, "before")
    await people.comment(repo, number, "untouched")
    before = await lane.reader.issue(repo, number)
    await people.next_second()
    await people.edit_comment(repo, edited, "after")
    after = await lane.reader.issue(repo, number)
    assert before is not None
    assert after is not None
    assert after.updated_s == before.updated_s
    page = await lane.reader.repository_comments(repo, before.updated_s + 1, 1)
    shown = [(where, comment.id, comment.body) for where, comment in page.comments]
    assert shown == [(number, edited, "after")]
    everything = await lane.reader.repository_comments(repo, 0, 1)
    assert (len(everything.comments), everything.total) == (2, 2)


async def test_comments_of_a_pull_request_name_it(lane: Lane, people: People) -> None:
    repo = await people.repository()
    await people.commit(repo, {"b.txt": "b\n"}, new_branch="work")
    pull = await people.pull(repo, "work", "a pull request")
    comment = await people.comment(repo, pull, "nice")
    page = await lane.reader.repository_comments(repo, 0, 1)
    assert [(number, found.id) for number, found in page.comments] == [(pull, comment)]


async def test_a_time_line_is_read_to_its_end(lane: Lane, people: People) -> None:
    repo = await people.repository()
    number = await people.issue(repo)
    assert await lane.reader.timeline(repo, number) == ()
    for n in range(52):
        await people.comment(repo, number, f"comment {n}")
    await people.edit_issue(repo, number, title="renamed")
    await people.edit_issue(repo, number, state="closed")
    entries = await lane.reader.timeline(repo, number)
    assert [entry.type for entry in entries] == ["comment"] * 52 + ["change_title", "close"]
    assert {entry.author_id for entry in entries} == {people.owner_id}


async def test_a_time_line_tells_who_referred_to_an_issue(lane: Lane, people: People) -> None:
    repo = await people.repository()
    number = await people.issue(repo)
    await people.commit(repo, {"b.txt": "b\n"}, new_branch="work")
    pull = await people.pull(repo, "work", "a pull request", f"for #{number}")
    entries = await lane.reader.timeline(repo, number)
    assert [(entry.ref_number, entry.ref_is_pull) for entry in entries] == [(pull, True)]
    details = await lane.queries.answer(
        "issue_details", {"repository": repo.name, "number": number}
    )
    assert isinstance(details, Issue)
    assert [linked.number for linked in details.linked] == [pull]
