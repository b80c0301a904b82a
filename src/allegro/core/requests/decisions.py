"""A question with options that a program or a lane asks, and its one answer.

No action belongs to it: nothing is signed, ordered or carried out because of an answer, and nothing is
when nobody answers. Who asked reads the answer and goes on; what it then wants done is a request of its
own. Pure: ids and times are arguments.
"""

from __future__ import annotations

import enum
import re
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from allegro.core.base.canonical import canonical, sha256_hex
from allegro.core.base.errors import Refusal
from allegro.core.base.timestamps import rfc3339
from allegro.core.base.untrusted import Name, Text
from allegro.core.requests.documents import URGENCIES, Option, RequestDocument
from allegro.core.requests.proposals import MAX_EXPIRY_S, Key
from allegro.core.requests.requests import MAX_ASKED_BY, Line

LEAST_OPTIONS, MOST_OPTIONS = 2, 6
LEAST_EXPIRY_S = 1.0
MAX_LABEL = 120
MAX_REASON = 120
MOST_REASONS = 4
MAX_LINES = 40
"""So many lines of history are kept; the answer is kept beside them."""
MIN_SHOWN = 16
"""So many characters of a digest an answer must name at least, where it names one."""

_SHOWN = re.compile(rf"[0-9a-f]{{{MIN_SHOWN},64}}")

Label = Annotated[str, Meta(max_length=MAX_LABEL)]
Reasons = Annotated[
    tuple[Annotated[str, Meta(max_length=MAX_REASON)], ...], Meta(max_length=MOST_REASONS)
]


class NewOption(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One way to answer, as a program names it."""

    label: Label
    pros: Reasons = ()
    cons: Reasons = ()


class NewDecision(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A question as a program asks it.

    `options`: 2 to 6. `recommend` is the number of one of them, 0 for none. `context` is a link or
    `owner/name#12`. `expires_in_s` None is the house's own time for requests. `key` names this
    asking: asked twice with one key by one program, it is one question.
    """

    question: Text
    options: tuple[NewOption, ...]
    recommend: int = 0
    context: Name = ""
    urgency: Literal["low", "medium", "high", "critical"] = "medium"
    expires_in_s: float | None = None
    asked_by: Text = ""
    key: Key = ""


class DecisionState(enum.StrEnum):
    """`proposed` waits for an answer, as a request of that state does; the others are ends."""

    PROPOSED = "proposed"
    ANSWERED = "answered"
    EXPIRED = "expired"
    WITHDRAWN = "withdrawn"


class Answer(msgspec.Struct, frozen=True):
    """`option` counts from 1. `by` says by which way and who, `at_s` when (Unix seconds)."""

    option: int
    by: str
    at_s: float


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """A question's whole life. `digest` names its document; `asked` the content of the asking."""

    document: RequestDocument
    digest: str
    state: DecisionState = DecisionState.PROPOSED
    recommend: int = 0
    asked_by: str = ""
    key: str = ""
    asked: str = ""
    answer: Answer | None = None
    settled_s: float = 0.0
    history: tuple[Line, ...] = ()

    @property
    def id(self) -> str:
        return self.document.id

    @property
    def is_open(self) -> bool:
        return self.state is DecisionState.PROPOSED


class Asking(msgspec.Struct, frozen=True):
    """Who asks, and when. `asked` names the content; `lasts_s` is the house's own time."""

    id: str
    now_s: float
    lasts_s: float
    asked_by: str
    asked: str = ""


def decision_of(new: NewDecision, asking: Asking) -> Decision | Refusal:
    """Return the question that is kept, or why it cannot be asked as it is."""
    faults = decision_faults(new)
    if faults:
        return Refusal("malformed_decision", "; ".join(faults))
    lasts_s = asking.lasts_s if new.expires_in_s is None else new.expires_in_s
    document = RequestDocument(
        id=asking.id,
        type="decision",
        urgency=new.urgency,
        context=new.context,
        question=new.question.strip(),
        options=tuple(Option(one.label.strip(), one.pros, one.cons) for one in new.options),
        recommendation=new.options[new.recommend - 1].label if new.recommend else "none",
        time_constraint="answer before it expires",
        created_s=asking.now_s,
        expires_s=asking.now_s + lasts_s,
    )
    return Decision(
        document=document,
        digest=decision_digest(document),
        recommend=new.recommend,
        asked_by=asking.asked_by[:MAX_ASKED_BY],
        key=new.key,
        asked=asking.asked,
        history=(Line(asking.now_s, "asked"),),
    )


def decision_digest(document: RequestDocument) -> str:
    """Name a question: hex SHA-256, separated from every other use of SHA-256.

    Raises Unholdable for words that JSON cannot hold.
    """
    return sha256_hex(b"allegro decision\0" + canonical(document))


def decision_faults(new: NewDecision) -> tuple[str, ...]:
    """Return what is wrong with a question, as sentences."""
    faults = []
    labels = [one.label.strip() for one in new.options]
    if not new.question.strip():
        faults.append("question must not be empty")
    if not LEAST_OPTIONS <= len(labels) <= MOST_OPTIONS:
        faults.append(f"options must be {LEAST_OPTIONS} to {MOST_OPTIONS}")
    if not all(labels):
        faults.append("an option must not be empty")
    if len({label.casefold() for label in labels}) < len(labels):
        faults.append("two options are the same")
    if not 0 <= new.recommend <= len(labels):
        faults.append("the recommendation must be the number of an option")
    if new.urgency not in URGENCIES:
        faults.append(f"urgency must be one of {', '.join(URGENCIES)}")
    ends_s = new.expires_in_s
    if ends_s is not None and not LEAST_EXPIRY_S <= ends_s <= MAX_EXPIRY_S:
        faults.append(f"it must expire within {LEAST_EXPIRY_S:g} to {MAX_EXPIRY_S} seconds")
    return tuple(faults)


def against_answer(decision: Decision, option: int, digest: str, now_s: float) -> Refusal | None:
    """Return why an answer does not count, None where it does. Only one before the end does.

    `digest` is that of what was shown to who answers, its first 16 characters at least; "" where
    nothing says what was shown.
    """
    if decision.answer is not None:
        held = decision.answer
        return Refusal(
            "answered",
            f"it was answered before: {held.option}, {label_of(decision)}, by {held.by} at"
            f" {rfc3339(held.at_s)}; the first answer counts",
        )
    if decision.state is DecisionState.WITHDRAWN:
        return Refusal("withdrawn", "it was taken back by who asked")
    if not decision.is_open or not now_s < decision.document.expires_s:
        ended = rfc3339(decision.document.expires_s)
        return Refusal("expired", f"it expired at {ended}; nothing is done")
    if digest and not (_SHOWN.fullmatch(digest) and decision.digest.startswith(digest)):
        return Refusal("changed_content", "what was shown is another question")
    if not 1 <= option <= len(decision.document.options):
        return Refusal("no_such_option", f"answer 1 to {len(decision.document.options)}")
    return None


def answered(decision: Decision, answer: Answer) -> Decision:
    """Return the question with its answer, which `against_answer` had nothing against."""
    by = answer.by[:MAX_ASKED_BY]
    changed = msgspec.structs.replace(
        decision,
        state=DecisionState.ANSWERED,
        answer=msgspec.structs.replace(answer, by=by),
        settled_s=answer.at_s,
    )
    return noted(changed, Line(answer.at_s, "answered", f"{answer.option} by {by}"))


def expired(decision: Decision, now_s: float) -> Decision | None:
    """Return the question as ended without an answer, None while it may still be answered."""
    if not decision.is_open or now_s < decision.document.expires_s:
        return None
    changed = msgspec.structs.replace(decision, state=DecisionState.EXPIRED, settled_s=now_s)
    return noted(changed, Line(now_s, "expired", "nobody answered; nothing is done"))


def withdrawn(decision: Decision, now_s: float) -> Decision | Refusal:
    """Return the question as taken back by who asked."""
    if not decision.is_open:
        return Refusal("wrong_state", f"it is {decision.state.value}: it cannot be withdrawn")
    changed = msgspec.structs.replace(decision, state=DecisionState.WITHDRAWN, settled_s=now_s)
    return noted(changed, Line(now_s, "withdrawn"))


def noted(decision: Decision, line: Line) -> Decision:
    """Return the question with one more line of history, the oldest but one left out for room."""
    line = msgspec.structs.replace(line, detail=line.detail[:MAX_ASKED_BY])
    lines = (*decision.history, line)
    if len(lines) > MAX_LINES:
        lines = (lines[0], *lines[-MAX_LINES + 1 :])
    return msgspec.structs.replace(decision, history=lines)


def label_of(decision: Decision) -> str:
    """Return the words of the option that was chosen, "" while there is no answer."""
    if decision.answer is None:
        return ""
    options = decision.document.options
    number = decision.answer.option
    return options[number - 1].label if 1 <= number <= len(options) else ""
