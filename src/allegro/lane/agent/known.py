"""The sessions that a lane began, on disk before each begins: so that none is begun twice."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import msgspec

from allegro.core.authority.gate import Permit
from allegro.core.base.errors import EdgeError
from allegro.core.ports import Clock
from allegro.lane.agent.running import OpenSession

KNOWN_S = 8 * 86_400


class Known:
    """`held` are the sessions that the last process left on disk; `save` writes them there.

    Invariant: a session is on disk before a word of it goes to an agent, and stays there longer
    than any order for it can come.
    """

    def __init__(
        self,
        held: dict[str, OpenSession],
        save: Callable[[dict[str, OpenSession]], None],
        clock: Clock,
    ) -> None:
        self._held = held
        self._save = save
        self._clock = clock
        self.lost = [session for session, one in held.items() if not one.ended_s]

    def __contains__(self, session: str) -> bool:
        return session in self._held

    def is_open(self, session: str) -> bool:
        """Whether it may have begun and has no end yet."""
        held = self._held.get(session)
        return held is not None and not held.ended_s

    def remember(self, session: str, permit: Permit) -> None:
        """Write down that a session may begin. Raises EdgeError: then it does not."""
        held = OpenSession(self._clock.now_s(), permit.digest, permit.order_number or 0)
        self._save({**self._held, session: held})
        self._held[session] = held

    def forget(self, session: str) -> None:
        """Drop one that certainly did not begin."""
        self._held.pop(session, None)
        with contextlib.suppress(EdgeError):
            self._save(self._held)

    def ended(self, session: str) -> None:
        """Note that its end is journalled. Where that is not saved it is journalled once more."""
        held = self._held.get(session)
        if held is not None:
            self._held[session] = msgspec.structs.replace(held, ended_s=self._clock.now_s())
            with contextlib.suppress(EdgeError):  # recorded twice, it is archived once
                self._save(self._held)

    def forget_old(self) -> None:
        """Drop sessions that ended so long ago that no order for them can come."""
        before_s = self._clock.now_s() - KNOWN_S
        for session in [s for s, held in self._held.items() if 0 < held.ended_s < before_s]:
            del self._held[session]
