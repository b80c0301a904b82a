"""What a house says about itself to each of its lanes, so that a lane can speak for it when it is silent.

Invariant: a statement informs and hushes; it lets a lane do nothing. What it says of alerts that
were told already never hushes a P0 of the lane (the lane's rule: `heard_statement`), and what it
says of quiet hours holds back P2 and P3 alone.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from allegro.core.base.untrusted import Name, Number, Text
from allegro.core.health.duty_runs import DutyPlan
from allegro.core.protocol.answers.bounds import Seconds

MAX_TOLD = 200
MAX_WAITING = 40
MAX_PLANS = 100
Window = Annotated[str, Meta(max_length=11)]
"""Two times of day, as in `22:00-07:30`; empty for none."""


class ToldAlert(msgspec.Struct, frozen=True):
    """An alert of this lane that the house told its owner: `at_s` is when (Unix s)."""

    code: Name
    subject: Text
    kind: Literal["alarm", "recovery"]
    notice: Name
    at_s: Seconds


QUESTION = "question"
"""The `kind` of a question with options, which no action belongs to."""


class WaitingRequest(msgspec.Struct, frozen=True):
    """A request or a question that waits for its owner. `digest` are the first 32 characters of its own.

    `title` and `target` are words from outside, empty unless the house lets content leave by chat.
    """

    id: Annotated[str, Meta(max_length=40)]
    digest: Annotated[str, Meta(max_length=32)]
    kind: Name
    urgency: Annotated[str, Meta(max_length=20)]
    created_s: Seconds
    title: Annotated[str, Meta(max_length=200)] = ""
    target: Annotated[str, Meta(max_length=200)] = ""


class HouseStatement(msgspec.Struct, frozen=True, kw_only=True):
    """`at_s` is the house's time (Unix s); `zone` an IANA name; `expected` as in house.toml.

    `duties` are the scheduled duties that a lane is to expect: the house's own, and of those that a
    role owns what was served, so that a lane which takes the role runs nothing twice.
    `requests` are the oldest that wait, of `waiting` in all; None from a house that does not say.
    """

    at_s: Seconds
    zone: Annotated[str, Meta(max_length=64)] = "UTC"
    quiet: Window = ""
    expected: Literal["always", "hours", "whenever"] = "always"
    hours: Window = ""
    alerts: Annotated[tuple[ToldAlert, ...], Meta(max_length=MAX_TOLD)] = ()
    requests: Annotated[tuple[WaitingRequest, ...], Meta(max_length=MAX_WAITING)] | None = None
    waiting: Number = 0
    duties: Annotated[tuple[DutyPlan, ...], Meta(max_length=MAX_PLANS)] = ()

    def without_words(self) -> HouseStatement:
        """Return it as a lane keeps it on its disk: no title and no target of a request."""
        replace = msgspec.structs.replace
        found = self.requests
        bare = None if found is None else tuple(replace(one, title="", target="") for one in found)
        return replace(self, requests=bare)
