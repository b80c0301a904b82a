"""Alerts and verdicts of the house as they are shown, and by their short ids."""

from __future__ import annotations

import hashlib

from allegro.core.health.alert_state import AlertState
from allegro.core.health.alerts import URGENCIES, Alert, Key, Phase, by_severity
from allegro.core.health.codes import code_of
from allegro.core.protocol.answers.alerts import CodePrecision
from allegro.core.protocol.answers.house import ShownAlert

SHOWN = 20
ID_CHARS = 8


def alert_id(key: Key) -> str:
    """Return the short name of an alert by which a person calls it."""
    return hashlib.sha256("\n".join(key).encode("utf-8", "replace")).hexdigest()[:ID_CHARS]


def found_by(state: AlertState, name: str) -> list[Alert]:
    """Return the alerts that a person may mean: by id or its beginning, by code, by notice."""
    return [
        one
        for one in state.alerts
        if name
        and (
            alert_id(one.key).startswith(name)
            or name in {one.code, one.course.alarm}
            or one.code.startswith(name + ".")
        )
    ]


def listed(state: AlertState, most: int = SHOWN) -> tuple[ShownAlert, ...]:
    """Return the most urgent alerts, those that are over last; among equals the newest first."""
    ordered = by_severity(state.alerts)
    ordered.sort(key=lambda one: one.course.phase is Phase.RECOVERED)
    return tuple(_shown(one) for one in ordered[:most])


def counts(state: AlertState) -> dict[str, int]:
    """Return how many different alerts hold of each urgency."""
    held = [one for one in state.alerts if one.course.phase is not Phase.RECOVERED]
    return {
        urgency: sum(one.severity is severity for one in held)
        for severity, urgency in URGENCIES.items()
    }


def precision(state: AlertState) -> tuple[CodePrecision, ...]:
    """Return of each code how many alarms were sent, of those judged, of those useful."""
    return tuple(
        CodePrecision(code, one.useful, one.judged, one.sent)
        for code, one in sorted(state.scores.items())
    )


def _shown(alert: Alert) -> ShownAlert:
    code, course = code_of(alert.code), alert.course
    return ShownAlert(
        id=alert_id(alert.key),
        code=alert.code,
        title=code.title,
        severity=alert.severity.value,
        phase=course.phase.value,
        subject=alert.subject,
        values=alert.values,
        sentence=alert.sentence,
        source=f"lane {alert.lane}" if alert.lane else "house",
        lane=alert.lane,
        fix=code.fix.replace("{subject}", alert.subject),
        runbook=code.runbook,
        at_s=alert.last_s,
        first_s=alert.first_s,
        since_s=course.begun_s or alert.first_s,
        over_s=course.well_s,
        notice=course.alarm,
        called_s=course.told_s,
        reached_s=course.reached_s,
        snoozed_until_s=course.snoozed_until_s,
        count=alert.count,
        urgency=URGENCIES[alert.severity],
        old_sentence=alert.sentence,
    )
