"""Clock, dice, sealer and forge in memory: a duty runs through a week in a second, each time alike."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from typing import Any

import msgspec

from allegro.core.authority.actions.forge import CommentOnIssue, MarkSeen, UpdateStatus
from allegro.core.authority.gate import Permit
from allegro.core.base.errors import EdgeError
from allegro.core.effects.findings import WriteStep
from allegro.core.forge.issues import (
    STATUS_SCOPE,
    Branch,
    Comment,
    Issue,
    PullRequest,
    Push,
    Repository,
    TimelineEntry,
    TreeEntry,
)
from allegro.core.forge.marks import Window
from allegro.core.forge.token_audit import Identity
from allegro.core.ports import (
    CommentPage,
    Commit,
    Dress,
    IssuePage,
    PushPage,
    Server,
)

HUMAN, BOT = 5, 900
LOGINS = {HUMAN: "rosa", BOT: "fleet-bot"}


class VirtualClock:
    """The Clock port. Time stands still until `advance` is called; sleepers wake in their order."""

    def __init__(self, now_s: float = 1_000_000.0, boot_s: float = 100.0) -> None:
        self._now_s = now_s
        self._boot_s = boot_s
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []

    def now_s(self) -> float:
        return self._now_s

    def boot_s(self) -> float:
        return self._boot_s

    async def sleep(self, seconds: float) -> None:
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sleepers.append((self._boot_s + seconds, woken))
        await woken

    def advance(self, seconds: float) -> None:
        """Let this much time pass on both clocks, and wake who slept until then."""
        self._now_s += seconds
        self._boot_s += seconds
        due = sorted(
            (sleeper for sleeper in self._sleepers if sleeper[0] <= self._boot_s),
            key=lambda sleeper: sleeper[0],
        )
        self._sleepers = [sleeper for sleeper in self._sleepers if sleeper not in due]
        for _, woken in due:
            if not woken.done():
                woken.set_result(None)

    def set_wall(self, now_s: float) -> None:
        """Set the wall clock, as a person or NTP does; the boot clock goes on."""
        self._now_s = now_s


class SeededDice:
    """The Dice port: the same seed gives the same run."""

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed
        self._thrown = 0

    def token(self, size: int) -> bytes:
        self._thrown += 1
        return hashlib.shake_256(f"{self._seed} {self._thrown}".encode()).digest(size)

    def fraction(self) -> float:
        return int.from_bytes(self.token(4)) / 2**32


class PlainSealer:
    """The Sealer port without sealing: tests read the words as they are."""

    def seal(self, event_id: str, words: bytes) -> bytes:
        del event_id
        return words


class FakeForge:
    """The ForgeReader and ForgeWriter ports in memory.

    Its clock is `clock` plus `skew_s`; what it says as `Date` is `lie_s` off that. `fault` makes
    every call fail, `faults` those about one repository (by name), `unreadable` the comments of
    one issue (by number), `write_fault` the writes. `between` is called before each read, so that
    people can write while pages are read. `written` are the steps carried out, `given` and
    `pages_of_pushes` count the issues and the pages of pushes that readers got.
    """

    def __init__(self, clock: VirtualClock, *, page_size: int = 50) -> None:
        self.clock = clock
        self.page_size = page_size
        self.tells_date = True
        self.skew_s = 0.0
        self.lie_s = 0
        self.fault: EdgeError | None = None
        self.faults: dict[str, EdgeError] = {}
        self.unreadable: dict[int, EdgeError] = {}
        self.write_fault: EdgeError | None = None
        self.between: Callable[[], None] = lambda: None
        self.reads = 0
        self.given = 0
        self.pages_of_pushes = 0
        self.written: list[tuple[WriteStep, int]] = []
        self.repositories: dict[int, Repository] = {}
        self.issues: dict[tuple[int, int], Issue] = {}
        self._comments: dict[tuple[int, int], dict[int, Comment]] = {}
        self.branches_of: dict[int, dict[str, str]] = {}
        self.branch_fault: EdgeError | None = None
        self._pushes: dict[int, list[Push]] = {}
        self._timelines: dict[tuple[int, int], list[TimelineEntry]] = {}
        self._late: dict[tuple[int, int], Issue] = {}
        self._ids = 0

    # --- what people do -------------------------------------------------------------------

    def forge_s(self) -> int:
        """Return the second on the forge's own clock."""
        return int(self.clock.now_s() + self.skew_s)

    def make_repository(self, name: str) -> Repository:
        repo = Repository(self._id(), name)
        self.repositories[repo.id] = repo
        return repo

    def rename(self, repo: Repository, name: str) -> Repository:
        """Give a repository another name; nothing answers under the old one."""
        renamed = msgspec.structs.replace(self.repositories[repo.id], name=name)
        self.repositories[repo.id] = renamed
        return renamed

    def open_issue(
        self, repo: Repository, title: str = "a title", *, by: int = HUMAN, late: bool = False
    ) -> Issue:
        """Open an issue. A `late` one has its second now and shows only after `land`."""
        number = 1 + sum(
            key[0] == repo.id for key in self._timelines
        )  # a deleted one's is not reused
        at_s = self.forge_s()
        issue = Issue(
            repository=self.repositories[repo.id],
            id=self._id(),
            number=number,
            title=title,
            body="",
            state="open",
            author_id=by,
            author=LOGINS[by],
            labels=(),
            assignees=(),
            comment_count=0,
            created_s=at_s,
            updated_s=at_s,
        )
        self._comments[repo.id, number] = {}
        self._timelines[repo.id, number] = []
        (self._late if late else self.issues)[repo.id, number] = issue
        return issue

    def land(self, issue: Issue) -> None:
        """Let the slow writer's transaction end."""
        key = issue.repository.id, issue.number
        self.issues[key] = self._late.pop(key)

    def edit(self, issue: Issue, **changes: Any) -> Issue:
        """Change an issue now, on the forge's clock."""
        key = issue.repository.id, issue.number
        changes.setdefault("updated_s", self.forge_s())
        self.issues[key] = msgspec.structs.replace(self.issues[key], **changes)
        return self.issues[key]

    def close(self, issue: Issue, by: int = HUMAN) -> Issue:
        at_s = self.forge_s()
        self._timelines[issue.repository.id, issue.number].append(
            TimelineEntry(self._id(), "close", by, LOGINS[by], at_s)
        )
        return self.edit(issue, state="closed", closed_s=at_s)

    def label(self, issue: Issue, name: str, by: int = HUMAN) -> Issue:
        """Add a label; the issue's history says who did."""
        key = issue.repository.id, issue.number
        number = 1 + sum(map(ord, name))
        self._timelines[key].append(
            TimelineEntry(
                self._id(),
                "label",
                by,
                LOGINS[by],
                self.forge_s(),
                "1",
                label=name,
                label_id=number,
            )
        )
        names = (*self.issues[key].labels, name)
        return self.edit(issue, labels=tuple(sorted(dict.fromkeys(names))))

    def push(self, repo: Repository, branch: str, commit: str, by: int | None = HUMAN) -> None:
        """Move a branch or make it; by None nobody is told who did."""
        self.branches_of.setdefault(repo.id, {})[branch] = commit
        if by is not None:
            row = Push(branch, by, self.forge_s(), commit)
            self._pushes.setdefault(repo.id, []).append(row)

    def delete(self, issue: Issue) -> None:
        """Take an issue away with its comments, as an administrator can."""
        del self.issues[issue.repository.id, issue.number]
        del self._comments[issue.repository.id, issue.number]

    def comment(self, issue: Issue, body: str, by: int = HUMAN) -> Comment:
        key = issue.repository.id, issue.number
        at_s = self.forge_s()
        made = Comment(self._id(), by, LOGINS[by], body, at_s, at_s)
        self._comments[key][made.id] = made
        self.edit(issue, comment_count=len(self._comments[key]))
        return made

    def edit_comment(self, issue: Issue, comment: Comment, body: str) -> Comment:
        """Change a comment. The issue's own second stays, as on the real forge."""
        edited = msgspec.structs.replace(comment, body=body, updated_s=self.forge_s())
        self._comments[issue.repository.id, issue.number][comment.id] = edited
        return edited

    def delete_comment(self, issue: Issue, comment: Comment) -> None:
        """Take a comment away. The issue's own second stays, as on the real forge."""
        key = issue.repository.id, issue.number
        del self._comments[key][comment.id]
        count = len(self._comments[key])
        self.issues[key] = msgspec.structs.replace(self.issues[key], comment_count=count)

    # --- ForgeReader ----------------------------------------------------------------------

    async def server(self) -> Server:
        return Server("gitea", "1.24.0", self.page_size)

    async def date_s(self) -> int:
        await self._read()
        return self.forge_s() + self.lie_s

    async def stores_lfs(self) -> bool:
        return True

    async def whoami(self, token: str | None = None, *, scopes: bool = True) -> Identity:
        del token, scopes
        await self._read()
        return Identity(BOT, LOGINS[BOT], False, None)

    async def user_id(self, login: str) -> int | None:
        await self._read()
        return next((id_ for id_, name in LOGINS.items() if name == login), None)

    async def repository(self, name: str) -> Repository | None:
        await self._read(name)
        return next((repo for repo in self.repositories.values() if repo.name == name), None)

    async def repository_by_id(self, repository_id: int) -> Repository | None:
        repo = self.repositories.get(repository_id)
        await self._read(repo.name if repo else "")
        return repo

    async def organisation_repositories(self, organisation: str) -> tuple[Repository, ...]:
        await self._read(organisation)
        return tuple(
            repo for repo in self.repositories.values() if repo.name.startswith(organisation + "/")
        )

    async def repository_issues(
        self, repo: Repository, window: Window, page: int, limit: int = 0
    ) -> IssuePage:
        await self._read_of(repo)
        return self._page({repo.id}, window, page, limit)

    async def organisation_issues(
        self, org: str, window: Window, page: int, limit: int = 0
    ) -> IssuePage:
        await self._read(org)
        ids = {r.id for r in self.repositories.values() if r.name.startswith(org + "/")}
        return self._page(ids, window, page, limit)

    async def repository_comments(
        self, repo: Repository, since_s: int, page: int, limit: int = 0
    ) -> CommentPage:
        await self._read_of(repo)
        found = [
            (number, comment)
            for (id_, number), comments in self._comments.items()
            if id_ == repo.id and (id_, number) in self.issues
            for comment in comments.values()
            if comment.updated_s >= since_s
        ]
        found.sort(key=lambda pair: pair[1].id)
        size = limit or self.page_size
        at = (page - 1) * size
        return CommentPage(tuple(found[at : at + size]), len(found), more=at + size < len(found))

    async def issue(self, repo: Repository, number: int) -> Issue | None:
        await self._read_of(repo)
        return self._shown(self.issues.get((repo.id, number)))

    async def conversation(self, repo: Repository, number: int) -> CommentPage | None:
        found = await self.comments(repo, number)
        if found is None:
            return None
        return CommentPage(tuple((number, comment) for comment in found), len(found))

    async def comments(self, repo: Repository, number: int) -> tuple[Comment, ...] | None:
        await self._read_of(repo)
        if number in self.unreadable:
            raise self.unreadable[number]
        if (repo.id, number) not in self.issues:
            return None
        return tuple(self._comments[repo.id, number].values())

    async def timeline(
        self, repo: Repository, number: int, since_s: int = 0
    ) -> tuple[TimelineEntry, ...]:
        await self._read_of(repo)
        entries = self._timelines.get((repo.id, number), ())
        return tuple(entry for entry in entries if entry.created_s >= since_s)

    async def branches(self, repo: Repository) -> tuple[Branch, ...]:
        await self._read_of(repo)
        if self.branch_fault is not None:
            raise self.branch_fault
        held = self.branches_of.get(repo.id, {})
        return tuple(Branch(name, commit, False, None, None) for name, commit in held.items())

    async def pushes(self, repo: Repository, page: int) -> PushPage:
        await self._read_of(repo)
        self.pages_of_pushes += 1
        rows = tuple(reversed(self._pushes.get(repo.id, ())))
        shown = rows[(page - 1) * self.page_size : page * self.page_size]
        oldest_s = min((row.created_s for row in shown), default=0)
        return PushPage(shown, oldest_s, 0, more=len(rows) > page * self.page_size)

    async def branch(self, repo: Repository, name: str, token: str | None = None) -> Branch | None:
        del repo, name, token
        await self._read()
        return None

    async def commit(self, repo: Repository, commit: str) -> Commit | None:
        del repo, commit
        await self._read()
        return None

    async def tree(self, repo: Repository, tree: str) -> dict[str, TreeEntry]:
        del repo, tree
        await self._read()
        return {}

    async def whole_tree(self, repo: Repository, tree: str) -> dict[str, TreeEntry] | None:
        return await self.tree(repo, tree)

    async def blob(self, repo: Repository, blob: str) -> bytes | None:
        del repo, blob
        await self._read()
        return None

    async def pull(self, repo: Repository, number: int) -> PullRequest | None:
        del repo, number
        await self._read()
        return None

    async def pulls_between(
        self, repo: Repository, base: str, head: str
    ) -> tuple[PullRequest, ...]:
        del repo, base, head
        await self._read()
        return ()

    async def is_ancestor(self, repo: Repository, commit: str, of_commit: str) -> bool | None:
        del repo, commit, of_commit
        await self._read()
        return None

    def name_of(self, repo_id: int, otherwise: str) -> str:
        repo = self.repositories.get(repo_id)
        return repo.name if repo else otherwise

    # --- ForgeWriter ----------------------------------------------------------------------

    async def perform(self, permit: Permit, step: WriteStep, dress: Dress, target: int) -> None:
        """Carry out one step on an issue: labels and comments only. This forge holds no code."""
        del dress, target
        await self._read()
        if self.write_fault is not None:
            raise self.write_fault
        action = permit.action
        if not isinstance(action, MarkSeen | UpdateStatus | CommentOnIssue):
            raise EdgeError(f"this forge has no {step.value}", transient=False, status=404)
        issue = self.issues[action.repository.id, action.issue]
        self.written.append((step, action.issue))
        if isinstance(action, CommentOnIssue):
            self.comment(issue, action.body, by=BOT)
            return
        added = [] if action.status is None else [STATUS_SCOPE + action.status]
        kept = [name for name in issue.labels if not added or not name.startswith(STATUS_SCOPE)]
        seen = [action.label] if isinstance(action, MarkSeen) else []
        self.edit(issue, labels=tuple(kept))
        for name in (*seen, *added):
            self.label(issue, name, by=BOT)

    # --- within ---------------------------------------------------------------------------

    def _id(self) -> int:
        self._ids += 1
        return self._ids

    async def _read(self, name: str = "") -> None:
        self.reads += 1
        await asyncio.sleep(0)
        self.between()
        fault = self.fault or self.faults.get(name)
        if fault is not None:
            raise fault

    async def _read_of(self, repo: Repository) -> None:
        """Read below a repository, which may be gone, and its name another's."""
        there = self.repositories.get(repo.id)
        await self._read(there.name if there else repo.name)
        if there is None:
            taken = any(other.name == repo.name for other in self.repositories.values())
            kind = "redirected" if taken else "not_found"
            raise EdgeError(f"{repo.name} is not this one", transient=True, kind=kind)

    def _shown(self, issue: Issue | None) -> Issue | None:
        if issue is None:
            return None
        repo = self.repositories[issue.repository.id]
        return msgspec.structs.replace(issue, repository=repo)

    def _page(self, repositories: set[int], window: Window, page: int, limit: int) -> IssuePage:
        until_s = float("inf") if window.until_s is None else window.until_s
        found = [
            shown
            for issue in self.issues.values()
            if issue.repository.id in repositories
            and window.since_s <= issue.updated_s <= until_s
            and (shown := self._shown(issue)) is not None
        ]
        found.sort(key=lambda issue: (-issue.updated_s, -issue.id))
        size = limit or self.page_size
        at = (page - 1) * size
        more = at + size < len(found)
        issues = tuple(found[at : at + size])
        self.given += len(issues)
        date_s = self.forge_s() + self.lie_s if self.tells_date else 0
        return IssuePage(issues, len(found), date_s, more=more)
