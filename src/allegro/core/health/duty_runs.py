"""What is kept of a scheduled duty: its plan, the run that is under way, and how runs ended.

A scheduled duty runs at times of the clock and ends; the background parts of a program, which run
as long as it does, are `allegro.runtime.duties`. Invariant: a run is noted as begun before its first
effect and leaves exactly one record, also where the program ends in the middle of it: then the next
start records that it failed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated

import msgspec

from allegro.core.base.untrusted import Name, text_of
from allegro.core.health.schedule import Plan, Punctuality, Run, Schedule, When

MAX_RESULT = 600
MAX_FIGURES = 40
ENDED_MEANWHILE = "the program ended during the run"

Figures = Annotated[dict[Name, float], msgspec.Meta(max_length=MAX_FIGURES)]
"""The numbers of one run by name; a unit stands at the end of the name, as in `oldest_s`."""


class Ending(StrEnum):
    """What became of a due time: it was run for, its run failed, or nothing ran in time."""

    RAN = "ran"
    FAILED = "failed"
    MISSED = "missed"


class DutyRun(msgspec.Struct, frozen=True, kw_only=True):
    """One record. Times in Unix seconds.

    `due_s` is 0 for a run that a person asked for; `begun_s` is 0 for a due time that nothing ran
    for in time. `skipped` counts older due times that the run stood for too.
    """

    duty: Name
    ending: Ending
    due_s: When = 0.0
    begun_s: When = 0.0
    duration_s: Annotated[float, msgspec.Meta(ge=0, lt=1e11)] = 0.0
    punctuality: Punctuality = Punctuality.ON_TIME
    skipped: Annotated[int, msgspec.Meta(ge=0, lt=2**53)] = 0
    result: Annotated[str, msgspec.Meta(max_length=MAX_RESULT)] = ""
    figures: Figures = {}

    @property
    def at_s(self) -> float:
        """When it happened (Unix s): the begin of the run, else the due time."""
        return self.begun_s or self.due_s


class Begun(msgspec.Struct, frozen=True):
    """A run that is under way since `begun_s` (Unix s). `run.due_s` is 0 where a person asked."""

    run: Run
    begun_s: When


class DutyState(msgspec.Struct, frozen=True):
    """What a program stores of one scheduled duty.

    `announced` is the schedule that other nodes were given last, see `announcement`.
    """

    plan: Plan | None = None
    begun: Begun | None = None
    last: DutyRun | None = None
    announced: Annotated[str, msgspec.Meta(max_length=300)] = ""


class DutyPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What another node must know to expect a duty: an empty `cron` says that it is off.

    `role` is empty where each program runs the duty for itself; else the holder of that role does.
    """

    duty: Name
    role: Name = ""
    cron: Annotated[str, msgspec.Meta(max_length=120)] = ""
    grace_s: Annotated[float, msgspec.Meta(ge=0, lt=1e11)] = 0.0
    due_s: When = 0.0
    served_s: When = 0.0


class DutyView(msgspec.Struct, frozen=True, kw_only=True):
    """How one duty is now, for a screen. `off` says why it never runs, empty for one that does."""

    plan: DutyPlan
    is_running: bool = False
    last: DutyRun | None = None
    off: Annotated[str, msgspec.Meta(max_length=200)] = ""


def announcement(schedule: Schedule | None, role: str) -> str:
    """Return what of a duty's schedule is announced once, and again whenever it changes."""
    return "off" if schedule is None else f"{schedule.cron} | {schedule.grace_s:g} | {role}"


def missed(duty: str, run: Run, why: str) -> DutyRun:
    """Return the record of a due time for which nothing ran in time."""
    return DutyRun(
        duty=duty,
        ending=Ending.MISSED,
        due_s=run.due_s,
        punctuality=Punctuality.MISSED,
        skipped=run.skipped,
        result=text_of(why, MAX_RESULT),
    )


def over(
    duty: str, begun: Begun, ending: Ending, result: str, *, duration_s: float = 0.0
) -> DutyRun:
    """Return the record of a run that is over."""
    return DutyRun(
        duty=duty,
        ending=ending,
        due_s=begun.run.due_s,
        begun_s=begun.begun_s,
        duration_s=round(max(0.0, duration_s), 3),
        punctuality=begun.run.punctuality,
        skipped=begun.run.skipped,
        result=text_of(result, MAX_RESULT),
    )


def sound_figures(figures: Mapping[str, float]) -> dict[str, float]:
    """Return the figures that a record can hold: finite numbers, MAX_FIGURES at most."""
    whole = {name[:200]: float(one) for name, one in figures.items() if math.isfinite(one)}
    return dict(list(whole.items())[:MAX_FIGURES])
