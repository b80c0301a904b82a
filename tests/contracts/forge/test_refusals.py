"""What is refused before the first write, and with which words."""

from __future__ import annotations

import pytest

from allegro.core.authority.actions.forge import CommentOnIssue
from allegro.core.forge.issues import Repository

from .forge_backends import Site
from .lane import Lane, create
from .people import People


async def refused(
    lane: Lane, people: People, repo: Repository, **more: object
) -> tuple[str, str, str]:
    """Order a change; return type, reason and words, and make sure that nothing was written."""
    action = lane.change(repo, await people.tip(repo), create("new.txt", b"new\n"))
    outcome = await lane.order(action, **more)  # type: ignore[arg-type]
    assert outcome.writes == 0
    assert await lane.reader.branch(repo, lane.dress(action).branch) is None
    return outcome.type, outcome.reason, outcome.words


async def test_an_unprotected_default_branch_is_refused_with_the_clicks_that_mend_it(
    lane: Lane, people: People
) -> None:
    repo = await people.repository(protected=False)
    type_, reason, words = await refused(lane, people, repo)
    assert (type_, reason) == ("action.failed", "repository_refused")
    assert "may push to and merge into main" in words
    assert "Settings" in words
    assert "Branches" in words


async def test_a_default_branch_that_we_may_merge_into_is_refused(
    lane: Lane, people: People
) -> None:
    repo = await people.repository(protected=False)
    await people.protect(repo, merge=None)
    _, reason, words = await refused(lane, people, repo)
    assert reason == "repository_refused"
    assert "may merge into main" in words


async def test_a_default_branch_that_we_may_push_to_is_refused(lane: Lane, people: People) -> None:
    repo = await people.repository(protected=False)
    await people.protect(repo, push=[people.change])
    _, reason, words = await refused(lane, people, repo)
    assert reason == "repository_refused"
    assert "may push to main" in words


async def test_an_unprotected_branch_accepted_in_words_is_used(lane: Lane, people: People) -> None:
    repo = await people.repository(protected=False)
    action = lane.change(repo, await people.tip(repo), create("new.txt", b"new\n"))
    executor = lane.executor_with(accepted=(repo.name,))
    assert (await lane.order(action, executor=executor)).type == "action.receipt"


async def test_a_missing_change_token_is_told(lane: Lane, people: People) -> None:
    repo = await people.repository()
    refusal = await refused(lane, people, repo, change_token=None)
    assert refusal[:2] == ("action.failed", "no_change_token")


async def test_a_change_token_that_is_none_is_told(lane: Lane, people: People) -> None:
    repo = await people.repository()
    type_, _, words = await refused(lane, people, repo, change_token="0" * 40)
    assert type_ in {"action.void", "action.failed"}
    assert "401" in words


async def test_the_token_of_a_person_is_refused(lane: Lane, people: People, site: Site) -> None:
    repo = await people.repository()
    if site.own:
        login, password = await people.newcomer()
        await people.admit(repo, login)
        token = await people.call(
            "POST",
            f"/users/{login}/tokens",
            {"name": "t", "scopes": ["write:repository", "read:user"]},
            password_of=(login, password),
        )
        refusal = await refused(lane, people, repo, change_token=token["sha1"])
        assert refusal[:2] == ("action.failed", "wrong_user")
    refusal = await refused(lane, people, repo, change_token=site.owner)
    assert refusal[1] in {"admin_token", "wrong_user"}


async def test_the_token_of_a_forbidden_user_is_refused(lane: Lane, people: People) -> None:
    repo = await people.repository()
    executor = lane.executor_with(forbidden=(people.change.upper(),))
    refusal = await refused(lane, people, repo, executor=executor)
    assert refusal[:2] == ("action.failed", "forbidden_user")


async def test_a_bot_that_was_made_an_administrator_is_refused(
    lane: Lane, people: People, site: Site
) -> None:
    if not site.own:
        pytest.skip("not our server: nobody is made an administrator on it")
    repo = await people.repository()
    await people.make_administrator(people.change, True)
    try:
        refusal = await refused(lane, people, repo)
    finally:
        await people.make_administrator(people.change, False)
    assert refusal[:2] == ("action.failed", "admin_token")
    action = lane.change(repo, await people.tip(repo), create("new.txt", b"new\n"))
    assert (await lane.order(action)).type == "action.receipt"


async def test_a_token_that_may_not_write_code_fails_in_plain_words(
    lane: Lane, people: People, site: Site
) -> None:
    repo = await people.repository()
    action = lane.change(repo, await people.tip(repo), create("new.txt", b"new\n"))
    outcome = await lane.order(action, change_token=site.daily)
    assert (outcome.type, outcome.reason) == ("action.failed", "forbidden")
    assert await lane.reader.branch(repo, lane.dress(action).branch) is None


async def test_an_archived_repository_is_told(lane: Lane, people: People) -> None:
    repo = await people.repository()
    number = await people.issue(repo)
    await people.archive(repo)
    refusal = await refused(lane, people, repo)
    assert refusal[:2] == ("action.failed", "archived")
    outcome = await lane.order(CommentOnIssue(**lane.pin(repo), issue=number, body="x"))
    assert (outcome.type, outcome.reason, outcome.writes) == ("action.failed", "archived", 0)


async def test_a_deleted_repository_is_told(lane: Lane, people: People) -> None:
    repo = await people.repository()
    number = await people.issue(repo)
    change = lane.change(repo, await people.tip(repo), create("new.txt", b"new\n"))
    await people.delete(repo)
    for action in (change, CommentOnIssue(**lane.pin(repo), issue=number, body="x")):
        outcome = await lane.order(action)
        assert (outcome.type, outcome.reason) == ("action.failed", "no_repository")
        assert outcome.writes == 0


async def test_a_renamed_repository_is_written_to_by_its_id(lane: Lane, people: People) -> None:
    repo = await people.repository()
    number = await people.issue(repo)
    change = lane.change(repo, await people.tip(repo), create("new.txt", b"new\n"))
    comment = CommentOnIssue(**lane.pin(repo), issue=number, body="Done.")
    renamed = await people.rename(repo, repo.name.partition("/")[2] + "-new")
    other = await people.reuse_name(repo)
    await people.issue(other)
    for action in (change, comment):
        assert (await lane.order(action)).type == "action.receipt"
    assert await lane.fresh_reader().comments(other, number) == ()
    assert await lane.fresh_reader().pulls_between(other, "main", lane.dress(change).branch) == ()
    found = await lane.fresh_reader().comments(renamed, number)
    assert found is not None
    assert len(found) == 1
