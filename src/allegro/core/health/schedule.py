"""When a duty runs, and whether a run was on time, late or missed.

A duty has a cron expression of five fields, read on the wall clock of the operator's zone, and a
grace. What is stored is a `Plan`: the next due time, and the last due time that a run stood for.

Invariant: each due time is stood for by at most one run, and a run stands for every due time up to
the moment it began. So a program that slept over ten of them runs once when it wakes, never ten
times, and says how many it skipped. A due time that was served is not served again when the clock
is put back by up to `LEAP_S`; a clock that was wrong by more is not believed afterwards, so that
a duty served "next year" runs tomorrow all the same. Days of 23 and 25 hours: a time of day that
does not exist runs at the first moment after the gap, one that comes twice runs at the first.

*On time*: begun within the grace after its due time. *Late*: the machine may sleep, and it began
within the grace after it woke. *Missed*: neither, though it runs now (caught up once). What may
sleep is judged by `expected`; a machine that never may has no excuse. The same rule tells another
node that a run is missing: `watched` states the fact, and while the owner sleeps and may, all is
well.

Source of the rules for changed clocks: cron(8) of Debian, as cronsim follows it.
"""

from __future__ import annotations

import datetime
import itertools
from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated

import msgspec
from cronsim import CronSim, CronSimError

from allegro.core.base.errors import Refusal
from allegro.core.base.timestamps import rfc3339
from allegro.core.health import codes
from allegro.core.health.facts import Fact

LEAP_S = 6 * 3600.0
"""A served due time further ahead of us than this came from a wrong clock."""

MAX_SKIPPED = 1000

When = Annotated[float, msgspec.Meta(ge=0, lt=1e11)]
"""Unix seconds that a calendar can hold. Checked where a value is read, not where it is made."""


class Punctuality(StrEnum):
    """How a run stands to its due time."""

    ON_TIME = "on time"
    LATE = "late"
    MISSED = "missed"


class Schedule(msgspec.Struct, frozen=True):
    """`cron` as `read_schedule` took it; `grace_s` is how much later a run may begin."""

    cron: str
    grace_s: float = 3600.0


class Plan(msgspec.Struct, frozen=True):
    """What is stored of a duty: the due time it waits for, and the last one that was run for.

    Unix seconds; `served_s` is 0 before the first run.
    """

    due_s: When
    served_s: When = 0.0


class Presence(msgspec.Struct, frozen=True):
    """Since when the machine that owns the duty has been awake (Unix s; NaN: it sleeps now).

    `may_sleep` where nobody expects it to be awake all the time.
    """

    awake_s: float
    may_sleep: bool = False


class Run(msgspec.Struct, frozen=True):
    """A run that should begin now: for which due time, how it stands, how many it skipped.

    `skipped` counts the older due times that this run stands for too, MAX_SKIPPED at most.
    """

    due_s: When
    punctuality: Punctuality
    skipped: int = 0


def read_schedule(cron: str, grace_s: float = 3600.0) -> Schedule | Refusal:
    """Check a cron expression of five fields. Refused: another form, or one that never comes."""
    if len(cron.split()) != 5:
        return Refusal("cron", "expected five fields: minute hour day month weekday")
    try:
        next(CronSim(cron, datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC)))
    except (CronSimError, StopIteration) as error:
        return Refusal("cron", f"{cron!r}: {error or 'it never comes'}")
    return Schedule(cron, grace_s)


def schedule_of(cron: str, grace_min: float) -> Schedule | None:
    """Return the schedule that a checked configuration names; None where it is off."""
    schedule = read_schedule(cron, grace_min * 60.0) if cron else None
    return schedule if isinstance(schedule, Schedule) else None


def next_due(schedule: Schedule, after_s: float, zone: datetime.tzinfo) -> float:
    """Return the first due time after a moment (Unix s)."""
    return next(_after(schedule, after_s, zone))


def _after(schedule: Schedule, after_s: float, zone: datetime.tzinfo) -> Iterator[float]:
    after = datetime.datetime.fromtimestamp(after_s, zone)
    times = (float(one.timestamp()) for one in CronSim(schedule.cron, after))
    # in the second of two equal hours cronsim answers with times of the first, which are past
    return (at_s for at_s in times if at_s > after_s)


def last_due(schedule: Schedule, at_s: float, zone: datetime.tzinfo) -> float:
    """Return the newest due time up to a moment (Unix s)."""
    after = datetime.datetime.fromtimestamp(at_s + 1, zone)
    times = (float(one.timestamp()) for one in CronSim(schedule.cron, after, reverse=True))
    found_s = next(due_s for due_s in times if due_s <= at_s)
    # in the second of two equal hours it goes back past the due times of the first
    while (later_s := next_due(schedule, found_s, zone)) <= at_s:
        found_s = later_s
    return found_s


def planned(schedule: Schedule, now_s: float, zone: datetime.tzinfo) -> Plan:
    """Return the plan of a duty that never ran: it waits for the next due time."""
    return Plan(next_due(schedule, now_s, zone))


def replanned(plan: Plan, schedule: Schedule, now_s: float, zone: datetime.tzinfo) -> Plan:
    """Return the plan as it holds now: after a changed clock, zone or schedule.

    Call it at each look, before `run_due`, and store it where it changed. A due time that has passed and was not served stays; one ahead is counted anew.
    """
    served_s = plan.served_s if plan.served_s <= now_s + LEAP_S else 0.0
    if served_s < plan.due_s <= now_s:
        return msgspec.structs.replace(plan, served_s=served_s)
    return Plan(next_due(schedule, max(now_s, served_s), zone), served_s)


def advanced(
    plan: Plan, schedule: Schedule, served_s: float, now_s: float, zone: datetime.tzinfo
) -> Plan:
    """Return the plan once another node served a due time (`served_s`, 0 for none).

    One that is further ahead than `LEAP_S` came from a wrong clock and counts for nothing.
    """
    if not plan.served_s < served_s <= now_s + LEAP_S:
        return plan
    if plan.due_s > served_s:
        return Plan(plan.due_s, served_s)
    return Plan(next_due(schedule, served_s, zone), served_s)


def run_due(
    plan: Plan, schedule: Schedule, presence: Presence, now_s: float, zone: datetime.tzinfo
) -> Run | None:
    """Return the run that should begin now; None while nothing is due."""
    if not plan.due_s <= now_s:
        return None
    newest_s = max(plan.due_s, last_due(schedule, now_s, zone))
    skipped = 0
    if newest_s > plan.due_s:
        older = itertools.takewhile(
            lambda due_s: due_s <= newest_s, _after(schedule, plan.due_s, zone)
        )
        skipped = sum(1 for _ in itertools.islice(older, MAX_SKIPPED))
    return Run(newest_s, punctuality(newest_s, schedule, presence, now_s), skipped)


def punctuality(due_s: float, schedule: Schedule, presence: Presence, now_s: float) -> Punctuality:
    """Return how a run that begins now stands to its due time."""
    if now_s - due_s <= schedule.grace_s:
        return Punctuality.ON_TIME
    if presence.may_sleep and now_s - max(due_s, presence.awake_s) <= schedule.grace_s:
        return Punctuality.LATE
    return Punctuality.MISSED


def served(plan: Plan, run: Run, schedule: Schedule, now_s: float, zone: datetime.tzinfo) -> Plan:
    """Return the plan once a run began: it is stored before the run's first effect."""
    due_s = max(plan.served_s if plan.served_s <= now_s + LEAP_S else 0.0, run.due_s)
    return Plan(next_due(schedule, max(now_s, due_s), zone), due_s)


def watched(name: str, plan: Plan, schedule: Schedule, presence: Presence, now_s: float) -> Fact:
    """Return whether a duty of another node ran in time, from the plan that it reported last."""
    overdue_s = now_s - plan.due_s
    is_asleep = not presence.awake_s <= now_s
    source = "plan reported by its owner"
    if overdue_s <= schedule.grace_s:
        detail = f"due at {rfc3339(plan.due_s)}"
    elif presence.may_sleep and is_asleep:
        detail = f"due at {rfc3339(plan.due_s)}: its owner sleeps, it runs when that wakes"
    elif punctuality(plan.due_s, schedule, presence, now_s) is Punctuality.LATE:
        detail = f"due at {rfc3339(plan.due_s)}: late, its owner woke a short while ago"
    else:
        detail = f"due at {rfc3339(plan.due_s)} and not run"
        return Fact(codes.DUTY_MISSED, "bad", detail, source, name, now_s)
    return Fact(codes.DUTY_MISSED, "ok", detail, source, name, now_s)


def ran(name: str, *, is_good: bool, detail: str, now_s: float) -> Fact:
    """Return what the last run of a duty says about it."""
    return Fact(codes.DUTY_FAILED, "ok" if is_good else "bad", detail, "its run", name, now_s)
