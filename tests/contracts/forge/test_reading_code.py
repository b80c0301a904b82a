"""Branches, commits, trees, blobs, pull requests and history."""

from __future__ import annotations

import secrets
from collections.abc import Iterable

from allegro.adapters.gitea.reader import GiteaReader
from allegro.core.authority.actions.forge import git_blob_id
from allegro.core.forge.issues import Repository

from .forge_backends import Site
from .lane import Lane
from .people import People


async def test_a_branch_tells_what_the_asking_token_may_do(
    lane: Lane, people: People, site: Site
) -> None:
    repo = await people.repository(protected=False)
    free = await lane.reader.branch(repo, "main", site.change)
    assert free is not None
    assert (free.protected, free.can_push, free.can_merge) == (False, True, True)
    await people.protect(repo, merge=None)
    half = await lane.reader.branch(repo, "main", site.change)
    assert half is not None
    assert (half.protected, half.can_push, half.can_merge) == (True, False, True)
    await people.unprotect(repo)
    await people.protect(repo)
    for token in (site.daily, site.change):
        safe = await lane.reader.branch(repo, "main", token)
        assert safe is not None
        assert (safe.protected, safe.can_push, safe.can_merge) == (True, False, False)
    owner = await lane.reader.branch(repo, "main", site.owner)
    assert owner is not None
    assert (owner.can_push, owner.can_merge) == (True, True)
    assert owner.commit == await people.tip(repo)


async def test_a_branch_with_a_slash_is_found(lane: Lane, people: People) -> None:
    repo = await people.repository()
    await people.branch(repo, "fix/é/one", await people.tip(repo))
    branch = await lane.reader.branch(repo, "fix/é/one")
    assert branch is not None
    assert branch.name == "fix/é/one"


async def test_a_commit_has_parents_and_a_tree(lane: Lane, people: People) -> None:
    repo = await people.repository()
    first = await people.tip(repo)
    second = await people.commit(repo, {"new.txt": "n\n"})
    commit = await lane.reader.commit(repo, second)
    assert commit is not None
    assert (commit.id, commit.parents) == (second, (first,))
    root = await lane.reader.commit(repo, first)
    assert root is not None
    assert root.parents == ()
    assert set(await lane.reader.tree(repo, commit.tree)) == {"README.md", "new.txt"}


async def test_nested_folders_are_walked_one_by_one(lane: Lane, people: People) -> None:
    files = {"a/b/c/deep.txt": "deep\n", "a/b/käse & brot.txt": "k\n", "top.txt": "t\n"}
    repo = await people.repository(files)
    tip = await lane.reader.commit(repo, await people.tip(repo))
    assert tip is not None
    trees = lane.looking.trees(repo)
    for path, text in files.items():
        leaf = await trees.leaf(tip.tree, path)
        assert leaf == ("100644", git_blob_id(text.encode(), like=tip.id))
    assert await trees.leaf(tip.tree, "a/b") is not None
    assert await trees.leaf(tip.tree, "a/none/x") is None
    top = await lane.reader.tree(repo, tip.tree)
    assert (top["a"].type, top["a"].mode) == ("tree", "040000")


async def test_a_whole_tree_is_what_its_folders_hold(lane: Lane, people: People) -> None:
    files = {"a/b/c/deep.txt": "deep\n", "a/b/käse & brot.txt": "k\n", "top.txt": "t\n"}
    repo = await people.repository(files)
    tip = await lane.reader.commit(repo, await people.tip(repo))
    assert tip is not None
    whole, trees = await lane.reader.whole_tree(repo, tip.tree), lane.looking.trees(repo)
    assert whole is not None
    assert set(whole) == {*files, "README.md", "a", "a/b", "a/b/c"}
    for path, entry in whole.items():
        assert await trees.leaf(tip.tree, path) == (entry.mode, entry.sha)


async def test_a_tree_of_more_than_a_page_is_not_given_whole(lane: Lane, people: People) -> None:
    repo = await people.repository(protected=False)
    await people.patch(repo, new_files(f"many/{n:04}.txt" for n in range(1_001)))
    tip = await lane.reader.commit(repo, await people.tip(repo))
    assert tip is not None
    assert await lane.reader.whole_tree(repo, tip.tree) is None
    trees = lane.looking.trees(repo)
    await trees.open(tip.tree)
    assert await trees.leaf(tip.tree, "many/1000.txt") is not None


async def test_a_folder_of_more_than_a_page_is_read_whole(lane: Lane, people: People) -> None:
    repo = await people.repository(protected=False)
    await people.patch(repo, new_files(f"many/{n:04}.txt" for n in range(1_203)))
    tip = await lane.reader.commit(repo, await people.tip(repo))
    assert tip is not None
    top = await lane.reader.tree(repo, tip.tree)
    assert len(await lane.reader.tree(repo, top["many"].sha)) == 1_203


async def test_a_blob_is_its_bytes(lane: Lane, people: People) -> None:
    raw = secrets.token_bytes(70_000) + b"\0\r\n"
    repo = await people.repository({"raw.bin": raw, "empty": b""})
    assert await lane.reader.blob(repo, await people.blob_id(repo, "raw.bin")) == raw
    assert await lane.reader.blob(repo, await people.blob_id(repo, "empty")) == b""


async def test_pull_requests_between_branches_include_closed_ones(
    lane: Lane, people: People
) -> None:
    repo = await people.repository()
    await people.commit(repo, {"b.txt": "b\n"}, new_branch="some/work")
    await people.commit(repo, {"c.txt": "c\n"}, new_branch="other")
    closed = await people.pull(repo, "some/work", "one")
    await people.edit_pull(repo, closed, state="closed")
    second = await people.pull(repo, "some/work", "two")
    await people.pull(repo, "other", "three")
    found = await lane.reader.pulls_between(repo, "main", "some/work")
    assert [(pull.number, pull.state) for pull in found] == [(closed, "closed"), (second, "open")]
    assert {(pull.base, pull.head) for pull in found} == {("main", "some/work")}
    assert {pull.head_commit for pull in found} == {await people.tip(repo, "some/work")}
    assert {pull.author_id for pull in found} == {people.owner_id}


async def test_a_merged_pull_request_says_so(lane: Lane, people: People) -> None:
    repo = await people.repository()
    head = await people.commit(repo, {"b.txt": "b\n"}, new_branch="work")
    number = await people.pull(repo, "work", "one")
    await people.merge(repo, number)
    pull = await lane.reader.pull(repo, number)
    assert pull is not None
    assert (pull.merged, pull.state, pull.head_commit) == (True, "closed", head)
    assert await in_history(lane.reader, repo, head, "main") is True


async def test_history_tells_what_left_it(lane: Lane, people: People) -> None:
    repo = await people.repository()
    first = await people.tip(repo)
    second = await people.commit(repo, {"b.txt": "b\n"})
    third = await people.commit(repo, {"c.txt": "c\n"})
    reader = lane.reader
    for commit in (first, second, third):
        assert await in_history(reader, repo, commit, "main") is True
    await people.rewrite_main(repo, first)
    assert await in_history(reader, repo, first, "main") is True
    assert await in_history(reader, repo, third, "main") in {False, None}
    await people.branch(repo, "kept", await people.commit(repo, {"d": "d\n"}, new_branch="side"))
    side = await people.tip(repo, "side")
    assert await in_history(reader, repo, side, "main") is False
    assert await in_history(reader, repo, "1" * 40, "main") is None


async def in_history(
    reader: GiteaReader, repo: Repository, commit: str, branch: str
) -> bool | None:
    tip = await reader.branch(repo, branch)
    assert tip is not None
    return await reader.is_ancestor(repo, commit, tip.commit)


def new_files(paths: Iterable[str], mode: str = "100644") -> str:
    """Return a diff that creates files, each of which holds its own name."""
    return "".join(
        f"diff --git a/{path} b/{path}\nnew file mode {mode}\n"
        f"--- /dev/null\n+++ b/{path}\n@@ -0,0 +1 @@\n+{path}\n"
        for path in paths
    )
