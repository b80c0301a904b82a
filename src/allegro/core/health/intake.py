"""How facts, occurrences, proofs and the word of other nodes change alerts: the machine's input.

Invariant: nothing here makes a notice or looks at what a person wished; it only notes what is. A
fact changes the alert of its key: not well begins a trouble (pending) or lets it go on, well ends
it; a fact whose code is shown only changes nothing. A trouble that comes back before a channel
proved its alarm, or before its end was told, goes on as the same one, so that an outage of the
channels tells it once. An occurrence is firing at once; one whose code `clears` others ends those,
and is none itself. What a code says of a fact that is `ok` and has no alert is nothing. All words
are cut to length and cleaned on the way in.
"""

from __future__ import annotations

import msgspec

from allegro.core.base.untrusted import text_of
from allegro.core.health.alert_state import AlertState, Inputs, Occurrence, Told
from allegro.core.health.alert_state import alert_with as _with
from allegro.core.health.alerts import (
    MAX_SENTENCE,
    MAX_SUBJECT,
    Alert,
    Course,
    Key,
    Phase,
    evicted,
    raised,
)
from allegro.core.health.codes import Code, Severity
from allegro.core.health.delivery.notices import Kind
from allegro.core.health.facts import Fact, State

FLAPS = 4
MAX_TURNS = 8
MAX_LANE = 64


def severity_of(code: Code, state: State) -> Severity:
    """Return how urgent a fact of this state is: unknown one less than bad, a warning P3."""
    if state == "bad":
        return code.severity
    if state == "unknown":
        ranks = list(Severity)
        return ranks[min(ranks.index(code.severity) + 1, len(ranks) - 1)]
    return Severity.P3


def taken_in(state: AlertState, inputs: Inputs, now_s: float) -> dict[Key, Alert]:
    """Return the alerts by their key with all that happened since the last step."""
    held = {one.key: one for one in state.alerts}
    for fact in inputs.facts:
        if not fact.code.is_shown_only:
            _take_fact(held, fact, now_s)
    for occurrence in inputs.occurrences:
        _take_occurrence(held, occurrence, now_s)
    for other in inputs.elsewhere:
        if other.key in held:
            held[other.key] = _from_elsewhere(held[other.key], other)
    proven = {one.notice: one.at_s for one in inputs.deliveries}
    dropped, reported = set(inputs.dropped), set(inputs.reported)
    if proven or dropped or reported:
        for key, one in held.items():
            held[key] = _settled(one, proven, dropped, is_reported=key in reported, now_s=now_s)
    return held


def _settled(
    alert: Alert, proven: dict[str, float], dropped: set[str], *, is_reported: bool, now_s: float
) -> Alert:
    course = alert.course
    if course.alarm in proven and not course.reached_s:
        alert = _with(alert, reached_s=now_s)
    elif course.alarm in dropped and not course.reached_s:
        alert = _with(alert, alarm="", told_severity=None, is_owed=True)
    if is_reported and course.is_owed:
        alert = _with(
            alert,
            is_owed=False,
            alarm="report",
            told_s=now_s,
            told_severity=alert.severity,
            reached_s=now_s,
            recovery="in the report" if alert.severity is Severity.P3 else course.recovery,
        )
        if course.phase is Phase.RECOVERED:
            alert = _with(alert, recovery="in the report", recovery_s=now_s)
    return alert


def _from_elsewhere(alert: Alert, other: Told) -> Alert:
    if other.kind is Kind.RECOVERY:
        return _with(alert, recovery=other.notice, recovery_s=other.at_s)
    return _with(
        alert,
        alarm=alert.course.alarm or other.notice,
        told_s=max(alert.course.told_s, other.at_s),
        told_severity=alert.severity,
        reached_s=alert.course.reached_s or other.at_s,
        is_owed=False,
    )


def _take_fact(held: dict[Key, Alert], fact: Fact, now_s: float) -> None:
    lane, subject = fact.lane[:MAX_LANE], text_of(fact.subject, MAX_SUBJECT)
    known = held.get((fact.code.code, lane, subject))
    if fact.state == "ok":
        if known is not None and not known.course.well_s:
            held[known.key] = _with(known, well_s=now_s)
        return
    severity = severity_of(fact.code, fact.state)
    if known is None:
        course = Course(phase=Phase.PENDING, begun_s=now_s, turns=(now_s,))
        known = Alert(
            fact.code.code,
            lane,
            subject,
            severity,
            {},
            now_s,
            now_s,
            is_condition=True,
            course=course,
        )
        for gone in evicted(held.values(), known):
            del held[gone]
    elif known.course.well_s or known.course.phase is Phase.RECOVERED:
        known = _begun_again(known, severity, now_s)
    held[known.key] = msgspec.structs.replace(
        known,
        severity=min(known.severity, severity),
        detail=text_of(fact.detail, MAX_SENTENCE),
        last_s=now_s,
        is_condition=True,
    )


def _begun_again(alert: Alert, severity: Severity, now_s: float) -> Alert:
    """Return an alert whose trouble is back: the same one while its end was not told."""
    course = alert.course
    turns = (*course.turns, now_s)[-MAX_TURNS:]
    alert = msgspec.structs.replace(alert, count=alert.count + 1)
    if course.phase is not Phase.RECOVERED:
        return _with(alert, well_s=0.0, turns=turns)
    if (course.alarm and not course.recovery) or course.is_owed:
        return _with(alert, well_s=0.0, turns=turns, phase=Phase.FIRING)
    fresh = Course(
        phase=Phase.PENDING,
        begun_s=now_s,
        turns=turns,
        recovery_s=course.recovery_s,
        snoozed_until_s=course.snoozed_until_s,
    )
    return msgspec.structs.replace(alert, severity=severity, course=fresh)


def _take_occurrence(held: dict[Key, Alert], one: Occurrence, now_s: float) -> None:
    lane, subject = one.lane[:MAX_LANE], text_of(one.subject, MAX_SUBJECT)
    if one.code.clears:
        for code in one.code.clears:
            known = held.get((code, lane, subject))
            if known is not None and not known.course.well_s:
                held[known.key] = _with(known, well_s=now_s)
        return
    alert, gone = raised(held, one.code, subject, lane, one.values, now_s)
    for key in gone:
        held.pop(key, None)
    course = alert.course
    if alert.count == 1:
        course = Course(begun_s=now_s, turns=(now_s,))
    elif course.well_s or course.phase is Phase.RECOVERED:
        again = _begun_again(
            msgspec.structs.replace(alert, count=alert.count - 1), one.code.severity, now_s
        )
        alert = msgspec.structs.replace(again, severity=one.code.severity)
        course = msgspec.structs.replace(again.course, phase=Phase.FIRING)
    held[alert.key] = msgspec.structs.replace(alert, course=course)
