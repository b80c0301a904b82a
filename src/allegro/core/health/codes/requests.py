"""Codes of requests and their receipts."""

from __future__ import annotations

from allegro.core.health.codes import runbook
from allegro.core.health.codes.code import P1, P2, Code

REQUEST_FAILING = Code(
    "request.failing",
    "orders that keep failing",
    P2,
    fix="Fix what the forge says in `allegro explain ID`; after some hours the request ends.",
    runbook=runbook.ENDED,
    depends_on="forge.reachable",
)
REQUEST_STUCK = Code(
    "request.stuck",
    "stuck requests",
    P2,
    fix="Run `allegro explain ID`.",
    runbook=runbook.ENDED,
    depends_on="lane.link",
)
REQUEST_STALE = Code(
    "request.stale",
    "stale request",
    P2,
    fix="Look at the request again, and ask anew.",
    runbook=runbook.ENDED,
    alert="{subject} is stale: {reason}",
)
REQUEST_CONFLICT = Code(
    "request.conflict",
    "request in conflict",
    P1,
    fix="Look at the forge; remove or rename what stands in the place, and ask again.",
    runbook=runbook.ENDED,
    alert="{subject}: conflict: {reason}",
)
RECEIPT_SECOND = Code(
    "request.receipt.second",
    "second receipt",
    P1,
    fix="Look at both on the forge, and distrust that lane.",
    runbook=runbook.TWICE,
    alert="{subject}: a second receipt names {artifact} beside {first}: it covers no other write",
)
RECEIPT_LATE = Code(
    "request.receipt.late",
    "receipt after the end",
    P1,
    fix="Look at it on the forge: it may be there although the request ended.",
    runbook=runbook.ENDED,
    alert="{subject} is {state}: a receipt for {artifact} came all the same and covers nothing",
)
RECEIPT_CONTENT = Code(
    "request.receipt.content",
    "receipt for other content",
    P1,
    fix="Look at it on the forge, and distrust that lane.",
    runbook=runbook.STOLEN,
    alert="{subject}: its lane names other words than were approved",
)
RENEWED_DONE = Code(
    "request.renewed_done",
    "stale request that was done after all",
    P1,
    fix="Look at both requests: only one is wanted.",
    runbook=runbook.TWICE,
    alert="{subject} was stale, and done after all: {newer}, asked in its place, is {state}",
)
