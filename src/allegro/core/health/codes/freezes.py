"""Codes of freezes."""

from __future__ import annotations

from allegro.core.health.codes import runbook
from allegro.core.health.codes.code import P0, P1, P3, Code

FROZEN = Code(
    "fleet.frozen",
    "freeze",
    P1,
    fix="Once the reason is gone: `allegro thaw --all --config house.toml` at home.",
    runbook=runbook.FROZEN,
    alert="frozen by {subject}: {reason}",
    is_shown_only=True,
)
THAWED = Code(
    "fleet.thawed",
    "freeze that was lifted",
    P3,
    fix="Nothing: writes go on.",
    runbook=runbook.FROZEN,
    alert="the freeze by {subject} was lifted",
    clears=("fleet.frozen",),
)
FREEZE_UNSAVED = Code(
    "fleet.frozen.unsaved",
    "freeze that is not on disk",
    P0,
    fix="Free space at the house and leave it running: the freeze holds until it restarts.",
    runbook=runbook.FULL,
    alert="the freeze holds but cannot be written down: {subject}",
)
FREEZE_THAWED_BEFORE = Code(
    "fleet.frozen.thawed_before",
    "stop that was thawed before it came",
    P1,
    fix="Run `allegro stop` if the stop is meant.",
    runbook=runbook.FROZEN,
    alert="a stop came under an id that was thawed before: stop anew if it is meant ({subject})",
)
LANE_FROZE = Code(
    "lane.froze",
    "lane that froze",
    P1,
    fix="Read the reason in `allegro status`.",
    runbook=runbook.FROZEN,
    alert="lane {lane} froze",
    depends_on="fleet.frozen",
)
LANE_THAWED = Code(
    "lane.thawed",
    "lane that took a thaw",
    P3,
    fix="Nothing: the lane writes again.",
    runbook=runbook.FROZEN,
    alert="lane {lane} took a thaw",
    clears=("lane.froze",),
)
