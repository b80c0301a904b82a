"""Proposed effects in canonical form. Each pins the world it was approved in."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re

import msgspec

from allegro.core.authority.actions.agent import (
    AnswerOnce,
    LendModel,
    RunSession,
    SessionAction,
    session_faults,
)
from allegro.core.base.canonical import canonical, is_canonical
from allegro.core.base.errors import Refusal
from allegro.core.forge.issues import STATUSES

MAX_TITLE = 255
MAX_BODY_BYTES = 60_000
MAX_FILES = 300
MAX_OWN_BRANCH = 80  # a forge takes 100 characters, and ours gets a suffix
MAX_CONTENT_BYTES = 4 * 1024 * 1024
MAX_ACTION_BYTES = 8 * 1024 * 1024
CI_PREFIXES = (".gitea/", ".forgejo/", ".github/workflows/")
FILE_MODES = ("100644", "100755")


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


class _Pinned(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    id: str
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
Action = ForgeAction | SessionAction
_decoder = msgspec.json.Decoder(Action)


def kind_of(action: Action) -> str:
    return str(action.__struct_config__.tag)


def of_forge(action: Action) -> ForgeAction:
    """Return an action that is done on a forge. Raises TypeError for one that is not."""
    if isinstance(action, RunSession | AnswerOnce | LendModel):
        raise TypeError(f"{kind_of(action)} is not done on a forge")
    return action


def action_bytes(action: Action) -> bytes:
    """Return the canonical bytes: what is digested, signed over and shown."""
    return canonical(action)


def action_digest(raw: bytes) -> str:
    """Name canonical action bytes: hex SHA-256, separated from every other use of SHA-256."""
    return hashlib.sha256(b"allegro action\0" + raw).hexdigest()


def parse_action(raw: bytes) -> Action | Refusal:
    """Read action bytes strictly: canonical form, known kind, no fault; else say why not."""
    if len(raw) > MAX_ACTION_BYTES:
        return Refusal("action_too_large", f"more than {MAX_ACTION_BYTES} bytes")
    if not is_canonical(raw):
        return Refusal("not_canonical", "action bytes are not their own RFC 8785 form")
    try:
        action: Action = _decoder.decode(raw)
    except msgspec.ValidationError as error:
        return Refusal("malformed_action", str(error))
    if action_bytes(action) != raw:
        return Refusal("not_canonical", "every field must be written out, also where it is empty")
    faults = action_faults(action)
    if faults:
        return Refusal("malformed_action", "; ".join(faults))
    return action


_NAME = re.compile(r"(?!\.{1,2}/)[A-Za-z0-9_.-]{1,100}/(?!\.{1,2}$)[A-Za-z0-9_.-]{1,100}")
_COMMIT = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
_ID = re.compile(r"[0-9a-z]{16,64}")
_BAD_REF = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|/\.|\.lock(/|$)|\.$|/$|^/|^-|^\.|^@$")


def is_branch_name(name: str) -> bool:
    """Say whether git accepts this as a branch (git-check-ref-format) and it is printable."""
    return (
        0 < len(name.encode("utf-8", "replace")) <= 200
        and not _BAD_REF.search(name)
        and name.isprintable()
        and not name.startswith("refs/")
        and name != "HEAD"
    )


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


def action_faults(action: Action) -> tuple[str, ...]:
    """Return every reason why this action can never be carried out, as sentences."""
    faults = [] if _ID.fullmatch(action.id) else ["id must be 16 to 64 characters of 0-9 a-z"]
    if isinstance(action, RunSession | AnswerOnce | LendModel):
        return (*faults, *session_faults(action))
    faults += _pin_faults(action)
    if isinstance(action, ProposeChange):
        faults += _change_faults(action)
    elif isinstance(action, CreatePullRequest):
        faults += _pull_faults(action.base, action.head, action.title, action.body)
        faults += _commit_faults(base_commit=action.base_commit, head_commit=action.head_commit)
    elif isinstance(action, CommentOnIssue | MirrorRequest):
        faults += _body_faults(action.body, required=True)
    elif isinstance(action, UpdateStatus) and action.status not in STATUSES:
        faults.append(f"status must be one of {', '.join(STATUSES)}")
    elif isinstance(action, MarkSeen) and action.status not in {None, *STATUSES}:
        faults.append(f"status must be none, or one of {', '.join(STATUSES)}")
    return tuple(faults)


def _pin_faults(action: ForgeAction) -> list[str]:
    faults = []
    if not action.forge or len(action.forge) > 200:
        faults.append("forge must name the forge")
    if action.repository.id <= 0 or not _NAME.fullmatch(action.repository.name):
        faults.append("repository must be an id above 0 and a name like owner/name")
    issue = getattr(action, "issue", 1)
    if issue <= 0:
        faults.append("issue must be a number above 0")
    return faults


def _commit_faults(**commits: str) -> list[str]:
    return [
        f"{name} must be a full commit id in lower-case hex"
        for name, commit in commits.items()
        if not _COMMIT.fullmatch(commit)
    ]


def _body_faults(body: str, *, required: bool) -> list[str]:
    if required and not body.strip():
        return ["body must not be empty"]
    if len(body.encode("utf-8", "replace")) > MAX_BODY_BYTES:
        return [f"body must not be longer than {MAX_BODY_BYTES} bytes"]
    return []


def _pull_faults(base: str, head: str, title: str, body: str) -> list[str]:
    faults = [
        f"{what} is not a branch name git accepts: {name!r}"
        for what, name in (("base", base), ("branch", head))
        if not is_branch_name(name)
    ]
    if base == head:
        faults.append("branch and base must differ")
    if not title or title != title.strip() or len(title) > MAX_TITLE or not title.isprintable():
        faults.append(
            f"title must be one printable line of 1 to {MAX_TITLE} characters, no space around it"
        )
    return faults + _body_faults(body, required=False)


def _change_faults(action: ProposeChange) -> list[str]:
    faults = _pull_faults(action.base, action.branch, action.title, action.body)
    faults += _commit_faults(base_commit=action.base_commit)
    if len(action.branch) > MAX_OWN_BRANCH:
        faults.append(f"branch must not be longer than {MAX_OWN_BRANCH} characters")
    faults += _nested_faults([change.path for change in action.files])
    if not 0 < len(action.files) <= MAX_FILES:
        faults.append(f"files must be 1 to {MAX_FILES}")
    seen: set[str] = set()
    total = 0
    for change in action.files:
        faults += _file_faults(change)
        folded = change.path.casefold()
        if folded in seen:
            faults.append(f"path named twice: {change.path!r}")
        seen.add(folded)
        total += len(change.content or "") * 3 // 4
    if total > MAX_CONTENT_BYTES:
        faults.append(f"files together must not exceed {MAX_CONTENT_BYTES} bytes")
    touched = ci_paths(action)
    if touched and not action.allow_ci_paths:
        faults.append(
            f"{', '.join(touched)} can make the forge run code; say allow_ci_paths to propose it"
        )
    return faults


def _nested_faults(paths: list[str]) -> list[str]:
    named = set(paths)
    return [
        f"{path!r} lies below another path of the same change"
        for path in paths
        if any(path[:at] in named for at, char in enumerate(path) if char == "/")
    ]


def _file_faults(change: FileChange) -> list[str]:
    faults = []
    parts = change.path.split("/")
    bad = any(part in {"", ".", ".."} or part.casefold() == ".git" for part in parts)
    bad = bad or change.path.startswith("-")
    if bad or not change.path.isprintable() or "\\" in change.path or len(change.path) > 500:
        faults.append(f"not a usable path: {change.path!r}")
    if change.mode not in FILE_MODES:
        faults.append(f"mode of {change.path!r} must be one of {', '.join(FILE_MODES)}")
    is_create = change.operation == "create"
    if change.operation not in {"create", "update", "delete"}:
        faults.append(f"operation of {change.path!r} must be create, update or delete")
    if is_create and change.mode != "100644":
        faults.append(f"a new file is 100644: the forge's API cannot create {change.path!r} else")
    if is_create != (change.before is None):
        faults.append(f"before of {change.path!r} is given exactly for update and delete")
    if change.before is not None and not _COMMIT.fullmatch(change.before):
        faults.append(f"before of {change.path!r} must be a git blob id")
    if (change.operation == "delete") != (change.content is None):
        faults.append(f"content of {change.path!r} is left out exactly for delete")
    try:
        change.raw()
    except (binascii.Error, ValueError):
        faults.append(f"content of {change.path!r} is not base64")
    return faults
