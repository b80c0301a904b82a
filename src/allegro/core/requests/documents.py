"""The request and the report: what Timmy is asked, and what he is told."""

from __future__ import annotations

import msgspec

REQUEST_TYPES = ("decision", "approval", "review", "alert")
URGENCIES = ("low", "medium", "high", "critical")
REPORT_STATUSES = ("complete", "in-progress", "blocked", "failed")


class Option(msgspec.Struct, frozen=True):
    """One way to answer, with what speaks for and against it."""

    label: str
    pros: tuple[str, ...] = ()
    cons: tuple[str, ...] = ()


class RequestDocument(msgspec.Struct, frozen=True):
    """The question put to the sovereign. The default is always to do nothing.

    `expires_s` is Unix seconds. `context` is a link or `owner/repo#n`.
    """

    id: str
    type: str
    urgency: str
    context: str
    question: str
    options: tuple[Option, ...]
    recommendation: str
    time_constraint: str
    created_s: float
    expires_s: float
    default: str = "do nothing"


class Telemetry(msgspec.Struct, frozen=True):
    """Figures of a report; None is an honest "not measurable yet"."""

    executions: int
    success_rate: float | None
    average_latency_s: float | None


class Artifact(msgspec.Struct, frozen=True):
    name: str
    link: str


class ReportDocument(msgspec.Struct, frozen=True):
    """What became of a task. `status` is one of REPORT_STATUSES; `duration_s` None: not known."""

    task: str
    status: str
    duration_s: float | None
    results: tuple[str, ...]
    artifacts: tuple[Artifact, ...]
    telemetry: Telemetry
    next_steps: tuple[str, ...]


def document_faults(document: RequestDocument) -> tuple[str, ...]:
    """Return what is wrong with a request, as sentences."""
    faults = []
    if document.type not in REQUEST_TYPES:
        faults.append(f"type must be one of {', '.join(REQUEST_TYPES)}")
    if document.urgency not in URGENCIES:
        faults.append(f"urgency must be one of {', '.join(URGENCIES)}")
    if not document.question.strip():
        faults.append("question must not be empty")
    if not document.created_s < document.expires_s:
        faults.append("a request must expire after it was made")
    return tuple(faults)
