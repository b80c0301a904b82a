"""What a lane answers of its forge: the world that an action is pinned to, and what stands there.

A lane counts as the open internet (S10). Its answer is one of these values or `Unreadable`.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from allegro.core.base.untrusted import Name, Number, Text
from allegro.core.protocol.answers.bounds import Commit, Foreign, Id

MAX_FILES = 300
MAX_BASES_BYTES = 4 * 1024 * 1024
MAX_LISTED = 1_000_000


class Place(msgspec.Struct, frozen=True):
    """A repository as a lane names it. Not said to be private counts as public: less is shown."""

    id: Id
    name: Name
    private: bool = False


class PinnedRepository(msgspec.Struct, frozen=True, kw_only=True):
    """Answers `pin_repository`."""

    forge: Name
    repository: Place


class HeldFile(msgspec.Struct, frozen=True):
    """A file at the base commit. `content` is base64, None where it is too large to be shown."""

    mode: Annotated[str, Meta(max_length=16)]
    sha: Commit
    content: Annotated[str, Meta(max_length=MAX_BASES_BYTES * 4 // 3 + 4)] | None = None


class PinnedChange(PinnedRepository, frozen=True, kw_only=True):
    """Answers `pin_change`: what stands at each path of the base."""

    base: Name
    base_commit: Commit
    files: Annotated[dict[str, HeldFile | None], Meta(max_length=MAX_FILES)]


class PinnedPull(PinnedRepository, frozen=True, kw_only=True):
    """Answers `pin_pull`."""

    base: Name
    base_commit: Commit
    head_commit: Commit
    ci_paths: Annotated[
        tuple[Annotated[str, Meta(max_length=1_000)], ...], Meta(max_length=1_000)
    ] = ()


class PinnedIssue(PinnedRepository, frozen=True, kw_only=True):
    """Answers `pin_close`: the issue as it stands, with its newest foreign comment."""

    state: Name
    title: Text
    body: Foreign
    newest_comment: Id | None = None
    newest_comment_sha256: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")] | None = None
    newest_comment_body: Foreign | None = None


class Sighting(msgspec.Struct, frozen=True, kw_only=True):
    """Answers `look`. `number` is the artifact's, 0 where the finding is not Present.

    `commit` and `url` are the lane's word; the name of the words is computed at home.
    """

    finding: Literal["Present", "Absent", "Stale", "Conflict"]
    number: Number = 0
    url: Name = ""
    commit: Annotated[str, Meta(pattern=r"^([0-9a-f]{40}|[0-9a-f]{64})?\Z")] = ""
    reason: str = ""

    @property
    def is_present(self) -> bool:
        return self.finding == "Present" and self.number > 0


class TalkComment(msgspec.Struct, frozen=True):
    id: Id
    author: Name
    body: Foreign


class Talk(msgspec.Struct, frozen=True):
    """Answers `issue_details`, as far as a session's quotes need it; the answer is a whole Issue."""

    title: Text
    body: Foreign
    author: Name
    comments: Annotated[tuple[TalkComment, ...], Meta(max_length=10_000)] = ()


class Listing(msgspec.Struct, frozen=True):
    """Answers `listing`: all numbers of issues and ids of comments of a repository.

    Neither has a default: what is missing in it counts as vanished from the forge.
    """

    issues: Annotated[tuple[Id, ...], Meta(max_length=MAX_LISTED)]
    comments: Annotated[tuple[Id, ...], Meta(max_length=MAX_LISTED)]


_URL = re.compile(r"https?://[!-~]{1,290}")


def sound_url(url: str) -> str:
    """Return an address of a forge's page, empty when it is none: one word, http or https."""
    return url if _URL.fullmatch(url) else ""
