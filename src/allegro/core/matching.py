"""Every write of our bots that a poll shows must be one the house knows of (G13)."""

from __future__ import annotations

import msgspec

GRACE_S = 600.0


class BotWrite(msgspec.Struct, frozen=True):
    """Something a poll showed under one of our bots' names.

    `kind` is pull_request, comment, issue, close or label; `target` the subject it was done to;
    `number` the pull request's number or the comment's id; `content` a hash of its words;
    `seen_s` when the archive took it (Unix seconds).
    """

    kind: str
    target: str
    number: int
    author_id: int
    content: str
    seen_s: float


class Known(msgspec.Struct, frozen=True):
    """What may have caused writes to one target: receipts, and orders that are still open.

    `receipts` holds (kind, number); `open_order` is true while an order for the target may still
    write; `journals_home` is true when every lane's journal is archived to its end.
    """

    receipts: frozenset[tuple[str, int]]
    open_order: bool
    journals_home: bool


def is_unmatched(write: BotWrite, known: Known, now_s: float) -> bool:
    """Say whether this write is nobody's: then it is P0 and the fleet freezes.

    It waits for open orders and for journals on their way, but never longer than GRACE_S.
    """
    if (write.kind, write.number) in known.receipts:
        return False
    settled = known.journals_home and not known.open_order
    return settled or not now_s < write.seen_s + GRACE_S
