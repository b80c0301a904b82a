"""Pull requests."""

from __future__ import annotations

from typing import Any

import pytest

from .conftest import MakeForge
from .forge import WEB, Answer, Forge

REPO = "acme/web"


@pytest.fixture
def branched(forge: Forge) -> Forge:
    branch(forge)
    return forge


def branch(forge: Forge, name: str = "work", **files: str) -> str:
    return forge.world.commit(REPO, name, files or {"README.md": "bye\n", "n": "1\n"}, "bot", "go")


async def open_pull(forge: Forge, login: str = "bot", **more: Any) -> Answer:
    body = {"head": "work", "base": "main", "title": "t", **more}
    return await forge.client(login).post(f"{WEB}/pulls", body)


async def test_a_pull_request_tells_its_two_branches_and_counts(branched: Forge) -> None:
    made = (await open_pull(branched, body="why")).json
    assert (made["number"], made["base"]["ref"], made["head"]["ref"]) == (1, "main", "work")
    assert (made["additions"], made["deletions"], made["changed_files"]) == (2, 1, 2)
    assert made["merge_base"] == made["base"]["sha"]
    client = branched.client()
    files = (await client.get(f"{WEB}/pulls/1/files")).json
    assert [(row["filename"], row["status"]) for row in files] == [
        ("README.md", "changed"),
        ("n", "added"),
    ]
    commits = (await client.get(f"{WEB}/pulls/1/commits")).json
    assert [row["sha"] for row in commits] == [made["head"]["sha"]]
    diff = await client.get(f"{WEB}/pulls/1.diff")
    assert "-hello\n+bye\n" in diff.text
    assert (await client.get(f"{WEB}/pulls/1.patch")).text.startswith("From ")


async def test_a_second_open_one_is_409_and_names_the_first(branched: Forge) -> None:
    branched.world.open_issue(REPO, "timmy", "so that the number is not one")
    await open_pull(branched)
    again = await open_pull(branched)
    assert again.status == 409
    assert "issue_id: 2," in again.json["message"]
    branched.world.close(REPO, 2, "timmy")
    assert (await open_pull(branched)).json["number"] == 3


async def test_by_branches_an_old_closed_one_may_come(branched: Forge) -> None:
    await open_pull(branched)
    branched.world.close(REPO, 1, "timmy")
    await open_pull(branched)
    found = await branched.client().get(f"{WEB}/pulls/main/work")
    assert (found.json["number"], found.json["state"]) == (1, "closed")
    assert (await branched.client().get(f"{WEB}/pulls/main/acme:work")).json["number"] == 1
    assert (await branched.client().get(f"{WEB}/pulls/main/none")).status == 404


async def test_a_head_with_a_slash_is_found_when_escaped(forge: Forge) -> None:
    branch(forge, "allegro/1-x")
    made = await open_pull(forge, head="acme:allegro/1-x")
    assert made.json["head"]["label"] == "allegro/1-x"
    assert (await forge.client().get(f"{WEB}/pulls/main/allegro%2F1-x")).json["number"] == 1


async def test_errors_of_creation(branched: Forge) -> None:
    assert (await open_pull(branched, head="main")).status == 422
    assert (await open_pull(branched, head="none")).status == 404
    assert (await open_pull(branched, base="none")).status == 404
    assert (await open_pull(branched, head="stranger:work")).status == 404
    assert (await open_pull(branched, title="")).status == 422
    sha = branched.world.commit(REPO, "work", {"x": "y"}, "bot")
    assert (await open_pull(branched, head=sha)).status == 422
    assert (await open_pull(branched, assignees=["nobody"])).status == 422


async def test_an_empty_pull_request_is_accepted(forge: Forge) -> None:
    await forge.client().post(f"{WEB}/branches", {"new_branch_name": "work"})
    assert (await open_pull(forge)).json["changed_files"] == 0


@pytest.mark.parametrize("title", ["WIP: t", "[WIP] t", "wip: t"])
async def test_a_draft_is_told_by_its_title(branched: Forge, title: str) -> None:
    assert (await open_pull(branched, title=title)).json["draft"] is True


async def test_mergeable_is_false_until_the_check_it_begins_is_done(branched: Forge) -> None:
    branched.world.mergeable_delay_s = 2.0
    assert (await open_pull(branched)).json["mergeable"] is False
    client = branched.client()
    assert (await client.get(f"{WEB}/pulls/1")).json["mergeable"] is False
    branched.clock.move(2)
    assert (await client.get(f"{WEB}/pulls/1")).json["mergeable"] is True
    branched.world.commit(REPO, "main", {"other": "x"}, "timmy")
    assert (await client.get(f"{WEB}/pulls/1")).json["mergeable"] is False


async def test_a_conflict_is_never_mergeable(branched: Forge) -> None:
    branched.world.commit(REPO, "main", {"README.md": "else\n"}, "timmy")
    await open_pull(branched)
    client = branched.client()
    assert (await client.get(f"{WEB}/pulls/1")).json["mergeable"] is False
    assert (await client.post(f"{WEB}/pulls/1/merge", {"Do": "merge"})).status == 409


async def test_a_merge_moves_the_base_and_closes(branched: Forge) -> None:
    before = (await open_pull(branched)).json["base"]["sha"]
    client = branched.client()
    assert (await client.get(f"{WEB}/pulls/1/merge")).status == 404
    assert (await client.post(f"{WEB}/pulls/1/merge", {"Do": "merge"})).status == 200
    assert (await client.get(f"{WEB}/pulls/1/merge")).status == 204
    pull = (await client.get(f"{WEB}/pulls/1")).json
    assert (pull["merged"], pull["state"], pull["merged_by"]["login"]) == (True, "closed", "bot")
    tip = (await client.get(f"{WEB}/branches/main")).json["commit"]["id"]
    assert pull["merge_commit_sha"] == tip != before
    assert (await client.post(f"{WEB}/pulls/1/merge", {"Do": "merge"})).status == 405
    assert (await client.patch(f"{WEB}/pulls/1", {"state": "open"})).status == 412
    calls = [call for call in branched.simulator.log if call.path.endswith("/merge")]
    assert [call.status for call in calls if call.method == "POST"] == [200, 405]


async def test_a_merge_is_405_while_checked_as_draft_and_without_right(branched: Forge) -> None:
    branched.world.mergeable_delay_s = 2.0
    await open_pull(branched)
    client = branched.client()
    body = {"Do": "merge"}
    assert (await client.post(f"{WEB}/pulls/1/merge", body)).status == 405
    branched.clock.move(2)
    assert (await branched.client("alice").post(f"{WEB}/pulls/1/merge", body)).status == 405
    stale = {"Do": "merge", "head_commit_id": "0" * 40}
    assert (await client.post(f"{WEB}/pulls/1/merge", stale)).status == 409
    branched.world.edit_issue(REPO, 1, "timmy", title="WIP: t")
    assert (await client.post(f"{WEB}/pulls/1/merge", body)).status == 405


async def test_only_gitea_from_1_26_reads_a_lower_case_do(make_forge: MakeForge) -> None:
    for version, status in ((None, 200), ("1.25.4", 422)):
        forge = await make_forge("gitea", version)
        branch(forge)
        await open_pull(forge)
        answer = await forge.client().post(f"{WEB}/pulls/1/merge", {"do": "squash"})
        assert answer.status == status


async def test_a_push_to_the_head_is_told_and_bumps(branched: Forge) -> None:
    created = (await open_pull(branched)).json
    branched.clock.move(9)
    sha = branch(branched, more="x")
    client = branched.client()
    pull = (await client.get(f"{WEB}/pulls/1")).json
    assert pull["head"]["sha"] == sha
    assert pull["updated_at"] > created["updated_at"]
    row = (await client.get(f"{WEB}/issues/1/timeline")).json[-1]
    assert (row["type"], row["user"]["login"]) == ("pull_push", "bot")
    assert sha in row["body"]


async def test_a_push_to_the_base_moves_base_sha_but_does_not_bump(branched: Forge) -> None:
    created = (await open_pull(branched)).json
    branched.clock.move(9)
    sha = branched.world.commit(REPO, "main", {"other": "x"}, "timmy")
    pull = (await branched.client().get(f"{WEB}/pulls/1")).json
    assert (pull["base"]["sha"], pull["updated_at"]) == (sha, created["updated_at"])
    assert pull["merge_base"] == created["merge_base"]


async def test_the_list_sorts_by_update_when_asked(forge: Forge) -> None:
    for name in ("a", "b"):
        branch(forge, name)
        await open_pull(forge, head=name)
    forge.clock.move(5)
    forge.world.comment(REPO, 1, "timmy", "bump")
    client = forge.client()
    latest = (await client.get(f"{WEB}/pulls", state="all", sort="recentupdate")).json
    assert [pull["number"] for pull in latest] == [1, 2]
    assert [pull["number"] for pull in (await client.get(f"{WEB}/pulls")).json] == [2, 1]
    assert len((await client.get(f"{WEB}/pulls", base_branch="main")).json) == 2
    assert (await client.get(f"{WEB}/pulls", state="closed")).json == []


async def test_an_edit_answers_201_and_labels_are_a_full_set(branched: Forge) -> None:
    label = branched.world.add_label(REPO, "bug")
    await open_pull(branched)
    client, path = branched.client(), f"{WEB}/pulls/1"
    answer = await client.patch(path, {"title": "n", "body": "b", "labels": [label.id]})
    assert (answer.status, answer.json["title"], answer.json["body"]) == (201, "n", "b")
    assert [row["name"] for row in answer.json["labels"]] == ["bug"]
    assert (await client.patch(path, {"labels": []})).json["labels"] == []
    assert (await client.patch(path, {"assignees": ["nobody"]})).status == 422
    assert (await client.patch(path, {"state": "closed"})).json["state"] == "closed"


async def test_an_issue_is_no_pull_request(forge: Forge) -> None:
    forge.world.open_issue(REPO, "timmy", "t")
    assert (await forge.client().get(f"{WEB}/pulls/1")).status == 404


async def test_a_deleted_head_branch_leaves_the_commit(branched: Forge) -> None:
    made = (await open_pull(branched)).json
    branched.world.delete_branch(REPO, "work", "bot")
    pull = (await branched.client().get(f"{WEB}/pulls/1")).json
    assert pull["head"]["sha"] == made["head"]["sha"]
    assert pull["head"]["ref"] == "refs/pull/1/head"


async def test_a_reader_from_outside_cannot_open_one(branched: Forge) -> None:
    branched.world.the_repo(REPO).private = False
    assert (await open_pull(branched, login="stranger")).status == 403
    assert (await open_pull(branched, login="alice")).status == 201
