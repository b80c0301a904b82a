"""What a program proposes, and the action it became with what a person needs to judge it. Pure."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from allegro.core.authority.actions.families import kind_of
from allegro.core.authority.actions.family import Action
from allegro.core.authority.actions.forge import (
    MAX_BODY_BYTES,
    CloseIssue,
    CreatePullRequest,
    ProposeChange,
)
from allegro.core.base.untrusted import Name, Number, Text
from allegro.core.requests.documents import RequestDocument

MAX_EXPIRY_S = 31_536_000
MAX_KEY = 100

Key = Annotated[str, Meta(max_length=MAX_KEY)]
"""What a program names one asking with."""


class Proposal(msgspec.Struct, frozen=True):
    """A request as a program makes it. `files` maps a path to base64 content, None to delete.

    `key` names this asking: asked twice with the same key by the same program, it is one request.
    What is longer than its bound is refused with a sentence; `expires_in_s` None or 0 is the
    house's own time.
    """

    kind: Name
    repository: Name
    issue: Number = 0
    base: Name = ""
    branch: Name = ""
    title: Text = ""
    body: Annotated[str, Meta(max_length=MAX_BODY_BYTES)] = ""
    status: Name = ""
    files: dict[str, str | None] = {}
    allow_ci_paths: bool = False
    urgency: Name = "medium"
    question: Text = ""
    recommendation: Text = ""
    context: Text = ""
    expires_in_s: Annotated[float, Meta(ge=0, le=MAX_EXPIRY_S)] | None = None
    asked_by: Text = ""
    key: Key = ""


class Pinned(msgspec.Struct, frozen=True):
    """An action with what a person needs beside it to judge it.

    `bases` is what stands at each path now; `notes` hold words of the target, such as the text
    of the issue to be closed, verified against the hashes in the action.
    """

    action: Action
    repository: str
    private: bool
    bases: dict[str, bytes | None] = {}
    notes: dict[str, str] = {}


def proposal_of(action: Action, document: RequestDocument) -> Proposal | None:
    """Return the proposal an approved action came from, to pin it anew; None where it is moot."""
    if not isinstance(action, ProposeChange | CreatePullRequest | CloseIssue):
        return None
    same = Proposal(
        kind=kind_of(action),
        repository=action.repository.name,
        urgency=document.urgency,
        question=document.question,
        recommendation=document.recommendation,
        context=document.context,
    )
    match action:
        case ProposeChange():
            return msgspec.structs.replace(
                same,
                base=action.base,
                branch=action.branch,
                title=action.title,
                body=action.body,
                allow_ci_paths=action.allow_ci_paths,
                files={change.path: change.content for change in action.files},
            )
        case CreatePullRequest():
            return msgspec.structs.replace(
                same, base=action.base, branch=action.head, title=action.title, body=action.body
            )
        case CloseIssue():
            return msgspec.structs.replace(same, issue=action.issue)


def question_of(action: Action, place: str) -> str:
    """Return what a person is asked about an action at `place` (owner/name, or an issue of it)."""
    match action:
        case ProposeChange():
            return f"Change {len(action.files)} files of {place} and open a pull request to {action.base}?"
        case CreatePullRequest():
            return f"Open a pull request from {action.head} to {action.base} in {place}?"
        case CloseIssue():
            return f"Close {place}?"
        case _:
            return f"{kind_of(action)} on {place}"
