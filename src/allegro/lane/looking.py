"""Looks on the forge whether an action's effect is there, and whether its world still stands."""

from __future__ import annotations

import posixpath

from allegro.core.actions import (
    CloseIssue,
    CommentOnIssue,
    CreatePullRequest,
    ForgeAction,
    MarkSeen,
    MirrorRequest,
    ProposeChange,
    UpdateStatus,
)
from allegro.core.errors import EdgeError
from allegro.core.issues import STATUS_SCOPE, PullRequest, Repository, TreeEntry
from allegro.core.look import (
    Absent,
    Conflict,
    Finding,
    Stale,
    WriteStep,
    diff_trees,
    expected_before,
    expected_changes,
    judge_close,
    judge_comments,
    judge_commit,
    judge_mirror,
    judge_pulls,
    judge_status,
)
from allegro.core.ports import Dress, ForgeReader
from allegro.core.render import rendered_body

MAX_DIRECTORIES = 3_000
CI_DIRECTORIES = (".gitea", ".forgejo", ".github/workflows")

Leaf = tuple[str, str] | None


class Looking:
    """Reads only. `bots` are the ids of the fleet's own users."""

    def __init__(self, reader: ForgeReader, bots: frozenset[int]) -> None:
        self._reader = reader
        self._bots = bots

    async def look(self, repo: Repository, action: ForgeAction, dress: Dress) -> Finding:
        """Return what is there now. Raises EdgeError when it cannot be seen."""
        match action:
            case ProposeChange():
                return await self._change(repo, action, dress)
            case CreatePullRequest():
                return await self._pull(repo, action, dress)
            case CloseIssue():
                return await self._close(repo, action)
            case CommentOnIssue() | MirrorRequest():
                return await self._comment(repo, action, dress)
            case UpdateStatus():
                issue = await self._reader.issue(repo, action.issue)
                return judge_status(issue, STATUS_SCOPE + action.status)
            case MarkSeen():
                return Stale("not looked for: done under a lease")

    async def _comment(
        self, repo: Repository, action: CommentOnIssue | MirrorRequest, dress: Dress
    ) -> Finding:
        if await self._reader.issue(repo, action.issue) is None:
            return Stale("the issue is gone")
        comments = await self._reader.comments(repo, action.issue) or ()
        judge = judge_mirror if isinstance(action, MirrorRequest) else judge_comments
        return judge(rendered_body(action, dress.marker), dress.marker, comments, self._bots)

    async def _close(self, repo: Repository, action: CloseIssue) -> Finding:
        issue = await self._reader.issue(repo, action.issue)
        if issue is None:
            return Stale("the issue is gone")
        comments = await self._reader.comments(repo, action.issue) or ()
        timeline = (
            await self._reader.timeline(repo, action.issue) if issue.state == "closed" else ()
        )
        return judge_close(action, issue, comments, timeline, self._bots)

    async def _pull(self, repo: Repository, action: CreatePullRequest, dress: Dress) -> Finding:
        pulls = await self._reader.pulls_between(repo, action.base, action.head)
        finding = self._judge_pulls(action, dress, pulls, action.head_commit)
        if not isinstance(finding, Absent):
            return finding
        head = await self._reader.branch(repo, action.head)
        if head is None or head.commit != action.head_commit:
            return Stale("the branch is no longer at the approved commit")
        moved = await self._moved(repo, action.base_commit, action.base)
        if moved is not None:
            return moved
        if bool(action.ci_paths) != await self._touches_ci(repo, action):
            return Stale("what the branch changes for the forge's runners is not as shown")
        return finding

    async def _change(self, repo: Repository, action: ProposeChange, dress: Dress) -> Finding:
        pulls = await self._reader.pulls_between(repo, action.base, dress.branch)
        if pulls:
            return await self._change_with_pulls(repo, action, dress, pulls)
        moved = await self._moved(repo, action.base_commit, action.base)
        branch = await self._reader.branch(repo, dress.branch)
        if branch is None:
            return moved or await self._before_stands(repo, action) or Absent(WriteStep.BRANCH)
        if branch.commit == action.base_commit:
            return moved or await self._before_stands(repo, action) or Absent(WriteStep.COMMIT)
        conflict = await self._check_commit(repo, action, branch.commit)
        return conflict or moved or Absent(WriteStep.PULL)

    async def _change_with_pulls(
        self, repo: Repository, action: ProposeChange, dress: Dress, pulls: tuple[PullRequest, ...]
    ) -> Finding:
        ours = [pull for pull in pulls if pull.author_id in self._bots]
        commit = ours[0].head_commit if ours else ""
        if ours:
            conflict = await self._check_commit(repo, action, commit)
            if conflict is not None:
                return conflict
        return self._judge_pulls(action, dress, pulls, commit)

    def _judge_pulls(
        self,
        action: ProposeChange | CreatePullRequest,
        dress: Dress,
        pulls: tuple[PullRequest, ...],
        commit: str,
    ) -> Finding:
        return judge_pulls(
            title=action.title, body=rendered_body(action, dress.marker), base=action.base,
            head_commit=commit, pulls=pulls, bots=self._bots,
        )  # fmt: skip

    async def _check_commit(
        self, repo: Repository, action: ProposeChange, commit: str
    ) -> Conflict | None:
        head = await self._reader.commit(repo, commit)
        base = await self._reader.commit(repo, action.base_commit)
        if head is None or base is None:
            return Conflict("the commit on our branch cannot be read")
        if head.parents != (action.base_commit,):
            return judge_commit(action, head.parents, {})
        changes = await self.changes(repo, base.tree, head.tree)
        await self._add_unchanged(repo, action, head.tree, changes)
        return judge_commit(action, head.parents, changes)

    async def _add_unchanged(
        self, repo: Repository, action: ProposeChange, tree: str, changes: dict[str, Leaf]
    ) -> None:
        """Add files that were approved as they are: no difference between two trees shows them."""
        cache: dict[str, dict[str, TreeEntry]] = {}
        for path, expected in expected_changes(action).items():
            if path not in changes and expected == expected_before(action)[path]:
                changes[path] = await self.leaf(repo, tree, path, cache)

    async def _moved(self, repo: Repository, base_commit: str, base: str) -> Stale | None:
        if await self._reader.is_in_history(repo, base_commit, base) is True:
            return None
        return Stale("the approved base commit is no longer in the base branch's history")

    async def _before_stands(self, repo: Repository, action: ProposeChange) -> Stale | None:
        """Compare the files at the base commit with those the approval was given against."""
        base = await self._reader.commit(repo, action.base_commit)
        if base is None:
            return Stale("the approved base commit is gone")
        cache: dict[str, dict[str, TreeEntry]] = {}
        for path, expected in expected_before(action).items():
            if await self.leaf(repo, base.tree, path, cache) != expected:
                return Stale(
                    f"{path} at the base commit is not what the approval was given against"
                )
        return None

    async def _touches_ci(self, repo: Repository, action: CreatePullRequest) -> bool:
        return bool(await self.ci_changes(repo, action.base_commit, action.head_commit))

    async def ci_changes(self, repo: Repository, before: str, after: str) -> tuple[str, ...]:
        """Return the CI folders that differ between two commits."""
        one, two = await self._reader.commit(repo, before), await self._reader.commit(repo, after)
        if one is None or two is None:
            raise EdgeError("a commit cannot be read", transient=False, kind="not_found")
        caches: tuple[dict[str, dict[str, TreeEntry]], ...] = ({}, {})
        changed = []
        for folder in CI_DIRECTORIES:
            held = await self.leaf(repo, one.tree, folder, caches[0])
            now = await self.leaf(repo, two.tree, folder, caches[1])
            if held != now:
                changed.append(folder)
        return tuple(changed)

    async def leaf(
        self, repo: Repository, tree: str, path: str, cache: dict[str, dict[str, TreeEntry]]
    ) -> Leaf:
        """Return (mode, id) of what stands at a path below a tree, None for nothing."""
        at, parent = tree, ""
        *folders, name = path.split("/")
        for folder in folders:
            entry = (await self._directory(repo, at, parent, cache)).get(folder)
            if entry is None or entry.type != "tree":
                return None
            at, parent = entry.sha, posixpath.join(parent, folder)
        entry = (await self._directory(repo, at, parent, cache)).get(name)
        return None if entry is None else (entry.mode, entry.sha)

    async def _directory(
        self, repo: Repository, tree: str, path: str, cache: dict[str, dict[str, TreeEntry]]
    ) -> dict[str, TreeEntry]:
        if path not in cache:
            cache[path] = await self._reader.tree(repo, tree)
        return cache[path]

    async def changes(self, repo: Repository, before: str, after: str) -> dict[str, Leaf]:
        """Return every path that differs between two trees with what stands there after.

        Reads only directories whose ids differ. Raises EdgeError beyond MAX_DIRECTORIES.
        """
        found: dict[str, Leaf] = {}
        todo: list[tuple[str, str | None, str | None]] = [("", before, after)]
        read = 0
        while todo:
            prefix, one, two = todo.pop()
            read += 1
            if read > MAX_DIRECTORIES:
                raise EdgeError("the change is too large to check", transient=False)
            held = await self._reader.tree(repo, one) if one else {}
            now = await self._reader.tree(repo, two) if two else {}
            for name, (left, right) in diff_trees(held, now).items():
                path = prefix + name
                left_tree = left.sha if left and left.type == "tree" else None
                right_tree = right.sha if right and right.type == "tree" else None
                if left_tree or right_tree:
                    todo.append((path + "/", left_tree, right_tree))
                if right is not None and not right_tree:
                    found[path] = (right.mode, right.sha)
                elif left is not None and not left_tree:
                    found[path] = None
        return found
