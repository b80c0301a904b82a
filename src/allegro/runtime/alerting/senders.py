"""Sends by each channel beside the others: one that hangs holds up its own messages alone."""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import Callable, Sequence

import msgspec
import structlog

from allegro.core.base.errors import EdgeError
from allegro.core.channels import Button, Message, Outlet, Proof
from allegro.core.chat.notice_words import notice_words
from allegro.core.health.delivery.outbox import Failure, Sending
from allegro.core.ports import Clock
from allegro.runtime.consumer import as_edge_error
from allegro.runtime.tasks import Soon

_log = structlog.get_logger()
SENDING_S = 310.0
"""No channel's own time-out is longer; after it a message counts as not taken."""
LAST_S = 3.0
"""So long a clean stop waits for what is on its way."""


class Outcome(msgspec.Struct, frozen=True):
    """What became of one sending: the channel's proof, or why it has none."""

    sending: Sending
    proof: Proof | None
    failure: Failure | None = None


class Senders:
    """`ended` is called with each outcome, in the same loop."""

    def __init__(
        self,
        outlets: Sequence[Outlet],
        clock: Clock,
        zone: Callable[[], datetime.tzinfo],
        ended: Callable[[Outcome], None],
    ) -> None:
        self._outlets = {one.channel.name: one for one in outlets}
        self._clock = clock
        self._zone = zone
        self._ended = ended
        self._tasks = Soon("alert channels")

    @property
    def names(self) -> tuple[str, ...]:
        """The channels in the order in which they are tried."""
        return tuple(self._outlets)

    @property
    def are_idle(self) -> bool:
        return not self._tasks.count

    def begin(self, sending: Sending) -> None:
        """Send beside everything else."""
        self._tasks.begin(sending.channel, self._send(sending))

    async def _send(self, sending: Sending) -> None:
        try:
            proof = await as_edge_error("alerts", sending.channel, self._try(sending))
        except EdgeError as error:
            _log.warning("alert.not_sent", channel=sending.channel, notice=sending.notice.id,
                         error=str(error))  # fmt: skip
            self._ended(Outcome(sending, None, failure_of(error)))
        else:
            self._ended(Outcome(sending, proof))

    async def _try(self, sending: Sending) -> Proof:
        outlet = self._outlets[sending.channel]
        words = notice_words(sending, self._clock.now_s(), self._zone(), content=outlet.content)
        buttons = (
            tuple(Button(*one) for one in words.buttons) if outlet.channel.limits.buttons else ()
        )
        message = Message(words.title, words.body, buttons, words.quiet)
        try:
            return await asyncio.wait_for(outlet.channel.send(message), SENDING_S)
        except TimeoutError:
            raise EdgeError("no answer in time", transient=True) from None

    async def stop(self) -> None:
        """Let what is on its way arrive, a few seconds at most, then end it."""
        try:
            await asyncio.wait_for(self._tasks.idle(), LAST_S)
        except TimeoutError:
            _log.warning("alert.cut_off")
        await self._tasks.stop()


def failure_of(error: EdgeError) -> Failure:
    """Return what an error of a channel means for its message and for the channel."""
    return Failure(
        reason=str(error)[:200],
        is_permanent=not error.transient,
        is_of_notice=error.kind == "refused",
        retry_after_s=error.retry_after_s,
    )
