"""Between the record of a scheduled duty and its event on the wire."""

from __future__ import annotations

import msgspec

from allegro.core.base.untrusted import Unreadable, read_value
from allegro.core.health.duty_runs import DutyPlan, DutyRun, Ending
from allegro.core.protocol.payloads.duties import (
    DutyEnded,
    DutyFailed,
    DutyMissed,
    DutyPlanned,
    DutyRan,
)

PAYLOADS: dict[Ending, type[DutyEnded]] = {
    Ending.RAN: DutyRan,
    Ending.FAILED: DutyFailed,
    Ending.MISSED: DutyMissed,
}
ENDINGS = {payload: ending for ending, payload in PAYLOADS.items()}


def ended_payload(run: DutyRun, plan: DutyPlan) -> DutyEnded:
    """Return the event of a record, without its result: that is sealed on a lane."""
    return PAYLOADS[run.ending](
        duty=run.duty,
        role=plan.role,
        due_s=run.due_s,
        begun_s=run.begun_s,
        duration_s=run.duration_s,
        punctuality=run.punctuality.value,
        next_s=plan.due_s,
        skipped=run.skipped,
        figures=run.figures,
    )


def planned_payload(plan: DutyPlan) -> DutyPlanned:
    """Return the event that lets others expect a duty."""
    return DutyPlanned(
        duty=plan.duty,
        role=plan.role,
        cron=plan.cron,
        grace_s=plan.grace_s,
        due_s=plan.due_s,
    )


def run_of(payload: DutyEnded, result: str) -> DutyRun | Unreadable:
    """Return the record that an event of a lane stands for. Nothing in it is believed unchecked."""
    fields = msgspec.to_builtins(payload)
    fields.update(ending=ENDINGS[type(payload)].value, result=result)
    return read_value(fields, DutyRun)


def plan_of(payload: DutyPlanned) -> DutyPlan | Unreadable:
    """Return the plan that an event of a lane announces."""
    return read_value(msgspec.to_builtins(payload), DutyPlan)
