"""Notes what a duty raises as a person reads it: the urgency and the sentence."""

from __future__ import annotations

from allegro.core.health.alerts import URGENCIES, RaiseAlert, sentence_of
from allegro.core.health.codes import Code


def noted(alerts: list[tuple[str, str]]) -> RaiseAlert:
    """Return what adds each alert to a list."""

    def note(code: Code, subject: str, /, lane: str = "", **values: object) -> None:
        alerts.append((URGENCIES[code.severity], sentence_of(code, subject, lane, values)))

    return note
