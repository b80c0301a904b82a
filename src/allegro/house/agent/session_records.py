"""What the house writes down of one session as its lane's events come in. Pure."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from allegro.core.agent.sessions import End
from allegro.core.authority.actions.agent import RunSession
from allegro.core.base.untrusted import (
    MAX_NUMBER,
    names_of,
    text_of,
)
from allegro.core.protocol.payloads.sessions import (
    ModelResult,
    SessionAccepted,
    SessionAnswered,
    SessionEnd,
    SessionQuestion,
    SessionStarted,
)
from allegro.core.requests.work import Work
from allegro.core.stores import SessionRecord

MAX_OUTPUT = 1_000_000

FOLLOWED = (
    SessionAccepted.type_,
    SessionStarted.type_,
    SessionQuestion.type_,
    SessionAnswered.type_,
    SessionEnd.type_,
    ModelResult.type_,
)
Followed = (
    SessionAccepted | SessionStarted | SessionQuestion | SessionAnswered | SessionEnd | ModelResult
)
_ENDS = {end.value for end in End}


def new_record(work: Work) -> SessionRecord:
    """Return a session as its request describes it, before its lane's first word."""
    request, action = work.request, work.action
    issue = action.issue if isinstance(action, RunSession) else ""
    return SessionRecord(id=request.id, lane=request.lane, began_s=request.created_s, issue=issue)


def uncounted(record: SessionRecord) -> SessionRecord:
    """Return an open record as before its lane's first word: the archive tells it all again."""
    return msgspec.structs.replace(record, row=0, calls=0, tokens=0, denied=0)


def running_at(lane: str, records: Iterable[SessionRecord]) -> set[str]:
    """Return the sessions that began at a lane and have not ended."""
    return {
        one.id for one in records if one.lane == lane and not one.end and one.state != "accepted"
    }


def limit_of(work: Work) -> float:
    """Return the seconds that a session request asked for."""
    action = work.action
    return float(action.limit_s) if isinstance(action, RunSession) else 0.0


def after(record: SessionRecord, payload: Followed, words: object, now_s: float) -> SessionRecord:
    """Return the record after one event of its lane. Nothing in it is believed unchecked.

    `words` are what the lane sealed into the event; `now_s` is Unix seconds.
    """
    change = msgspec.structs.replace
    match payload:
        case SessionAccepted():
            return change(
                record,
                state="accepted",
                model=text_of(payload.model),
                agent=text_of(payload.agent),
                local=payload.local,
                tools_on=names_of(list(payload.tools)),
                limit_s=float(payload.limit_s),
            )
        case SessionStarted():
            return change(record, state="running", run=text_of(payload.run))
        case SessionQuestion():
            return change(record, state="waiting")
        case SessionAnswered():
            denied = record.denied + (payload.choice == "deny")
            return change(record, state="running", denied=denied)
        case ModelResult():
            tokens = record.tokens + payload.tokens_in + payload.tokens_out
            return change(
                record,
                tokens=min(MAX_NUMBER, tokens),
                calls=min(MAX_NUMBER, record.calls + 1),
                provider=text_of(payload.provider),
            )
        case SessionEnd():
            return _over(record, payload, words, now_s)


def _over(record: SessionRecord, end: SessionEnd, words: object, now_s: float) -> SessionRecord:
    facts = words if isinstance(words, dict) else {}
    return msgspec.structs.replace(
        record,
        state="ended",
        end=end.state if end.state in _ENDS else End.LOST.value,
        why=text_of(facts.get("why")),
        output=text_of(facts.get("output"), MAX_OUTPUT),
        ended_s=now_s,
        duration_s=end.duration_s,
        calls=max(record.calls, end.calls or 0),
        tools=end.tools or 0,
        questions=end.questions or 0,
        tokens=max(record.tokens, end.tokens or 0),
        cost_usd=None if isinstance(end.cost_usd, str) else end.cost_usd,
    )


def presumed(record: SessionRecord, why: str, at_s: float) -> SessionRecord:
    """Return a session that the house takes for lost."""
    return msgspec.structs.replace(
        record, state="ended", end=End.LOST.value, ended_s=at_s, why=why, presumed=True
    )


def heard(record: SessionRecord, at_s: float) -> SessionRecord:
    """Return a session of which its lane said something: it is not lost, if it seemed to be."""
    if record.presumed:
        record = msgspec.structs.replace(
            record, state="running", end="", ended_s=0.0, why="", presumed=False
        )
    return msgspec.structs.replace(record, heard_s=at_s)
