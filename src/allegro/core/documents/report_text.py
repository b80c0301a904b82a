"""The report document as Markdown, in the operator's form."""

from __future__ import annotations

from collections.abc import Iterable

from allegro.core.base.timestamps import span
from allegro.core.documents.subject import Subject, known, public_text, whole_block
from allegro.core.documents.words import NOTHING, linked, phrase
from allegro.core.requests.documents import REPORT_STATUSES, ReportDocument, Telemetry

REPORT_HEADING = "## ✅ Allegro Report"
NOT_YET = "not measurable yet"
MOST_RESULTS = 8
MOST_ARTIFACTS = 12
MOST_STEPS = 8


def report_text(report: ReportDocument, subject: Subject, *, private: bool) -> str:
    """Return a report as its comment on the forge shows it.

    Where not `private` only id, type, urgency and age are shown.
    """
    if not private:
        return public_text(REPORT_HEADING, subject, "report")
    artifacts = (linked(one.name, one.link) for one in report.artifacts[:MOST_ARTIFACTS])
    return "\n\n".join(
        [
            REPORT_HEADING,
            f"**Task:** {phrase(report.task, 300)}",
            f"**Status:** {known(report.status, REPORT_STATUSES)}",
            f"**Duration:** {_seconds(report.duration_s)}",
            "**Results:**",
            _list(phrase(one, 400) for one in report.results[:MOST_RESULTS]),
            "**Artifacts:**",
            _list(artifacts),
            "**Telemetry:**",
            _list(_figures(report.telemetry)),
            "**Next Steps:**",
            _list(phrase(one) for one in report.next_steps[:MOST_STEPS]),
            whole_block(subject, "report"),
        ]
    )


def _figures(telemetry: Telemetry) -> tuple[str, ...]:
    rate = telemetry.success_rate
    is_rate = rate is not None and 0 <= rate <= 1
    return (
        f"Executions: {telemetry.executions:d}",
        f"Success rate: {f'{rate:.0%}' if is_rate else NOT_YET}",
        f"Avg latency: {_seconds(telemetry.average_latency_s)}",
    )


def _seconds(value: float | None) -> str:
    return NOT_YET if value is None or not value >= 0 else span(value)


def _list(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines) or NOTHING
