"""The forge's JSON turned into core values. Times outside 1970 to 2513 count as none."""

from __future__ import annotations

import datetime

from allegro.adapters.gitea.headers import END_S
from allegro.adapters.gitea.wire import (
    Pushed,
    Ref,
    User,
    WireActivity,
    WireBranch,
    WireComment,
    WireCommit,
    WireIssue,
    WirePull,
    WireRepository,
    WireTimeline,
    WireTreeEntry,
)
from allegro.core.base.untrusted import (
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

GHOST = User(id=-1, login="Ghost")


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
    pushed = read_json(content.encode("utf-8", "replace"), Pushed)
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
