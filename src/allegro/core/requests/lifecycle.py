"""The one life-cycle table of actions and their requests (S11).

Each non-final state has an owner and a time limit, so that nothing is stuck unseen.
"""

from __future__ import annotations

import enum

import msgspec

from allegro.core.base.errors import Refusal


class State(enum.StrEnum):
    PROPOSED = "proposed"
    APPROVED = "approved"
    ORDERED = "ordered"
    SENT = "sent"
    UNKNOWN = "unknown"
    DONE = "done"
    FAILED = "failed"
    CONFLICT = "conflict"
    STALE = "stale"
    EXPIRED = "expired"
    WITHDRAWN = "withdrawn"
    REJECTED = "rejected"


class Step(enum.StrEnum):
    """What can happen to an action."""

    APPROVE = "approve"
    REJECT = "reject"
    WITHDRAW = "withdraw"
    EXPIRE = "expire"
    ORDER = "order"
    VOID = "void"
    DOUBT = "doubt"  # void, while an earlier order may still have come to something
    INTENT = "intent"
    SILENCE = "silence"
    RECEIPT = "receipt"
    FAIL = "fail"
    CONFLICT = "conflict"
    STALE = "stale"
    UNSEAT = "unseat"


class Stage(msgspec.Struct, frozen=True):
    """Who must act while a state lasts, and which limit of the settings ends it how."""

    owner: str
    limit: str
    at_limit: Step


MOST_DOUBTS = 12
"""So many orders without a clear answer end a request; the pauses between them grow."""

STAGES: dict[State, Stage] = {
    State.PROPOSED: Stage("sovereign", "request_expiry_s", Step.EXPIRE),
    State.APPROVED: Stage("house", "approval_exp", Step.EXPIRE),
    State.ORDERED: Stage("lane", "ttl_s + settle_s", Step.SILENCE),
    State.SENT: Stage("lane", "ttl_s + settle_s", Step.SILENCE),
    State.UNKNOWN: Stage(
        "house",
        f"approval_exp; {MOST_DOUBTS} orders without a clear answer (then fail)",
        Step.EXPIRE,
    ),
}

FINAL = frozenset(state for state in State if state not in STAGES)

MAY_WRITE = frozenset({State.ORDERED, State.SENT, State.UNKNOWN})
"""States in which an order is out that may still write."""

_ENDS = {
    Step.RECEIPT: State.DONE,
    Step.FAIL: State.FAILED,
    Step.CONFLICT: State.CONFLICT,
    Step.STALE: State.STALE,
}

TABLE: dict[tuple[State, Step], State] = {
    (State.PROPOSED, Step.APPROVE): State.APPROVED,
    (State.PROPOSED, Step.REJECT): State.REJECTED,
    (State.PROPOSED, Step.WITHDRAW): State.WITHDRAWN,
    (State.PROPOSED, Step.EXPIRE): State.EXPIRED,
    (State.APPROVED, Step.ORDER): State.ORDERED,
    (State.APPROVED, Step.WITHDRAW): State.WITHDRAWN,
    (State.APPROVED, Step.EXPIRE): State.EXPIRED,
    (State.APPROVED, Step.UNSEAT): State.PROPOSED,
    (State.ORDERED, Step.INTENT): State.SENT,
    (State.ORDERED, Step.VOID): State.APPROVED,
    (State.ORDERED, Step.DOUBT): State.UNKNOWN,
    (State.ORDERED, Step.SILENCE): State.UNKNOWN,
    (State.SENT, Step.SILENCE): State.UNKNOWN,
    (State.SENT, Step.VOID): State.APPROVED,
    (State.SENT, Step.DOUBT): State.UNKNOWN,
    (State.SENT, Step.INTENT): State.SENT,
    (State.UNKNOWN, Step.ORDER): State.ORDERED,
    (State.UNKNOWN, Step.INTENT): State.SENT,
    (State.UNKNOWN, Step.VOID): State.APPROVED,
    (State.UNKNOWN, Step.DOUBT): State.UNKNOWN,
    (State.UNKNOWN, Step.EXPIRE): State.EXPIRED,
    **{
        (state, step): end
        for state in (State.APPROVED, State.ORDERED, State.SENT, State.UNKNOWN)
        for step, end in _ENDS.items()
    },
    # A receipt that was on its way when the request ended is still the truth.
    **{
        (state, Step.RECEIPT): State.DONE
        for state in (State.EXPIRED, State.FAILED, State.CONFLICT, State.STALE)
    },
    (State.EXPIRED, Step.CONFLICT): State.CONFLICT,
}


def advance(state: State, step: Step) -> State | Refusal:
    """Return the state after this step, or a refusal when the table has no such line."""
    after = TABLE.get((state, step))
    if after is None:
        return Refusal("wrong_state", f"it is {state.value}: {step.value} is not possible then")
    return after


def render_table() -> str:
    """Return the table as Markdown, as the policy page shows it."""
    lines = ["| state | owner | limit | step → next |", "|---|---|---|---|"]
    for state in State:
        stage = STAGES.get(state)
        steps = ", ".join(
            f"{step.value} → {after.value}" for (at, step), after in TABLE.items() if at is state
        )
        owner, limit = (stage.owner, stage.limit) if stage else ("–", "final")
        lines.append(f"| {state.value} | {owner} | {limit} | {steps or '–'} |")
    return "\n".join(lines) + "\n"
