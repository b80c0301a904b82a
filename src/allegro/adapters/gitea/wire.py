"""The forge's JSON as it comes, reduced to the fields we use.

Every number is bounded where it is read: what JSON, SQLite or a message cannot hold gets no
further. `values` turns these into core values.
"""

from __future__ import annotations

from typing import Annotated, Any, TypeVar, cast

import msgspec

from allegro.core.base.untrusted import (
    MAX_NUMBER,
    Name,
    Number,
)

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
    pull_request: dict[str, object] | None = None
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
    pull_request: dict[str, object] | None = None


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


class Pushed(msgspec.Struct):
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


class Named(msgspec.Struct):
    """What can be known of a thing that is else unreadable."""

    id: Any = 0
    number: Any = 0
    issue_url: Any = ""
    pull_request_url: Any = ""
    repository: Any = None
