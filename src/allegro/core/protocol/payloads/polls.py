"""Events of what a poll shows of the forge, and of how polling goes."""

from __future__ import annotations

from allegro.core.base.untrusted import Number
from allegro.core.protocol.answers.bounds import Seconds
from allegro.core.protocol.event_types import EventType
from allegro.core.protocol.payloads.base import Payload


class SnapshotIssue(Payload, frozen=True, kw_only=True):
    """A new version of an issue, or of the conversation of a pull request. Times are the forge's."""

    type_ = EventType.FORGE_SNAPSHOT_ISSUE
    repository: Number
    number: Number
    state: str
    updated_s: Number
    created_s: Number
    author_id: Number
    is_pull: bool
    comments: Number
    issue_id: Number
    closed_s: Number
    closed_by: Number | None = None
    backdated: bool = False


class SnapshotPull(Payload, frozen=True, kw_only=True):
    """A new version of what a pull request has beside its conversation."""

    type_ = EventType.FORGE_SNAPSHOT_PULL
    repository: Number
    number: Number
    state: str
    updated_s: Number
    created_s: Number
    author_id: Number
    head_commit: str
    merged: bool
    content: str
    backdated: bool = False


class SnapshotComment(Payload, frozen=True, kw_only=True):
    """A new version of a comment; `content` is the keyed name of its text."""

    type_ = EventType.FORGE_SNAPSHOT_COMMENT
    repository: Number
    number: Number
    comment: Number
    updated_s: Number
    created_s: Number
    author_id: Number
    content: str
    backdated: bool = False


class SnapshotLabel(Payload, frozen=True, kw_only=True):
    """One of our bots added a label; `content` is the keyed name of the label."""

    type_ = EventType.FORGE_SNAPSHOT_LABEL
    repository: Number
    number: Number
    label: Number
    author_id: Number
    created_s: Number
    updated_s: Number
    content: str
    backdated: bool = False


class SnapshotBranch(Payload, frozen=True, kw_only=True):
    """A branch is new or was moved. `author_id` is 0 where the forge does not say who moved it.

    `held` is the keyed name of what its newest commit holds, empty where that was not computed.
    """

    type_ = EventType.FORGE_SNAPSHOT_BRANCH
    repository: Number
    branch: str
    commit: str
    author_id: Number
    created_s: Number
    updated_s: Number
    content: str
    held: str | None = None
    backdated: bool = False


class SnapshotRepository(Payload, frozen=True, kw_only=True):
    """A repository, or what changed about it."""

    type_ = EventType.FORGE_SNAPSHOT_REPOSITORY
    repository: Number
    private: bool
    archived: bool
    backdated: bool = False


class ForgeVanished(Payload, frozen=True, kw_only=True):
    """A known object is no longer there. The house writes it too, without `number`."""

    type_ = EventType.FORGE_VANISHED
    repository: Number
    number: Number | None = None
    vanished: bool
    updated_s: Number


class ForgeMark(Payload, frozen=True, kw_only=True):
    """A watch was read up to here. `forge_s` and `date_s` are the forge's clock, `wall_s` ours."""

    type_ = EventType.FORGE_MARK
    watch: str
    forge_s: Number
    wall_s: Seconds
    date_s: Number


class ForgeReconciled(Payload, frozen=True, kw_only=True):
    """A repository was listed whole: so many issues, and so many that vanished."""

    type_ = EventType.FORGE_RECONCILED
    repository: Number
    issues: Number
    vanished: Number


class ForgeUnread(Payload, frozen=True, kw_only=True):
    """Something on the forge cannot be read; the sealed text says what to do."""

    type_ = EventType.FORGE_UNREAD
    repository: Number
    number: Number
    id: Number
    watch: str


class ForgeUnreachable(Payload, frozen=True, kw_only=True):
    """The forge failed twice in a row. `status` is of HTTP, 0 where there was no answer."""

    type_ = EventType.FORGE_UNREACHABLE
    kind: str
    status: Number


class ForgeRecovered(Payload, frozen=True, kw_only=True):
    """The forge answers again after so many failures."""

    type_ = EventType.FORGE_RECOVERED
    failures: Number


class WatchFailing(Payload, frozen=True, kw_only=True):
    """One watch or repository cannot be read, while the forge answers."""

    type_ = EventType.WATCH_FAILING
    watch: str
    kind: str


class WatchRecovered(Payload, frozen=True, kw_only=True):
    """A watch or repository that failed can be read again."""

    type_ = EventType.WATCH_RECOVERED
    watch: str


class WatchReplaced(Payload, frozen=True, kw_only=True):
    """Another repository has this name now: `repository` is its id, `was` that of the old one."""

    type_ = EventType.WATCH_REPLACED
    watch: str
    repository: Number
    was: Number


class AuditDone(Payload, frozen=True, kw_only=True):
    """The daily token was audited; `bots` are the ids of the users it may act as."""

    type_ = EventType.AUDIT_DONE
    repositories: Number
    comment_only: Number
    bots: tuple[Number, ...]


Snapshot = (
    SnapshotIssue
    | SnapshotPull
    | SnapshotComment
    | SnapshotLabel
    | SnapshotBranch
    | SnapshotRepository
)
"""A new version of one forge object. `backdated`: its forge time is before the version held."""
