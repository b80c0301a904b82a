"""What became of a request, as its report document."""

from __future__ import annotations

from allegro.core.requests.documents import Artifact, ReportDocument, Telemetry
from allegro.core.requests.lifecycle import State
from allegro.core.requests.requests import NOT_AGAIN, Request

_STATUS = {
    State.DONE: "complete",
    State.FAILED: "failed",
    State.CONFLICT: "failed",
    State.STALE: "failed",
    State.EXPIRED: "failed",
    State.WITHDRAWN: "failed",
    State.REJECTED: "failed",
    State.PROPOSED: "blocked",
}
_NAMES = {
    "propose_change": "pull request",
    "create_pr": "pull request",
    "comment": "comment",
    "mirror_request": "comment",
    "close_issue": "closed issue",
}
PULLS = frozenset({"propose_change", "create_pr"})


def report_of(request: Request) -> ReportDocument:
    """Return what became of a request (C7). Its duration is that from decision to end."""
    done = request.state is State.DONE
    is_timed = bool(request.settled_s and request.decided_s)
    took_s = request.settled_s - request.decided_s if is_timed else None
    return ReportDocument(
        task=request.document.question,
        status=_STATUS.get(request.state, "in-progress"),
        duration_s=took_s,
        results=(request.detail,) if request.detail else (),
        artifacts=(artifact_of(request),) if done else (),
        telemetry=Telemetry(
            executions=sum(line.what == "order" for line in request.history),
            success_rate=(1.0 if done else 0.0) if request.is_final else None,
            average_latency_s=took_s,
        ),
        next_steps=_next_steps(request),
    )


def artifact_of(request: Request) -> Artifact:
    """Return what a request made. A link leads to the repository of the request or nowhere."""
    name = f"{_NAMES.get(request.kind, request.kind)} {request.artifact or ''}".strip()
    forge = request.target.rpartition("/")[0]
    page = request.url.partition("://")[2]
    is_there = bool(forge) and page.startswith(f"{forge}/{request.repository}/")
    return Artifact(name, request.url if is_there else "")


def _next_steps(request: Request) -> tuple[str, ...]:
    match request.state:
        case State.STALE if request.superseded_by not in {"", NOT_AGAIN}:
            return (f"decide again: {request.superseded_by}",)
        case State.STALE:
            return ("propose it anew: the world moved",)
        case State.CONFLICT:
            return ("look at the forge: something else stands in this place",)
        case State.FAILED:
            return ("fix what the reason says, then ask again",)
        case State.DONE if request.kind in PULLS:
            return ("review and merge it yourself",)
        case _:
            return ()
