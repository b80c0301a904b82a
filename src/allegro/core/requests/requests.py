"""One request's whole life as a value: what is asked, what was decided, what came of it."""

from __future__ import annotations

import re

import msgspec

from allegro.core.authority.actions.families import parse_action
from allegro.core.authority.actions.family import Action
from allegro.core.authority.policy import Needs, needs_of
from allegro.core.base.errors import Refusal
from allegro.core.requests.documents import RequestDocument
from allegro.core.requests.lifecycle import FINAL, State, Step, advance

HISTORY = 200
MAX_DETAIL = 1_000
"""Characters of any one reason that are kept: a lane's, a forge's, a person's."""
MAX_HISTORY_CHARS = 40_000
"""Characters of all reasons in one history; older ones are left out beyond it."""
MAX_ASKED_BY = 200
MAX_NAMED = 300
NOT_AGAIN = "nothing"
"""Stands in `superseded_by` of a stale request that is not asked again."""
ORDERED_LINE = re.compile(r"order ([0-9]{1,16}) to ([^\n]{1,300})")


NOTED = "noted"
"""The line of history that says what its owner noted by chat."""


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
    that may have come to something: given, and not told void by their lane. `doubts` counts the
    orders since the approval that brought no clear answer. `asked` names the content of the asking
    (SHA-256), so that a key used again for other content is noticed. `retry_at_s` (Unix seconds) is
    when the forge wants to be asked again, 0 where it did not say.
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
    doubts: int = 0
    asked: str = ""
    retry_at_s: float = 0.0

    @property
    def is_final(self) -> bool:
        return self.state in FINAL

    @property
    def needs_approval(self) -> bool:
        return needs_of(self.kind) is Needs.APPROVAL


def noted_on(request: Request) -> str:
    """Return what was noted last by chat on a request that waits for its decision, "" for nothing."""
    if request.state is not State.PROPOSED:
        return ""
    return next((one.detail for one in reversed(request.history) if one.what == NOTED), "")


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
    doubts = request.doubts + 1 if what is Step.SILENCE else request.doubts
    changed = msgspec.structs.replace(
        request,
        state=state,
        outstanding=outstanding,
        doubts=0 if what is Step.APPROVE else doubts,
        **changes,
    )
    if what is Step.ORDER:
        newest = (*outstanding, changed.order_number)[-HISTORY:]
        changed = msgspec.structs.replace(changed, outstanding=newest)
    if changed.is_final:
        changed = msgspec.structs.replace(changed, settled_s=at_s)
    return with_line(bounded(changed), Line(at_s, what.value, detail))


def with_line(request: Request, line: Line) -> Request:
    """Return the request with one more line of history; its words become the request's detail.

    The history is bounded in lines and in words. Lines of orders that may still come to something
    are kept: they say which lane may speak of them.
    """
    detail = line.detail[:MAX_DETAIL]
    lines = [*request.history, Line(line.at_s, line.what[:40], detail)]
    while len(lines) > HISTORY:
        del lines[next((at for at, one in enumerate(lines) if not _is_needed(one, request)), 0)]
    words = sum(len(one.detail) for one in lines)
    for at, one in enumerate(lines[:-1]):
        if words <= MAX_HISTORY_CHARS:
            break
        if one.what != Step.ORDER:
            words -= len(one.detail)
            lines[at] = Line(one.at_s, one.what)
    return msgspec.structs.replace(request, detail=detail or request.detail, history=tuple(lines))


def _is_needed(line: Line, request: Request) -> bool:
    match = ORDERED_LINE.fullmatch(line.detail) if line.what == Step.ORDER else None
    return match is not None and int(match[1]) in request.outstanding


def bounded(request: Request) -> Request:
    """Return the request with what a lane says of its effect cut to its bounds."""
    return msgspec.structs.replace(
        request, url=request.url[:MAX_NAMED], commit=request.commit[:64],
        branch=request.branch[:MAX_NAMED], lane=request.lane[:MAX_NAMED],
    )  # fmt: skip


def ordered(number: int, lane: str) -> str:
    """Return the line of history that says that an order was given. `ORDERED_LINE` reads it."""
    return f"order {number} to {lane}"


def void_earlier(request: Request, order: int, at_s: float, detail: str) -> Request | Refusal:
    """Return the request after an order that is not its newest turned out to be void."""
    outstanding = _without(request.outstanding, order)
    changed = msgspec.structs.replace(request, outstanding=outstanding)
    if request.state is State.UNKNOWN and not outstanding:
        return step(changed, Step.VOID, at_s, detail)
    return changed


def _without(orders: tuple[int, ...], order: int) -> tuple[int, ...]:
    return tuple(one for one in orders if one != order)
