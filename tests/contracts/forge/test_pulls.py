"""create_pr end to end: a pull request from a branch that is there."""

from __future__ import annotations

from typing import Any

from allegro.core.authority.actions.forge import CreatePullRequest
from allegro.core.effects.render import rendered_body
from allegro.core.forge.issues import Repository
from allegro.core.protocol.answers.forge import PinnedPull

from .forge_backends import Site
from .lane import Lane
from .people import MAIN, People

HEAD = "feature/größe"


async def with_branch(people: People) -> tuple[Repository, str, str]:
    repo = await people.repository()
    base = await people.tip(repo)
    return repo, base, await people.commit(repo, {"a/b.txt": "b\n"}, new_branch=HEAD)


def proposal(lane: Lane, repo: Repository, base: str, head: str, **more: Any) -> CreatePullRequest:
    fields: dict[str, Any] = {
        "base": MAIN,
        "base_commit": base,
        "head": HEAD,
        "head_commit": head,
        "title": "A feature",
        "body": "What it does.",
        "ci_paths": (),
    }
    return CreatePullRequest(**lane.pin(repo), **{**fields, **more})


async def test_a_pull_request_is_opened_once(lane: Lane, people: People, site: Site) -> None:
    repo, base, head = await with_branch(people)
    action = proposal(lane, repo, base, head)
    first, second = await lane.order(action), await lane.order(action)
    assert (first.type, first.writes, second.writes) == ("action.receipt", 1, 0)
    assert first.data == second.data
    [pull] = await lane.reader.pulls_between(repo, MAIN, HEAD)
    assert (pull.number, pull.title, pull.head_commit) == (
        first.data["artifact"],
        "A feature",
        head,
    )
    assert pull.body == rendered_body(action, lane.dress(action).marker)
    assert pull.author_id == (await lane.reader.whoami(site.change)).id


async def test_a_branch_that_moved_is_stale(lane: Lane, people: People) -> None:
    repo, base, head = await with_branch(people)
    await people.commit(repo, {"c.txt": "c\n"}, HEAD)
    outcome = await lane.order(proposal(lane, repo, base, head))
    assert (outcome.type, outcome.writes) == ("action.stale", 0)


async def test_a_branch_that_is_gone_is_stale(lane: Lane, people: People) -> None:
    repo, base, head = await with_branch(people)
    await people.delete_branch(repo, HEAD)
    outcome = await lane.order(proposal(lane, repo, base, head))
    assert (outcome.type, outcome.writes) == ("action.stale", 0)


async def test_a_base_that_was_rewritten_is_stale(lane: Lane, people: People) -> None:
    repo = await people.repository()
    first = await people.tip(repo)
    base = await people.commit(repo, {"a.txt": "a\n"})
    head = await people.commit(repo, {"b.txt": "b\n"}, new_branch=HEAD)
    await people.rewrite_main(repo, first)
    await people.commit(repo, {"a.txt": "another\n"})
    outcome = await lane.order(proposal(lane, repo, base, head))
    assert (outcome.type, outcome.writes) == ("action.stale", 0)


async def test_a_pull_request_by_somebody_else_is_a_conflict(lane: Lane, people: People) -> None:
    repo, base, head = await with_branch(people)
    await people.pull(repo, HEAD, "A feature", "What it does.")
    outcome = await lane.order(proposal(lane, repo, base, head))
    assert (outcome.type, outcome.writes) == ("action.conflict", 0)


async def test_our_pull_request_with_another_text_is_a_conflict(lane: Lane, people: People) -> None:
    repo, base, head = await with_branch(people)
    action = proposal(lane, repo, base, head)
    number = (await lane.order(action)).data["artifact"]
    await people.edit_pull(repo, number, body="Something else.")
    outcome = await lane.order(action)
    assert (outcome.type, outcome.writes) == ("action.conflict", 0)


async def test_two_pull_requests_of_the_same_content_are_both_told(
    lane: Lane, people: People, site: Site
) -> None:
    repo, base, head = await with_branch(people)
    action = proposal(lane, repo, base, head)
    first = (await lane.order(action)).data["artifact"]
    await people.edit_pull(repo, first, state="closed")
    text = rendered_body(action, lane.dress(action).marker)
    second = await people.pull(repo, HEAD, action.title, text, token=site.change)
    outcome = await lane.order(action)
    assert outcome.type == "action.receipt"
    assert (outcome.data["artifact"], outcome.data["others"]) == (first, [second])


async def test_a_branch_that_changes_runners_files_must_have_been_shown_as_such(
    lane: Lane, people: People
) -> None:
    repo = await people.repository()
    base = await people.tip(repo)
    head = await people.commit(repo, {".forgejo/workflows/x.yml": "on: push\n"}, new_branch=HEAD)
    answer = await lane.queries.answer("pin_pull", {"repository": repo.name, "head": HEAD})
    assert isinstance(answer, PinnedPull)
    assert (answer.base_commit, answer.head_commit) == (base, head)
    assert answer.ci_paths == (".forgejo",)
    hidden = await lane.order(proposal(lane, repo, base, head))
    assert (hidden.type, hidden.writes) == ("action.stale", 0)
    shown = await lane.order(proposal(lane, repo, base, head, ci_paths=(".forgejo",)))
    assert shown.type == "action.receipt"
