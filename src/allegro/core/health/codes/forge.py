"""Codes of the forge, its tokens and what is written to it."""

from __future__ import annotations

from allegro.core.health.codes import runbook
from allegro.core.health.codes.code import P0, P1, P2, P3, Code

FORGE = Code(
    "forge.reachable",
    "forge",
    P1,
    fix="Check forge.url, the network and the token.",
    runbook=runbook.FORGE,
    alert="lane {lane} says that the forge does not answer",
)
FORGE_BACK = Code(
    "forge.back",
    "forge that is back",
    P3,
    fix="Nothing: the forge answers again.",
    runbook=runbook.FORGE,
    alert="lane {lane} says that the forge answers again",
    clears=("forge.reachable",),
)
FORGE_CLOCK = Code(
    "forge.clock",
    "clock of the forge",
    P2,
    fix="Let what stands before the forge pass the Date header on.",
    runbook=runbook.CLOCK,
    depends_on="forge.reachable",
)
WATCH = Code(
    "forge.watch",
    "watch",
    P1,
    fix=(
        "Give the user of the daily token read access and the token its scopes; a repository without "
        "issues and pull requests cannot be watched."
    ),
    runbook=runbook.HIDDEN,
    alert="lane {lane} cannot read {subject}",
    depends_on="forge.reachable",
)
WATCH_REPLACED = Code(
    "forge.watch.replaced",
    "watch that is another repository",
    P2,
    fix="Check who made the new repository under the old name.",
    runbook=runbook.HIDDEN,
    alert="lane {lane} says that {subject} is another repository now; the old one is gone",
)
UNREAD = Code(
    "forge.object_unread",
    "object that cannot be read",
    P2,
    fix="Open it in the browser, and shorten or delete it; see docs/forge.md.",
    runbook=runbook.HIDDEN,
    alert="lane {lane} cannot read {subject}: open it in the browser, and shorten or delete it",
)
WEBHOOK = Code(
    "forge.webhook",
    "webhook",
    P2,
    fix="Read *The webhook* in docs/forge.md; polls go on meanwhile.",
    runbook=runbook.HIDDEN,
)
SHADOW = Code(
    "forge.shadow",
    "shadow mode",
    P3,
    fix="Set forge.shadow = false.",
    runbook=runbook.ENDED,
)
LABEL = Code(
    "forge.label",
    "triage label",
    P1,
    fix=(
        "Write the same triage_label into [forge] of lane.toml and house.toml, and restart the one "
        "that you changed."
    ),
    runbook=runbook.HIDDEN,
    alert=(
        "lane {lane} marks no issue as seen: forge.triage_label is {here!r} in lane.toml and"
        " {subject!r} in house.toml; write the same into both, and restart the one you changed"
    ),
)
TOKEN_IDENTITY = Code(
    "forge.token.identity",
    "user of the daily token",
    P1,
    fix="Put the token of a user named in forge.bots into forge.token_file.",
    runbook=runbook.NO_START,
    depends_on="forge.reachable",
)
TOKEN_SCOPES = Code(
    "forge.token.scopes",
    "scopes of the daily token",
    P2,
    fix=(
        "Make a token with write:issue, read:repository, read:user (and read:organization for an org: "
        "watch) and no more, and put it into forge.token_file."
    ),
    runbook=runbook.NO_START,
    depends_on="forge.token.identity",
)
TOKEN_REACH = Code(
    "forge.token.reach",
    "reach of a stolen daily token",
    P3,
    fix="When it is stolen: `allegro revoke lane NAME`, then delete the token at the forge.",
    runbook=runbook.STOLEN,
    is_shown_only=True,
)
CHANGE_TOKEN = Code(
    "forge.change_token",
    "change token",
    P3,
    fix="Set forge.change_token_file in house.toml.",
    runbook=runbook.ENDED,
    is_shown_only=True,
)
CHANGE_TOKEN_REACH = Code(
    "forge.change_token.reach",
    "reach of a stolen change token",
    P3,
    fix="When it is stolen: delete the token at the forge.",
    runbook=runbook.STOLEN,
    is_shown_only=True,
)
PROTECTION = Code(
    "forge.protection",
    "protection of the default branch",
    P2,
    fix=(
        "Protect the branch as docs/forge.md#protect-the-default-branch says; until then the lane only "
        "comments there."
    ),
    runbook=runbook.ENDED,
    depends_on="forge.watch",
)
BOTS = Code(
    "forge.bots",
    "users of the fleet",
    P1,
    fix="Correct forge.bots in lane.toml.",
    runbook=runbook.NO_START,
    alert="lane {lane} says that user {subject} is a bot of ours too: what it writes is matched",
)
BOTS_TOO_MANY = Code(
    "forge.bots.too_many",
    "too many users of the fleet",
    P1,
    fix="Check forge.bots on that lane: an honest lane names a few.",
    runbook=runbook.STOLEN,
    alert="lane {lane} names more bots than are believed",
)
WRITE_FOREIGN = Code(
    "forge.write.foreign",
    "write under our name by nobody",
    P0,
    fix="Look at it on the forge; delete both tokens if it is not yours, then thaw by id.",
    runbook=runbook.FOREIGN,
    alert="{subject} was made under our name by nobody here{more}",
)
WRITE_FLOOD = Code(
    "forge.write.flood",
    "too many writes under our name",
    P0,
    fix="Look at the lane's machine and at the forge, then thaw by id.",
    runbook=runbook.FOREIGN,
    alert="lane {lane} shows more writes under our name than can be matched",
)
WRITE_ALTERED = Code(
    "forge.write.altered",
    "changed content of ours",
    P1,
    fix="Look at it on the forge: somebody with write permission edited it.",
    runbook=runbook.CHANGED,
    alert="{subject}: our words were changed",
)
WRITE_DOUBLED = Code(
    "forge.write.doubled",
    "effect that is there twice",
    P1,
    fix="Find both on the forge and close one by hand.",
    runbook=runbook.TWICE,
    alert="{subject} is there more than once: also {others}",
)
WRITE_TOO_OLD = Code(
    "forge.write.too_old",
    "branch that claims to be older",
    P1,
    fix="Look at the branch on the forge: its time cannot be true.",
    runbook=runbook.FOREIGN,
    alert="{subject} claims to be older than this fleet",
)
