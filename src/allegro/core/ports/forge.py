"""The plug points: what a duty asks of the outside. One adapter each, one fake each."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Protocol

import msgspec

from allegro.core.agent.sessions import AgentEvent
from allegro.core.authority.actions.agent import Turn
from allegro.core.authority.gate import Permit
from allegro.core.authority.lease import Record, Slot
from allegro.core.base.events import Event
from allegro.core.base.sequence import Entry, Position
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
from allegro.core.forge.marks import Mark, Window
from allegro.core.forge.token_audit import Identity
from allegro.core.protocol.pages import Page
from allegro.core.settings import Rung


class Clock(Protocol):
    """All time. `now_s` is Unix wall time; `boot_s` never jumps and counts suspend."""

    def now_s(self) -> float: ...
    def boot_s(self) -> float: ...
    async def sleep(self, seconds: float) -> None: ...


class Dice(Protocol):
    """All chance: random bytes for ids and challenges, and a fraction for jitter."""

    def token(self, size: int) -> bytes: ...
    def fraction(self) -> float: ...


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


class Version(msgspec.Struct, frozen=True):
    """The newest version of one forge object that was journalled.

    `extra` is the forge's comment count for an issue, 0 else; `turn` counts the changes within
    this second of the forge's clock.
    """

    subject: str
    hash: str
    updated_s: int
    turn: int = 0
    extra: int = 0


class Journal(Protocol):
    """A lane's durable, ordered events. `append` returns when they are on disk."""

    @property
    def head(self) -> Position: ...
    @property
    def acked(self) -> Position: ...
    @property
    def has_room(self) -> bool: ...
    async def append(
        self,
        events: Sequence[Event],
        mark: tuple[str, Mark] | None = None,
        versions: Sequence[Version] = (),
    ) -> Position: ...
    async def read(
        self, after_seq: int, limit_bytes: int, limit_entries: int = 2_000
    ) -> list[Entry]: ...
    async def acknowledge(self, position: Position) -> None: ...
    async def chain_at(self, seq: int) -> bytes | None: ...
    async def restart(self, journal_id: str, reason: str) -> None: ...
    async def marks(self) -> dict[str, Mark]: ...
    async def versions(self) -> dict[str, Version]: ...
    async def forget_versions(self) -> None: ...


class Council(Protocol):
    """The coordination store: a register for each role, a page for each lane.

    `write` is compare-and-set on the revision last read, 0 for a register never written: it
    returns the new revision, or None when somebody was faster. `page` returns (revision, page),
    None for a page that is missing or unreadable. All raise EdgeError; after one that may have
    been sent, only reading tells whether it was stored. What a council says can only make a lane
    act less.
    """

    async def read(self, role: str) -> Slot: ...
    async def write(self, role: str, record: Record, expected: int) -> int | None: ...
    async def publish(self, page: Page) -> None: ...
    async def page(self, lane: str) -> tuple[int, Page | None]: ...
    async def close(self) -> None: ...


class Sealer(Protocol):
    """Turns words into bytes that only the house can read."""

    def seal(self, event_id: str, words: bytes) -> bytes: ...


class GatewaySpec(msgspec.Struct, frozen=True):
    """What a gateway is started with. `token` opens the model proxy for its one session."""

    token: str
    tools: tuple[str, ...]
    models: tuple[str, ...]
    network: bool


class Run(msgspec.Struct, frozen=True):
    """One run to begin: the whole prompt, with the conversation the house remembers."""

    session: str
    prompt: str
    instructions: str
    history: tuple[Turn, ...]
    model: str


class AgentGateway(Protocol):
    """One agent process that serves one session. All raise EdgeError.

    `died` returns once its process has ended; never where the process is somebody else's.
    `forged` counts facts that somebody else sent in its name; none of them was believed.
    """

    @property
    def version(self) -> str: ...
    @property
    def forged(self) -> int: ...
    async def begin(self, run: Run) -> str: ...
    def events(self, run: str) -> AsyncIterator[AgentEvent]: ...
    async def answer(self, run: str, choice: str) -> None: ...
    async def stop(self, run: str) -> None: ...
    async def died(self) -> None: ...
    async def close(self, session: str) -> None: ...


class AgentHost(Protocol):
    """Starts gateways. `sandbox_trouble` is empty where tools can be let in.

    `is_ours` says that its gateways call our model proxy, so that a canary can be played.
    """

    @property
    def sandbox_trouble(self) -> str: ...
    @property
    def is_ours(self) -> bool: ...
    async def start(self, spec: GatewaySpec) -> AgentGateway: ...


class Upstream(Protocol):
    """A provider's answer that has begun: status, headers, and its bytes as they come."""

    @property
    def status(self) -> int: ...
    @property
    def headers(self) -> Mapping[str, str]: ...
    async def read(self) -> bytes: ...
    async def close(self) -> None: ...


class Providers(Protocol):
    """Calls model providers. Raises EdgeError; kind `stalled` for silence."""

    async def call(self, rung: Rung, body: bytes) -> Upstream: ...
    async def probe(self, rung: Rung) -> tuple[int, str]: ...
