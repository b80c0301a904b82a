"""One request's whole life as a value: what is asked, what was decided, what came of it."""

from __future__ import annotations

import msgspec

from allegro.core.actions import Action, parse_action
from allegro.core.documents import RequestDocument
from allegro.core.errors import Refusal
from allegro.core.lifecycle import FINAL, State, Step, advance
from allegro.core.policy import Needs, needs_of

HISTORY = 200


class Line(msgspec.Struct, frozen=True):
    """One line of a request's history. `at_s` Unix seconds."""

    at_s: float
    what: str
    detail: str = ""


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """A proposed action and its document.

    `action` are the canonical bytes that are signed. `bases` maps paths to what stands there at
    the base commit (for the diff); `internal` marks what the house asks of itself, such as a
    mirror. `artifact` is a pull request's number or a comment's id. `outstanding` are the orders
    that may have come to something: given, and not told void by their lane.
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
    outstanding: tuple[int, ...] = ()
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
    """Return the request after one step of the life-cycle table, with its line of history.

    VOID speaks of the newest order. While an earlier one is outstanding it becomes DOUBT: what
    that one did is not known, and nobody may take the action for untouched.
    """
    outstanding = request.outstanding
    if what is Step.VOID:
        outstanding = _without(outstanding, request.order_number)
        what = Step.DOUBT if outstanding else Step.VOID
    state = advance(request.state, what)
    if isinstance(state, Refusal):
        return state
    changed = msgspec.structs.replace(
        request,
        state=state,
        detail=detail or request.detail,
        outstanding=outstanding,
        history=(*request.history, Line(at_s, what.value, detail))[-HISTORY:],
        **changes,
    )
    if what is Step.ORDER:
        newest = (*outstanding, changed.order_number)[-HISTORY:]
        changed = msgspec.structs.replace(changed, outstanding=newest)
    if changed.is_final:
        changed = msgspec.structs.replace(changed, settled_s=at_s)
    return changed


def void_earlier(request: Request, order: int, at_s: float, detail: str) -> Request | Refusal:
    """Return the request after an order that is not its newest turned out to be void."""
    outstanding = _without(request.outstanding, order)
    changed = msgspec.structs.replace(request, outstanding=outstanding)
    if request.state is State.UNKNOWN and not outstanding:
        return step(changed, Step.VOID, at_s, detail)
    return changed


def _without(orders: tuple[int, ...], order: int) -> tuple[int, ...]:
    return tuple(one for one in orders if one != order)
