"""The council of a single lane: in this process, always in agreement with itself."""

from __future__ import annotations

from collections.abc import Callable

from allegro.core.freeze import FreezeSet, merge
from allegro.core.lease import Lease
from allegro.core.marks import Mark


class LocalCouncil:
    """The Council port without a broker.

    A lease lasts `lease_s` from the moment the house was last heard (`heard_s`, boot-time clock,
    None for never): a lane that is cut off cannot be told to stop, so it waits (S5, S6). The role
    stays this lane's meanwhile: it reads on, and its lease is one that has run out.
    """

    def __init__(
        self,
        lane: str,
        incarnation: str,
        heard_s: Callable[[], float | None],
        lease_s: float,
    ) -> None:
        self._lane = lane
        self._incarnation = incarnation
        self._heard_s = heard_s
        self._lease_s = lease_s
        self._freezes = FreezeSet()
        self._marks: dict[str, Mark] = {}

    async def acquire(self, role: str) -> Lease | None:
        heard_s = self._heard_s()
        until_s = float("-inf") if heard_s is None else heard_s + self._lease_s
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
