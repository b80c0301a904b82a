"""The forge's JSON as it comes, reduced to the fields we use, and read into core values.

Every number is bounded where it is read: what JSON, SQLite or a message cannot hold gets no
further. Times outside 1970 to 2513 count as none.
"""

from __future__ import annotations

import datetime
from typing import Annotated, Any, TypeVar, cast

import msgspec

from allegro.adapters.gitea.headers import END_S
from allegro.core.base.untrusted import (
    MAX_NUMBER,
    Name,
    Number,
    Unreadable,
    read_json,
    text_of,
    whole_number,
)
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
from allegro.core.ports import Commit

Id = Annotated[int, msgspec.Meta(ge=1, lt=MAX_NUMBER)]
UserId = Annotated[int, msgspec.Meta(ge=-1_000, lt=MAX_NUMBER)]
"""Deleted users and the forge's own are negative."""


class WireVersion(msgspec.Struct):
    version: Name = ""


class WireSettings(msgspec.Struct):
    max_response_items: Any = 50
    lfs_disabled: Any = False


class WireToken(msgspec.Struct):
    scopes: Any = None


class User(msgspec.Struct):
    id: UserId
    login: Name = ""
    is_admin: bool = False


class WireRepository(msgspec.Struct):
    id: Id
    full_name: Name = ""
    default_branch: Any = ""
    private: Any = False
    archived: Any = False


class Label(msgspec.Struct):
    id: Id
    name: str
    exclusive: Any = False


class Milestone(msgspec.Struct):
    title: str = ""


class WireIssue(msgspec.Struct):
    id: Id
    number: Id
    title: str = ""
    body: str | None = None
    state: str = "open"
    user: User | None = None
    labels: list[Label] | None = None
    assignees: list[User] | None = None
    milestone: Milestone | None = None
    comments: Number = 0
    created_at: str = ""
    updated_at: str = ""
    closed_at: str | None = None
    pull_request: dict[str, Any] | None = None
    repository: WireRepository | None = None
    is_locked: bool = False
    html_url: str = ""


class WireComment(msgspec.Struct):
    id: Id
    user: User | None = None
    body: str | None = None
    created_at: str = ""
    updated_at: str = ""
    issue_url: str = ""
    pull_request_url: str = ""


class RefIssue(msgspec.Struct):
    number: Number = 0
    pull_request: dict[str, Any] | None = None


class WireTimeline(msgspec.Struct):
    id: Number
    type: str = ""
    user: User | None = None
    created_at: str = ""
    body: str | None = None
    ref_issue: RefIssue | None = None
    label: Label | None = None


class WireActivity(msgspec.Struct):
    op_type: str = ""
    act_user_id: UserId = 0
    ref_name: str = ""
    created: str = ""
    content: Any = ""


class _PushedCommit(msgspec.Struct):
    sha: Annotated[str, msgspec.Meta(max_length=64)] = msgspec.field(default="", name="Sha1")


class _Pushed(msgspec.Struct):
    """The content of a push's row of activities: JSON inside a word."""

    head: _PushedCommit | None = msgspec.field(default=None, name="HeadCommit")


class Ref(msgspec.Struct):
    ref: str = ""
    label: str = ""
    sha: str = ""
    repo_id: Number = 0


class WirePull(msgspec.Struct):
    id: Id
    number: Id
    html_url: str = ""
    state: str = ""
    title: str = ""
    body: str | None = None
    user: User | None = None
    base: Ref | None = None
    head: Ref | None = None
    merged: bool = False
    created_at: str = ""
    updated_at: str = ""


class _CommitId(msgspec.Struct):
    id: str


class WireBranch(msgspec.Struct):
    name: str
    commit: _CommitId
    protected: bool = False
    user_can_push: bool | None = None
    user_can_merge: bool | None = None


class _Sha(msgspec.Struct):
    sha: str


class _InnerCommit(msgspec.Struct):
    tree: _Sha | None = None


class WireCommit(msgspec.Struct):
    sha: str
    parents: list[_Sha] | None = None
    commit: _InnerCommit | None = None


class WireTreeEntry(msgspec.Struct):
    path: str
    mode: str
    type: str
    sha: str


class WireTree(msgspec.Struct):
    tree: list[WireTreeEntry] | None = None
    truncated: bool = False


class WireBlob(msgspec.Struct):
    content: str | None = None
    encoding: str | None = None


class WireCompare(msgspec.Struct):
    total_commits: UserId = -1


T = TypeVar("T")


def nullable(item: type[T]) -> type[list[T] | None]:
    """Return the type of a list that the forge may write as null."""
    return cast("type[list[T] | None]", list[item] | None)  # type: ignore[valid-type]


GHOST = User(id=-1, login="Ghost")


class Named(msgspec.Struct):
    """What can be known of a thing that is else unreadable."""

    id: Any = 0
    number: Any = 0
    issue_url: Any = ""
    pull_request_url: Any = ""
    repository: Any = None


def seconds(text: str | None) -> int:
    """Return Unix seconds of an RFC 3339 time; 0 for none, and for one that no clock shows."""
    if not text or text.startswith("0001-"):
        return 0
    try:
        at_s = datetime.datetime.fromisoformat(text[:64]).timestamp()
    except (ValueError, OverflowError, OSError):
        return 0
    return int(at_s) if 0 < at_s < END_S else 0


def utc(at_s: int) -> str:
    """Return a time as the forge's queries want it: UTC with Z, whole seconds."""
    at_s = max(0, min(at_s, END_S))
    return datetime.datetime.fromtimestamp(at_s, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def repository(wire: WireRepository) -> Repository:
    return Repository(
        id=wire.id,
        name=wire.full_name,
        default_branch=text_of(wire.default_branch, 300) or "main",
        private=wire.private is not False,
        archived=wire.archived is True,
    )


def issue(wire: WireIssue, repo: Repository) -> Issue:
    author = wire.user or GHOST
    return Issue(
        repository=repo,
        id=wire.id,
        number=wire.number,
        title=wire.title,
        body=wire.body or "",
        state=wire.state,
        author_id=author.id,
        author=author.login,
        labels=tuple(sorted(label.name for label in wire.labels or ())),
        assignees=tuple(sorted(user.login for user in wire.assignees or ())),
        comment_count=wire.comments,
        created_s=seconds(wire.created_at),
        updated_s=seconds(wire.updated_at),
        closed_s=seconds(wire.closed_at) or None,
        is_pull_request=wire.pull_request is not None,
        is_locked=wire.is_locked,
        url=wire.html_url,
        milestone=wire.milestone.title if wire.milestone else None,
    )


def comment(wire: WireComment) -> Comment:
    author = wire.user or GHOST
    return Comment(
        id=wire.id,
        author_id=author.id,
        author=author.login,
        body=wire.body or "",
        created_s=seconds(wire.created_at),
        updated_s=seconds(wire.updated_at),
    )


def comment_number(wire: WireComment) -> int:
    """Return the issue or pull request a comment of a repository-wide list belongs to."""
    return whole_number(url_tail(wire.issue_url or wire.pull_request_url)) or 0


def url_tail(url: str) -> str:
    """Return the last part of a URL's path."""
    return url.rstrip("/").rsplit("/", 1)[-1]


def timeline(wire: WireTimeline) -> TimelineEntry:
    author = wire.user or GHOST
    return TimelineEntry(
        id=wire.id,
        type=wire.type,
        author_id=author.id,
        author=author.login,
        created_s=seconds(wire.created_at),
        body=wire.body or "",
        ref_number=wire.ref_issue.number if wire.ref_issue else 0,
        ref_is_pull=bool(wire.ref_issue and wire.ref_issue.pull_request is not None),
        label=wire.label.name if wire.label else "",
        label_id=wire.label.id if wire.label else 0,
    )


def push(wire: WireActivity) -> Push:
    branch = wire.ref_name.removeprefix("refs/heads/")
    content = wire.content if isinstance(wire.content, str) else ""
    pushed = read_json(content.encode("utf-8", "replace"), _Pushed)
    head = None if isinstance(pushed, Unreadable) else pushed.head
    return Push(branch, wire.act_user_id, seconds(wire.created), head.sha if head else "")


def pull(wire: WirePull) -> PullRequest:
    base, head = wire.base or Ref(), wire.head or Ref()
    return PullRequest(
        number=wire.number,
        url=wire.html_url,
        state=wire.state,
        title=wire.title,
        body=wire.body or "",
        author_id=(wire.user or GHOST).id,
        base=base.ref,
        head=_branch_of(head),
        head_commit=head.sha,
        merged=wire.merged,
    )


def is_between(wire: WirePull, base: str, head: str) -> bool:
    """Say whether a pull request leads from this branch to that one, of one repository.

    A branch of the same name in a fork is another branch.
    """
    left, right = wire.base or Ref(), wire.head or Ref()
    same = left.repo_id == right.repo_id or 0 in {left.repo_id, right.repo_id}
    return same and (left.ref, _branch_of(right)) == (base, head)


def _branch_of(head: Ref) -> str:
    """Return a head's branch, also when it was deleted: `ref` then is `refs/pull/N/head`."""
    return head.label if head.label and head.ref.startswith("refs/pull/") else head.ref


def branch(wire: WireBranch) -> Branch:
    return Branch(
        name=wire.name,
        commit=wire.commit.id,
        protected=wire.protected,
        can_push=wire.user_can_push,
        can_merge=wire.user_can_merge,
    )


def commit(wire: WireCommit) -> Commit:
    tree = wire.commit.tree.sha if wire.commit and wire.commit.tree else ""
    return Commit(wire.sha, tuple(parent.sha for parent in wire.parents or ()), tree)


def tree_entry(wire: WireTreeEntry) -> TreeEntry:
    return TreeEntry(wire.path, wire.mode, wire.type, wire.sha)
