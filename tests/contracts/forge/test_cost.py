"""What an order costs the forge, counted by the simulated forge's own log of requests."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest

from allegro.core.authority.actions.family import Action
from allegro.core.authority.actions.forge import (
    CloseIssue,
    CommentOnIssue,
    CreatePullRequest,
    UpdateStatus,
    git_blob_id,
)
from allegro.core.base.canonical import sha256_hex
from allegro.core.forge.issues import Repository

from .forge_backends import Site
from .lane import Lane, create, update
from .people import People

MOST = 20
BASE = {"src/app/old.txt": "old\n", "src/other.txt": "other\n", "docs/page.md": "page\n"}


async def requests(site: Site, after: int = 0) -> list[dict[str, Any]]:
    if site.clock is None:
        pytest.skip("a real forge keeps no log of its requests that we could read")
    url, params = f"{site.url}/_sim/log", {"after": after}
    async with aiohttp.request("GET", url, params=params) as answer:
        calls: list[dict[str, Any]] = (await answer.json())["calls"]
    return calls


async def cost(lane: Lane, site: Site, action: Action) -> int:
    """Carry an order out; return the number of requests, each of them told when it fails."""
    await lane.reader.server()  # asked once, at the start
    before = len(await requests(site))
    outcome = await lane.order(action)
    assert outcome.type == "action.receipt", outcome
    calls = await requests(site, before)
    print(f"{type(action).__name__}: {len(calls)} requests")
    for call in calls:
        print(f"  {call['status']} {call['method']} {call['path']}")
    return len(calls)


async def test_a_change_in_a_folder_on_a_moved_base_costs_at_most_twenty_requests(
    lane: Lane, people: People, site: Site
) -> None:
    repo = await people.repository(BASE)
    base = await people.tip(repo)
    change = (update("src/app/old.txt", b"old\n", b"new\n"), create("docs/new.md", b"new\n"))
    assert await cost(lane, site, lane.change(repo, base, *change)) <= MOST
    await people.commit(repo, {"more.txt": "more\n"})
    moved = lane.change(repo, base, *change, title="Once more, from the same base")
    assert await cost(lane, site, moved) <= MOST


async def test_a_pull_request_from_a_branch_costs_at_most_twenty_requests(
    lane: Lane, people: People, site: Site
) -> None:
    repo = await people.repository(BASE)
    base = await people.tip(repo)
    head = await people.commit(repo, {"src/app/old.txt": "new\n"}, new_branch="work")
    action = CreatePullRequest(
        **lane.pin(repo), base="main", base_commit=base, head="work", head_commit=head,
        title="From a branch", body="", ci_paths=(),
    )  # fmt: skip
    assert await cost(lane, site, action) <= MOST


async def test_what_is_done_to_an_issue_costs_at_most_ten_requests(
    lane: Lane, people: People, site: Site
) -> None:
    repo = await people.repository()
    number = await people.issue(repo)
    for action in await _issue_actions(lane, repo, number):
        assert await cost(lane, site, action) <= 10


async def _issue_actions(lane: Lane, repo: Repository, number: int) -> tuple[Action, ...]:
    issue = await lane.reader.issue(repo, number)
    assert issue is not None
    where = {"issue": number, **lane.pin(repo)}
    close = CloseIssue(
        **where, title=issue.title, body_sha256=sha256_hex(issue.body.encode()),
        newest_comment=None, newest_comment_sha256=None,
    )  # fmt: skip
    return CommentOnIssue(**where, body="Done."), UpdateStatus(**where, status="review"), close


async def test_a_second_order_for_what_is_done_costs_few_requests(
    lane: Lane, people: People, site: Site
) -> None:
    repo = await people.repository(BASE)
    before = git_blob_id(b"old\n", like="0" * 40)
    action = lane.change(
        repo, await people.tip(repo), update("src/app/old.txt", b"old\n", b"new\n")
    )
    assert action.files[0].before == before
    await lane.order(action)
    assert await cost(lane, site, action) <= 10
