"""Proposed effects on a forge, in canonical form. Each pins the world it was approved in."""

from __future__ import annotations

import base64
import hashlib

import msgspec

from allegro.core.authority.actions.family import Action, kind_of_type

MAX_BODY_BYTES = 60_000
CI_PREFIXES = (".gitea/", ".forgejo/", ".github/workflows/")


class RepositoryRef(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A repository pinned by id; the name is what people read and must still be its name."""

    id: int
    name: str


class FileChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One file of a change.

    `operation` is create, update or delete. `before` is the git blob id at the base commit (None
    for create). `content` is base64 (None for delete). `mode` is git's, and for update and delete
    must be what the base has: the contents API cannot change it.
    """

    path: str
    operation: str
    mode: str
    before: str | None
    content: str | None

    def raw(self) -> bytes:
        """Return the bytes of the file after the change; empty for a delete."""
        return base64.b64decode(self.content or "", validate=True)


class _Pinned(Action, frozen=True, kw_only=True):
    forge: str
    repository: RepositoryRef


class ProposeChange(_Pinned, frozen=True, tag_field="kind", tag="propose_change"):
    """New branch at `base_commit`, one commit of exactly `files`, one pull request to `base`."""

    base: str
    base_commit: str
    branch: str
    title: str
    body: str
    files: tuple[FileChange, ...]
    allow_ci_paths: bool


class CreatePullRequest(_Pinned, frozen=True, tag_field="kind", tag="create_pr"):
    """A pull request from an existing branch, exactly at `head_commit`."""

    base: str
    base_commit: str
    head: str
    head_commit: str
    title: str
    body: str
    ci_paths: tuple[str, ...]


class CloseIssue(_Pinned, frozen=True, tag_field="kind", tag="close_issue"):
    """Close one issue as it stood: title, hash of body, newest comment not by our bots."""

    issue: int
    title: str
    body_sha256: str
    newest_comment: int | None
    newest_comment_sha256: str | None


class CommentOnIssue(_Pinned, frozen=True, tag_field="kind", tag="comment"):
    """One new comment."""

    issue: int
    body: str


class UpdateStatus(_Pinned, frozen=True, tag_field="kind", tag="update_status"):
    """Exactly one `status/…` label on an issue."""

    issue: int
    status: str


class MirrorRequest(_Pinned, frozen=True, tag_field="kind", tag="mirror_request"):
    """The one comment that is a request's home on the forge, at its newest wording."""

    issue: int
    request: str
    body: str


class MarkSeen(_Pinned, frozen=True, tag_field="kind", tag="mark_seen"):
    """The triage label and, where the issue has none, the first status label. Under a lease."""

    issue: int
    label: str
    status: str | None


ForgeAction = (
    ProposeChange
    | CreatePullRequest
    | CloseIssue
    | CommentOnIssue
    | UpdateStatus
    | MirrorRequest
    | MarkSeen
)
FORGE_TYPES = (
    ProposeChange,
    CreatePullRequest,
    CloseIssue,
    CommentOnIssue,
    UpdateStatus,
    MirrorRequest,
    MarkSeen,
)


def of_forge(action: Action) -> ForgeAction:
    """Return an action that is done on a forge. Raises TypeError for one that is not."""
    if not isinstance(action, FORGE_TYPES):
        raise TypeError(f"{kind_of_type(type(action))} is not done on a forge")
    return action


def is_ci_path(path: str) -> bool:
    """Say whether a change of this path can make the forge run code."""
    return path.casefold().startswith(CI_PREFIXES)


def ci_paths(action: Action) -> tuple[str, ...]:
    """Return the paths of an action that a runner on the forge would execute."""
    if isinstance(action, ProposeChange):
        return tuple(change.path for change in action.files if is_ci_path(change.path))
    return action.ci_paths if isinstance(action, CreatePullRequest) else ()


def git_blob_id(raw: bytes, *, like: str) -> str:
    """Return git's id of a blob, SHA-1 or SHA-256 as the repository of commit `like` uses."""
    head = b"blob %d\0" % len(raw)
    if len(like) == 64:
        return hashlib.sha256(head + raw).hexdigest()
    return hashlib.sha1(head + raw).hexdigest()  # noqa: S324 (git's own object id)
