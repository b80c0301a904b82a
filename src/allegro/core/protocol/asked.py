"""What a program sends to the house's socket, beside a `Proposal`: one Struct a body.

A body with a field that is not named here is refused, where no older program could send one.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from allegro.core.authority.actions.agent import Quote, Turn
from allegro.core.base.untrusted import Name, Number, Text
from allegro.core.protocol.answers.bounds import Seconds
from allegro.core.requests.documents import Artifact, Telemetry
from allegro.core.requests.proposals import Key

REST_S = 3600.0


class Question(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Asks the lanes with a forge, best first; `method` is the name of a query."""

    method: Name
    params: dict[str, object] = {}


class NewSession(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A session as a program asks for it. `issue` brings its text in as quoted data.

    `tools` None is what the lane has switched on. Asked twice with one `key`, it is one session.
    """

    prompt: str
    model: Name = ""
    instructions: str = ""
    history: tuple[Turn, ...] = ()
    quotes: tuple[Quote, ...] = ()
    tools: tuple[str, ...] | None = None
    network: bool = False
    issue: Name = ""
    limit_s: Number = 3600
    asked_by: Text = ""
    key: Key = ""


class NewLoan(msgspec.Struct, frozen=True):
    """A lent model as a program asks for it."""

    model: Name = ""
    lives_s: Number = 900
    max_tokens: Number = 200_000
    asked_by: Text = ""


class LetRest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Lets a lane rest from a role, or from all it holds; `to` empty is the first ready one."""

    lane: Name
    role: Name = ""
    to: Name = ""
    seconds: float = REST_S


class Happened(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A failover that somebody reports from outside: words for the archive."""

    what: Text
    lane: Name = ""
    role: Name = ""


class SnoozeFor(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Says nothing of an alert for so long."""

    for_s: Seconds = 3600.0


class NewMaintenance(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Holds back for so long what these name; an empty name names all."""

    for_s: Seconds
    code: Name = ""
    lane: Name = ""
    subject: Text = ""


class RunDuty(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`duty` is a name, or NAME@OWNER where several owners have one of that name."""

    duty: Name


class Signed(msgspec.Struct, frozen=True):
    """Brings something that was signed: an approval, a thaw, a recovery stop."""

    token: str = ""


class Reason(msgspec.Struct, frozen=True):
    """Says why a request is rejected."""

    reason: str = ""


class StopAll(msgspec.Struct, frozen=True):
    """Says why everything is stopped, and who stopped it."""

    reason: str = ""
    by: str = ""


class GiveAnswer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An answer to a question with options. `option` counts from 1.

    `digest` is that of the question as it was shown, "" where it was not; `by` names a person's
    terminal (`terminal`), or the program that answers.
    """

    option: Number
    digest: Name = ""
    by: Name = ""


class LeaveReport(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The report of a task that a program or a person carried out, for the issue it was asked in.

    `issue` is `owner/name#12`. `duration_s` and the figures are None where nobody measured them.
    Left twice with one `key` by one program, it is one comment, at the newest words.
    """

    issue: Name
    task: Text
    status: Literal["complete", "in-progress", "blocked", "failed"]
    duration_s: Seconds | None = None
    results: tuple[Name, ...] = ()
    artifacts: tuple[Artifact, ...] = ()
    telemetry: Telemetry = Telemetry(0, None, None)
    next_steps: tuple[Name, ...] = ()
    asked_by: Text = ""
    key: Key = ""
