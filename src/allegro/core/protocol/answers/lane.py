"""What a lane answers of itself: its status, the facts of its doctor, the label that it sets.

A lane counts as the open internet (S10), and may be of the release before: a field that it does
not send has its default, one that it sends beside these is ignored.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from allegro.core.base.untrusted import (
    MAX_TEXT,
    Name,
    Number,
    Text,
    Unreadable,
    plain,
    read_value,
)
from allegro.core.protocol.answers.bounds import Names, Seconds

MAX_STATUS_BYTES = 64_000
MAX_SHOWN = 200


class RunningSession(msgspec.Struct, frozen=True):
    """A session that runs. `waits_for_answer` is the number of a question, 0 for none."""

    session: Name
    model: Name = ""
    run: Name = ""
    runs_s: Seconds = 0.0
    tools: Number = 0
    waits_for_answer: Number = 0


class CoolingRung(msgspec.Struct, frozen=True):
    """A model of a provider that is passed over for so many seconds, and why."""

    provider: Name
    model: Name
    trouble: Name = ""
    for_s: Seconds = 0.0


class LearntDialect(msgspec.Struct, frozen=True):
    """What is unusual about how a model of a provider wants to be asked, in words."""

    provider: Name
    model: Name
    takes: Text = ""


class SpentToday(msgspec.Struct, frozen=True):
    """What models cost today (UTC): dollars where the price is known, tokens always."""

    usd: Seconds = 0.0
    tokens: Number = 0
    unpriced_tokens: Number = 0


class LaneSessions(msgspec.Struct, frozen=True, kw_only=True):
    """The agent of a lane. `off` maps each configured tool that is off to the reason."""

    gateways: Number = 0
    ready: Number = 0
    version: Name = ""
    trouble: Text = ""
    sandbox: Text = ""
    tools: Names = ()
    off: Annotated[dict[Name, Text], Meta(max_length=MAX_SHOWN)] = {}
    models: Names = ()
    local: bool = False
    running: Annotated[tuple[RunningSession, ...], Meta(max_length=MAX_SHOWN)] = ()
    cooling: Annotated[tuple[CoolingRung, ...], Meta(max_length=MAX_SHOWN)] = ()
    dialects: Annotated[tuple[LearntDialect, ...], Meta(max_length=MAX_SHOWN)] = ()
    spent_today: SpentToday = SpentToday()
    refused_destinations: Number = 0


class LaneStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Answers `status`. `done` is what the lane did last, at `done_s` (its own Unix seconds).

    `error` is set by the house where it could not have a status: see `UnknownStatus`.
    """

    name: Name = ""
    version: Name = ""
    healthy: bool = False
    frozen: bool = False
    freezes: Annotated[tuple[Name, ...], Meta(max_length=1_000)] = ()
    safe_mode: bool = False
    shadow: bool = False
    done: Text = "?"
    done_s: Seconds = 0.0
    forge: Name = ""
    forge_trouble: Text = ""
    room: bool = True
    journal_bytes: Number = 0
    journal_waiting: Number = 0
    clock_trusted: bool = True
    failure_domain: Name = ""
    sessions: LaneSessions | None = None
    error: Text | UnsetType = UNSET


class UnknownStatus(LaneStatus, frozen=True, kw_only=True, omit_defaults=True):
    """A status that could not be had: nothing but `error`, the reason, is known and written."""


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


class OwnLabel(msgspec.Struct, frozen=True):
    """Answers `triage_label`: the label that this lane sets, empty where it marks nothing."""

    label: Name = ""


def read_status(value: object) -> LaneStatus | Unreadable:
    """Return a lane's status, its words cut to what a screen shows."""
    whole = _cut(plain(value, depth=8))
    if isinstance(whole, Unreadable):
        return whole
    status = read_value(whole, LaneStatus)
    if isinstance(status, Unreadable):
        return status
    if len(msgspec.json.encode(status)) > MAX_STATUS_BYTES:
        return Unreadable(f"longer than {MAX_STATUS_BYTES} bytes")
    return msgspec.structs.replace(status, error=UNSET)


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
