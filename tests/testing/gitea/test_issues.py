"""Issue lists and their traps, changes of an issue, what bumps `updated_at`."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from allegro.testing.gitea import World

from .conftest import MakeForge
from .forge import WEB, Forge, utc

REPO = "acme/web"
SEARCH = "/repos/issues/search"


async def numbers(forge: Forge, path: str = f"{WEB}/issues", **query: str) -> list[int]:
    answer = await forge.client().get(path, **query)
    assert answer.status == 200
    return [issue["number"] for issue in answer.json]


async def test_the_default_state_is_open(forge: Forge) -> None:
    forge.world.open_issue(REPO, "timmy", "a")
    forge.world.close(REPO, 1, "timmy")
    assert await numbers(forge) == []
    assert await numbers(forge, state="all") == [1]
    assert await numbers(forge, state="closed") == [1]


@pytest.mark.parametrize("path", [f"{WEB}/issues", SEARCH])
async def test_since_and_before_are_inclusive_whole_seconds(forge: Forge, path: str) -> None:
    forge.world.open_issue(REPO, "timmy", "a")
    at_s = forge.clock.now_s
    assert await numbers(forge, path, since=utc(at_s)) == [1]
    assert await numbers(forge, path, since=utc(at_s + 1)) == []
    assert await numbers(forge, path, before=utc(at_s)) == [1]
    assert await numbers(forge, path, before=utc(at_s - 1)) == []


async def test_the_order_is_newest_created_first_whatever_changed_last(forge: Forge) -> None:
    for title in "abc":
        forge.world.open_issue(REPO, "timmy", title)
        forge.clock.move(1)
    forge.world.comment(REPO, 1, "timmy", "bump")
    assert await numbers(forge) == [3, 2, 1]
    assert await numbers(forge, SEARCH) == [3, 2, 1]


async def test_a_plus_in_an_offset_becomes_a_space_and_is_422(forge: Forge) -> None:
    client = forge.client()
    answer = await client.get(f"{WEB}/issues?since=2026-01-01T00:00:00+00:00")
    assert answer.status == 422
    assert (await client.get(f"{WEB}/issues?since=2026-01-01T00:00:00%2B00:00")).status == 200
    assert (await client.get(f"{WEB}/issues", since="yesterday")).status == 422


async def test_pull_requests_are_mixed_in_unless_a_type_is_asked(forge: Forge) -> None:
    forge.world.open_issue(REPO, "timmy", "a")
    forge.world.commit(REPO, "f", {"a": "b"}, "bot")
    forge.world.open_pull(REPO, "bot", "f", "main", "p")
    assert await numbers(forge) == [2, 1]
    assert await numbers(forge, type="issues") == [1]
    assert await numbers(forge, SEARCH, type="pulls") == [2]
    pull = (await forge.client().get(f"{WEB}/issues/2")).json
    assert pull["pull_request"]["merged"] is False
    assert (await forge.client().get(f"{WEB}/issues/1")).json["pull_request"] is None


async def test_pages_have_thirty_rows_and_never_more_than_fifty(forge: Forge) -> None:
    for n in range(70):
        forge.world.open_issue(REPO, "timmy", str(n))
    assert len(await numbers(forge)) == 30
    assert len(await numbers(forge, limit="500")) == 50
    assert await numbers(forge, limit="50", page="2") == list(range(20, 0, -1))
    answer = await forge.client().get(f"{WEB}/issues", limit="20", page="2")
    assert answer.headers["X-Total-Count"] == "70"
    link = answer.headers["Link"]
    assert [f'rel="{rel}"' in link for rel in ("next", "last", "first", "prev")] == [True] * 4
    assert "page=4>" in link.replace("&", ">&") or "page=4" in link


async def test_unknown_labels_are_dropped_and_when_none_is_left_all_issues_come(
    forge: Forge,
) -> None:
    forge.world.add_label(REPO, "bug")
    forge.world.add_label("acme", "shared")
    forge.world.open_issue(REPO, "timmy", "a", labels=["bug"])
    forge.world.open_issue(REPO, "timmy", "b", labels=["shared"])
    assert await numbers(forge, labels="bug,nonsense") == [1]
    assert await numbers(forge, labels="nonsense") == [2, 1]
    assert await numbers(forge, labels="shared") == [2, 1]


async def test_labels_mean_all_in_a_repository_and_any_in_the_search(forge: Forge) -> None:
    for name in ("bug", "ui"):
        forge.world.add_label(REPO, name)
    forge.world.open_issue(REPO, "timmy", "a", labels=["bug", "ui"])
    forge.world.open_issue(REPO, "timmy", "b", labels=["bug"])
    assert await numbers(forge, labels="bug,ui") == [1]
    assert await numbers(forge, SEARCH, labels="bug,ui") == [2, 1]


async def test_an_unknown_person_in_a_filter_is_404(forge: Forge) -> None:
    assert (await forge.client().get(f"{WEB}/issues", created_by="nobody")).status == 404


async def test_the_search_spans_readable_repositories_of_an_owner(forge: Forge) -> None:
    forge.world.add_repo("acme", "secret", True)
    forge.world.add_repo("timmy", "own")
    for repo in (REPO, "acme/secret", "timmy/own"):
        forge.world.open_issue(repo, "timmy", "t")
    found = (await forge.client().get(SEARCH, owner="acme")).json
    assert [issue["repository"]["full_name"] for issue in found] == [REPO]
    everywhere = (await forge.client("timmy").get(SEARCH)).json
    assert len(everywhere) == 3
    assert (await forge.client().get(SEARCH, owner="nobody")).status == 400


async def test_only_forgejo_sorts_issues(forge: Forge, forgejo: Forge) -> None:
    for one in (forge, forgejo):
        for title in "ab":
            one.world.open_issue(REPO, "timmy", title)
        one.clock.move(1)
        one.world.comment(REPO, 1, "timmy", "bump")
    assert await numbers(forgejo, sort="recentupdate") == [1, 2]
    assert await numbers(forge) == [2, 1]


async def test_issues_and_pull_requests_share_numbers_and_never_reuse_them(forge: Forge) -> None:
    client, timmy = forge.client(), forge.client("timmy")
    assert (await client.post(f"{WEB}/issues", {"title": "a"})).json["number"] == 1
    forge.world.commit(REPO, "f", {"a": "b"}, "bot")
    body = {"head": "f", "base": "main", "title": "p"}
    assert (await client.post(f"{WEB}/pulls", body)).json["number"] == 2
    assert (await client.delete(f"{WEB}/issues/1")).status == 403
    assert (await timmy.delete(f"{WEB}/issues/1")).status == 204
    assert (await client.get(f"{WEB}/issues/1")).status == 404
    assert (await client.post(f"{WEB}/issues", {"title": "b"})).json["number"] == 3


async def test_ids_are_global(forge: Forge) -> None:
    forge.world.add_repo("acme", "api")
    one = forge.world.open_issue(REPO, "timmy", "a")
    other = forge.world.open_issue("acme/api", "timmy", "b")
    assert (one.number, other.number) == (1, 1)
    assert one.id != other.id


async def test_lists_of_nobody_are_null(forge: Forge) -> None:
    forge.world.open_issue(REPO, "timmy", "a")
    issue = (await forge.client().get(f"{WEB}/issues/1")).json
    assert (issue["assignees"], issue["milestone"], issue["closed_at"]) == (None, None, None)
    assert issue["labels"] == []


async def test_without_write_right_labels_and_assignees_are_silently_dropped(forge: Forge) -> None:
    label = forge.world.add_label(REPO, "bug")
    body = {"title": "t", "labels": [label.id], "assignees": ["timmy"]}
    made = (await forge.client("alice").post(f"{WEB}/issues", body)).json
    assert (made["labels"], made["assignees"]) == ([], None)
    made = (await forge.client("bot").post(f"{WEB}/issues", body)).json
    assert [row["name"] for row in made["labels"]] == ["bug"]
    assert [row["login"] for row in made["assignees"]] == ["timmy"]


async def test_a_missing_title_is_422_in_go_words(forge: Forge) -> None:
    answer = await forge.client().post(f"{WEB}/issues", {"body": "b"})
    assert (answer.status, answer.json["message"]) == (422, "[Title]: Required")


async def test_an_unknown_assignee_is_422_at_creation_and_500_in_a_patch(forge: Forge) -> None:
    client = forge.client()
    body = {"title": "t", "assignees": ["nobody"]}
    assert (await client.post(f"{WEB}/issues", body)).status == 422
    forge.world.open_issue(REPO, "timmy", "t")
    answer = await client.patch(f"{WEB}/issues/1", {"assignees": ["nobody"]})
    assert (answer.status, answer.json["message"]) == (500, "")


async def test_a_patch_answers_201_and_the_state_it_has_changes_nothing(forge: Forge) -> None:
    forge.world.open_issue(REPO, "timmy", "t")
    client = forge.client()
    forge.clock.move(5)
    again = await client.patch(f"{WEB}/issues/1", {"state": "open"})
    assert (again.status, again.json["updated_at"]) == (201, again.json["created_at"])
    closed = await client.patch(f"{WEB}/issues/1", {"state": "closed"})
    assert (closed.status, closed.json["state"]) == (201, "closed")
    assert closed.json["closed_at"] == closed.json["updated_at"] == utc(forge.clock.now_s)
    assert (await client.patch(f"{WEB}/issues/1", {"state": "odd"})).status == 412


async def test_a_patch_is_not_atomic(forge: Forge) -> None:
    forge.world.open_issue(REPO, "timmy", "old")
    body = {"title": "new", "assignees": ["nobody"], "state": "closed"}
    assert (await forge.client().patch(f"{WEB}/issues/1", body)).status == 500
    issue = (await forge.client().get(f"{WEB}/issues/1")).json
    assert (issue["title"], issue["state"]) == ("new", "open")


async def test_a_stale_content_version_is_409(forge: Forge) -> None:
    forge.world.open_issue(REPO, "timmy", "t", "one")
    client = forge.client()
    body = {"body": "two", "content_version": 0}
    assert (await client.patch(f"{WEB}/issues/1", body)).json["content_version"] == 1
    assert (await client.patch(f"{WEB}/issues/1", {**body, "body": "three"})).status == 409


async def test_older_servers_have_no_content_version(make_forge: MakeForge) -> None:
    for old in (await make_forge("gitea", "1.25.4"), await make_forge("forgejo")):
        old.world.open_issue(REPO, "timmy", "t")
        assert "content_version" not in (await old.client().get(f"{WEB}/issues/1")).json


async def test_only_author_and_writers_change_an_issue(forge: Forge) -> None:
    forge.world.open_issue(REPO, "timmy", "t")
    forge.world.open_issue(REPO, "alice", "t")
    alice = forge.client("alice")
    assert (await alice.patch(f"{WEB}/issues/1", {"title": "x"})).status == 403
    assert (await alice.patch(f"{WEB}/issues/2", {"title": "x"})).status == 201


@pytest.mark.parametrize(
    "act",
    [
        lambda w: w.comment(REPO, 1, "timmy", "b"),
        lambda w: w.edit_issue(REPO, 1, "timmy", title="x"),
        lambda w: w.edit_issue(REPO, 1, "timmy", body="x"),
        lambda w: w.close(REPO, 1, "timmy"),
        lambda w: w.add_labels(REPO, 1, "timmy", ["bug"]),
        lambda w: w.assign(REPO, 1, "timmy", ["alice"]),
        lambda w: w.lock(REPO, 1, "timmy"),
        lambda w: w.open_issue(REPO, "timmy", "t", "see #1"),
        lambda w: w.commit(REPO, "main", {"a": "b"}, "timmy", "for #1"),
    ],
)
async def test_what_bumps_an_issue(forge: Forge, act: Callable[[World], object]) -> None:
    forge.world.add_label(REPO, "bug")
    issue = forge.world.open_issue(REPO, "timmy", "t")
    forge.clock.move(7)
    act(forge.world)
    assert issue.updated_s == issue.created_s + 7


@pytest.mark.parametrize(
    "act",
    [
        lambda w, c: w.edit_comment(c, "timmy", "x"),
        lambda w, c: w.delete_comment(c, "timmy"),
        lambda w, c: w.react(c.issue.reactions, w.the_user("timmy"), "heart"),
        lambda w, _: w.set_status(REPO, "bot", "0" * 40, "success"),
    ],
)
async def test_what_does_not_bump_an_issue(
    forge: Forge, act: Callable[[World, object], object]
) -> None:
    issue = forge.world.open_issue(REPO, "timmy", "t")
    comment = forge.world.comment(REPO, 1, "timmy", "b")
    forge.clock.move(7)
    act(forge.world, comment)
    assert issue.updated_s == issue.created_s


async def test_recolouring_a_label_does_not_bump_its_issues(forge: Forge) -> None:
    label = forge.world.add_label(REPO, "bug")
    issue = forge.world.open_issue(REPO, "timmy", "t", labels=["bug"])
    forge.clock.move(7)
    await forge.client().patch(f"{WEB}/labels/{label.id}", {"color": "#ff0000"})
    assert issue.updated_s == issue.created_s


async def test_a_late_committer_appears_with_an_earlier_second(forge: Forge) -> None:
    forge.clock.move(10)
    seen_s = forge.clock.now_s
    assert await numbers(forge, since=utc(seen_s - 5)) == []
    with forge.world.late(6):
        forge.world.open_issue(REPO, "timmy", "late")
    assert await numbers(forge, since=utc(seen_s - 5)) == []
    assert await numbers(forge, since=utc(seen_s - 6)) == [1]


async def test_forgejo_lets_admins_backdate_an_issue(forgejo: Forge, forge: Forge) -> None:
    for one in (forgejo, forge):
        one.world.open_issue(REPO, "timmy", "t")
    forgejo.oracle.problems.clear()
    body = {"title": "x", "updated_at": "2020-01-01T00:00:00Z"}
    answer = await forgejo.client("timmy").patch(f"{WEB}/issues/1", body)
    assert answer.json["updated_at"] == "2020-01-01T00:00:00Z"
    assert forgejo.oracle.problems.pop().endswith("'updated_at' for EditIssueOption")


async def test_times_carry_the_servers_offset(forge: Forge) -> None:
    forge.world.utc_offset_s = 7200
    forge.world.open_issue(REPO, "timmy", "t")
    issue = (await forge.client().get(f"{WEB}/issues/1")).json
    assert issue["created_at"] == "2026-09-21T16:13:20+02:00"


async def test_assignee_endpoints_exist_from_1_27(forge: Forge, forgejo: Forge) -> None:
    for one in (forge, forgejo):
        one.world.open_issue(REPO, "timmy", "t")
    client = forge.client()
    body = {"assignees": ["timmy"]}
    assert (await client.post(f"{WEB}/issues/1/assignees", body)).status == 201
    assert (await client.post(f"{WEB}/issues/1/assignees", {"assignees": ["x"]})).status == 422
    answer = await client.delete(f"{WEB}/issues/1/assignees", body)
    assert (answer.status, answer.json["assignees"]) == (200, None)
    assert (await forgejo.client().post(f"{WEB}/issues/1/assignees", body)).status == 404


async def test_a_due_date_is_the_end_of_its_day(forge: Forge) -> None:
    forge.world.open_issue(REPO, "timmy", "t")
    body = {"due_date": "2026-12-24T10:00:00Z"}
    answer = await forge.client().patch(f"{WEB}/issues/1", body)
    assert answer.json["due_date"] == "2026-12-24T23:59:59Z"
    answer = await forge.client().patch(f"{WEB}/issues/1", {"unset_due_date": True})
    assert answer.json["due_date"] is None
