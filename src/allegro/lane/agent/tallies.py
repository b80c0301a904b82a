"""What agent and proxy counted of each session that ended: kept eight days, asked for by the house."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

import structlog

from allegro.core.agent.tallies import AgentTally, SessionTally
from allegro.core.base.errors import EdgeError
from allegro.core.ports import Clock
from allegro.lane.agent.running import Live
from allegro.lane.models.grants import Grant

_log = structlog.get_logger()
KEPT_S = 8 * 86_400.0
MAX_TALLIES = 2_000
ASK_S = 3.0


class Tallies:
    """`held` is what the last process left on disk, `save` writes all of it. A loss costs a figure."""

    def __init__(
        self,
        held: dict[str, SessionTally],
        save: Callable[[dict[str, SessionTally]], None],
        clock: Clock,
    ) -> None:
        self._held = held
        self._save = save
        self._clock = clock
        self._asked: dict[str, AgentTally] = {}

    def all(self) -> list[SessionTally]:
        """Return the tallies of the last eight days, oldest first."""
        return list(self._held.values())

    async def ask(self, live: Live) -> None:
        """Ask an agent for its own record of a session, while it is there to be asked.

        One that was ended already, or does not answer soon, has told nothing.
        """
        if live.ready.is_ended:
            return
        session = live.action.id
        with contextlib.suppress(EdgeError, TimeoutError):
            tally = await asyncio.wait_for(live.ready.gateway.tally(session), ASK_S)
            if tally is not None:
                self._asked[session] = tally

    def keep(self, session: str, grant: Grant | None) -> None:
        """Keep what was counted of a session that has ended."""
        now_s = self._clock.now_s()
        kept = {id_: one for id_, one in self._held.items() if now_s - one.ended_s < KEPT_S}
        kept[session] = SessionTally(
            session=session,
            ended_s=now_s,
            agent=self._asked.pop(session, None),
            calls=grant.calls if grant else 0,
            tokens=grant.spend.tokens if grant else 0,
        )
        self._held = dict(list(kept.items())[-MAX_TALLIES:])
        try:
            self._save(self._held)
        except EdgeError as error:
            _log.warning("tallies.unsaved", error=str(error))
