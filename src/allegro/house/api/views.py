"""Requests and sessions as the socket's callers see them: nothing is computed twice."""

from __future__ import annotations

import msgspec

from allegro.core.authority.actions.agent import session_subject
from allegro.core.documents.outcomes import report_of
from allegro.core.protocol.answers.requests import RequestAnswer, RequestBrief
from allegro.core.protocol.answers.sessions import SessionAnswer, UnbegunSession
from allegro.core.requests.lifecycle import STAGES
from allegro.core.requests.requests import NOT_AGAIN, Request, noted_on
from allegro.core.stores import SessionRecord


def brief(request: Request) -> RequestBrief:
    """Return one line's worth of a request."""
    stage = STAGES.get(request.state)
    return RequestBrief(
        id=request.id,
        digest=request.digest,
        kind=request.kind,
        state=request.state.value,
        owner=stage.owner if stage else None,
        repository=request.repository,
        target=request.target,
        urgency=request.document.urgency,
        question=request.document.question,
        created_s=request.created_s,
        expires_s=request.document.expires_s,
        settled_s=request.settled_s,
        detail=request.detail,
        artifact=request.artifact,
        url=request.url,
        commit=request.commit,
        branch=request.branch,
        order_number=request.order_number,
        superseded_by="" if request.superseded_by == NOT_AGAIN else request.superseded_by,
        internal=request.internal,
        noted=noted_on(request),
    )


def whole(request: Request) -> RequestAnswer:
    """Return everything of a request."""
    return RequestAnswer(
        **msgspec.structs.asdict(brief(request)),
        action=request.action,
        bases=request.bases,
        notes=request.notes,
        document=request.document,
        approval=request.approval,
        asked_by=request.asked_by,
        history=request.history,
        supersedes=request.supersedes,
        report=report_of(request),
    )


def listed(record: SessionRecord | Request) -> SessionAnswer:
    """Return a session as a list of them shows it, or the request for one that did not begin."""
    if isinstance(record, SessionRecord):
        return msgspec.structs.replace(_begun(record), output=msgspec.UNSET)
    return UnbegunSession(
        id=record.id,
        state=record.state.value,
        end="",
        lane=record.lane,
        why=record.detail,
        began_s=record.created_s,
        kind=record.kind,
    )


def session_view(record: SessionRecord | Request) -> SessionAnswer:
    """Return a whole session, or the request for one that did not begin."""
    subject = session_subject(record.id)
    if isinstance(record, SessionRecord):
        return msgspec.structs.replace(_begun(record), subject=subject)
    return msgspec.structs.replace(listed(record), subject=subject, request=record.state.value)


def _begun(record: SessionRecord) -> SessionAnswer:
    return SessionAnswer(**msgspec.structs.asdict(record))
