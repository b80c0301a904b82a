"""What the house answers about questions with options. Times are Unix seconds of the house."""

from __future__ import annotations

import msgspec

from allegro.core.requests.decisions import Decision, label_of
from allegro.core.requests.documents import Option
from allegro.core.requests.requests import Line


class GivenAnswer(msgspec.Struct, frozen=True):
    """The answer that counts: `option` from 1, its words, who by which way, when (Unix s)."""

    option: int
    label: str
    by: str
    at_s: float


class DecisionAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """One question. Times are Unix seconds, `settled_s` 0 while it is open.

    `owner` is `sovereign` while it waits for an answer, None after. `recommend` 0 is none.
    """

    id: str
    digest: str
    state: str
    owner: str | None
    question: str
    options: tuple[Option, ...]
    recommend: int
    urgency: str
    context: str
    asked_by: str
    created_s: float
    expires_s: float
    settled_s: float
    answer: GivenAnswer | None = None
    history: tuple[Line, ...] = ()
    default: str = "do nothing"
    kind: str = "decision"
    schema: str = "allegro.decision/1"


class DecisionsAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Answers `GET /v1/decisions`: the newest 500, newest last."""

    schema: str = "allegro.decisions/1"
    decisions: tuple[DecisionAnswer, ...] = ()


class ReportLeft(msgspec.Struct, frozen=True, kw_only=True):
    """Answers `POST /v1/reports`. `id` names the report in its comment's block."""

    schema: str = "allegro.report.left/1"
    id: str
    issue: str = ""


def decision_answer(decision: Decision) -> DecisionAnswer:
    """Return a question as the socket shows it."""
    document, held = decision.document, decision.answer
    return DecisionAnswer(
        id=decision.id,
        digest=decision.digest,
        state=decision.state.value,
        owner="sovereign" if decision.is_open else None,
        question=document.question,
        options=document.options,
        recommend=decision.recommend,
        urgency=document.urgency,
        context=document.context,
        asked_by=decision.asked_by,
        created_s=document.created_s,
        expires_s=document.expires_s,
        settled_s=decision.settled_s,
        answer=None
        if held is None
        else GivenAnswer(held.option, label_of(decision), held.by, held.at_s),
        history=decision.history,
        default=document.default,
    )
