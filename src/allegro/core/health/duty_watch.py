"""What one node knows of another's scheduled duties, from what that other reports. Pure.

A node that owns a duty announces its schedule once and reports each run with the next due time. Who
watches expects a report within the grace after that due time. Reports are words of another node: a
next due time is believed a year ahead at most, and a role's duty is moved on by whoever ran it.
"""

from __future__ import annotations

import msgspec

from allegro.core.base.untrusted import Name
from allegro.core.health.duty_runs import DutyPlan, DutyRun, Ending, missed
from allegro.core.health.facts import Fact
from allegro.core.health.schedule import Plan, Presence, Punctuality, Run, Schedule, When, watched

FURTHEST_S = 366 * 86_400.0


class WatchedDuty(msgspec.Struct, frozen=True, kw_only=True):
    """One duty of another node. `lane` is who reported of it last, at `heard_s` (Unix s).

    `last` is its last run, None before the first; `missed_s` is the newest due time of which it
    was recorded that nothing ran for it.
    """

    plan: DutyPlan
    lane: Name = ""
    heard_s: When = 0.0
    last: DutyRun | None = None
    missed_s: When = 0.0

    @property
    def owner(self) -> str:
        return owner_of(self.plan.role, self.lane)

    @property
    def subject(self) -> str:
        """What facts call it."""
        return f"{self.plan.duty} of {self.owner}"


def owner_of(role: str, lane: str) -> str:
    """Return who owns a duty, in words: a role, or a lane for itself."""
    return f"role {role}" if role else f"lane {lane}"


def after_plan(held: WatchedDuty | None, plan: DutyPlan, lane: str, now_s: float) -> WatchedDuty:
    """Return the duty after its owner announced a schedule.

    A due time that was served already is not expected anew: a second lane that starts, or the
    first one with its memory lost, does not know of it.
    """
    plan = msgspec.structs.replace(plan, due_s=_near(plan.due_s, now_s))
    if held is None:
        return WatchedDuty(plan=plan, lane=lane, heard_s=now_s)
    known = held.plan
    is_same = (known.cron, known.grace_s) == (plan.cron, plan.grace_s)
    if is_same and plan.due_s <= known.served_s:
        plan = known
    plan = msgspec.structs.replace(plan, served_s=known.served_s)
    return msgspec.structs.replace(held, plan=plan, lane=lane, heard_s=now_s)


def after_run(
    held: WatchedDuty | None, run: DutyRun, plan: DutyPlan, lane: str, now_s: float
) -> WatchedDuty:
    """Return the duty after a run was reported; `plan` holds its role and the next due time."""
    if held is None:
        held = WatchedDuty(plan=plan, lane=lane)
    if run.ending is Ending.MISSED:
        missed_s = max(held.missed_s, run.due_s)
        return msgspec.structs.replace(held, lane=lane, heard_s=now_s, missed_s=missed_s)
    served_s = max(held.plan.served_s, run.due_s)
    due_s = max(held.plan.due_s, _near(plan.due_s, now_s)) if run.due_s else held.plan.due_s
    last = run if held.last is None or run.at_s >= held.last.at_s else held.last
    moved = msgspec.structs.replace(held.plan, due_s=due_s, served_s=served_s)
    return msgspec.structs.replace(held, plan=moved, lane=lane, heard_s=now_s, last=last)


def _near(due_s: float, now_s: float) -> float:
    return min(due_s, now_s + FURTHEST_S)


def overdue(duty: WatchedDuty, presence: Presence, now_s: float, *, is_home: bool) -> Fact | None:
    """Return whether a duty ran in time; None for one that is off.

    `is_home` says that all its owner has told was read: else what it did may be on the way, and an
    overdue run is unknown, not missed.
    """
    plan = duty.plan
    if not plan.cron:
        return None
    fact = watched(
        duty.subject,
        Plan(plan.due_s, plan.served_s),
        Schedule(plan.cron, plan.grace_s),
        presence,
        now_s,
    )
    if fact.state != "bad" or is_home:
        return fact
    detail = f"{fact.detail} as far as is known: what its owner did comes home later"
    return msgspec.structs.replace(fact, state="unknown", detail=detail)


def missed_run(duty: WatchedDuty, fact: Fact) -> DutyRun | None:
    """Return the record of a due time that was missed, once; None where nothing is to be recorded."""
    plan = duty.plan
    if fact.state != "bad" or plan.due_s <= duty.missed_s:
        return None
    why = "its owner did not run it in time"
    return missed(plan.duty, Run(plan.due_s, Punctuality.MISSED), why)
