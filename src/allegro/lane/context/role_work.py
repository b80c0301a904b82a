"""Where the keeper of roles and what does their work meet, without knowing each other."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec


async def _nothing_is_under_way() -> None:
    return None


def _nothing_is_waiting() -> None:
    return None


class RoleWork(msgspec.Struct, frozen=True):
    """What does the work of one role on this lane.

    `is_able` says whether it could do it now. `take_up` is called when this lane was given the
    role. `drain` returns once nothing of the work is under way: it is awaited before the role is
    offered to another lane.
    """

    is_able: Callable[[], bool]
    take_up: Callable[[], None] = _nothing_is_waiting
    drain: Callable[[], Awaitable[None]] = _nothing_is_under_way


class Workers:
    """The work of each role by its name. A role that nobody entered cannot be done here."""

    def __init__(self) -> None:
        self._works: dict[str, RoleWork] = {}

    def enter(self, role: str, work: RoleWork) -> None:
        """Note what does the work of a role from now on."""
        self._works[role] = work

    def is_able(self, role: str) -> bool:
        work = self._works.get(role)
        return work is not None and work.is_able()

    def take_up(self, role: str) -> None:
        """Say that this lane holds the role now."""
        if role in self._works:
            self._works[role].take_up()

    async def drain(self, role: str) -> None:
        """Return once no work of the role is under way."""
        if role in self._works:
            await self._works[role].drain()
