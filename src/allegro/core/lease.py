"""A lease: the right to a role until a moment on this machine's own clock."""

from __future__ import annotations

import msgspec

ROLES = ("forge", "hermes")


class Lease(msgspec.Struct, frozen=True):
    """`until_boot_s` counts on a clock that includes suspend. `epoch` is the fencing token."""

    role: str
    holder: str
    epoch: tuple[str, int]
    until_boot_s: float


def holds(lease: Lease | None, boot_s: float) -> bool:
    """Say whether the role is held now: false for None, for the past and for NaN."""
    return lease is not None and boot_s < lease.until_boot_s
