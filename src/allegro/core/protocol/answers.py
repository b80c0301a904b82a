"""What a lane may answer to each query: bounded types, read once where the answer comes in.

A lane counts as the open internet (S10). Its answer is one of these values or `Unreadable`; what
our own types do not name is ignored, or kept only as far as JSON holds it.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from allegro.core.base.untrusted import (
    MAX_NUMBER,
    MAX_TEXT,
    Name,
    Number,
    Text,
    Unreadable,
    plain,
    read_value,
)

MAX_FOREIGN_TEXT = 1_000_000
MAX_FILES = 300
MAX_BASES_BYTES = 4 * 1024 * 1024
MAX_STATUS_BYTES = 64_000
MAX_SHOWN = 200

Id = Annotated[int, Meta(ge=1, lt=MAX_NUMBER)]
"""A number that a forge gives to something: from 1."""

Commit = Annotated[str, Meta(pattern=r"^([0-9a-f]{40}|[0-9a-f]{64})\Z")]
"""A full git object id."""

Foreign = Annotated[str, Meta(max_length=MAX_FOREIGN_TEXT)]
"""Text that a person wrote on the forge, whole."""

Seconds = Annotated[float, Meta(ge=0, lt=MAX_NUMBER)]


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
    """Answers `issue_details`, as far as a session's quotes need it."""

    title: Text
    body: Foreign
    author: Name
    comments: Annotated[tuple[TalkComment, ...], Meta(max_length=10_000)] = ()


class RunningSession(msgspec.Struct, frozen=True):
    session: Name
    model: Name = ""
    run: Name = ""
    runs_s: Seconds = 0.0
    tools: Number = 0
    waits_for_answer: Number = 0


class LaneSessions(msgspec.Struct, frozen=True):
    ready: Number = 0
    gateways: Number = 0
    local: bool = False
    trouble: Text = ""
    running: Annotated[tuple[RunningSession, ...], Meta(max_length=MAX_SHOWN)] = ()


class LaneStatus(msgspec.Struct, frozen=True):
    """Answers `status`, as far as our screens read it."""

    healthy: bool = False
    frozen: bool = False
    freezes: Annotated[tuple[Name, ...], Meta(max_length=1_000)] = ()
    safe_mode: bool = False
    shadow: bool = False
    done: Text = "?"
    forge_trouble: Text = ""
    journal_waiting: Number = 0
    sessions: LaneSessions | None = None


class LaneFact(msgspec.Struct, frozen=True):
    """One line of a lane's own `doctor`. The release before knew no code, subject and state."""

    what: Name
    verdict: Literal["ok", "warn", "bad"]
    detail: Text = msgspec.field(name="told")
    source: Name
    age_s: Seconds = 0.0
    mend: Text = ""
    code: Name = "other"
    subject: Text = ""
    state: Literal["ok", "warn", "bad", "unknown"] | None = None


class LaneOffer(msgspec.Struct, frozen=True):
    """Answers `offer`: where a lane's council server is reached. Checked before it is signed."""

    address: Name
    certificate: Annotated[str, Meta(max_length=20_000)]
    domain: Name = ""


def read_status(value: object) -> dict[str, Any] | Unreadable:
    """Return a lane's status in plain values: what screens read is typed, the rest JSON holds."""
    whole = _cut(plain(value, depth=8))
    if isinstance(whole, Unreadable):
        return whole
    typed = read_value(whole, LaneStatus)
    if isinstance(typed, Unreadable):
        return typed
    if len(msgspec.json.encode(whole)) > MAX_STATUS_BYTES:
        return Unreadable(f"longer than {MAX_STATUS_BYTES} bytes")
    known = msgspec.to_builtins(typed)
    if known["sessions"] is not None:
        known["sessions"] = {**whole["sessions"], **known["sessions"]}
    return {**whole, **known}


def read_facts(value: object) -> list[LaneFact | Unreadable] | Unreadable:
    """Return a lane's own facts, `MAX_SHOWN` at most; one that cannot be read hides no other."""
    if not isinstance(value, list):
        return Unreadable("no list of facts")
    return [_fact(one) for one in value[:MAX_SHOWN]]


def _fact(value: object) -> LaneFact | Unreadable:
    whole = _cut(plain(value, depth=4))
    return whole if isinstance(whole, Unreadable) else read_value(whole, LaneFact)


def _cut(value: Any) -> Any:
    """Return a plain value with every word cut to what a screen shows."""
    if isinstance(value, str):
        return value[:MAX_TEXT]
    if isinstance(value, list):
        return [_cut(one) for one in value]
    if isinstance(value, dict):
        return {key[:MAX_TEXT]: _cut(one) for key, one in value.items()}
    return value


_URL = re.compile(r"https?://[!-~]{1,290}")


def sound_url(url: str) -> str:
    """Return an address of a forge's page, empty when it is none: one word, http or https."""
    return url if _URL.fullmatch(url) else ""
