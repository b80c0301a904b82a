"""Codes of lanes, their machines and their link."""

from __future__ import annotations

from allegro.core.health.codes import runbook
from allegro.core.health.codes.code import P0, P1, P2, P3, Code

LANES = Code(
    "fleet.lanes",
    "paired lanes",
    P2,
    fix="Run `allegro pair` on house and lane.",
    runbook="join",
)
LANES_UNREACHABLE = Code(
    "fleet.unreachable",
    "fleet of which no lane can be reached",
    P1,
    fix="Check the network of the house, then the machines of the lanes; nothing acts meanwhile.",
    runbook=runbook.LOCAL_ONLY,
    own_grace_s=20.0,
)
LANE_LINK = Code(
    "lane.link",
    "link",
    P1,
    fix="Check that the lane runs and that its port is reachable.",
    runbook=runbook.UNLINKED,
    depends_on="lane.silent",
)
LANE_LINK_HOUSE_BEHIND = Code(
    "lane.link.house_behind",
    "link of a restored house",
    P1,
    fix="Read *Lost house* in the runbook before you take the seat.",
    runbook=runbook.LOST_HOUSE,
)
LANE_LINK_SEAT = Code(
    "lane.link.seat",
    "link of another house",
    P1,
    fix="Run `allegro house --config house.toml take-seat` on the house that is to act.",
    runbook=runbook.UNLINKED,
)
LANE_LINK_KEYS = Code(
    "lane.link.keys",
    "link with other keys",
    P1,
    fix="Pair anew, if you know why the keys changed.",
    runbook=runbook.UNLINKED,
)
LANE_LINK_PROTOCOL = Code(
    "lane.link.protocol",
    "link of another version",
    P1,
    fix="Update the older side.",
    runbook=runbook.UNLINKED,
)
LANE_SILENT = Code(
    "lane.silent",
    "silent lane",
    P1,
    fix="Check the lane's machine and its network.",
    runbook=runbook.UNLINKED,
    alert="lane {subject} is silent since {since}",
    depends_on="fleet.unreachable",
)
LANE_HEARTBEAT = Code(
    "lane.heartbeat",
    "heartbeat of a linked lane",
    P1,
    fix="Read the lane's log, then restart it.",
    runbook=runbook.UNLINKED,
    alert="lane {subject} is linked and does not beat since {since}",
)
LANE_BACK = Code(
    "lane.back",
    "lane that is back",
    P3,
    fix="Nothing: the lane is heard again.",
    runbook=runbook.UNLINKED,
    alert="{subject} is back",
    clears=("lane.silent", "lane.heartbeat"),
)
LANE_DOCTOR = Code(
    "lane.doctor",
    "doctor of a lane",
    P2,
    fix="Update the older side, or read the lane's log.",
    runbook=runbook.UPGRADE,
    depends_on="lane.link",
)
LANE_SUSPENDED = Code(
    "lane.suspended",
    "orders to a lane",
    P0,
    fix="Find out why, update allegro, then run `allegro fleet resume {subject}`.",
    runbook=runbook.STOLEN,
    alert="lane {subject} gets no orders until `allegro fleet resume {subject}`: {reason}",
)
LANE_DUTY = Code(
    "lane.duty",
    "duty of a lane",
    P1,
    fix=runbook.READ_LOG,
    runbook=runbook.SAFE,
    alert="lane {lane} says that its duty {subject} failed; it begins again",
)
LANE_JOURNAL = Code(
    "lane.journal",
    "journal",
    P1,
    fix="Link the lane to its house, or raise journal.cap_mb; it resumes by itself.",
    runbook=runbook.FULL,
)
LANE_DISK = Code(
    "lane.disk",
    "disk of a lane",
    P1,
    fix="Free space; the lane resumes by itself.",
    runbook=runbook.FULL,
)
LANE_CLOCK = Code(
    "lane.clock",
    "clock",
    P1,
    fix="Run `timedatectl set-ntp true`; approvals are refused until the clock is right.",
    runbook=runbook.CLOCK,
)
SAFE_MODE = Code(
    "program.safe_mode",
    "safe mode",
    P1,
    fix="Read the log, then start with --leave-safe-mode.",
    runbook=runbook.SAFE,
)
LANE_KEY = Code(
    "lane.key",
    "lane key",
    P1,
    fix="Run `allegro init lane`, or `chmod 600` on the file where only its mode is wrong.",
    runbook=runbook.NO_START,
)
PAIRING = Code(
    "lane.pairing",
    "pairing",
    P1,
    fix="Finish `allegro pair`; put a good copy back where a file is damaged.",
    runbook=runbook.NO_START,
)
DEAD_MAN = Code(
    "lane.dead_man",
    "dead-man switch",
    P1,
    fix="See that beat.url answers 2xx: its watcher takes this lane for dead.",
    runbook="units",
)
