"""The alert machine: from facts and occurrences to the notices that a person gets.

One step takes the state of before, what happened since, and the time; it returns the state to store
and the notices to put into the outbox. No clock, no disk, no channel.

    pending ──grace──▶ firing ──acknowledge──▶ acknowledged
       │                 │  ▲                       │
       └──well──▶ recovered ◀────────well for a while┘

Invariants. What holds longer than its grace is told, or it is held back by one of five reasons that
each end: its parent's trouble explains it, a snooze, a maintenance window, quiet hours (P2 and P3
alone), the cooldown after its last recovery. A recovery is told only after a channel proved its
alarm, so nobody reads "over" of what he never heard. A reminder waits for that proof too: while no
channel works, one alarm waits and not five hundred. A severity that rises is told anew; it never
falls while the trouble lasts.

Severity: `bad` has that of its code, `unknown` one less, `warn` is P3. An occurrence needs no grace.
Flaps: what began `FLAPS` times within an hour is one trouble until it was well for `FLAP_CALM_S`;
while it flaps it is told at most each hour. Parents: a code's `depends_on` hushes it where both are
of one lane, or the parent is of none; its grace then begins anew when the parent is well.
An acknowledgement holds for `ACKNOWLEDGED_S`; a trouble that lasts longer fires again.

What never goes out from here: `channel.all_failing`, which could reach nobody (it stops the call of
the dead-man switch instead). Who is not the teller (see `expected.lane_speaks`) goes through the
same steps and makes no notice; what another node told comes in as `Told`.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from allegro.core.health.alert_state import AlertState, Inputs, Rules, Step, on_clock, scored
from allegro.core.health.alert_state import alert_with as _with
from allegro.core.health.alerts import Alert, Key, Phase
from allegro.core.health.codes import Severity, code_of
from allegro.core.health.codes.code import Way, cooldown_of, escalation_of, grace_of
from allegro.core.health.days import is_within
from allegro.core.health.delivery.notices import Kind, Notice, Want, grouped, notice_of
from allegro.core.health.holding import FLAP_S, Scene, is_flapping, is_held, is_hushed, parents
from allegro.core.health.intake import taken_in

CALM_S = 60.0
FLAP_CALM_S = 900.0
ACKNOWLEDGED_S = 86_400.0
OCCURRENCE_S = 86_400.0
"""An occurrence that is no P0 is over a day after it happened last, once it was told."""

REPORT_MARGIN_S = 3600.0


def step(state: AlertState, inputs: Inputs, rules: Rules, now_s: float) -> Step:
    """Return the state after one step, and what is to be told. Call it at least every 5 s."""
    state = on_clock(state, now_s)
    alerts = taken_in(state, inputs, now_s)
    scene = _scene(state, alerts, rules, now_s)
    alerts = {key: _aged(one, scene) for key, one in alerts.items()}
    scene = _scene(state, alerts, rules, now_s)
    alerts = {key: _owing(one, scene) for key, one in alerts.items()}
    alerts, notices, made = _composed(state, alerts, _wants(alerts, scene), now_s)
    kept = tuple(one for one in alerts.values() if not _is_done(one, now_s))
    state = msgspec.structs.replace(
        state,
        alerts=kept,
        maintenance=tuple(one for one in state.maintenance if now_s < one.until_s),
        made=made,
        at_s=now_s,
    )
    for notice in notices:
        state = scored(state, notice)
    return Step(state, tuple(notices))


def owed(state: AlertState) -> list[Alert]:
    """Return what the next report has to list: most urgent first. Confirm it by `reported`."""
    found = [one for one in state.alerts if one.course.is_owed]
    return sorted(found, key=lambda one: (one.severity, one.first_s))


def _scene(state: AlertState, alerts: Mapping[Key, Alert], rules: Rules, now_s: float) -> Scene:
    troubles: dict[str, list[Alert]] = {}
    for one in alerts.values():
        if one.course.phase is not Phase.RECOVERED:
            troubles.setdefault(one.code, []).append(one)
    is_quiet = rules.quiet is not None and is_within(rules.quiet, now_s, rules.zone)
    is_due = not is_quiet and any(_is_digest_due(one, now_s) for one in alerts.values())
    return Scene(state, rules, now_s, is_quiet, troubles, is_due)


def _is_digest_due(alert: Alert, now_s: float) -> bool:
    if not alert.course.is_owed:
        return False
    escalation = escalation_of(code_of(alert.code), alert.severity)
    if escalation.way is not Way.REPORT:
        return True  # it was held back by quiet hours, which are over
    return now_s - alert.course.begun_s >= escalation.within_s - REPORT_MARGIN_S


# --- from phase to phase ------------------------------------------------------------------------


def _aged(alert: Alert, scene: Scene) -> Alert:
    course, now_s = alert.course, scene.now_s
    if course.phase is Phase.PENDING:
        return _aged_pending(alert, scene)
    if course.phase is Phase.RECOVERED:
        return alert
    if not alert.is_condition and not course.well_s:
        return _aged_occurrence(alert, now_s)
    calm_s = FLAP_CALM_S if is_flapping(alert, now_s) else CALM_S
    if course.well_s and now_s - course.well_s >= calm_s:
        return _with(alert, phase=Phase.RECOVERED)
    if course.phase is Phase.ACKNOWLEDGED and now_s - course.acknowledged_s >= ACKNOWLEDGED_S:
        return _with(alert, phase=Phase.FIRING)
    return alert


def _aged_pending(alert: Alert, scene: Scene) -> Alert:
    course, now_s = alert.course, scene.now_s
    is_flap = is_flapping(alert, now_s)
    if course.well_s and not is_flap:
        return _with(alert, phase=Phase.RECOVERED)
    if is_hushed(alert, scene):
        return _with(alert, begun_s=now_s)
    if is_flap or now_s - course.begun_s >= grace_of(code_of(alert.code), alert.severity):
        return _with(alert, phase=Phase.FIRING)
    return alert


def _aged_occurrence(alert: Alert, now_s: float) -> Alert:
    is_told = bool(alert.course.reached_s) and not alert.course.is_owed
    if alert.severity is Severity.P0 or not is_told or now_s - alert.last_s < OCCURRENCE_S:
        return alert
    return _with(alert, phase=Phase.RECOVERED, recovery="by time", well_s=now_s)


def _is_done(alert: Alert, now_s: float) -> bool:
    """Whether nothing is left to be said or remembered of an alert."""
    course = alert.course
    if course.phase is not Phase.RECOVERED or course.is_owed:
        return False
    if course.alarm and not course.recovery:
        return False
    keep_s = max(FLAP_S, cooldown_of(code_of(alert.code), alert.severity))
    return now_s - max(course.well_s, course.recovery_s) > keep_s


# --- what is told -------------------------------------------------------------------------------


def _owing(alert: Alert, scene: Scene) -> Alert:
    """Return the alert, marked for the next digest or report where it is told in no other way."""
    course = alert.course
    is_new = course.phase is Phase.FIRING and not course.alarm and not course.is_owed
    if not is_new or is_held(alert, scene) or _is_cooling(alert, scene.now_s):
        return alert
    way = escalation_of(code_of(alert.code), alert.severity).way
    waits = way is Way.REPORT or (scene.is_quiet and alert.severity >= Severity.P2)
    return _with(alert, is_owed=True) if waits else alert


def _wants(alerts: Mapping[Key, Alert], scene: Scene) -> list[Want]:
    if not scene.rules.is_teller:
        return []
    found: list[Want] = []
    for alert in alerts.values():
        kind = _kind_due(alert, scene)
        if kind is not None:
            found.append(_want(alert, kind, scene))
    return found


def _want(alert: Alert, kind: Kind, scene: Scene) -> Want:
    escalation = escalation_of(code_of(alert.code), alert.severity)
    way = Way.FIRST if escalation.way is Way.REPORT else escalation.way
    start_s = alert.course.begun_s if kind is Kind.ALARM else scene.now_s
    by_s = max(scene.now_s, start_s + escalation.within_s)
    hushed = 0
    if kind is Kind.ALARM:
        others = (one for group in scene.troubles.values() for one in group)
        hushed = sum(alert in parents(one, scene) for one in others)
    return Want(alert, kind, way, by_s, hushed)


def _kind_due(alert: Alert, scene: Scene) -> Kind | None:
    course, is_quiet_for = alert.course, scene.is_quiet and alert.severity >= Severity.P2
    if course.is_owed:
        return Kind.DIGEST if scene.is_digest_due and not is_held(alert, scene) else None
    if course.phase is Phase.RECOVERED:
        is_due = bool(course.alarm and course.reached_s and not course.recovery)
        return Kind.RECOVERY if is_due and not is_quiet_for else None
    if course.phase is not Phase.FIRING:
        return None
    if course.well_s and (course.alarm or not is_flapping(alert, scene.now_s)):
        return None
    if is_quiet_for or is_held(alert, scene):
        return None
    if course.told_severity is not None and alert.severity < course.told_severity:
        return Kind.ALARM
    if not course.alarm:
        return None if _is_cooling(alert, scene.now_s) else Kind.ALARM
    return Kind.REMINDER if _is_reminder_due(alert, scene.now_s) else None


def _is_cooling(alert: Alert, now_s: float) -> bool:
    since_s = alert.course.recovery_s
    cooldown_s = cooldown_of(code_of(alert.code), alert.severity)
    return bool(since_s) and since_s <= now_s < since_s + cooldown_s


def _is_reminder_due(alert: Alert, now_s: float) -> bool:
    again_s = escalation_of(code_of(alert.code), alert.severity).again_s
    if not again_s or not alert.course.reached_s:
        return False
    if is_flapping(alert, now_s):
        again_s = max(again_s, FLAP_S)
    return now_s - alert.course.told_s >= again_s


def _composed(
    state: AlertState, alerts: dict[Key, Alert], wants: list[Want], now_s: float
) -> tuple[dict[Key, Alert], list[Notice], int]:
    notices: list[Notice] = []
    made = state.made
    for group in grouped(wants):
        made += 1
        notice = notice_of(group, f"{state.origin}-{made}", now_s)
        notices.append(notice)
        for want in group:
            alerts[want.alert.key] = _after(want.alert, notice, now_s)
    return alerts, notices, made


def _after(alert: Alert, notice: Notice, now_s: float) -> Alert:
    if notice.kind is Kind.RECOVERY:
        return _with(alert, recovery=notice.id, recovery_s=now_s)
    if notice.kind is Kind.REMINDER:
        return _with(alert, told_s=now_s)
    is_reported = escalation_of(code_of(alert.code), alert.severity).way is Way.REPORT
    is_over = alert.course.phase is Phase.RECOVERED
    return _with(
        alert,
        alarm=notice.id,
        told_s=now_s,
        told_severity=alert.severity,
        reached_s=0.0,
        is_owed=False,
        recovery="in the digest" if is_over or is_reported else "",
        recovery_s=now_s if is_over else alert.course.recovery_s,
    )
