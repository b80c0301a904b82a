"""The ports of the forge: everything a lane reads there, and the one way to change it."""

from __future__ import annotations

from typing import Protocol

import msgspec

from allegro.core.authority.gate import Permit
from allegro.core.effects.findings import WriteStep
from allegro.core.forge.issues import (
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


class Unread(msgspec.Struct, frozen=True):
    """Something that a listing holds and nobody can read. What is not known of it is 0."""

    repository: int
    number: int
    id: int
    reason: str


class IssuePage(msgspec.Struct, frozen=True):
    """One page of a listing. `date_s` is the forge's clock (Unix s), 0 where it tells none.

    `total` is all that match as the forge counts them (-1 where it does not), `more` whether it
    says that a page follows (None where it does not say). A forge may count what it does not
    show us, so neither is believed alone.
    """

    issues: tuple[Issue, ...]
    total: int
    date_s: int
    unread: tuple[Unread, ...] = ()
    more: bool | None = None

    @property
    def count(self) -> int:
        """How many the page holds, readable or not."""
        return len(self.issues) + len(self.unread)


class CommentPage(msgspec.Struct, frozen=True):
    """Comments with the number of the issue each belongs to; `total` and `more` as in IssuePage."""

    comments: tuple[tuple[int, Comment], ...]
    total: int
    unread: tuple[Unread, ...] = ()
    more: bool | None = None

    @property
    def count(self) -> int:
        """How many the page holds, readable or not."""
        return len(self.comments) + len(self.unread)


class PushPage(msgspec.Struct, frozen=True):
    """One page of a repository's record of activities, newest first: the pushes among them.

    `oldest_s` is when the oldest activity of the page was (Unix s, 0 where none tells), `unread`
    how many cannot be read. `more` says whether an older page may follow.
    """

    pushes: tuple[Push, ...]
    oldest_s: int
    unread: int
    more: bool


class Commit(msgspec.Struct, frozen=True):
    id: str
    parents: tuple[str, ...]
    tree: str


class Server(msgspec.Struct, frozen=True):
    """What kind of forge this is, as it says itself. `flavour` is gitea or forgejo."""

    flavour: str
    version: str
    page_size: int


class ForgeReader(Protocol):
    """Everything a lane reads from a forge. Raises EdgeError; None means "not there".

    Pages hold at most `limit` things, 0 for as many as the forge gives. `conversation` are the
    comments of one issue as far as they can be read; `comments` are all of them, or an EdgeError.
    `whole_tree` gives every path below a tree, None where that is more than one answer holds;
    `is_ancestor` gives None where the forge cannot tell. `whoami` leaves the scopes unasked (None)
    where they are not needed. `timeline` leaves out what was written before `since_s`; `pushes` are
    pages from 1 on, empty where the forge does not tell.
    `name_of` is the newest name that reading found out, without asking.
    """

    async def server(self) -> Server: ...
    async def date_s(self) -> int: ...
    async def stores_lfs(self) -> bool: ...
    async def whoami(self, token: str | None = None, *, scopes: bool = True) -> Identity: ...
    async def user_id(self, login: str) -> int | None: ...
    async def repository(self, name: str) -> Repository | None: ...
    async def repository_by_id(self, repository_id: int) -> Repository | None: ...
    async def organisation_repositories(self, organisation: str) -> tuple[Repository, ...]: ...
    async def repository_issues(
        self, repo: Repository, window: Window, page: int, limit: int = 0
    ) -> IssuePage: ...
    async def organisation_issues(
        self, org: str, window: Window, page: int, limit: int = 0
    ) -> IssuePage: ...
    async def repository_comments(
        self, repo: Repository, since_s: int, page: int, limit: int = 0
    ) -> CommentPage: ...
    async def conversation(self, repo: Repository, number: int) -> CommentPage | None: ...
    async def issue(self, repo: Repository, number: int) -> Issue | None: ...
    async def comments(self, repo: Repository, number: int) -> tuple[Comment, ...] | None: ...
    async def timeline(
        self, repo: Repository, number: int, since_s: int = 0
    ) -> tuple[TimelineEntry, ...]: ...
    async def branches(self, repo: Repository) -> tuple[Branch, ...]: ...
    async def pushes(self, repo: Repository, page: int) -> PushPage: ...
    async def branch(
        self, repo: Repository, name: str, token: str | None = None
    ) -> Branch | None: ...
    async def commit(self, repo: Repository, commit: str) -> Commit | None: ...
    async def tree(self, repo: Repository, tree: str) -> dict[str, TreeEntry]: ...
    async def whole_tree(self, repo: Repository, tree: str) -> dict[str, TreeEntry] | None: ...
    async def blob(self, repo: Repository, blob: str) -> bytes | None: ...
    async def pull(self, repo: Repository, number: int) -> PullRequest | None: ...
    async def pulls_between(
        self, repo: Repository, base: str, head: str
    ) -> tuple[PullRequest, ...]: ...
    async def is_ancestor(self, repo: Repository, commit: str, of_commit: str) -> bool | None: ...
    def name_of(self, repo_id: int, otherwise: str) -> str: ...


class Dress(msgspec.Struct, frozen=True):
    """What the house adds beside an action: the real branch, the marker, the change token.

    The token is held in memory for one order and never shown.
    """

    branch: str
    marker: str
    change_token: str | None = None

    def __repr__(self) -> str:
        return f"Dress(branch={self.branch!r}, marker={self.marker!r})"


class ForgeWriter(Protocol):
    """The only way to change a forge. Content comes from the permit's action alone."""

    async def perform(self, permit: Permit, step: WriteStep, dress: Dress, target: int) -> None: ...
