"""Requests and events as the socket's callers see them: plain values, nothing computed twice."""

from __future__ import annotations

import base64
from typing import Any

import msgspec

from allegro.core.requests.documents import Artifact, ReportDocument, Telemetry
from allegro.core.requests.lifecycle import STAGES, State
from allegro.core.requests.requests import Request
from allegro.core.stores import SessionRecord
from allegro.house.requests.requests import NOT_AGAIN

_REPORT_STATUS = {
    State.DONE: "complete",
    State.FAILED: "failed",
    State.CONFLICT: "failed",
    State.STALE: "failed",
    State.EXPIRED: "failed",
    State.WITHDRAWN: "failed",
    State.REJECTED: "failed",
    State.PROPOSED: "blocked",
}


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
        "report": msgspec.to_builtins(report(request)),
    }


def report(request: Request) -> ReportDocument:
    """Return what became of a request, as the report document (C7)."""
    done = request.state is State.DONE
    took_s = (
        request.settled_s - request.decided_s if request.settled_s and request.decided_s else None
    )
    artifacts = (Artifact(f"{request.kind} {request.artifact}", request.url),) if done else ()
    next_steps = {
        State.STALE: (f"decide again: {request.superseded_by or 'propose anew'}",),
        State.CONFLICT: ("look at the forge: something else stands in this place",),
        State.DONE: ("review and merge it yourself",)
        if "pr" in request.kind or "change" in request.kind
        else (),
    }.get(request.state, ())
    return ReportDocument(
        task=request.document.question,
        status=_REPORT_STATUS.get(request.state, "in-progress"),
        duration_s=took_s,
        results=(request.detail,) if request.detail else (),
        artifacts=artifacts,
        telemetry=Telemetry(
            executions=sum(line.what == "order" for line in request.history),
            success_rate=(1.0 if done else 0.0) if request.is_final else None,
            average_latency_s=took_s,
        ),
        next_steps=next_steps,
    )


def session_view(record: SessionRecord | Request) -> dict[str, Any]:
    """Return a session, or the request for one that did not begin."""
    if isinstance(record, SessionRecord):
        return {"schema": "allegro.session/1", **msgspec.to_builtins(record)}
    return {
        "schema": "allegro.session/1", "id": record.id, "state": record.state.value, "end": "",
        "lane": record.lane, "why": record.detail, "began_s": record.created_s,
        "kind": record.kind,
    }  # fmt: skip
