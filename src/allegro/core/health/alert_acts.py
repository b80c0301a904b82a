"""What a person does with alerts: acknowledge, snooze, judge, announce maintenance.

Each act is a value; `acted` returns the new state or a Refusal fit for the person. An act never
sends anything: it changes what the next step of the machine does.

Invariant: no act is for ever. An acknowledgement ends with its trouble, and for a trouble that goes
on after `alarm.ACKNOWLEDGED_S`; a snooze and a maintenance window have an end, at most `MAX_SNOOZE_S`
and `MAX_MAINTENANCE_S` away (a missing or infinite end is refused, so is NaN). A verdict counts
once for each alarm and code; a changed mind replaces it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import assert_never

import msgspec

from allegro.core.base.errors import Refusal
from allegro.core.health.alert_state import (
    AlertState,
    Judged,
    Maintenance,
    Score,
    Verdict,
    alert_with,
)
from allegro.core.health.alerts import Alert, Key, Phase

MAX_SNOOZE_S = 7 * 86_400.0
MAX_MAINTENANCE_S = 30 * 86_400.0
MAX_WINDOWS = 50


class Acknowledge(msgspec.Struct, frozen=True, tag="ack"):
    """I know of it: no more reminders. An occurrence is over with it."""

    key: Key


class Snooze(msgspec.Struct, frozen=True, tag="snooze"):
    """Say nothing of it until then (Unix s), then again if it still holds."""

    key: Key
    until_s: float


class Judge(msgspec.Struct, frozen=True, tag="judge"):
    """Whether an alarm was worth its noise. `code` "" judges all codes of the notice."""

    notice: str
    verdict: Verdict
    code: str = ""


class Maintain(msgspec.Struct, frozen=True, tag="maintain"):
    """Announce a maintenance window, or replace the one of this id."""

    window: Maintenance


class EndMaintenance(msgspec.Struct, frozen=True, tag="end"):
    """End a maintenance window now."""

    id: str


Act = Acknowledge | Snooze | Judge | Maintain | EndMaintenance


def acted(state: AlertState, act: Act, now_s: float) -> AlertState | Refusal:
    """Return the state after one act. Refused: an unknown alert, notice or window; no true end."""
    match act:
        case Acknowledge():
            return _changed(state, act.key, lambda one: _acknowledged(one, now_s))
        case Snooze():
            if not now_s < act.until_s <= now_s + MAX_SNOOZE_S:
                return Refusal("end", "a snooze ends in the future, at most 7 days from now")
            return _changed(
                state, act.key, lambda one: alert_with(one, snoozed_until_s=act.until_s)
            )
        case Judge():
            return _judged(state, act)
        case Maintain():
            return _maintained(state, act.window, now_s)
        case EndMaintenance():
            return _ended(state, act.id)
        case _:
            assert_never(act)


def _changed(state: AlertState, key: Key, change: Callable[[Alert], Alert]) -> AlertState | Refusal:
    if not any(one.key == key for one in state.alerts):
        return Refusal("unknown", "no such alert; it may be over")
    alerts = tuple(change(one) if one.key == key else one for one in state.alerts)
    return msgspec.structs.replace(state, alerts=alerts)


def _acknowledged(alert: Alert, now_s: float) -> Alert:
    if alert.course.phase is Phase.RECOVERED:
        return alert
    if alert.is_condition:
        return alert_with(alert, phase=Phase.ACKNOWLEDGED, acknowledged_s=now_s, is_owed=False)
    return alert_with(
        alert,
        phase=Phase.RECOVERED,
        acknowledged_s=now_s,
        well_s=now_s,
        recovery="acknowledged",
        is_owed=False,
    )


def _judged(state: AlertState, act: Judge) -> AlertState | Refusal:
    mine = [one for one in state.judged if one.notice == act.notice and act.code in ("", one.code)]
    if not mine:
        return Refusal("unknown", "no such alarm, or one of long ago")
    scores = dict(state.scores)
    for one in mine:
        scores[one.code] = _rescored(scores.get(one.code, Score()), one, act.verdict)
    judged = tuple(
        msgspec.structs.replace(one, verdict=act.verdict) if one in mine else one
        for one in state.judged
    )
    return msgspec.structs.replace(state, scores=scores, judged=judged)


def _rescored(score: Score, before: Judged, verdict: Verdict) -> Score:
    return Score(
        useful=score.useful + (verdict == "useful") - (before.verdict == "useful"),
        judged=score.judged + (before.verdict is None),
        sent=score.sent,
    )


def _maintained(state: AlertState, window: Maintenance, now_s: float) -> AlertState | Refusal:
    if not now_s < window.until_s <= now_s + MAX_MAINTENANCE_S:
        return Refusal("end", "a maintenance window ends in the future, at most 30 days from now")
    if not window.from_s < window.until_s:
        return Refusal("begin", "a maintenance window begins before it ends")
    rest = tuple(one for one in state.maintenance if one.id != window.id and now_s < one.until_s)
    if len(rest) >= MAX_WINDOWS:
        return Refusal("too_many", f"at most {MAX_WINDOWS} maintenance windows at a time")
    return msgspec.structs.replace(state, maintenance=(*rest, window))


def _ended(state: AlertState, window: str) -> AlertState | Refusal:
    rest = tuple(one for one in state.maintenance if one.id != window)
    if len(rest) == len(state.maintenance):
        return Refusal("unknown", "no such maintenance window")
    return msgspec.structs.replace(state, maintenance=rest)
