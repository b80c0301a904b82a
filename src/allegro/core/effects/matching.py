"""Decides about each write that a poll shows under our bots' names: is it one of ours?

Invariant: every such write ends as one of five values, and none is dropped. `Matched`: a receipt
covers it. `Waiting`: an order for that target may still write, or journals are still on their way;
for `GRACE_S` after the archive took it at most, then it is decided. `Altered`: ours by id, but its
words were edited; reported. `Doubled`: the same words as a receipt, once more; reported.
`Unmatched`: nobody we know made it; the fleet freezes. This is how a stolen bot token is noticed.

Order: kind and target must be equal before anything else is compared. Then the receipt's id with
its content, or for labels and closes the time: what was done more than `GRACE_S` after the order
was settled is not of that order. Only then waiting, and only after waiting a verdict against the
write. A write is judged again whenever receipts or journals came home.

Must never happen: a write counts as ours because of its author or its marker alone (the labels in
`leased`, which any lane may set without an order, are the one exception); a wait without an end; a third copy of the same words passes (`COPIES`: two are a write that was retried, three are
not ours); a label, branch or close that no receipt covers passes as edited; other words than the
ordered ones pass as edited where the forge shows that nobody edited them (`BotWrite.fresh`).

Sources: threat model, docs/threat-model.md; docs/adr/0025-abort-abandoned-writes-at-the-socket.md
(why two copies can be honest); docs/forge.md. Gitea (from 1.21) and Forgejo (from 7) let anybody
with write permission edit an author's comment and do not tell who did, so an edit cannot be told
from a theft and does not freeze.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

GRACE_S = 600.0
COPIES = 2


class Receipt(msgspec.Struct, frozen=True):
    """An effect the house knows of.

    `kind` is comment, pull_request, close, label or branch. `artifact` is the comment's id or the
    number; of a label or close, when it was settled (Unix seconds); of a branch 0. `content` names
    the words (keyed), is the label or names the branch at a commit; empty where there is nothing
    to compare.
    """

    kind: str
    target: str
    artifact: int
    content: str
    request: str


class BotWrite(msgspec.Struct, frozen=True):
    """Something a poll showed under one of our bots' names.

    `event` names the archived event, `target` the subject it was done to, `seen_s` when the
    archive took it (Unix seconds), `lane` whose poll it was. An issue opened by a bot has kind
    `issue`: we never do that. `artifact` of a label or close is when that was (Unix seconds, the
    forge's clock). `fresh` is true where the forge shows that nobody edited it since it was made;
    of a branch, where the lane reported what its commit holds.
    """

    event: str
    kind: str
    target: str
    artifact: int
    content: str
    seen_s: float
    lane: str = ""
    fresh: bool = False


class Matched(msgspec.Struct, frozen=True):
    """A receipt covers it."""


class Altered(msgspec.Struct, frozen=True):
    """It is ours, but its words are no longer those we wrote: told, and nothing more.

    A forge lets people with write permission edit what others wrote, and does not say who did.
    """


class Doubled(msgspec.Struct, frozen=True):
    """The effect of `of` once more: a forge may finish a write that was given up (G10)."""

    of: Receipt


class Waiting(msgspec.Struct, frozen=True):
    """An order may still be writing, or journals are on their way."""


class Unmatched(msgspec.Struct, frozen=True):
    """Nobody's: P0, and the fleet freezes."""


def judge(
    write: BotWrite,
    receipts: Iterable[Receipt],
    *,
    open_order: bool,
    journals_home: bool,
    now_s: float,
    leased: frozenset[str] = frozenset(),
    ahead_s: float | None = None,
) -> Matched | Altered | Doubled | Waiting | Unmatched:
    """Decide about one write.

    `open_order`: an order for this target may still write. `journals_home`: every lane's journal
    is archived to its end. It waits for both, but never longer than GRACE_S. `now_s` is the house's
    clock (Unix seconds). Two copies of the same words: a retried write; three or more: not ours.
    `leased` are the labels that a lane may set under its lease. Other words than those of the
    order, where nobody edited them since, were never ours. `ahead_s`: see `made_s`.
    """
    receipts = [r for r in receipts if (r.kind, r.target) == (write.kind, write.target)]
    known = [r.content for r in receipts if r.artifact == write.artifact]
    if write.kind in {"label", "close"}:
        at_s = made_s(write, ahead_s)
        is_ours = _covers_until_settled(write, at_s, receipts, leased)
    else:
        is_ours = write.content in known
    if is_ours:
        return Matched()
    may_still_come = open_order or not journals_home
    if may_still_come and now_s < write.seen_s + GRACE_S:
        return Waiting()
    if write.kind in {"label", "branch", "close"}:
        return Unmatched()
    if known:
        return Unmatched() if write.fresh else Altered()
    same = [r for r in receipts if write.content and r.content == write.content]
    for receipt in same:
        if sum(r.request == receipt.request for r in same) < COPIES:
            return Doubled(receipt)
    return Unmatched()


def made_s(write: BotWrite, ahead_s: float | None) -> float:
    """Return when a label or close was made, on the house's clock.

    `ahead_s` is how far the forge's clock is ahead of it, None where that is not known. Nothing is
    made after it was seen.
    """
    return min(write.artifact - (ahead_s or 0.0), write.seen_s)


def _covers_until_settled(
    write: BotWrite, at_s: float, receipts: list[Receipt], leased: frozenset[str]
) -> bool:  # fmt: skip
    """Say whether a label or close is of an order: what was done after it was settled is not."""
    if write.kind == "label" and write.content in leased:
        return True
    return any(r.content == write.content and at_s <= r.artifact + GRACE_S for r in receipts)
