"""Counts who is on no allow-list. Nobody of them is answered, and no word of theirs is kept."""

from __future__ import annotations

import structlog

from allegro.core.base.errors import EdgeError
from allegro.core.chat.allow import Stranger
from allegro.core.chat.received import Sender
from allegro.core.protocol.payloads.chat import ChatStrangers
from allegro.lane.context import Context

_log = structlog.get_logger()
EVERY_S = 600.0
MOST_SENDERS = 1_000


class Strangers:
    """Tells home at once of the first, then at most each EVERY_S how many there were."""

    def __init__(self, ctx: Context, channel: str) -> None:
        self._recorder = ctx.recorder
        self._clock = ctx.ports.clock
        self._channel = channel
        self._updates = 0
        self._senders: set[Sender] = set()
        self._told_s = float("-inf")

    def count(self, stranger: Stranger) -> None:
        """Count one update."""
        self._updates += 1
        if len(self._senders) < MOST_SENDERS:
            self._senders.add(stranger.sender)

    async def report(self) -> None:
        """Tell the counts home where there are any and it is time; a full journal waits."""
        if not self._updates or self._clock.boot_s() - self._told_s < EVERY_S:
            return
        payload = ChatStrangers(
            channel=self._channel, updates=self._updates, senders=len(self._senders)
        )
        try:
            await self._recorder.tell(payload)
        except EdgeError as error:
            _log.info("chat.strangers_untold", error=str(error))
            return
        self._told_s = self._clock.boot_s()
        self._updates, self._senders = 0, set()
