"""Codes of a fleet: council, peers, roles."""

from __future__ import annotations

from allegro.core.health.codes import runbook
from allegro.core.health.codes.code import P1, P2, P3, Code

FAILURE_DOMAIN = Code(
    "fleet.failure_domain",
    "failure domain",
    P2,
    fix="Move one of them elsewhere: one outage there takes both.",
    runbook=runbook.FLEET,
)
COUNCIL = Code(
    "fleet.council",
    "council",
    P1,
    fix="See that `allegro council` runs here and on a second lane.",
    runbook=runbook.QUORUM,
    alert="lane {lane} lost the council: no role changes hands there",
)
COUNCIL_BACK = Code(
    "fleet.council.back",
    "council that is back",
    P3,
    fix="Nothing: the council answers again.",
    runbook=runbook.QUORUM,
    alert="lane {lane} is back in the council",
    clears=("fleet.council",),
)
COUNCIL_PAGE = Code(
    "fleet.council.page",
    "page of the council",
    P1,
    fix="Update allegro on the lane that wrote the page, and report the fault.",
    runbook=runbook.QUORUM,
    alert="the page of {subject} met a bug in lane {lane}, which reads it no more for a while",
    depends_on="fleet.council",
)
PEER = Code(
    "fleet.peer",
    "peers",
    P1,
    fix="Run `allegro fleet status`, then look at that lane.",
    runbook=runbook.FLEET,
    alert="lane {lane} does not hear {subject}",
    depends_on="fleet.council",
)
PEER_BACK = Code(
    "fleet.peer.back",
    "peer that is back",
    P3,
    fix="Nothing: the lanes hear each other again.",
    runbook=runbook.FLEET,
    alert="lane {lane} hears {subject} again",
    clears=("fleet.peer",),
)
_TOOK = (
    "{subject}: {lane} took over from {before} ({why}), first act {seconds} s after its last word"
)
ROLE_TAKEN = Code(
    "fleet.role.taken_over",
    "role that was taken over",
    P1,
    fix="Look at the lane that held it before; it gets the role back when it is well.",
    runbook=runbook.FLEET,
    alert=_TOOK,
)
ROLE_HANDED_OVER = Code(
    "fleet.role.handed_over",
    "role that was handed over",
    P2,
    fix="Nothing, if a reboot was planned.",
    runbook="planned-reboot",
    alert=_TOOK,
)
ROLE_VACANT = Code(
    "fleet.role.vacant",
    "role that nobody holds",
    P1,
    fix="Run `allegro fleet status`: a lane must be ready, and the council must answer.",
    runbook=runbook.QUORUM,
    alert="nobody holds {subject} since {seconds} s",
    depends_on="fleet.council",
)
ROLE_HELD = Code(
    "fleet.role.held",
    "role that is held again",
    P3,
    fix="Nothing: the role is held again.",
    runbook=runbook.QUORUM,
    alert="{subject} is held again",
    clears=("fleet.role.vacant",),
)
FAILOVER_REPORTED = Code(
    "fleet.failover_reported",
    "reported fail-over",
    P2,
    fix="Look at what was reported, and at `allegro fleet status`.",
    runbook=runbook.FLEET,
    alert="failover reported: {subject}",
)
