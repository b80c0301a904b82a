"""Branches, protection, files, commits, trees, statuses: on true git."""

from __future__ import annotations

import subprocess
from base64 import b64decode
from typing import Any

import pytest

from allegro.testing.gitea.git import RefMovedError

from .conftest import MakeForge
from .forge import WEB, Answer, Forge, encoded

REPO = "acme/web"


def file(operation: str, path: str, text: str = "", **more: str) -> dict[str, str]:
    body = {"operation": operation, "path": path, **more}
    return body if operation == "delete" else {**body, "content": encoded(text)}


async def commit(forge: Forge, *files: dict[str, str], login: str = "bot", **more: Any) -> Answer:
    body = {"message": "m", "files": list(files), **more}
    return await forge.client(login).post(f"{WEB}/contents", body)


def tip(forge: Forge, branch: str = "main") -> str:
    sha = forge.world.git(forge.world.the_repo(REPO)).branch(branch)
    assert sha is not None
    return sha


# branches


async def test_a_branch_tells_commit_protection_and_rights(forge: Forge) -> None:
    forge.world.protect(REPO, "main")
    forge.world.commit(REPO, "free", {"a": "b"}, "bot")
    client = forge.client()
    main = (await client.get(f"{WEB}/branches/main")).json
    assert main["commit"]["id"] == tip(forge)
    assert (main["protected"], main["user_can_push"], main["user_can_merge"]) == (True, False, True)
    free = (await client.get(f"{WEB}/branches/free")).json
    assert (free["protected"], free["user_can_push"]) == (False, True)
    assert [row["name"] for row in (await client.get(f"{WEB}/branches")).json] == ["free", "main"]
    assert (await client.get(f"{WEB}/branches/none")).status == 404


async def test_a_branch_can_begin_at_a_commit_id(forge: Forge) -> None:
    first = tip(forge)
    forge.world.commit(REPO, "main", {"a": "b"}, "timmy")
    body = {"new_branch_name": "work/1", "old_ref_name": first}
    made = await forge.client().post(f"{WEB}/branches", body)
    assert (made.status, made.json["commit"]["id"]) == (201, first)
    assert (await forge.client().get(f"{WEB}/branches/work/1")).json["name"] == "work/1"
    assert (await forge.client().post(f"{WEB}/branches", body)).status == 409


async def test_errors_of_branch_creation(forge: Forge) -> None:
    forge.world.protect(REPO, "release/*")
    client, path = forge.client(), f"{WEB}/branches"
    bad = {"new_branch_name": "b", "old_ref_name": "nowhere"}
    assert (await client.post(path, bad)).status == 500
    assert (await client.post(path, {"new_branch_name": "b", "old_branch_name": "x"})).status == 404
    assert (await client.post(path, {"new_branch_name": "release/1"})).status == 500
    assert (await client.post(path, {"new_branch_name": "a..b"})).status == 422
    assert (await client.post(path, {"new_branch_name": "main/x"})).status == 409
    assert (await client.post(path)).status == 422
    assert (await forge.client("alice").post(path, {"new_branch_name": "b"})).status == 403


async def test_a_branch_of_an_empty_repository_is_404(forge: Forge) -> None:
    forge.world.add_repo("timmy", "void")
    path = "/repos/timmy/void/branches"
    assert (await forge.client("timmy").post(path, {"new_branch_name": "b"})).status == 404


async def test_default_and_protected_branches_cannot_be_deleted(forge: Forge) -> None:
    for name in ("kept", "gone"):
        forge.world.commit(REPO, name, {"a": "b"}, "bot")
    forge.world.protect(REPO, "kept")
    client = forge.client()
    assert (await client.delete(f"{WEB}/branches/main")).status == 403
    assert (await client.delete(f"{WEB}/branches/kept")).status == 403
    assert (await client.delete(f"{WEB}/branches/gone")).status == 204
    assert (await client.delete(f"{WEB}/branches/gone")).status == 404


async def test_moving_a_branch_compares_and_sets(forge: Forge) -> None:
    old = tip(forge)
    new = forge.world.commit(REPO, "next", {"a": "b"}, "bot")
    client, path = forge.client(), f"{WEB}/branches/main"
    wrong = {"new_commit_id": new, "old_commit_id": new}
    assert (await client.put(path, wrong)).status == 422
    assert (await client.put(path, {"new_commit_id": new, "old_commit_id": old})).status == 204
    assert tip(forge) == new


async def test_protection_is_seen_and_set_by_admins_only(forge: Forge) -> None:
    path, body = f"{WEB}/branch_protections", {"rule_name": "main", "enable_push": False}
    assert (await forge.client("bot").post(path, body)).status == 403
    assert (await forge.client("bot").get(path)).status == 403
    timmy = forge.client("timmy")
    assert (await timmy.post(path, body)).status == 201
    assert (await timmy.post(path, body)).status == 403
    assert (
        await timmy.post(path, {"rule_name": "x", "push_whitelist_usernames": ["no"]})
    ).status == 422
    assert [rule["rule_name"] for rule in (await timmy.get(path)).json] == ["main"]
    assert (await timmy.patch(f"{path}/main", {"required_approvals": 2})).json[
        "required_approvals"
    ] == 2
    assert (await timmy.delete(f"{path}/main")).status == 204
    assert (await timmy.get(f"{path}/main")).status == 404


async def test_nobody_commits_to_a_protected_branch_not_even_its_owner(forge: Forge) -> None:
    forge.world.protect(REPO, "main")
    before = tip(forge)
    for login in ("bot", "timmy"):
        answer = await commit(forge, file("create", "x"), login=login, branch="main")
        assert answer.status == 403
    assert tip(forge) == before
    forge.world.protect(REPO, "main", ["timmy"])
    assert (await commit(forge, file("create", "x"), login="timmy", branch="main")).status == 201
    assert (await commit(forge, file("create", "y"), branch="main")).status == 403


# files


async def test_one_call_makes_branch_and_commit(forge: Forge) -> None:
    before = tip(forge)
    answer = await commit(
        forge,
        file("create", "new/a.txt", "a"),
        file("update", "README.md", "bye\n"),
        file("delete", "src/app.py"),
        branch="main",
        new_branch="work",
    )
    assert answer.status == 201
    made = answer.json["commit"]
    assert [parent["sha"] for parent in made["parents"]] == [before]
    assert made["sha"] == tip(forge, "work")
    assert tip(forge) == before
    assert [row and row["path"] for row in answer.json["files"]] == ["new/a.txt", "README.md", None]
    tree = await forge.client().get(f"{WEB}/git/trees/work", recursive="true")
    blobs = [row["path"] for row in tree.json["tree"] if row["type"] == "blob"]
    assert blobs == ["README.md", "new/a.txt"]


async def test_the_commit_is_a_true_git_commit(forge: Forge) -> None:
    author = {"name": "Somebody", "email": "some@example.test"}
    await commit(forge, file("create", "a", "b"), new_branch="work", author=author)
    path = forge.world.git(forge.world.the_repo(REPO)).path
    run = ["git", "-C", str(path), "log", "-1", "--format=%an %ae %cn %at %s", "work"]
    out = subprocess.run(run, check=True, capture_output=True, text=True).stdout
    at_s = int(forge.clock.now_s)
    assert out.strip() == f"Somebody some@example.test Somebody {at_s} m"
    subprocess.run(["git", "-C", str(path), "fsck", "--strict"], check=True, capture_output=True)


async def test_errors_of_a_commit_of_many_files(forge: Forge) -> None:
    forge.world.commit(REPO, "taken", {"a": "b"}, "bot")
    assert (await commit(forge, file("create", "README.md"))).status == 422
    assert (await commit(forge, file("update", "none"))).status == 404
    assert (await commit(forge, file("delete", "none"))).status == 404
    assert (await commit(forge, file("create", "x"), branch="none")).status == 404
    taken = await commit(forge, file("create", "x"), new_branch="taken")
    assert (taken.status, taken.json["message"]) == (422, "branch already exists [name: taken]")
    assert (await commit(forge, file("create", "x"), login="alice")).status == 403
    assert (await commit(forge, {"operation": "odd", "path": "x"})).status == 422
    assert (await commit(forge, file("create", "../x"))).status == 422
    assert (await commit(forge)).status == 422
    bad = {"operation": "create", "path": "x", "content": "not base64!"}
    assert (await commit(forge, bad)).status == 422


async def test_force_push_replaces_an_existing_new_branch(forge: Forge) -> None:
    forge.world.commit(REPO, "taken", {"a": "b"}, "bot")
    answer = await commit(forge, file("create", "x"), new_branch="taken", force_push=True)
    assert answer.status == 201
    assert tip(forge, "taken") == answer.json["commit"]["sha"]


async def test_a_wrong_sha_is_422_on_gitea_and_409_on_forgejo(forge: Forge, forgejo: Forge) -> None:
    for one, status in ((forge, 422), (forgejo, 409)):
        answer = await commit(one, file("update", "README.md", "x", sha="0" * 40))
        assert answer.status == status


async def test_forgejo_from_12_on_demands_a_sha(forgejo: Forge) -> None:
    assert (await commit(forgejo, file("update", "README.md", "x"))).status == 422
    entry = (await forgejo.client().get(f"{WEB}/contents/README.md")).json
    assert (await commit(forgejo, file("update", "README.md", "x", sha=entry["sha"]))).status == 201


async def test_a_file_can_be_moved_and_keeps_its_mode(forge: Forge) -> None:
    answer = await commit(forge, file("update", "src/main.py", "y", from_path="src/app.py"))
    assert answer.status == 201
    tree = (await forge.client().get(f"{WEB}/git/trees/main", recursive="1")).json["tree"]
    assert [row["path"] for row in tree if row["type"] == "blob"] == ["README.md", "src/main.py"]


async def test_single_file_routes(forge: Forge) -> None:
    client, path = forge.client(), f"{WEB}/contents/one.txt"
    made = await client.put(path, {"content": encoded("1"), "message": "one"})
    assert made.status == 201
    sha = made.json["content"]["sha"]
    assert (await client.post(path, {"content": encoded("1")})).status == 422
    changed = await client.put(path, {"content": encoded("2"), "sha": sha})
    assert changed.status == 200
    gone = await client.delete(path, {"sha": changed.json["content"]["sha"]})
    assert (gone.status, gone.json["content"]) == (200, None)


async def test_before_1_26_put_needs_a_sha(make_forge: MakeForge) -> None:
    forge = await make_forge("gitea", "1.25.4")
    body = {"content": encoded("1")}
    assert (await forge.client().put(f"{WEB}/contents/one.txt", body)).status == 422


async def test_the_first_commit_of_an_empty_repository(forge: Forge) -> None:
    forge.world.add_repo("timmy", "void")
    client = forge.client("timmy")
    assert (await client.get("/repos/timmy/void/contents")).status == 404
    assert (await client.get("/repos/timmy/void/commits")).status == 409
    body = {"files": [file("create", "a", "b")], "message": "first"}
    assert (await client.post("/repos/timmy/void/contents", body)).status == 201
    assert (await client.get("/repos/timmy/void")).json["empty"] is False


async def test_contents_give_files_and_directories(forge: Forge) -> None:
    client = forge.client()
    entry = (await client.get(f"{WEB}/contents/README.md", ref="main")).json
    assert b64decode(entry["content"]) == b"hello\n"
    assert entry["last_commit_sha"] == tip(forge)
    rows = (await client.get(f"{WEB}/contents")).json
    assert [(row["name"], row["type"], row["content"]) for row in rows] == [
        ("README.md", "file", None),
        ("src", "dir", None),
    ]
    assert [row["path"] for row in (await client.get(f"{WEB}/contents/src")).json] == ["src/app.py"]
    assert (await client.get(f"{WEB}/contents/none")).status == 404
    assert (await client.get(f"{WEB}/contents/README.md", ref="none")).status == 404


async def test_raw_gives_bytes_with_an_etag(forge: Forge) -> None:
    answer = await forge.client().get(f"{WEB}/raw/src/app.py")
    assert answer.text == "x = 1\n"
    assert "ETag" in answer.headers
    assert "ETag" not in (await forge.client().get(f"{WEB}/contents/README.md")).headers


async def test_a_lost_race_is_seen_by_compare_and_set(forge: Forge) -> None:
    git = forge.world.git(forge.world.the_repo(REPO))
    old = tip(forge)
    new = forge.world.commit(REPO, "main", {"a": "b"}, "timmy")
    with pytest.raises(RefMovedError):
        git.move("refs/heads/main", old, old)
    assert tip(forge) == new


# objects


async def test_commits_trees_and_blobs(forge: Forge) -> None:
    forge.world.commit(REPO, "main", {"README.md": "bye\n", "b": "1\n2\n"}, "timmy", "second")
    client = forge.client()
    rows = await client.get(f"{WEB}/commits")
    assert [row["commit"]["message"] for row in rows.json] == ["second\n", "Initial commit\n"]
    assert rows.headers["X-Total-Count"] == "2"
    assert len((await client.get(f"{WEB}/commits", path="src")).json) == 1
    one = (await client.get(f"{WEB}/git/commits/{tip(forge)}")).json
    assert one["stats"] == {"total": 4, "additions": 3, "deletions": 1}
    assert {row["filename"]: row["status"] for row in one["files"]} == {
        "README.md": "modified",
        "b": "added",
    }
    assert one["author"]["login"] == "timmy"
    assert (await client.get(f"{WEB}/git/commits/{'0' * 40}")).status == 404
    entry = (await client.get(f"{WEB}/contents/b")).json
    blob = (await client.get(f"{WEB}/git/blobs/{entry['sha']}")).json
    assert (b64decode(blob["content"]), blob["size"]) == (b"1\n2\n", 4)
    assert (await client.get(f"{WEB}/git/blobs/{'0' * 40}")).status == 400


async def test_a_long_tree_comes_in_pages_and_says_so(forge: Forge) -> None:
    forge.world.commit(REPO, "main", {f"f{n}": "x" for n in range(10)}, "timmy")
    client, path = forge.client(), f"{WEB}/git/trees/{tip(forge)}"
    first = (await client.get(path, recursive="true", per_page="8")).json
    assert (len(first["tree"]), first["truncated"], first["total_count"]) == (8, True, 13)
    second = (await client.get(path, recursive="true", per_page="8", page="2")).json
    assert (len(second["tree"]), second["truncated"]) == (5, False)


async def test_references_by_prefix(forge: Forge) -> None:
    forge.world.commit(REPO, "work/a", {"a": "b"}, "bot")
    client = forge.client()
    names = [row["ref"] for row in (await client.get(f"{WEB}/git/refs")).json]
    assert names == ["refs/heads/main", "refs/heads/work/a"]
    assert len((await client.get(f"{WEB}/git/refs/heads/work")).json) == 1
    assert (await client.get(f"{WEB}/git/refs/tags")).status == 404


async def test_compare_gives_the_heads_own_commits(forge: Forge) -> None:
    forge.world.commit(REPO, "work", {"a": "1"}, "bot", "one")
    forge.world.commit(REPO, "main", {"b": "1"}, "timmy", "other")
    answer = (await forge.client().get(f"{WEB}/compare/main...work")).json
    assert answer["total_commits"] == 1
    assert answer["commits"][0]["commit"]["message"] == "one\n"
    assert (await forge.client().get(f"{WEB}/compare/main...none")).status == 404
    text = (await forge.client().get(f"{WEB}/compare/main...work", output="diff")).text
    assert text.startswith("diff --git a/a b/a")


# statuses


async def test_the_newest_status_of_each_context_counts(forge: Forge) -> None:
    client, sha = forge.client(), tip(forge)
    for state, context in (("pending", "ci"), ("success", "ci"), ("failure", "lint")):
        body = {"state": state, "context": context}
        assert (await client.post(f"{WEB}/statuses/{sha}", body)).status == 201
    combined = (await client.get(f"{WEB}/commits/main/status")).json
    assert (combined["state"], combined["total_count"]) == ("failure", 2)
    listed = (await client.get(f"{WEB}/commits/main/statuses")).json
    assert [row["status"] for row in listed] == ["failure", "success", "pending"]


async def test_a_status_of_an_unknown_commit_is_500(forge: Forge) -> None:
    body = {"state": "success"}
    assert (await forge.client().post(f"{WEB}/statuses/{'0' * 40}", body)).status == 500
    assert (
        await forge.client().post(f"{WEB}/statuses/{tip(forge)}", {"state": "odd"})
    ).status == 400


async def test_without_statuses_the_list_is_null(forge: Forge) -> None:
    combined = (await forge.client().get(f"{WEB}/commits/main/status")).json
    assert (combined["statuses"], combined["total_count"]) == (None, 0)


async def test_a_commit_can_carry_its_own_dates(forge: Forge) -> None:
    dates = {"author": "2026-01-02T03:04:05Z", "committer": "2026-01-02T03:04:06Z"}
    made = (await commit(forge, file("create", "a", "b"), dates=dates)).json["commit"]
    assert made["author"]["date"] == "2026-01-02T03:04:05Z"
    assert made["created"] == made["committer"]["date"] == "2026-01-02T03:04:06Z"


async def test_odd_paths_are_plain_paths(forge: Forge) -> None:
    names = ['a "b"', "*.md", ":(top)x", "a/-n", "ä/ö.txt"]
    assert (await commit(forge, *[file("create", name, name) for name in names])).status == 201
    tree = (await forge.client().get(f"{WEB}/git/trees/main", recursive="1")).json["tree"]
    assert set(names) <= {row["path"] for row in tree}
    entry = (await forge.client().get(f"{WEB}/contents/*.md")).json
    assert b64decode(entry["content"]) == b"*.md"
    assert (await commit(forge, file("create", "-n", "x"))).status == 500
