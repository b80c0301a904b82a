"""Requests and events as the socket's callers see them: plain values, nothing computed twice."""

from __future__ import annotations

import base64
from typing import Any

import msgspec

from allegro.core.documents.outcomes import report_of
from allegro.core.requests.lifecycle import STAGES
from allegro.core.requests.requests import NOT_AGAIN, Request, noted_on
from allegro.core.stores import SessionRecord


def brief(request: Request) -> dict[str, Any]:
    """Return one line's worth of a request."""
    stage = STAGES.get(request.state)
    return {
        "id": request.id,
        "digest": request.digest,
        "kind": request.kind,
        "state": request.state.value,
        "owner": stage.owner if stage else None,
        "repository": request.repository,
        "target": request.target,
        "urgency": request.document.urgency,
        "question": request.document.question,
        "created_s": request.created_s,
        "expires_s": request.document.expires_s,
        "settled_s": request.settled_s,
        "detail": request.detail,
        "artifact": request.artifact,
        "url": request.url,
        "commit": request.commit,
        "branch": request.branch,
        "order_number": request.order_number,
        "superseded_by": "" if request.superseded_by == NOT_AGAIN else request.superseded_by,
        "internal": request.internal,
        "noted": noted_on(request),
    }


def whole(request: Request) -> dict[str, Any]:
    """Return everything of a request; `action` are the very bytes that are signed, base64."""
    return {
        **brief(request),
        "schema": "allegro.request/1",
        "action": base64.b64encode(request.action).decode(),
        "bases": {
            path: None if raw is None else base64.b64encode(raw).decode()
            for path, raw in request.bases.items()
        },
        "notes": request.notes,
        "document": msgspec.to_builtins(request.document),
        "approval": request.approval,
        "asked_by": request.asked_by,
        "history": msgspec.to_builtins(request.history),
        "supersedes": request.supersedes,
        "report": msgspec.to_builtins(report_of(request)),
    }


def session_view(record: SessionRecord | Request) -> dict[str, Any]:
    """Return a session, or the request for one that did not begin."""
    if isinstance(record, SessionRecord):
        return {"schema": "allegro.session/1", **msgspec.to_builtins(record)}
    return {
        "schema": "allegro.session/1", "id": record.id, "state": record.state.value, "end": "",
        "lane": record.lane, "why": record.detail, "began_s": record.created_s,
        "kind": record.kind,
    }  # fmt: skip
