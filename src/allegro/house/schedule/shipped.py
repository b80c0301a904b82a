"""The scheduled duties that a house comes with, and the places for those that others bring."""

from __future__ import annotations

from allegro.core.base.errors import EdgeError
from allegro.core.settings import HouseDuties
from allegro.house.schedule.exports import DayExports
from allegro.house.schedule.failover import FailoverDrill
from allegro.house.schedule.runbook import RunbookCheck
from allegro.house.schedule.telemetry import TelemetryCheck
from allegro.runtime.scheduled_duty import DutyResult, ScheduledDuty, made

PLACES = ("backup", "restore-drill")
"""Monthly duties for which a house has a place and nothing yet that would do them."""

NONE_CONFIGURED = "none configured"


def shipped(
    duties: HouseDuties,
    exports: DayExports,
    drill: FailoverDrill,
    runbook: RunbookCheck,
    telemetry: TelemetryCheck,
) -> list[ScheduledDuty]:
    """Return the duties whose work stands in this wing."""
    return [
        made("log-rollup", duties.log_rollup, exports.roll_up, duties),
        made("log-sync", duties.log_sync, exports.sync, duties),
        made("failover-readiness", duties.failover_readiness, drill.run, duties),
        made("runbook-freshness", duties.runbook_freshness, runbook.run, duties),
        made("telemetry-accuracy", duties.telemetry_accuracy, telemetry.run, duties),
    ]


def places(known: list[ScheduledDuty]) -> list[ScheduledDuty]:
    """Return the places that nothing fills, so that a list says so."""
    names = {duty.name for duty in known}
    return [
        ScheduledDuty(name=name, schedule=None, run=_nothing, off=NONE_CONFIGURED)
        for name in PLACES
        if name not in names
    ]


async def _nothing() -> DutyResult:
    raise EdgeError(NONE_CONFIGURED, transient=False, kind="none_configured")
