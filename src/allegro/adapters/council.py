"""The council of a single lane: in this process, always in agreement with itself."""

from __future__ import annotations

from collections.abc import Callable

from allegro.core.freeze import FreezeSet, merge
from allegro.core.lease import Lease
from allegro.core.marks import Mark


class LocalCouncil:
    """The Council port without a broker. A lease is granted at once and renewed on each ask."""

    def __init__(
        self, lane: str, incarnation: str, boot_s: Callable[[], float], lease_s: float
    ) -> None:
        self._lane = lane
        self._incarnation = incarnation
        self._boot_s = boot_s
        self._lease_s = lease_s
        self._freezes = FreezeSet()
        self._marks: dict[str, Mark] = {}

    async def acquire(self, role: str) -> Lease | None:
        until_s = self._boot_s() + self._lease_s
        return Lease(role, self._lane, (self._incarnation, 1), until_s)

    async def release(self, role: str) -> None:
        del role

    async def freezes(self) -> FreezeSet:
        return self._freezes

    async def share_freezes(self, freezes: FreezeSet) -> None:
        self._freezes = merge(self._freezes, freezes)

    async def mark(self, watch: str) -> Mark | None:
        return self._marks.get(watch)

    async def share_mark(self, watch: str, mark: Mark) -> None:
        self._marks[watch] = mark
