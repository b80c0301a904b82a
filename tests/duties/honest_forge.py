"""The shipped forge in memory with code as well: branches, commits and pull requests of one file."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable

from allegro.core.authority.actions.forge import (
    CloseIssue,
    CommentOnIssue,
    CreatePullRequest,
    FileChange,
    MirrorRequest,
    ProposeChange,
    git_blob_id,
    of_forge,
)
from allegro.core.authority.gate import Permit
from allegro.core.base.errors import EdgeError
from allegro.core.effects.findings import WriteStep
from allegro.core.effects.render import rendered_body
from allegro.core.forge.issues import Branch, Issue, PullRequest, Repository, TreeEntry
from allegro.core.ports import Commit, Dress
from allegro.testing.virtual import BOT, HUMAN, LOGINS, FakeForge, VirtualClock

GARDEN = "home/garden"
OLD = b"old\n"
LAST = frozenset(
    {WriteStep.COMMENT, WriteStep.EDIT, WriteStep.LABEL, WriteStep.CLOSE, WriteStep.PULL}
)
"""The steps with which an effect is whole."""


class HonestForge(FakeForge):
    """`luck` is asked before each write and after it: it may raise what a forge or a line says.

    `done` holds the digests whose effect is whole, `broken` says until when nothing answers.
    """

    def __init__(self, clock: VirtualClock, luck: Callable[[str], EdgeError | None]) -> None:
        super().__init__(clock)
        self.luck = luck
        self.done: set[str] = set()
        self.broken_until_s = 0.0
        self.pull_of: dict[int, PullRequest] = {}
        self._commits: dict[str, Commit] = {}
        self._trees: dict[str, dict[str, TreeEntry]] = {}
        self.garden = self.make_repository(GARDEN)
        self.base = self.commit_files({"a.txt": OLD, "b.txt": OLD}, ())
        self.push(self.garden, "main", self.base)

    # --- code ------------------------------------------------------------------------------

    def commit_files(self, files: dict[str, bytes], parents: tuple[str, ...]) -> str:
        """Make a commit of exactly these files; return its id, another one each time."""
        entries = {
            name: TreeEntry(name, "100644", "blob", git_blob_id(raw, like="0" * 40))
            for name, raw in files.items()
        }
        tree = _sha(repr(sorted((e.path, e.sha) for e in entries.values())))
        self._trees[tree] = entries
        commit = _sha(f"{tree} {parents} {self._id()}")
        self._commits[commit] = Commit(commit, parents, tree)
        return commit

    def open_pull(self, title: str, body: str, base: str, head: str, by: int) -> int:
        issue = self.open_issue(self.garden, title, by=by)
        self.edit(issue, is_pull_request=True, body=body)
        self.pull_of[issue.number] = PullRequest(
            issue.number, "", "open", title, body, by, base, head, self.tip(head)
        )
        return issue.number

    def tip(self, branch: str) -> str:
        return self.branches_of[self.garden.id][branch]

    def the_issue(self, number: int) -> Issue | None:
        return self.issues.get((self.garden.id, number))

    async def branch(self, repo: Repository, name: str, token: str | None = None) -> Branch | None:
        await self._read_of(repo)
        commit = self.branches_of[repo.id].get(name)
        return None if commit is None else Branch(name, commit, True, False, False)

    async def commit(self, repo: Repository, commit: str) -> Commit | None:
        await self._read_of(repo)
        return self._commits.get(commit)

    async def tree(self, repo: Repository, tree: str) -> dict[str, TreeEntry]:
        await self._read_of(repo)
        return self._trees[tree]

    async def blob(self, repo: Repository, blob: str) -> bytes | None:
        await self._read_of(repo)
        return OLD

    async def pull(self, repo: Repository, number: int) -> PullRequest | None:
        await self._read_of(repo)
        return self.pull_of.get(number)

    async def pulls_between(
        self, repo: Repository, base: str, head: str
    ) -> tuple[PullRequest, ...]:
        await self._read_of(repo)
        return tuple(one for one in self.pull_of.values() if (one.base, one.head) == (base, head))

    async def is_ancestor(self, repo: Repository, commit: str, of_commit: str) -> bool | None:
        await self._read_of(repo)
        return commit == self.base

    # --- writes ----------------------------------------------------------------------------

    async def perform(self, permit: Permit, step: WriteStep, dress: Dress, target: int) -> None:
        await self._read()
        action = of_forge(permit.action)
        if permit.order_number is None:  # under the lease
            await super().perform(permit, step, dress, target)
            return
        before = self.luck("before")
        if before is not None:
            raise before
        issue = self.the_issue(getattr(action, "issue", 0))
        match action:
            case ProposeChange():
                self._change(action, step, dress)
            case CreatePullRequest():
                body = rendered_body(action, dress.marker)
                self.open_pull(action.title, body, action.base, action.head, BOT)
            case _ if issue is None:
                raise EdgeError("no such issue", transient=False, status=404)
            case CommentOnIssue() | MirrorRequest() if step is WriteStep.COMMENT:
                self.comment(issue, rendered_body(action, dress.marker), by=BOT)
            case MirrorRequest():
                held = self._comments[self.garden.id, action.issue][target]
                self.edit_comment(issue, held, rendered_body(action, dress.marker))
            case CloseIssue():
                self.close(issue, by=BOT)
            case _:
                await super().perform(permit, step, dress, target)
        if step in LAST:
            self.done.add(permit.digest)
        after = self.luck("after")
        if after is not None:
            raise after

    def _change(self, action: ProposeChange, step: WriteStep, dress: Dress) -> None:
        if step is WriteStep.BRANCH:
            self.push(self.garden, dress.branch, action.base_commit, BOT)
        elif step is WriteStep.COMMIT:
            files = dict.fromkeys(("a.txt", "b.txt"), OLD) | {
                one.path: one.raw() for one in action.files
            }
            commit = self.commit_files(files, (action.base_commit,))
            self.push(self.garden, dress.branch, commit, BOT)
        else:
            body = rendered_body(action, dress.marker)
            self.open_pull(action.title, body, action.base, dress.branch, BOT)

    async def _read(self, name: str = "") -> None:
        is_broken = self.clock.boot_s() < self.broken_until_s
        self.fault = EdgeError("the forge is away", transient=True) if is_broken else None
        await super()._read(name)


def _sha(text: str) -> str:
    return hashlib.sha1(text.encode()).hexdigest()


def changed(content: bytes) -> dict[str, str | None]:
    """Return the files of a change, as a program proposes them."""
    return {"a.txt": base64.b64encode(content).decode()}


__all__ = ["BOT", "GARDEN", "HUMAN", "LOGINS", "FileChange", "HonestForge", "changed"]
