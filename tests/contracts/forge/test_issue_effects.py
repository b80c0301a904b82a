"""Comments, status labels, mirrors, closing and the seen label, end to end."""

from __future__ import annotations

import pytest

from allegro.core.authority.actions.forge import (
    CloseIssue,
    CommentOnIssue,
    MirrorRequest,
    UpdateStatus,
)
from allegro.core.base.canonical import sha256_hex
from allegro.core.effects.render import marker_line, rendered_body
from allegro.core.forge.issues import Issue, Repository
from allegro.core.protocol.answers.forge import PinnedIssue

from .forge_backends import Site
from .lane import Lane
from .people import People


async def with_issue(people: People) -> tuple[Repository, int]:
    repo = await people.repository()
    return repo, await people.issue(repo, "title", "text")


async def issue_of(lane: Lane, repo: Repository, number: int) -> Issue:
    issue = await lane.reader.issue(repo, number)
    assert issue is not None
    return issue


# comments


async def test_a_comment_is_made_once(lane: Lane, people: People, site: Site) -> None:
    repo, number = await with_issue(people)
    action = CommentOnIssue(**lane.pin(repo), issue=number, body="Done; @all see #1\r\n\r\n`x`")
    first, second = await lane.order(action), await lane.order(action)
    assert (first.type, first.writes, second.type, second.writes) == (
        "action.receipt", 1, "action.receipt", 0,
    )  # fmt: skip
    assert first.data == second.data
    comments = await lane.reader.comments(repo, number)
    assert comments is not None
    assert [comment.id for comment in comments] == [first.data["artifact"]]
    assert comments[0].body == rendered_body(action, lane.dress(action).marker)
    assert comments[0].author_id == (await lane.reader.whoami()).id


async def test_our_marker_under_another_name_is_no_evidence(lane: Lane, people: People) -> None:
    repo, number = await with_issue(people)
    action = CommentOnIssue(**lane.pin(repo), issue=number, body="Done.")
    text = rendered_body(action, lane.dress(action).marker)
    await people.comment(repo, number, text)
    outcome = await lane.order(action)
    assert (outcome.type, outcome.writes) == ("action.receipt", 1)


async def test_a_comment_of_ours_that_was_reworded_is_a_conflict(
    lane: Lane, people: People
) -> None:
    repo, number = await with_issue(people)
    action = CommentOnIssue(**lane.pin(repo), issue=number, body="Done.")
    comment = (await lane.order(action)).data["artifact"]
    marker = marker_line(lane.dress(action).marker)
    await people.edit_comment(repo, comment, f"Not done.\n\n{marker}")
    outcome = await lane.order(action)
    assert (outcome.type, outcome.writes) == ("action.conflict", 0)


async def test_a_comment_that_is_there_twice_is_told(
    lane: Lane, people: People, site: Site
) -> None:
    repo, number = await with_issue(people)
    action = CommentOnIssue(**lane.pin(repo), issue=number, body="Done.")
    text = rendered_body(action, lane.dress(action).marker)
    ids = [await people.comment(repo, number, text, token=site.daily) for _ in range(2)]
    outcome = await lane.order(action)
    assert (outcome.data["artifact"], outcome.data["others"]) == (ids[0], ids[1:])


async def test_a_comment_on_a_pull_request_is_made(lane: Lane, people: People) -> None:
    repo = await people.repository()
    await people.commit(repo, {"b.txt": "b\n"}, new_branch="work")
    number = await people.pull(repo, "work", "a pull request")
    action = CommentOnIssue(**lane.pin(repo), issue=number, body="Seen.")
    assert (await lane.order(action)).type == "action.receipt"
    assert (await lane.order(action)).writes == 0


async def test_an_issue_that_is_gone_makes_every_effect_stale(lane: Lane, people: People) -> None:
    repo, number = await with_issue(people)
    await people.delete_issue(repo, number)
    pin = lane.pin(repo)
    for action in (
        CommentOnIssue(**pin, issue=number, body="x"),
        UpdateStatus(**pin, issue=number, status="done"),
        MirrorRequest(**pin, issue=number, request="r" * 16, body="x"),
        CloseIssue(
            **pin,
            issue=number,
            title="title",
            body_sha256=sha256_hex(b"text"),
            newest_comment=None,
            newest_comment_sha256=None,
        ),
    ):
        outcome = await lane.order(action)
        assert (outcome.type, outcome.writes) == ("action.stale", 0), action


async def test_a_locked_conversation_is_told_as_forbidden(lane: Lane, people: People) -> None:
    repo, number = await with_issue(people)
    await people.admit(repo, people.daily, "read")
    if not await people.lock(repo, number):
        pytest.skip("this forge locks conversations on its web page only")
    action = CommentOnIssue(**lane.pin(repo), issue=number, body="Done.")
    outcome = await lane.order(action)
    assert (outcome.type, outcome.reason) == ("action.failed", "forbidden")
    assert (await issue_of(lane, repo, number)).is_locked


# mirrors


async def test_a_mirror_is_made_once_and_then_edited(lane: Lane, people: People) -> None:
    repo, number = await with_issue(people)
    first = MirrorRequest(**lane.pin(repo), issue=number, request="r" * 16, body="asked")
    second = MirrorRequest(**lane.pin(repo), issue=number, request="r" * 16, body="approved")
    made = [await lane.order(action) for action in (first, first, second, second)]
    assert [outcome.type for outcome in made] == ["action.receipt"] * 4
    assert [outcome.writes for outcome in made] == [1, 0, 1, 0]
    assert len({outcome.data["artifact"] for outcome in made}) == 1
    comments = await lane.reader.comments(repo, number)
    assert comments is not None
    assert [comment.body for comment in comments] == [
        rendered_body(second, lane.dress(second).marker)
    ]


async def test_a_mirror_posted_by_somebody_else_is_left_alone(lane: Lane, people: People) -> None:
    repo, number = await with_issue(people)
    action = MirrorRequest(**lane.pin(repo), issue=number, request="r" * 16, body="asked")
    text = rendered_body(action, lane.dress(action).marker)
    foreign = await people.comment(repo, number, text + "\nnot ours")
    outcome = await lane.order(action)
    assert outcome.type == "action.receipt"
    assert outcome.data["artifact"] != foreign
    comments = await lane.reader.comments(repo, number)
    assert comments is not None
    assert comments[0].body == text + "\nnot ours"


# status


async def test_a_status_label_is_made_and_replaces_the_last(lane: Lane, people: People) -> None:
    repo, number = await with_issue(people)
    await people.label(repo, number, "kind/bug")
    for status in ("in-progress", "done", "in-progress"):
        action = UpdateStatus(**lane.pin(repo), issue=number, status=status)
        first, second = await lane.order(action), await lane.order(action)
        assert (first.type, first.writes, second.writes) == ("action.receipt", 1, 0), first
        assert first.data == second.data
        issue = await issue_of(lane, repo, number)
        assert issue.labels == ("kind/bug", f"status/{status}")
        assert issue.status == status
    assert await people.label_names(repo) == ["kind/bug", "status/done", "status/in-progress"]
    response = await people.call("GET", f"/repos/{repo.name}/labels?page=1&limit=50")
    assert {label["exclusive"] for label in response if "status/" in label["name"]} == {True}


async def test_status_labels_that_do_not_exclude_each_other_are_replaced_too(
    lane: Lane, people: People
) -> None:
    repo, number = await with_issue(people)
    await people.label(repo, number, "status/review")
    await people.label(repo, number, "status/done")
    assert (await issue_of(lane, repo, number)).status is None
    outcome = await lane.order(UpdateStatus(**lane.pin(repo), issue=number, status="done"))
    assert outcome.type == "action.receipt"
    assert (await issue_of(lane, repo, number)).labels == ("status/done",)


async def test_a_label_of_the_organisation_is_used(lane: Lane, people: People) -> None:
    organisation = await people.organisation()
    repo = await people.repository(organisation=organisation)
    number = await people.issue(repo)
    body = {"name": "status/done", "color": "#00ff00", "exclusive": True}
    await people.call("POST", f"/orgs/{organisation}/labels", body)
    outcome = await lane.order(UpdateStatus(**lane.pin(repo), issue=number, status="done"))
    assert outcome.type == "action.receipt"
    assert (await issue_of(lane, repo, number)).labels == ("status/done",)
    assert await people.label_names(repo) == []


# closing


def closing(
    lane: Lane, repo: Repository, number: int, newest: tuple[int, str] | None
) -> CloseIssue:
    return CloseIssue(
        **lane.pin(repo),
        issue=number,
        title="title",
        body_sha256=sha256_hex(b"text"),
        newest_comment=newest and newest[0],
        newest_comment_sha256=newest and sha256_hex(newest[1].encode()),
    )


async def test_an_issue_is_closed_once(lane: Lane, people: People) -> None:
    repo, number = await with_issue(people)
    newest = await people.comment(repo, number, "please close")
    action = closing(lane, repo, number, (newest, "please close"))
    answer = await lane.queries.answer("pin_close", {"repository": repo.name, "number": number})
    assert isinstance(answer, PinnedIssue)
    assert (answer.newest_comment, answer.newest_comment_sha256, answer.state) == (
        action.newest_comment, action.newest_comment_sha256, "open",
    )  # fmt: skip
    own = CommentOnIssue(**lane.pin(repo), issue=number, body="Our own words change nothing.")
    await lane.order(own)
    first, second = await lane.order(action), await lane.order(action)
    assert (first.type, first.writes, second.writes) == ("action.receipt", 1, 0)
    assert first.data == second.data
    assert (await issue_of(lane, repo, number)).state == "closed"


async def test_an_issue_that_changed_is_not_closed(lane: Lane, people: People) -> None:
    repo = await people.repository()
    renamed, rewritten, answered, reworded = [
        await people.issue(repo, "title", "text") for _ in range(4)
    ]
    comment = await people.comment(repo, reworded, "before")
    await people.edit_issue(repo, renamed, title="another")
    await people.edit_issue(repo, rewritten, body="another")
    await people.comment(repo, answered, "wait!")
    await people.edit_comment(repo, comment, "after")
    for number, newest in (
        (renamed, None),
        (rewritten, None),
        (answered, None),
        (reworded, (comment, "before")),
    ):
        outcome = await lane.order(closing(lane, repo, number, newest))
        assert (outcome.type, outcome.writes) == ("action.stale", 0)
        assert (await issue_of(lane, repo, number)).state == "open"


async def test_an_issue_that_somebody_else_closed_is_stale(lane: Lane, people: People) -> None:
    repo, number = await with_issue(people)
    await people.edit_issue(repo, number, state="closed")
    outcome = await lane.order(closing(lane, repo, number, None))
    assert (outcome.type, outcome.writes, outcome.words) == (
        "action.stale", 0, "somebody else closed it",
    )  # fmt: skip


async def test_an_issue_reopened_after_us_may_be_closed_again(lane: Lane, people: People) -> None:
    repo, number = await with_issue(people)
    action = closing(lane, repo, number, None)
    await lane.order(action)
    await people.edit_issue(repo, number, state="open")
    await people.edit_issue(repo, number, state="closed")
    outcome = await lane.order(action)
    assert (outcome.type, outcome.writes) == ("action.stale", 0)


# the seen label, under the lease


async def test_a_new_issue_is_marked_as_seen_once(lane: Lane, people: People) -> None:
    repo, number = await with_issue(people)
    for _ in range(2):  # two lanes, each without memory of the other
        issue = await issue_of(lane, repo, number)
        await lane.mark_seen(repo, issue)
    fresh = await issue_of(lane, repo, number)
    assert fresh.labels == ("status/pending", "triage/seen")
    assert [event.type for event in await lane.events()] == ["action.intent", "triage.done"]
    entries = await lane.reader.timeline(repo, number)
    assert [entry.type for entry in entries] == ["label", "label"]


async def test_a_lane_that_has_not_seen_the_label_yet_changes_nothing(
    lane: Lane, people: People
) -> None:
    repo, number = await with_issue(people)
    stale = await issue_of(lane, repo, number)
    for _ in range(2):
        await lane.mark_seen(repo, stale)
    assert (await issue_of(lane, repo, number)).labels == ("status/pending", "triage/seen")
    entries = await lane.reader.timeline(repo, number)
    assert [entry.type for entry in entries] == ["label", "label"]


async def test_a_person_who_set_a_status_first_is_not_overruled(lane: Lane, people: People) -> None:
    repo, number = await with_issue(people)
    await people.label(repo, number, "status/ready", exclusive=True)
    issue = await issue_of(lane, repo, number)
    await lane.mark_seen(repo, issue)
    assert (await issue_of(lane, repo, number)).labels == ("status/ready", "triage/seen")


async def test_the_seen_label_never_goes_to_whoever_took_the_name(
    lane: Lane, people: People
) -> None:
    repo, number = await with_issue(people)
    issue = await issue_of(lane, repo, number)
    await people.rename(repo, repo.name.partition("/")[2] + "-new")
    other = await people.reuse_name(repo)
    same = await people.issue(other, "theirs")
    assert same == number
    await lane.mark_seen(repo, issue)
    assert (await issue_of(lane, repo, number)).labels == ("status/pending", "triage/seen")
    assert (await issue_of(lane, other, same)).labels == ()
