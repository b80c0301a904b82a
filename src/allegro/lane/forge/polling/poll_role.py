"""Whether it is this lane's turn to poll: by its role, or because the council names nobody."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from allegro.core.authority.lease import holds
from allegro.core.ports import Clock
from allegro.lane.context.state import LaneState
from allegro.lane.forge.polling.watches import RoleKeeper

_log = structlog.get_logger()
ROLE = "forge"
RECENT_S = 60.0
"""A lane that polled so lately reads on from its own mark and lists nothing anew."""


class Turn:
    """Asks the keeper of roles. Where the council has decided nothing for a while, a lane reads on without the role, and changes nothing; others may do the same, and what
    two of them tell is archived once. `begin_again` lets the polls go on from what is home.
    """

    def __init__(
        self,
        state: LaneState,
        clock: Clock,
        keeper: RoleKeeper,
        begin_again: Callable[[], None],
    ) -> None:
        self._state = state
        self._clock = clock
        self._keeper = keeper
        self._begin_again = begin_again
        self._epoch = 0
        self._polled_s = float("-inf")
        self.reads_on = False

    def holds(self) -> bool:
        """Whether this lane holds the role now."""
        return holds(self._state.leases.get(ROLE), self._clock.boot_s())

    def may_poll(self) -> bool:
        """Whether this lane polls now; notes on the way how it came to that."""
        if self.holds():
            self.reads_on = False
            self._note_take_over()
            return True
        if not self._keeper.undecided():
            self.reads_on = False
            return False
        if not self.reads_on:
            self.reads_on = True
            if self._clock.boot_s() - self._polled_s > RECENT_S:
                self._begin_again()
            _log.warning("forge.polled_undecided")
        return True

    async def acted(self) -> None:
        """Note a poll: a holder's first is the first act of its take-over."""
        self._polled_s = self._clock.boot_s()
        if not self.reads_on:
            await self._keeper.acted(ROLE)

    def _note_take_over(self) -> None:
        """After another lane held the role: go on from the mark that is home, and list anew."""
        taken = self._keeper.taken.get(ROLE)
        if taken is None or taken.epoch == self._epoch:
            return
        if self._epoch or taken.is_from_another:
            self._begin_again()
        self._epoch = taken.epoch
