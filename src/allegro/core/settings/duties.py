"""`[duties]` of both programs: when each scheduled duty runs. An empty line is off."""

from __future__ import annotations

from typing import Annotated, get_type_hints

import msgspec
from msgspec import Meta

from allegro.core.settings.words import about

CRON = Meta(extra={"cron": True}, max_length=100)
"""Marks a setting of five fields, `minute hour day month weekday`; empty is off."""

_GRACE = about("minutes that a run may begin late before it counts as missed", ge=1, le=1440)
_LIMIT = about("seconds after which a run that has not ended has failed", ge=5, le=7200)


class HouseDuties(msgspec.Struct, frozen=True):
    """When the house's scheduled duties run, in the owner's zone: `minute hour day month weekday`."""

    log_rollup: Annotated[
        str, CRON, about("writes the digest of the day before into exports/; empty: off")
    ] = "10 0 * * *"
    log_sync: Annotated[
        str, CRON, about("completes exports/ and checks what is there; empty: off")
    ] = "20 0 * * *"
    metrics_report: Annotated[str, CRON, about("computes the measures of the day; empty: off")] = (
        "0 6 * * *"
    )
    morning_report: Annotated[
        str, CRON, about("writes and delivers the morning report; empty: off")
    ] = "0 7 * * *"
    telemetry_accuracy: Annotated[
        str, CRON, about("compares what agents and providers counted with the archive; empty: off")
    ] = "0 5 * * 1"
    failover_readiness: Annotated[
        str, CRON, about("hands the forge role over, as a drill, while no work runs; empty: off")
    ] = "30 4 * * 1"
    runbook_freshness: Annotated[
        str, CRON, about("checks that each health code has its section in the runbook; empty: off")
    ] = "0 6 * * 1"
    throughput_report: Annotated[
        str, CRON, about("computes the throughput of the week; empty: off")
    ] = "10 6 * * 1"
    runbook: Annotated[
        str, about("your copy of the runbook (Markdown); empty: the one of this program")
    ] = ""
    grace_min: Annotated[float, _GRACE] = 60.0
    limit_s: Annotated[float, _LIMIT] = 900.0


class LaneDuties(msgspec.Struct, frozen=True):
    """When a lane's scheduled duties run: `minute hour day month weekday`."""

    timezone: Annotated[str, about("zone of these times, as in Europe/Berlin")] = "UTC"
    hermes_health: Annotated[
        str, CRON, about("starts a gateway and plays its check, as at start; empty: off")
    ] = "20 3 * * *"
    forge_poll_health: Annotated[
        str, CRON, about("checks the age of the newest good poll of each watch; empty: off")
    ] = "40 3 * * *"
    grace_min: Annotated[float, _GRACE] = 60.0
    limit_s: Annotated[float, _LIMIT] = 900.0


def cron_keys(duties: type[msgspec.Struct]) -> list[str]:
    """Return the settings of a section that are schedules, in the order of their definition."""
    hints = get_type_hints(duties, include_extras=True)
    return [name for name, hint in hints.items() if CRON in getattr(hint, "__metadata__", ())]
