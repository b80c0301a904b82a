"""Codes of programs and their machines."""

from __future__ import annotations

from allegro.core.health.codes import runbook
from allegro.core.health.codes.code import P2, P3, Code

OTHER = Code(
    "other",
    "other",
    P2,
    fix="Update the older side: it reports something that has no code.",
    runbook=runbook.UPGRADE,
    alert="{subject}",
)
VERSION = Code(
    "program.version",
    "version",
    P3,
    fix="Update the older side.",
    runbook=runbook.UPGRADE,
)
SWAP = Code(
    "host.swap",
    "swap",
    P3,
    fix="Run `swapoff -a`, set MemorySwapMax=0 in the lane's unit, or encrypt the swap.",
    runbook="units",
)
