"""What a forge holds, as values: repositories, issues, pull requests, comments, branches."""

from __future__ import annotations

import msgspec

STATUSES = ("pending", "ready", "in-progress", "blocked", "review", "done", "failed")
STATUS_SCOPE = "status/"


class Repository(msgspec.Struct, frozen=True):
    """A repository by its forge-wide id; the name (`owner/name`) may change, the id never."""

    id: int
    name: str
    default_branch: str = "main"
    private: bool = False
    archived: bool = False


class Comment(msgspec.Struct, frozen=True):
    """One comment. Times are Unix seconds as the forge told them."""

    id: int
    author_id: int
    author: str
    body: str
    created_s: int
    updated_s: int


class PullRequest(msgspec.Struct, frozen=True):
    """The part of a pull request that an issue does not have."""

    number: int
    url: str
    state: str
    title: str
    body: str
    author_id: int
    base: str
    head: str
    head_commit: str
    merged: bool = False


class TimelineEntry(msgspec.Struct, frozen=True):
    """One line of an issue's history: who did what, when (Unix seconds).

    `ref_number` names the issue or pull request that mentioned this one, 0 for other lines. A line
    about a label names it, with the label's id; `body` is then "1" where it was added.
    """

    id: int
    type: str
    author_id: int
    author: str
    created_s: int
    body: str = ""
    ref_number: int = 0
    ref_is_pull: bool = False
    label: str = ""
    label_id: int = 0


class Push(msgspec.Struct, frozen=True):
    """Who moved a branch, as the forge's own record of activities says (Unix seconds).

    `commit` is where the branch stood after it, empty where the forge does not say.
    """

    branch: str
    author_id: int
    created_s: int
    commit: str = ""


class Issue(msgspec.Struct, frozen=True):
    """An issue or the conversation of a pull request, newest version known.

    `labels` are names. `comments`, `timeline` and `linked` are filled by `get_issue_details`
    only; `comment_count` is always the forge's own figure.
    """

    repository: Repository
    id: int
    number: int
    title: str
    body: str
    state: str
    author_id: int
    author: str
    labels: tuple[str, ...]
    assignees: tuple[str, ...]
    comment_count: int
    created_s: int
    updated_s: int
    closed_s: int | None = None
    is_pull_request: bool = False
    is_locked: bool = False
    url: str = ""
    milestone: str | None = None
    comments: tuple[Comment, ...] = ()
    timeline: tuple[TimelineEntry, ...] = ()
    linked: tuple[PullRequest, ...] = ()

    @property
    def status(self) -> str | None:
        """The one `status/…` label without its scope, or None when there is none or several."""
        found = [name.removeprefix(STATUS_SCOPE) for name in self.labels if is_status(name)]
        return found[0] if len(found) == 1 else None


class Branch(msgspec.Struct, frozen=True):
    """A branch as the forge shows it to the asking token."""

    name: str
    commit: str
    protected: bool
    can_push: bool | None
    can_merge: bool | None


class TreeEntry(msgspec.Struct, frozen=True):
    """One name in a git tree: `mode` as git writes it, `sha` of the blob or tree."""

    path: str
    mode: str
    type: str
    sha: str


def is_status(label: str) -> bool:
    return label.startswith(STATUS_SCOPE)


def issue_subject(forge: str, repository_id: int, number: int) -> str:
    """Name an issue or pull request for ever: by ids, never by a name that can change."""
    return f"{forge}/{repository_id}#{number}"


def comment_subject(forge: str, repository_id: int, comment_id: int) -> str:
    return f"{forge}/{repository_id}/comment/{comment_id}"


def repository_subject(forge: str, repository_id: int) -> str:
    return f"{forge}/{repository_id}"
