"""Every write of our bots that a poll shows must be one the house knows of (G13)."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

GRACE_S = 600.0
COPIES = 2


class Receipt(msgspec.Struct, frozen=True):
    """An effect the house knows of.

    `kind` is comment, pull_request, close, label or branch. `artifact` is the comment's id or the
    number; of a label or close, when it was settled (Unix seconds); of a branch 0. `content` names the words
    (keyed), is the label or names the branch at a commit; empty where there is nothing to compare.
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
    `issue`: we never do that. `artifact` of a label or close is when that was. `fresh` is true where the
    forge shows that nobody edited it since it was made; of a branch, where the lane told what its
    commit holds.
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
    is archived to its end. It waits for both, but never longer than GRACE_S. A second copy of the
    same words is the forge's or the network's doing; a third is somebody's. `leased` are the labels
    that a lane may set under its lease. Other words than those of the order, where nobody edited
    them since, were never ours. `ahead_s`: see `made_s`.
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
