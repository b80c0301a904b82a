"""Every write of our bots that a poll shows must be one the house knows of (G13)."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

GRACE_S = 600.0
COPIES = 2


class Receipt(msgspec.Struct, frozen=True):
    """An effect the house knows of.

    `kind` is comment, pull_request or close; `artifact` the comment's id or the number;
    `content` names the words (keyed), empty where there are none.
    """

    kind: str
    target: str
    artifact: int
    content: str
    request: str


class BotWrite(msgspec.Struct, frozen=True):
    """Something a poll showed under one of our bots' names.

    `event` is the archived event's id, `target` the subject it was done to, `seen_s` when the
    archive took it (Unix seconds). An issue opened by a bot has kind `issue`: we never do that.
    """

    event: str
    kind: str
    target: str
    artifact: int
    content: str
    seen_s: float


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
) -> Matched | Altered | Doubled | Waiting | Unmatched:
    """Decide about one write.

    `open_order`: an order for this target may still write. `journals_home`: every lane's journal
    is archived to its end. It waits for both, but never longer than GRACE_S. A second copy of the
    same words is the forge's or the network's doing; a third is somebody's.
    """
    receipts = [r for r in receipts if (r.kind, r.target) == (write.kind, write.target)]
    known = [r.content for r in receipts if r.artifact == write.artifact]
    if write.content in known:
        return Matched()
    may_still_come = open_order or not journals_home
    if may_still_come and now_s < write.seen_s + GRACE_S:
        return Waiting()
    if known:
        return Altered()
    same = [r for r in receipts if write.content and r.content == write.content]
    for receipt in same:
        if sum(r.request == receipt.request for r in same) < COPIES:
            return Doubled(receipt)
    return Unmatched()
