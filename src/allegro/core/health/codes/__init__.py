"""Every health code: what can be wrong with a fleet, how bad it is, and what to do about it.

One value for each condition, all in this file. A fact (`facts.py`) says whether a condition holds
and for what; an alert (`alerts.py`) says that it began to. Both name their code and bring values;
the sentence that a person reads comes from here. A code keeps its dotted name for ever: scripts and
dashboards match on it.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec


class Severity(StrEnum):
    """How soon a person must know: P0 now, P1 within the hour, P2 today, P3 when they look."""

    P0 = "P0"
    P1 = "P1"
    P2 = "P2"
    P3 = "P3"


P0, P1, P2, P3 = Severity


class Code(msgspec.Struct, frozen=True):
    """One condition.

    `fix` is one sentence in which `{subject}` stands for what a fact is about. `runbook` is the
    anchor of a section of docs/runbook.md. `alert` is the sentence of an alert with its values in
    braces, besides `{subject}` and `{lane}`; it is empty for what only facts report. While the code
    named by `depends_on` is bad, this one says nothing new.
    """

    code: str
    title: str
    severity: Severity
    fix: str
    runbook: str
    alert: str = ""
    depends_on: str = ""


_AT_NIGHT = "at-2-am"
_FOREIGN = "frozen-and-the-reason-says-made-under-our-name-by-nobody-here"
_FROZEN = "frozen-otherwise"
_UNLINKED = "a-lane-is-not-linked"
_NO_START = "the-lane-does-not-start"
_FULL = "journal-full-or-disk-full"
_CLOCK = "clock-untrusted"
_ENDED = "a-request-ended-as"
_TWICE = "two-of-a-thing"
_CHANGED = "our-words-were-changed"
_SAFE = "safe-mode"
_FORGE = "the-forge-is-unreachable"
_HIDDEN = "an-issue-does-not-show-up"
_QUESTION = "a-question-waits"
_PROVIDER = "a-provider-does-not-answer"
_SESSION = "a-session-was-lost"
_FLEET = "a-fleet"
_QUORUM = "lost-quorum"
_STOLEN = "stolen-lane"
_LOST_HOUSE = "lost-house"
_KEYS = "keys"
_UPGRADE = "upgrade"
_READ_LOG = "Read the log at `item.failed`, which names the place, and report it; it begins again by itself."

# --- programs and machines -------------------------------------------------------------------

OTHER = Code(
    "other", "other", P2, "Update the older side: it reports something that has no code.",
    _UPGRADE, "{subject}",
)  # fmt: skip
VERSION = Code("program.version", "version", P3, "Update the older side.", _UPGRADE)
SWAP = Code(
    "host.swap", "swap", P3,
    "Run `swapoff -a`, set MemorySwapMax=0 in the lane's unit, or encrypt the swap.", "units",
)  # fmt: skip

# --- the house -------------------------------------------------------------------------------

HOUSE_SEAT = Code(
    "house.seat", "seat", P3,
    "Run `allegro house --config house.toml take-seat` on the house that is to act.", _LOST_HOUSE,
)  # fmt: skip
HOUSE_KEYS = Code("house.keys", "keys", P3, "See the runbook's section on keys.", _KEYS)
SOVEREIGN_KEY = Code(
    "house.sovereign_key", "sovereign key", P2,
    "Run `allegro keys rotate sovereign --config house.toml` and give it a passphrase.", _KEYS,
)  # fmt: skip
HOUSE_DISK = Code(
    "house.disk", "disk of the house", P1, "Free space: the archive cannot grow.", _FULL
)
STORES = Code(
    "house.stores", "archive and ledger", P0,
    "Put back the file that is missing, or check requests and receipts on the forge, then thaw.",
    _LOST_HOUSE, "{subject}: check what happened",
)  # fmt: skip
LEDGER_DAMAGED = Code(
    "house.ledger.damaged", "damaged part of the ledger", P1,
    "Restore the ledger from a backup if what was set aside matters.", _LOST_HOUSE,
    "{subject} of the ledger set aside: {reason}", depends_on="house.stores",
)  # fmt: skip
TASK_FAILED = Code(
    "house.task", "task of the house", P1, _READ_LOG, _SAFE, "a fault in {subject}: {detail}"
)
SET_ASIDE = Code(
    "house.set_aside", "items set aside", P1,
    "See `allegro status`, update allegro, and report what was set aside.", _SAFE,
    "{duty}: {subject} was set aside: {reason}",
)  # fmt: skip
ARCHIVE_GAPS = Code(
    "archive.gaps", "gaps in the archive", P2, "See `allegro events --gaps`.", _FULL
)
ARCHIVE_REJECTED = Code(
    "archive.rejected", "entries that cannot be archived", P2,
    "See `allegro events --gaps`; update the lane, and distrust it if it goes on.", _STOLEN,
    "lane {lane} sent what cannot be archived: see the named gaps",
)  # fmt: skip
ARCHIVE_CLASH = Code(
    "archive.clash", "two contents under one id", P1,
    "Check the lane's machine: an honest lane never does this.", _STOLEN,
    "lane {lane} sent other content under an id that it had sent before",
)  # fmt: skip
EVENT_UNREADABLE = Code(
    "archive.event_unreadable", "event that cannot be read", P2,
    "Update the older side; distrust the lane if both are of one version.", _UPGRADE,
    "lane {lane} sent an event that cannot be read",
)  # fmt: skip

# --- freezes ---------------------------------------------------------------------------------

FROZEN = Code(
    "fleet.frozen", "freeze", P1,
    "Once the reason is gone: `allegro thaw --all --config house.toml` at home.", _FROZEN,
    "frozen by {subject}: {reason}",
)  # fmt: skip
FREEZE_UNSAVED = Code(
    "fleet.frozen.unsaved", "freeze that is not on disk", P0,
    "Free space at the house and leave it running: the freeze holds until it restarts.", _FULL,
    "the freeze holds but cannot be written down: {subject}",
)  # fmt: skip
FREEZE_THAWED_BEFORE = Code(
    "fleet.frozen.thawed_before", "stop that was thawed before it came", P1,
    "Run `allegro stop` if the stop is meant.", _FROZEN,
    "a stop came under an id that was thawed before: stop anew if it is meant ({subject})",
)  # fmt: skip
LANE_FROZE = Code(
    "lane.froze", "lane that froze", P1, "Read the reason in `allegro status`.", _FROZEN,
    "lane {lane} froze",
)  # fmt: skip

# --- lanes -----------------------------------------------------------------------------------

LANES = Code(
    "fleet.lanes", "paired lanes", P2, "Run `allegro pair` on house and lane.", "join"
)  # fmt: skip
LANE_LINK = Code(
    "lane.link", "link", P1, "Check that the lane runs and that its port is reachable.", _UNLINKED
)
LANE_LINK_HOUSE_BEHIND = Code(
    "lane.link.house_behind", "link of a restored house", P1,
    "Read *Lost house* in the runbook before you take the seat.", _LOST_HOUSE,
)  # fmt: skip
LANE_LINK_SEAT = Code(
    "lane.link.seat", "link of another house", P1,
    "Run `allegro house --config house.toml take-seat` on the house that is to act.", _UNLINKED,
)  # fmt: skip
LANE_LINK_KEYS = Code(
    "lane.link.keys", "link with other keys", P1, "Pair anew, if you know why the keys changed.",
    _UNLINKED,
)  # fmt: skip
LANE_LINK_PROTOCOL = Code(
    "lane.link.protocol", "link of another version", P1, "Update the older side.", _UNLINKED
)
LANE_SILENT = Code(
    "lane.silent", "silent lane", P1, "Check the lane's machine and its network.", _UNLINKED,
    "lane {subject} is silent since {since}",
)  # fmt: skip
LANE_HEARTBEAT = Code(
    "lane.heartbeat", "heartbeat of a linked lane", P1, "Read the lane's log, then restart it.",
    _UNLINKED, "lane {subject} is linked and does not beat since {since}",
)  # fmt: skip
LANE_BACK = Code(
    "lane.back", "lane that is back", P3, "Nothing: the lane is heard again.", _UNLINKED,
    "{subject} is back",
)  # fmt: skip
LANE_DOCTOR = Code(
    "lane.doctor", "doctor of a lane", P2, "Update the older side, or read the lane's log.",
    _UPGRADE, depends_on="lane.link",
)  # fmt: skip
LANE_SUSPENDED = Code(
    "lane.suspended", "orders to a lane", P0,
    "Find out why, update allegro, then run `allegro fleet resume {subject}`.", _STOLEN,
    "lane {subject} gets no orders until `allegro fleet resume {subject}`: {reason}",
)  # fmt: skip
LANE_DUTY = Code(
    "lane.duty", "duty of a lane", P1, _READ_LOG, _SAFE,
    "lane {lane} says that its duty {subject} failed; it begins again",
)  # fmt: skip
LANE_JOURNAL = Code(
    "lane.journal", "journal", P1,
    "Link the lane to its house, or raise journal.cap_mb; it resumes by itself.", _FULL,
)  # fmt: skip
LANE_DISK = Code(
    "lane.disk", "disk of a lane", P1, "Free space; the lane resumes by itself.", _FULL
)
LANE_CLOCK = Code(
    "lane.clock", "clock", P1,
    "Run `timedatectl set-ntp true`; approvals are refused until the clock is right.", _CLOCK,
)  # fmt: skip
SAFE_MODE = Code(
    "program.safe_mode", "safe mode", P1, "Read the log, then start with --leave-safe-mode.", _SAFE
)
LANE_KEY = Code(
    "lane.key", "lane key", P1,
    "Run `allegro init lane`, or `chmod 600` on the file where only its mode is wrong.", _NO_START,
)  # fmt: skip
PAIRING = Code(
    "lane.pairing", "pairing", P1,
    "Finish `allegro pair`; put a good copy back where a file is damaged.", _NO_START,
)  # fmt: skip
DEAD_MAN = Code(
    "lane.dead_man", "dead-man switch", P1,
    "See that beat.url answers 2xx: its watcher takes this lane for dead.", "units",
)  # fmt: skip

# --- the fleet -------------------------------------------------------------------------------

FAILURE_DOMAIN = Code(
    "fleet.failure_domain", "failure domain", P2,
    "Move one of them elsewhere: one outage there takes both.", _FLEET,
)  # fmt: skip
COUNCIL = Code(
    "fleet.council", "council", P1, "See that `allegro council` runs here and on a second lane.",
    _QUORUM, "lane {lane} lost the council: no role changes hands there",
)  # fmt: skip
COUNCIL_BACK = Code(
    "fleet.council.back", "council that is back", P3, "Nothing: the council answers again.",
    _QUORUM, "lane {lane} is back in the council",
)  # fmt: skip
COUNCIL_PAGE = Code(
    "fleet.council.page", "page of the council", P1,
    "Update allegro on the lane that wrote the page, and report the fault.", _QUORUM,
    "the page of {subject} met a bug in lane {lane}, which reads it no more for a while",
    depends_on="fleet.council",
)  # fmt: skip
PEER = Code(
    "fleet.peer", "peers", P1, "Run `allegro fleet status`, then look at that lane.", _FLEET,
    "lane {lane} does not hear {subject}", depends_on="fleet.council",
)  # fmt: skip
PEER_BACK = Code(
    "fleet.peer.back", "peer that is back", P3, "Nothing: the lanes hear each other again.",
    _FLEET, "lane {lane} hears {subject} again",
)  # fmt: skip
_TOOK = (
    "{subject}: {lane} took over from {before} ({why}), first act {seconds} s after its last word"
)
ROLE_TAKEN = Code(
    "fleet.role.taken_over", "role that was taken over", P1,
    "Look at the lane that held it before; it gets the role back when it is well.", _FLEET, _TOOK,
)  # fmt: skip
ROLE_HANDED_OVER = Code(
    "fleet.role.handed_over", "role that was handed over", P2,
    "Nothing, if a reboot was planned.", "planned-reboot", _TOOK,
)  # fmt: skip
ROLE_VACANT = Code(
    "fleet.role.vacant", "role that nobody holds", P1,
    "Run `allegro fleet status`: a lane must be ready, and the council must answer.", _QUORUM,
    "nobody holds {subject} since {seconds} s", depends_on="fleet.council",
)  # fmt: skip
ROLE_HELD = Code(
    "fleet.role.held", "role that is held again", P3, "Nothing: the role is held again.", _QUORUM,
    "{subject} is held again",
)  # fmt: skip
FAILOVER_REPORTED = Code(
    "fleet.failover_reported", "reported fail-over", P2,
    "Look at what was reported, and at `allegro fleet status`.", _FLEET,
    "failover reported: {subject}",
)  # fmt: skip

# --- the forge -------------------------------------------------------------------------------

FORGE = Code(
    "forge.reachable", "forge", P1, "Check forge.url, the network and the token.", _FORGE,
    "lane {lane} says that the forge does not answer",
)  # fmt: skip
FORGE_BACK = Code(
    "forge.back", "forge that is back", P3, "Nothing: the forge answers again.", _FORGE,
    "lane {lane} says that the forge answers again",
)  # fmt: skip
FORGE_CLOCK = Code(
    "forge.clock", "clock of the forge", P2,
    "Let what stands before the forge pass the Date header on.", _CLOCK,
    depends_on="forge.reachable",
)  # fmt: skip
WATCH = Code(
    "forge.watch", "watch", P1,
    "Give the user of the daily token read access and the token its scopes; a repository without "
    "issues and pull requests cannot be watched.", _HIDDEN, "lane {lane} cannot read {subject}",
    depends_on="forge.reachable",
)  # fmt: skip
WATCH_REPLACED = Code(
    "forge.watch.replaced", "watch that is another repository", P2,
    "Check who made the new repository under the old name.", _HIDDEN,
    "lane {lane} says that {subject} is another repository now; the old one is gone",
)  # fmt: skip
UNREAD = Code(
    "forge.object_unread", "object that cannot be read", P2,
    "Open it in the browser, and shorten or delete it; see docs/forge.md.", _HIDDEN,
    "lane {lane} cannot read {subject}: open it in the browser, and shorten or delete it",
)  # fmt: skip
WEBHOOK = Code(
    "forge.webhook",
    "webhook",
    P2,
    "Read *The webhook* in docs/forge.md; polls go on meanwhile.",
    _HIDDEN,
)
SHADOW = Code("forge.shadow", "shadow mode", P3, "Set forge.shadow = false.", _ENDED)
LABEL = Code(
    "forge.label", "triage label", P1,
    "Write the same triage_label into [forge] of lane.toml and house.toml, and restart the one "
    "that you changed.", _HIDDEN,
    "lane {lane} marks no issue as seen: forge.triage_label is {here!r} in lane.toml and"
    " {subject!r} in house.toml; write the same into both, and restart the one you changed",
)  # fmt: skip
TOKEN_IDENTITY = Code(
    "forge.token.identity", "user of the daily token", P1,
    "Put the token of a user named in forge.bots into forge.token_file.", _NO_START,
    depends_on="forge.reachable",
)  # fmt: skip
TOKEN_SCOPES = Code(
    "forge.token.scopes", "scopes of the daily token", P2,
    "Make a token with write:issue, read:repository, read:user (and read:organization for an org: "
    "watch) and no more, and put it into forge.token_file.", _NO_START,
    depends_on="forge.token.identity",
)  # fmt: skip
TOKEN_REACH = Code(
    "forge.token.reach", "reach of a stolen daily token", P3,
    "When it is stolen: `allegro revoke lane NAME`, then delete the token at the forge.", _STOLEN,
)  # fmt: skip
CHANGE_TOKEN = Code(
    "forge.change_token", "change token", P3, "Set forge.change_token_file in house.toml.", _ENDED
)
CHANGE_TOKEN_REACH = Code(
    "forge.change_token.reach", "reach of a stolen change token", P3,
    "When it is stolen: delete the token at the forge.", _STOLEN,
)  # fmt: skip
PROTECTION = Code(
    "forge.protection", "protection of the default branch", P2,
    "Protect the branch as docs/forge.md#protect-the-default-branch says; until then the lane only "
    "comments there.", _ENDED, depends_on="forge.watch",
)  # fmt: skip
BOTS = Code(
    "forge.bots", "users of the fleet", P1, "Correct forge.bots in lane.toml.", _NO_START,
    "lane {lane} says that user {subject} is a bot of ours too: what it writes is matched",
)  # fmt: skip
BOTS_TOO_MANY = Code(
    "forge.bots.too_many", "too many users of the fleet", P1,
    "Check forge.bots on that lane: an honest lane names a few.", _STOLEN,
    "lane {lane} names more bots than are believed",
)  # fmt: skip
WRITE_FOREIGN = Code(
    "forge.write.foreign", "write under our name by nobody", P0,
    "Look at it on the forge; delete both tokens if it is not yours, then thaw by id.", _FOREIGN,
    "{subject} was made under our name by nobody here{more}",
)  # fmt: skip
WRITE_FLOOD = Code(
    "forge.write.flood", "too many writes under our name", P0,
    "Look at the lane's machine and at the forge, then thaw by id.", _FOREIGN,
    "lane {lane} shows more writes under our name than can be matched",
)  # fmt: skip
WRITE_ALTERED = Code(
    "forge.write.altered", "changed content of ours", P1,
    "Look at it on the forge: somebody with write permission edited it.", _CHANGED,
    "{subject}: our words were changed",
)  # fmt: skip
WRITE_DOUBLED = Code(
    "forge.write.doubled", "effect that is there twice", P1,
    "Find both on the forge and close one by hand.", _TWICE,
    "{subject} is there more than once: also {others}",
)  # fmt: skip
WRITE_TOO_OLD = Code(
    "forge.write.too_old", "branch that claims to be older", P1,
    "Look at the branch on the forge: its time cannot be true.", _FOREIGN,
    "{subject} claims to be older than this fleet",
)  # fmt: skip

# --- requests --------------------------------------------------------------------------------

REQUEST_FAILING = Code(
    "request.failing", "orders that keep failing", P2,
    "Fix what the forge says in `allegro explain ID`; after some hours the request ends.", _ENDED,
    depends_on="forge.reachable",
)  # fmt: skip
REQUEST_STUCK = Code(
    "request.stuck", "stuck requests", P2, "Run `allegro explain ID`.", _ENDED,
    depends_on="lane.link",
)  # fmt: skip
REQUEST_STALE = Code(
    "request.stale", "stale request", P2, "Look at the request again, and ask anew.", _ENDED,
    "{subject} is stale: {reason}",
)  # fmt: skip
REQUEST_CONFLICT = Code(
    "request.conflict", "request in conflict", P1,
    "Look at the forge; remove or rename what stands in the place, and ask again.", _ENDED,
    "{subject}: conflict: {reason}",
)  # fmt: skip
RECEIPT_SECOND = Code(
    "request.receipt.second", "second receipt", P1,
    "Look at both on the forge, and distrust that lane.", _TWICE,
    "{subject}: a second receipt names {artifact} beside {first}: it covers no other write",
)  # fmt: skip
RECEIPT_LATE = Code(
    "request.receipt.late", "receipt after the end", P1,
    "Look at it on the forge: it may be there although the request ended.", _ENDED,
    "{subject} is {state}: a receipt for {artifact} came all the same and covers nothing",
)  # fmt: skip
RECEIPT_CONTENT = Code(
    "request.receipt.content", "receipt for other content", P1,
    "Look at it on the forge, and distrust that lane.", _STOLEN,
    "{subject}: its lane names other words than were approved",
)  # fmt: skip
RENEWED_DONE = Code(
    "request.renewed_done", "stale request that was done after all", P1,
    "Look at both requests: only one is wanted.", _TWICE,
    "{subject} was stale, and done after all: {newer}, asked in its place, is {state}",
)  # fmt: skip

# --- agent and models ------------------------------------------------------------------------

HERMES = Code(
    "agent.hermes", "hermes", P1,
    "Run `allegro hermes install --config lane.toml`, then read the lane's log; with hermes.url "
    "check that it answers and hermes.key_file.", _SESSION,
)  # fmt: skip
HERMES_APPROVALS = Code(
    "agent.hermes.approvals", "approvals of a foreign Hermes", P2,
    "Set approvals.mode to manual there: its default lets a model decide.", _SESSION,
)  # fmt: skip
HERMES_TOOLSET = Code(
    "agent.hermes.toolset", "toolset of a foreign Hermes", P1,
    "Take {subject} out of platform_toolsets.api_server there.", _SESSION,
)  # fmt: skip
HERMES_TOOLS = Code(
    "agent.hermes.tools", "tools of a foreign Hermes", P2,
    "Leave on what you would hand to a stranger.", _SESSION,
)  # fmt: skip
SANDBOX = Code(
    "agent.sandbox", "sandbox", P1,
    "Install bubblewrap and restart; tools stay off without a sandbox.", _SESSION,
)  # fmt: skip
SANDBOX_ATTACK = Code(
    "agent.sandbox.attack", "attack on the sandbox", P0,
    "Switch every tool off and report this.", _SESSION, depends_on="agent.sandbox",
)  # fmt: skip
TOOLS = Code(
    "agent.tools", "tools", P1,
    "See docs/hermes.md: install another version, or take the tool out of hermes.tools.", _SESSION,
    depends_on="agent.sandbox",
)  # fmt: skip
FORGED = Code(
    "agent.forged", "forged facts of a session", P1,
    "Read the session's events; stop it if it goes on.", _SESSION,
    "session {subject}: {count} facts were forged inside its sandbox, none believed",
)  # fmt: skip
QUESTION = Code(
    "agent.question", "question that waits", P2, "Run `allegro requests`, then approve or reject.",
    _QUESTION,
)  # fmt: skip
QUESTION_UNREADABLE = Code(
    "agent.question.unreadable", "question that cannot be read", P1,
    "Read the session's events; stop it if it goes on.", _QUESTION,
    "session {subject}: a question that cannot be read",
)  # fmt: skip
QUESTION_DENIED = Code(
    "agent.question.denied", "question that was denied", P2,
    "Nothing: the session goes on without it.", _QUESTION,
    "session {subject}: its lane denied a question: {reason}",
)  # fmt: skip
QUESTION_UNASKED = Code(
    "agent.question.not_asked", "question that cannot be asked", P1,
    "Read the reason; the lane denies the question when its time is over.", _QUESTION,
    "session {subject}: a question that cannot be asked: {reason}",
)  # fmt: skip
PROVIDER = Code(
    "model.provider", "model provider", P2,
    "See the runbook's table for the trouble that is named; the ladder goes on with the next.",
    _PROVIDER,
)  # fmt: skip
DIALECT = Code("model.dialect", "how a provider wants to be asked", P3, "Nothing.", _PROVIDER)
SPEND = Code(
    "model.spend", "spend of today", P2, "Raise the cap and restart the lane, or wait.", _PROVIDER
)

CODES: dict[str, Code] = {
    one.code: one for one in list(globals().values()) if isinstance(one, Code)
}
"""Every code by its dotted name."""


def code_of(name: str) -> Code:
    """Return the code of this name, `OTHER` for one that this program does not know."""
    return CODES.get(name, OTHER)
