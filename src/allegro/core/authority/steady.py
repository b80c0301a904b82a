"""Whether a role's register shows one holder that keeps it: what changes each moment decides nothing."""

from __future__ import annotations

import msgspec

from allegro.core.authority.lease import Slot

Holder = tuple[str, str, int]
"""Name, process and epoch of a record: one term of holding."""


class Steady(msgspec.Struct, frozen=True):
    """What was seen of one register; times on the own boot-time clock (s).

    `since_s`: since when every read showed this holder; `moved_s`: when its record last changed;
    `settled_s`: when the register last showed a holder that kept the role for a whole lease.
    """

    settled_s: float
    holder: Holder | None = None
    since_s: float = float("nan")
    revision: int = -1
    moved_s: float = float("nan")


def watched(before: Steady, slot: Slot, *, boot_s: float, lease_s: float) -> Steady:
    """Return what is known of a register after it was read again."""
    record = slot.record
    holder = None
    if record is not None and not record.offered:
        holder = (record.holder, record.process, record.epoch)
    since_s = before.since_s if holder == before.holder else boot_s
    moved_s = before.moved_s if slot.revision == before.revision else boot_s
    is_settled = holder is not None and boot_s - since_s >= lease_s and boot_s - moved_s <= lease_s
    settled_s = boot_s if is_settled else before.settled_s
    return Steady(settled_s, holder, since_s, slot.revision, moved_s)
