"""Codes of what tells a person: duties on a schedule and a silent house."""

from __future__ import annotations

from allegro.core.health.codes import runbook
from allegro.core.health.codes.code import P1, P2, Code

HOUSE_SILENT = Code(
    "house.silent",
    "silent house",
    P1,
    fix="Wake the house's machine, then check its network; see house.expected in house.toml.",
    runbook=runbook.SILENT_HOUSE,
)
DUTY_MISSED = Code(
    "duty.missed",
    "duty that did not run",
    P2,
    fix="See that the program which owns {subject} runs; it runs the duty once when it is back.",
    runbook=runbook.DUTIES,
)
DUTY_FAILED = Code(
    "duty.failed",
    "duty that failed",
    P2,
    fix="Read the result of {subject} in the log of the program that owns it.",
    runbook=runbook.DUTIES,
)
