"""Looks on the forge whether an action's effect is there, and whether its world still stands."""

from __future__ import annotations

from allegro.core.authority.actions.forge import (
    CloseIssue,
    CommentOnIssue,
    CreatePullRequest,
    ForgeAction,
    MarkSeen,
    MirrorRequest,
    ProposeChange,
    UpdateStatus,
)
from allegro.core.effects.findings import (
    Absent,
    Conflict,
    Finding,
    Leaf,
    Stale,
    WriteStep,
    expected_before,
    expected_changes,
    judge_close,
    judge_comments,
    judge_commit,
    judge_mirror,
    judge_pulls,
    judge_status,
)
from allegro.core.effects.gitattributes import rewritten_by
from allegro.core.effects.render import rendered_body
from allegro.core.forge.issues import STATUS_SCOPE, PullRequest, Repository
from allegro.core.ports import Dress, ForgeReader
from allegro.lane.effects.gitattributes import attributes_for
from allegro.lane.repository.trees import Trees


class Looking:
    """Reads only. `bots` are the ids of the fleet's own users."""

    def __init__(self, reader: ForgeReader, bots: frozenset[int]) -> None:
        self._reader = reader
        self._bots = bots

    def begin(self, repo: Repository, action: ForgeAction, dress: Dress) -> Look:
        """Return the looks of one order, which hold what need not be read twice."""
        return Look(self._reader, self._bots, repo, action, dress)

    async def look(self, repo: Repository, action: ForgeAction, dress: Dress) -> Finding:
        """Look once. Raises EdgeError when it cannot be seen."""
        return await self.begin(repo, action, dress).now()

    def trees(self, repo: Repository) -> Trees:
        return Trees(self._reader, repo)


class Look:
    """The looks of one order at one effect.

    Each look reads again whatever somebody could have changed and the next write rests on. Held
    from one look to the next: commits and trees, which their ids pin, and, once a look found them
    so, that the base branch still holds the approved base commit and that no pull request was
    there before our branch held anything.
    """

    def __init__(
        self,
        reader: ForgeReader,
        bots: frozenset[int],
        repo: Repository,
        action: ForgeAction,
        dress: Dress,
    ) -> None:
        self._reader = reader
        self._bots = bots
        self._repo = repo
        self._action = action
        self._dress = dress
        self._trees = Trees(reader, repo)
        self._base_stands = False
        self._awaits_pull = False

    async def now(self) -> Finding:
        """Return what is there now. Raises EdgeError when it cannot be seen."""
        match self._action:
            case ProposeChange() as action:
                return await self._change(action)
            case CreatePullRequest() as action:
                return await self._pull(action)
            case CloseIssue() as action:
                return await self._close(action)
            case CommentOnIssue() | MirrorRequest() as action:
                return await self._comment(action)
            case UpdateStatus() as action:
                issue = await self._reader.issue(self._repo, action.issue)
                return judge_status(issue, STATUS_SCOPE + action.status)
            case MarkSeen():
                return Stale("not looked for: done under a lease")

    async def _comment(self, action: CommentOnIssue | MirrorRequest) -> Finding:
        if await self._reader.issue(self._repo, action.issue) is None:
            return Stale("the issue is gone")
        comments = await self._reader.comments(self._repo, action.issue) or ()
        judge = judge_mirror if isinstance(action, MirrorRequest) else judge_comments
        marker = self._dress.marker
        return judge(rendered_body(action, marker), marker, comments, self._bots)

    async def _close(self, action: CloseIssue) -> Finding:
        issue = await self._reader.issue(self._repo, action.issue)
        if issue is None:
            return Stale("the issue is gone")
        if issue.state == "closed":
            timeline = await self._reader.timeline(self._repo, action.issue)
            return judge_close(action, issue, (), timeline, self._bots)
        comments = await self._reader.comments(self._repo, action.issue) or ()
        return judge_close(action, issue, comments, (), self._bots)

    async def _pull(self, action: CreatePullRequest) -> Finding:
        pulls = await self._reader.pulls_between(self._repo, action.base, action.head)
        finding = self._judge_pulls(action, pulls, action.head_commit)
        if not isinstance(finding, Absent):
            return finding
        head = await self._reader.branch(self._repo, action.head)
        if head is None or head.commit != action.head_commit:
            return Stale("the branch is no longer at the approved commit")
        if self._base_stands:
            return finding
        moved = await self._moved(action.base_commit, action.base)
        if moved is not None:
            return moved
        touched = await self._trees.ci_changes(action.base_commit, action.head_commit)
        if bool(action.ci_paths) != bool(touched):
            return Stale("what the branch changes for the forge's runners is not as shown")
        self._base_stands = True
        return finding

    async def _change(self, action: ProposeChange) -> Finding:
        if self._awaits_pull and (pulls := await self._pulls(action)):
            return await self._change_with_pulls(action, pulls)
        branch = await self._reader.branch(self._repo, self._dress.branch)
        at_base = branch is not None and branch.commit == action.base_commit
        if at_base and self._base_stands:
            return Absent(WriteStep.COMMIT)  # no pull request was there a moment ago
        if pulls := await self._pulls(action):
            return await self._change_with_pulls(action, pulls)
        if branch is not None and not at_base:
            conflict = await self._check_commit(action, branch.commit)
            stale = conflict or await self._base(action)
            self._awaits_pull = stale is None
            return stale or Absent(WriteStep.PULL)
        step = WriteStep.COMMIT if at_base else WriteStep.BRANCH
        return await self._base(action) or Absent(step)

    async def _pulls(self, action: ProposeChange) -> tuple[PullRequest, ...]:
        return await self._reader.pulls_between(self._repo, action.base, self._dress.branch)

    async def _base(self, action: ProposeChange) -> Stale | None:
        """Say whether the world of the approval has moved; once it was found standing, it stands."""
        if self._base_stands:
            return None
        stale = await self._moved(action.base_commit, action.base)
        stale = stale or await self._before_stands(action)
        self._base_stands = stale is None
        return stale

    async def _change_with_pulls(
        self, action: ProposeChange, pulls: tuple[PullRequest, ...]
    ) -> Finding:
        ours = [pull for pull in pulls if pull.author_id in self._bots]
        commit = ours[0].head_commit if ours else ""
        if ours:
            conflict = await self._check_commit(action, commit)
            if conflict is not None:
                return conflict
        return self._judge_pulls(action, pulls, commit)

    def _judge_pulls(
        self, action: ProposeChange | CreatePullRequest, pulls: tuple[PullRequest, ...], commit: str
    ) -> Finding:
        return judge_pulls(
            title=action.title,
            body=rendered_body(action, self._dress.marker),
            base=action.base,
            head_commit=commit,
            pulls=pulls,
            bots=self._bots,
        )

    async def _check_commit(self, action: ProposeChange, commit: str) -> Conflict | None:
        head = await self._trees.commit(commit)
        base = await self._trees.commit(action.base_commit)
        if head is None or base is None:
            return Conflict("the commit on our branch cannot be read")
        if head.parents != (action.base_commit,):
            return judge_commit(action, head.parents, {})
        await self._open(action, base.tree)
        await self._open(action, head.tree)
        changes = await self._trees.changes(base.tree, head.tree)
        await self._add_unchanged(action, head.tree, changes)
        return judge_commit(action, head.parents, changes)

    async def _open(self, action: ProposeChange, tree: str) -> None:
        if any("/" in change.path for change in action.files):
            await self._trees.open(tree)

    async def _add_unchanged(
        self, action: ProposeChange, tree: str, changes: dict[str, Leaf]
    ) -> None:
        """Add files that were approved as they are: no difference between two trees shows them."""
        for path, expected in expected_changes(action).items():
            if path not in changes and expected == expected_before(action)[path]:
                changes[path] = await self._trees.leaf(tree, path)

    async def _moved(self, base_commit: str, base: str) -> Stale | None:
        tip = await self._reader.branch(self._repo, base)
        if tip is None:
            return Stale(f"the base branch {base} is gone: it was renamed or deleted")
        if tip.commit == base_commit:
            return None
        if await self._reader.is_ancestor(self._repo, base_commit, tip.commit) is True:
            return None
        return Stale("the approved base commit is no longer in the base branch's history")

    async def _before_stands(self, action: ProposeChange) -> Stale | None:
        """Compare the files at the base commit with those the approval was given against.

        What the forge could never take as approved is found here too, before a branch is made.
        """
        base = await self._trees.commit(action.base_commit)
        if base is None:
            return Stale("the approved base commit is gone")
        await self._open(action, base.tree)
        for path, expected in expected_before(action).items():
            if await self._trees.leaf(base.tree, path) != expected:
                return Stale(
                    f"{path} at the base commit is not what the approval was given against"
                )
            obstacle = await self._trees.obstacle(base.tree, path)
            if obstacle:
                return Stale(f"{path}: {obstacle} is no folder at the base commit")
        return await self._rewritten(action, base.tree)

    async def _rewritten(self, action: ProposeChange, tree: str) -> Stale | None:
        paths = [change.path for change in action.files if change.operation != "delete"]
        held = await attributes_for(self._reader, self._repo, self._trees, tree, paths)
        held |= {
            change.path: change.raw()
            for change in action.files
            if change.path.rsplit("/", 1)[-1] == ".gitattributes" and change.operation != "delete"
        }
        for path in paths:
            rewriter = rewritten_by(path, held)
            if rewriter and await self._reader.stores_lfs():
                return Stale(f"{path}: {rewriter}")
        return None
