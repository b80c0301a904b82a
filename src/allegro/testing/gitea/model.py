"""The rows of the simulated forge, as plain values with whole-second times."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Literal

Json = dict[str, Any]
FileContent = str | bytes | None
Files = Mapping[str, FileContent]

GHOST_ID = -1


class Level(IntEnum):
    """How much a user may do in a repository."""

    NONE = 0
    READ = 1
    WRITE = 2
    ADMIN = 3
    OWNER = 4


LEVELS = {"read": Level.READ, "write": Level.WRITE, "admin": Level.ADMIN, "owner": Level.OWNER}


@dataclass(slots=True, eq=False)
class User:
    """A person, a bot or an organisation; all three share one id space and one name space."""

    id: int
    login: str
    created_s: int
    kind: Literal["person", "bot", "org"] = "person"
    admin: bool = False
    full_name: str = ""
    email: str = ""
    password: str = ""
    private: bool = False
    members: dict[int, Level] = field(default_factory=dict)
    """Organisations only: member id to the right it has on all repositories."""


@dataclass(slots=True, eq=False)
class Token:
    id: int
    name: str
    user_id: int
    scopes: tuple[str, ...]
    value: str
    created_s: int
    used_s: int


@dataclass(slots=True, eq=False)
class Label:
    id: int
    name: str
    color: str
    description: str
    exclusive: bool
    archived: bool
    repo_id: int
    org_id: int

    @property
    def scope(self) -> str:
        """The part before the last slash of an exclusive label, else empty."""
        return self.name.rpartition("/")[0] if self.exclusive else ""


@dataclass(slots=True, eq=False)
class Reaction:
    user_id: int
    content: str
    created_s: int


@dataclass(slots=True, eq=False)
class Comment:
    """A row of an issue's time line; only rows of type `comment` are comments to the API."""

    id: int
    issue: Issue
    user_id: int
    type: str
    body: str
    created_s: int
    updated_s: int
    label_id: int = 0
    assignee_id: int = 0
    removed: bool = False
    old_title: str = ""
    new_title: str = ""
    ref_issue_id: int = 0
    ref_comment_id: int = 0
    ref_sha: str = ""
    reactions: list[Reaction] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class Pull:
    """What a pull request has besides its issue. `head_sha` is the last one seen."""

    id: int
    base: str
    head: str
    base_sha: str
    head_sha: str
    merge_base: str
    merged_s: int = 0
    merged_by: int = 0
    merge_sha: str = ""
    checked: tuple[str, str] | None = None
    """(base, head) commits the mergeable check was begun for; None = never asked."""
    checked_s: float = 0.0
    mergeable: bool = False
    allow_maintainer_edit: bool = False


@dataclass(slots=True, eq=False)
class Issue:
    id: int
    repo: Repo
    number: int
    user_id: int
    title: str
    body: str
    created_s: int
    updated_s: int
    closed_s: int = 0
    closed: bool = False
    locked: bool = False
    due_s: int = 0
    content_version: int = 0
    text_comments: int = 0
    labels: list[int] = field(default_factory=list)
    assignees: list[int] = field(default_factory=list)
    timeline: list[Comment] = field(default_factory=list)
    reactions: list[Reaction] = field(default_factory=list)
    pull: Pull | None = None


@dataclass(slots=True, eq=False)
class Protection:
    """A branch rule; `options` holds the rest of what the API was given."""

    rule: str
    created_s: int
    updated_s: int
    enable_push: bool = False
    push_whitelist: bool = False
    push_users: tuple[str, ...] = ()
    merge_whitelist: bool = False
    merge_users: tuple[str, ...] = ()
    options: Json = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Push:
    """One row of the record of activities: somebody moved a branch."""

    id: int
    user_id: int
    branch: str
    created_s: int
    commit: str = ""


@dataclass(slots=True, eq=False)
class Status:
    id: int
    sha: str
    state: str
    context: str
    description: str
    target_url: str
    creator_id: int
    created_s: int


@dataclass(slots=True, eq=False)
class Hook:
    id: int
    owner_id: int
    repo_id: int
    config: dict[str, str]
    events: tuple[str, ...]
    active: bool
    branch_filter: str
    authorization_header: str
    created_s: int
    updated_s: int
    name: str = ""


@dataclass(slots=True, eq=False)
class Repo:
    id: int
    owner: User
    name: str
    private: bool
    created_s: int
    updated_s: int
    default_branch: str = "main"
    description: str = ""
    archived: bool = False
    archived_s: int = 0
    empty: bool = True
    next_number: int = 1
    has_issues: bool = True
    has_pulls: bool = True
    collaborators: dict[int, Level] = field(default_factory=dict)
    protections: dict[str, Protection] = field(default_factory=dict)
    issues: dict[int, Issue] = field(default_factory=dict)
    ordered: list[Issue] = field(default_factory=list)
    """All issues and pull requests by (created, id), oldest first."""
    comments: list[Comment] = field(default_factory=list)
    """All text comments by (created, id), oldest first."""
    statuses: dict[str, list[Status]] = field(default_factory=dict)
    pushes: list[Push] = field(default_factory=list)
    branch_count: int = 0
    open_issues: int = 0
    open_pulls: int = 0

    @property
    def full_name(self) -> str:
        return f"{self.owner.login}/{self.name}"


@dataclass(frozen=True, slots=True)
class Event:
    """Something a webhook may tell; `kind` is the exact event type."""

    kind: str
    action: str
    repo: Repo
    sender: User
    issue: Issue | None = None
    comment: Comment | None = None
    changes: Json | None = None
    extra: Json = field(default_factory=dict)
