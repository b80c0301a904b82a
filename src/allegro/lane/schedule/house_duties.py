"""Expects the scheduled duties of the house: a lane says it when the house did not run one.

The house names its duties in its statement, which is on the lane's disk: a lane that restarts while
the house is dead expects the same. A house that may sleep has its grace from when it woke, which a
lane sees by the link coming back; while it is silent and may sleep, nothing of it is late.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import msgspec

from allegro.core.health.duty_runs import DutyPlan
from allegro.core.health.facts import Fact
from allegro.core.health.schedule import Plan, Presence, Schedule, watched
from allegro.core.ports import Clock
from allegro.core.protocol.statement import HouseStatement

SILENT_S = 60.0
"""A house that was not heard for so long is away: asleep or dead."""


class HouseDuties:
    """`said` is what the house said last before this start, None for nothing."""

    def __init__(
        self,
        said: HouseStatement | None,
        heard_s: Callable[[], float | None],
        clock: Clock,
    ) -> None:
        """`heard_s` returns when the house was last heard (boot-time s), None for never."""
        self._said = said
        self._heard_s = heard_s
        self._clock = clock
        self._awake_s = math.nan

    def hear(self, statement: HouseStatement) -> None:
        """Take what the house says of its duties."""
        self.look()
        self._said = statement

    def look(self) -> None:
        """Note whether the house is awake; to be called every few seconds."""
        heard_s = self._heard_s()
        if heard_s is None or not self._clock.boot_s() - heard_s <= SILENT_S:
            self._awake_s = math.nan
        elif math.isnan(self._awake_s):
            self._awake_s = self._clock.now_s()

    def served_s(self, role: str, duty: str) -> float:
        """Return the newest due time of a role's duty that is home as served (Unix s), 0 for none."""
        return max(
            (one.served_s for one in self._plans() if (one.role, one.duty) == (role, duty)),
            default=0.0,
        )

    def facts(self) -> list[Fact]:
        """Return whether each duty of the house ran in time."""
        self.look()
        may_sleep = self._said is not None and self._said.expected != "always"
        presence = Presence(self._awake_s if may_sleep else 0.0, may_sleep)
        return [self._fact(one, presence) for one in self._plans() if not one.role and one.cron]

    def _fact(self, plan: DutyPlan, presence: Presence) -> Fact:
        times, schedule = Plan(plan.due_s, plan.served_s), Schedule(plan.cron, plan.grace_s)
        subject = f"{plan.duty} of the house"
        fact = watched(subject, times, schedule, presence, self._clock.now_s())
        return msgspec.structs.replace(fact, source="what the house said last")

    def _plans(self) -> tuple[DutyPlan, ...]:
        return self._said.duties if self._said is not None else ()
