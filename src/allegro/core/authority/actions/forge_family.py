"""The forge family: what its actions may hold, what goes beside an order, and the family's value."""

from __future__ import annotations

import binascii
import re

from allegro.core.authority.actions.family import Delivery, Family, Key, LaneNeed, Place
from allegro.core.authority.actions.forge import (
    FORGE_TYPES,
    MAX_BODY_BYTES,
    CommentOnIssue,
    CreatePullRequest,
    FileChange,
    ForgeAction,
    MarkSeen,
    MirrorRequest,
    ProposeChange,
    UpdateStatus,
    ci_paths,
)
from allegro.core.base.backoff import ORDER
from allegro.core.base.errors import Refusal
from allegro.core.forge.issues import STATUSES, issue_subject, repository_subject

MAX_TITLE = 255
MAX_FILES = 300
MAX_OWN_BRANCH = 80  # a forge takes 100 characters, and ours gets a suffix
MAX_CONTENT_BYTES = 4 * 1024 * 1024
FILE_MODES = ("100644", "100755")
_NAME = re.compile(r"(?!\.{1,2}/)[A-Za-z0-9_.-]{1,100}/(?!\.{1,2}$)[A-Za-z0-9_.-]{1,100}")
_COMMIT = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
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


def forge_faults(action: ForgeAction) -> list[str]:
    """Return every reason why this action can never be carried out, as sentences."""
    faults = _pin_faults(action)
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
    return faults


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


# --- what goes beside an order ------------------------------------------------------------------

_SUFFIX_DIGITS = 12
_SUFFIX = re.compile(rf"-[0-9a-f]{{{_SUFFIX_DIGITS}}}")
_MARKER_DIGITS = 32
_MARKER = re.compile(rf"[0-9a-f]{{{_MARKER_DIGITS}}}")


def _delivery(action: ForgeAction, digest: str, key: Key) -> Delivery:
    """Return the real branch and the marker.

    A mirror's marker names its request, so that each version of it is the same comment.
    """
    named = action.request if isinstance(action, MirrorRequest) else digest
    marker = key("marker", named)[:_MARKER_DIGITS]
    if isinstance(action, ProposeChange):
        return Delivery(f"{action.branch}-{key('branch', digest)[:_SUFFIX_DIGITS]}", marker)
    return Delivery(action.head if isinstance(action, CreatePullRequest) else "", marker)


def _delivery_fault(action: ForgeAction, delivery: Delivery) -> Refusal | None:
    """Return why what came beside an order is not of this action, None where it is."""
    if not _MARKER.fullmatch(delivery.marker):
        return Refusal("bad_marker", f"{_MARKER_DIGITS} hex digits")
    if not _is_branch_of(action, delivery.branch):
        return Refusal("bad_branch", "not the branch of this action")
    return None


def _is_branch_of(action: ForgeAction, branch: str) -> bool:
    if isinstance(action, ProposeChange):
        return branch.startswith(action.branch) and bool(
            _SUFFIX.fullmatch(branch.removeprefix(action.branch))
        )
    return branch == (action.head if isinstance(action, CreatePullRequest) else "")


def _subject(action: ForgeAction) -> str:
    number = getattr(action, "issue", 0)
    if number:
        return issue_subject(action.forge, action.repository.id, number)
    return repository_subject(action.forge, action.repository.id)


FORGE = Family(
    name="forge",
    types=FORGE_TYPES,
    faults=forge_faults,
    subject=_subject,
    place=lambda action: Place(action.forge, action.repository.id),
    need=lambda action: LaneNeed("forge", role="forge"),
    delivery=_delivery,
    delivery_fault=_delivery_fault,
    code=frozenset({ProposeChange, CreatePullRequest}),
    repeats=True,
    pause=ORDER,
    if_rejected="nothing happens",
)
