"""What the house answers about scheduled duties."""

from __future__ import annotations

from typing import Literal

import msgspec

from allegro.core.health.duty_runs import DutyRun

DutyWord = Literal["ok", "running", "failed", "missed", "unknown", "planned", "off"]
"""How a duty is: `planned` never ran yet, `unknown` is overdue where its owner cannot be heard."""


class ShownDuty(msgspec.Struct, frozen=True, kw_only=True):
    """One duty and its owner: `house`, `lane NAME` or `role NAME`.

    `schedule` is its cron line, `due_s` the next due time (Unix s; 0: none). `note` says why it is
    off, or what is wrong. `last` is its newest record.
    """

    name: str
    owner: str
    schedule: str = ""
    grace_s: float = 0.0
    due_s: float = 0.0
    state: DutyWord = "planned"
    note: str = ""
    last: DutyRun | None = None


class DutiesAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Answers `GET /v1/duties`, those of the house first."""

    schema: str = "allegro.duties/1"
    duties: tuple[ShownDuty, ...] = ()


class DutyRunAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Answers `POST /v1/duties/run`: the duty of each owner after its run, or while it runs on."""

    schema: str = "allegro.duty_run/1"
    duties: tuple[ShownDuty, ...] = ()
