"""Codes of the house and its archive."""

from __future__ import annotations

from allegro.core.health.codes import runbook
from allegro.core.health.codes.code import P0, P1, P2, P3, Code

HOUSE_SEAT = Code(
    "house.seat",
    "seat",
    P3,
    fix="Run `allegro house --config house.toml take-seat` on the house that is to act.",
    runbook=runbook.LOST_HOUSE,
)
HOUSE_KEYS = Code(
    "house.keys",
    "keys",
    P3,
    fix="See the runbook's section on keys.",
    runbook=runbook.KEYS,
)
SOVEREIGN_KEY = Code(
    "house.sovereign_key",
    "sovereign key",
    P2,
    fix="Run `allegro keys rotate sovereign --config house.toml` and give it a passphrase.",
    runbook=runbook.KEYS,
)
HOUSE_DISK = Code(
    "house.disk",
    "disk of the house",
    P1,
    fix="Free space: the archive cannot grow.",
    runbook=runbook.FULL,
)
STORES = Code(
    "house.stores",
    "archive and ledger",
    P0,
    fix="Put back the file that is missing, or check requests and receipts on the forge, then thaw.",
    runbook=runbook.LOST_HOUSE,
    alert="{subject}: check what happened",
)
LEDGER_DAMAGED = Code(
    "house.ledger.damaged",
    "damaged part of the ledger",
    P1,
    fix="Restore the ledger from a backup if what was set aside matters.",
    runbook=runbook.LOST_HOUSE,
    alert="{subject} of the ledger set aside: {reason}",
    depends_on="house.stores",
)
TASK_FAILED = Code(
    "house.task",
    "task of the house",
    P1,
    fix=runbook.READ_LOG,
    runbook=runbook.SAFE,
    alert="a fault in {subject}: {detail}",
)
SET_ASIDE = Code(
    "house.set_aside",
    "items set aside",
    P1,
    fix="See `allegro status`, update allegro, and report what was set aside.",
    runbook=runbook.SAFE,
    alert="{duty}: {subject} was set aside: {reason}",
)
ARCHIVE_GAPS = Code(
    "archive.gaps",
    "gaps in the archive",
    P2,
    fix="See `allegro events --gaps`.",
    runbook=runbook.FULL,
)
ARCHIVE_REJECTED = Code(
    "archive.rejected",
    "entries that cannot be archived",
    P2,
    fix="See `allegro events --gaps`; update the lane, and distrust it if it goes on.",
    runbook=runbook.STOLEN,
    alert="lane {lane} sent what cannot be archived: see the named gaps",
)
ARCHIVE_CLASH = Code(
    "archive.clash",
    "two contents under one id",
    P1,
    fix="Check the lane's machine: an honest lane never does this.",
    runbook=runbook.STOLEN,
    alert="lane {lane} sent other content under an id that it had sent before",
)
EVENT_UNREADABLE = Code(
    "archive.event_unreadable",
    "event that cannot be read",
    P2,
    fix="Update the older side; distrust the lane if both are of one version.",
    runbook=runbook.UPGRADE,
    alert="lane {lane} sent an event that cannot be read",
)
