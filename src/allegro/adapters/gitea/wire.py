"""The forge's JSON as it comes, reduced to the fields we use, and read into core values."""

from __future__ import annotations

import datetime
from typing import Any, TypeVar, cast

import msgspec

from allegro.core.issues import (
    Branch,
    Comment,
    Issue,
    PullRequest,
    Repository,
    TimelineEntry,
    TreeEntry,
)
from allegro.core.ports import Commit


class User(msgspec.Struct):
    id: int
    login: str = ""
    is_admin: bool = False


class WireRepository(msgspec.Struct):
    id: int
    full_name: str = ""
    default_branch: str = ""
    private: bool = False
    archived: bool = False
    owner: Any = None
    name: str = ""


class Label(msgspec.Struct):
    id: int
    name: str
    exclusive: bool = False


class Milestone(msgspec.Struct):
    title: str = ""


class WireIssue(msgspec.Struct):
    id: int
    number: int
    title: str = ""
    body: str | None = None
    state: str = "open"
    user: User | None = None
    labels: list[Label] | None = None
    assignees: list[User] | None = None
    milestone: Milestone | None = None
    comments: int = 0
    created_at: str = ""
    updated_at: str = ""
    closed_at: str | None = None
    pull_request: dict[str, Any] | None = None
    repository: WireRepository | None = None
    is_locked: bool = False
    html_url: str = ""


class WireComment(msgspec.Struct):
    id: int
    user: User | None = None
    body: str | None = None
    created_at: str = ""
    updated_at: str = ""
    issue_url: str = ""
    pull_request_url: str = ""


class RefIssue(msgspec.Struct):
    number: int = 0
    pull_request: dict[str, Any] | None = None


class WireTimeline(msgspec.Struct):
    id: int
    type: str = ""
    user: User | None = None
    created_at: str = ""
    body: str | None = None
    ref_issue: RefIssue | None = None


class Ref(msgspec.Struct):
    ref: str = ""
    label: str = ""
    sha: str = ""
    repo_id: int = 0


class WirePull(msgspec.Struct):
    id: int
    number: int
    html_url: str = ""
    state: str = ""
    title: str = ""
    body: str | None = None
    user: User | None = None
    base: Ref | None = None
    head: Ref | None = None
    merged: bool = False


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
    page: int = 1
    total_count: int = 0


class WireBlob(msgspec.Struct):
    content: str | None = None
    encoding: str | None = None


class WireCompare(msgspec.Struct):
    total_commits: int = -1


T = TypeVar("T")


def nullable(item: type[T]) -> type[list[T] | None]:
    """Return the type of a list that the forge may write as null."""
    return cast("type[list[T] | None]", list[item] | None)  # type: ignore[valid-type]


GHOST = User(id=-1, login="Ghost")


def seconds(text: str | None) -> int:
    """Return Unix seconds of an RFC 3339 time; 0 for none and for Go's zero time."""
    if not text or text.startswith("0001-"):
        return 0
    try:
        return int(datetime.datetime.fromisoformat(text).timestamp())
    except (ValueError, OverflowError):
        return 0


def utc(at_s: int) -> str:
    """Return a time as the forge's queries want it: UTC with Z, whole seconds."""
    return datetime.datetime.fromtimestamp(at_s, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def repository(wire: WireRepository) -> Repository:
    return Repository(
        id=wire.id,
        name=wire.full_name,
        default_branch=wire.default_branch or "main",
        private=wire.private,
        archived=wire.archived,
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
    tail = (wire.issue_url or wire.pull_request_url).rstrip("/").rsplit("/", 1)[-1]
    return int(tail) if tail.isdigit() else 0


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
    )


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
        head=head.ref,
        head_commit=head.sha,
        merged=wire.merged,
    )


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
