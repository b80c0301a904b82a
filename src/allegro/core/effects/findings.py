"""Looking: is an effect there, absent, in conflict, or has its world moved (G10)?

*Present* means that the author is one of our bots by id and the whole effect equals the approved
one. A marker or a branch is a place to look, never evidence. Anything else under our name is a
conflict: nobody acts, it is told.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence

import msgspec

from allegro.core.authority.actions.forge import CloseIssue, FileChange, ProposeChange, git_blob_id
from allegro.core.base.canonical import sha256_hex
from allegro.core.effects.render import marker_line
from allegro.core.forge.issues import (
    Comment,
    Issue,
    PullRequest,
    TimelineEntry,
    TreeEntry,
    is_status,
)


class WriteStep(enum.StrEnum):
    """The single HTTP writes that effects are made of."""

    BRANCH = "branch"
    COMMIT = "commit"
    PULL = "pull"
    COMMENT = "comment"
    EDIT = "edit"
    LABEL = "label"
    CLOSE = "close"


class Present(msgspec.Struct, frozen=True):
    """The effect is there. `others` are further copies that should not exist."""

    number: int
    url: str = ""
    commit: str = ""
    others: tuple[int, ...] = ()


class Absent(msgspec.Struct, frozen=True):
    """The effect is not (wholly) there; `step` is the next write. `target` is an id it needs."""

    step: WriteStep
    target: int = 0


class Stale(msgspec.Struct, frozen=True):
    """The world moved since the approval."""

    reason: str


class Conflict(msgspec.Struct, frozen=True):
    """Something else stands in our place."""

    reason: str


Finding = Present | Absent | Stale | Conflict

Leaf = tuple[str, str] | None
"""(mode, id) of what stands at a path of a tree, None for nothing."""


def parents_of(path: str) -> tuple[str, ...]:
    """Return the folders above a path, the outermost first."""
    return tuple(path[:at] for at, char in enumerate(path) if char == "/")


def judge_comments(
    body: str, marker: str, comments: Sequence[Comment], bots: frozenset[int]
) -> Finding:
    """Look for one comment of exactly `body` by one of our bots."""
    ours = [comment for comment in comments if comment.author_id in bots]
    same = [comment for comment in ours if _same_text(comment.body, body)]
    if same:
        return Present(same[0].id, others=tuple(comment.id for comment in same[1:]))
    if any(marker_line(marker) in comment.body for comment in ours):
        return Conflict("a comment of ours carries this marker with other words")
    return Absent(WriteStep.COMMENT)


def judge_mirror(
    body: str, marker: str, comments: Sequence[Comment], bots: frozenset[int]
) -> Finding:
    """Look for a request's home: a comment of ours with its marker, at the newest wording."""
    ours = [
        comment
        for comment in comments
        if comment.author_id in bots and marker_line(marker) in comment.body
    ]
    if not ours:
        return Absent(WriteStep.COMMENT)
    if _same_text(ours[0].body, body):
        return Present(ours[0].id, others=tuple(comment.id for comment in ours[1:]))
    return Absent(WriteStep.EDIT, target=ours[0].id)


def judge_pulls(
    *,
    title: str,
    body: str,
    base: str,
    head_commit: str,
    pulls: Sequence[PullRequest],
    bots: frozenset[int],
) -> Finding:
    """Look for the pull request among all that have our head and base.

    `head_commit` is the commit whose content has been checked against the action.
    """
    same = [
        pull
        for pull in pulls
        if pull.author_id in bots
        and pull.title == title
        and _same_text(pull.body, body)
        and pull.base == base
        and pull.head_commit == head_commit
    ]
    if same:
        same = sorted(same, key=lambda pull: pull.number)
        others = tuple(pull.number for pull in same[1:])
        return Present(same[0].number, same[0].url, head_commit, others)
    if pulls:
        return Conflict(f"pull request {pulls[0].number} on our branch is not the approved one")
    return Absent(WriteStep.PULL)


def expected_changes(action: ProposeChange) -> dict[str, tuple[str, str] | None]:
    """Return path → (mode, blob id) after the change, None where the file must be gone."""
    return {
        change.path: None if change.operation == "delete" else (change.mode, _blob(action, change))
        for change in action.files
    }


def expected_before(action: ProposeChange) -> dict[str, tuple[str, str] | None]:
    """Return path → (mode, blob id) at the base commit, None where no file may be."""
    return {
        change.path: None if change.before is None else (change.mode, change.before)
        for change in action.files
    }


def judge_commit(
    action: ProposeChange,
    parents: Sequence[str],
    changes: Mapping[str, tuple[str, str] | None],
) -> Conflict | None:
    """Compare a commit on our branch with the approved change; None when it is exactly that."""
    if tuple(parents) != (action.base_commit,):
        return Conflict("the commit on our branch does not stand on the approved base commit")
    if dict(changes) != expected_changes(action):
        return Conflict("the commit on our branch does not hold exactly the approved files")
    return None


def judge_close(
    action: CloseIssue,
    issue: Issue | None,
    comments: Sequence[Comment],
    timeline: Sequence[TimelineEntry],
    bots: frozenset[int],
) -> Finding:
    """Compare an issue with the state it was approved to be closed in."""
    if issue is None:
        return Stale("the issue is gone")
    if issue.state == "closed":
        closers = [entry.author_id for entry in timeline if entry.type == "close"]
        if closers and closers[-1] in bots:
            return Present(issue.number, issue.url)
        return Stale("somebody else closed it")
    if issue.title != action.title or sha256_hex(issue.body.encode()) != action.body_sha256:
        return Stale("title or text changed since the approval")
    newest = newest_foreign(comments, bots)
    pinned = (action.newest_comment, action.newest_comment_sha256)
    found = (None, None) if newest is None else (newest.id, sha256_hex(newest.body.encode()))
    if found != pinned:
        return Stale("the conversation went on since the approval")
    return Absent(WriteStep.CLOSE)


def judge_status(issue: Issue | None, wanted: str) -> Finding:
    """Compare the `status/…` labels of an issue with the one wanted."""
    if issue is None:
        return Stale("the issue is gone")
    if [name for name in issue.labels if is_status(name)] == [wanted]:
        return Present(issue.number, issue.url)
    return Absent(WriteStep.LABEL)


def newest_foreign(comments: Sequence[Comment], bots: frozenset[int]) -> Comment | None:
    """Return the newest comment that is not by one of our bots."""
    foreign = [comment for comment in comments if comment.author_id not in bots]
    return max(foreign, key=lambda comment: (comment.created_s, comment.id), default=None)


def diff_trees(
    before: Mapping[str, TreeEntry], after: Mapping[str, TreeEntry]
) -> dict[str, tuple[TreeEntry | None, TreeEntry | None]]:
    """Return the names that differ between two listings of one directory."""
    return {
        name: (before.get(name), after.get(name))
        for name in sorted(before.keys() | after.keys())
        if _identity(before.get(name)) != _identity(after.get(name))
    }


def _identity(entry: TreeEntry | None) -> tuple[str, str] | None:
    return None if entry is None else (entry.mode, entry.sha)


def _blob(action: ProposeChange, change: FileChange) -> str:
    return git_blob_id(change.raw(), like=action.base_commit)


def _same_text(left: str, right: str) -> bool:
    return left.replace("\r\n", "\n").strip() == right.replace("\r\n", "\n").strip()
