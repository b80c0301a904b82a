"""One request's whole life as a value: what is asked, what was decided, what came of it."""

from __future__ import annotations

import msgspec

from allegro.core.actions import Action, parse_action
from allegro.core.documents import RequestDocument
from allegro.core.errors import Refusal
from allegro.core.lifecycle import FINAL, State, Step, advance
from allegro.core.policy import Needs, needs_of


class Line(msgspec.Struct, frozen=True):
    """One line of a request's history. `at_s` Unix seconds."""

    at_s: float
    what: str
    detail: str = ""


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """A proposed action and its document.

    `action` are the canonical bytes that are signed. `bases` maps paths to what stands there at
    the base commit (for the diff); `internal` marks what the house asks of itself, such as a
    mirror. `artifact` is a pull request's number or a comment's id.
    """

    id: str
    kind: str
    digest: str
    action: bytes
    document: RequestDocument
    state: State
    created_s: float
    target: str
    repository: str
    bases: dict[str, bytes | None] = {}
    notes: dict[str, str] = {}
    approval: str | None = None
    approval_exp: int = 0
    order_number: int = 0
    lane: str = ""
    detail: str = ""
    artifact: int = 0
    url: str = ""
    commit: str = ""
    branch: str = ""
    supersedes: str = ""
    superseded_by: str = ""
    internal: bool = False
    asked_by: str = ""
    key: str = ""
    decided_s: float = 0.0
    settled_s: float = 0.0
    history: tuple[Line, ...] = ()

    @property
    def is_final(self) -> bool:
        return self.state in FINAL

    @property
    def needs_approval(self) -> bool:
        return needs_of(self.kind) is Needs.APPROVAL


def parsed(request: Request) -> Action:
    """Return the action of a request that was checked when it was made."""
    action = parse_action(request.action)
    if isinstance(action, Refusal):
        raise ValueError(f"a stored action cannot be read: {action}")
    return action


def step(
    request: Request, what: Step, at_s: float, detail: str = "", **changes: object
) -> Request | Refusal:
    """Return the request after one step of the life-cycle table, with its line of history."""
    state = advance(request.state, what)
    if isinstance(state, Refusal):
        return state
    changed = msgspec.structs.replace(
        request,
        state=state,
        detail=detail or request.detail,
        history=(*request.history, Line(at_s, what.value, detail))[-200:],
        **changes,
    )
    if changed.is_final:
        changed = msgspec.structs.replace(changed, settled_s=at_s)
    return changed
