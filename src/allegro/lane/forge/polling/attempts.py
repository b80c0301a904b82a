"""One try at what belongs to a watch or a repository: what fails rests alone, and is reported."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable

import structlog

from allegro.core.base.errors import EdgeError
from allegro.core.ports import Clock, Dice
from allegro.core.protocol.payloads.base import Payload
from allegro.core.protocol.payloads.polls import WatchFailing, WatchRecovered
from allegro.lane.context.recorder import Recorder
from allegro.lane.forge.polling.watches import Pace
from allegro.runtime.consumer import as_edge_error

_log = structlog.get_logger()
WHOLE_FORGE = frozenset({"waiting", "token_not_audited", "secret", "journal_full"})
"""What no repository can help: it is not counted against one."""


class Attempts:
    """Notes what each watch and repository came to, and reports a trouble and its end once."""

    def __init__(self, recorder: Recorder, clock: Clock, dice: Dice) -> None:
        self._recorder = recorder
        self._clock = clock
        self._dice = dice

    async def attempt(self, pace: Pace, name: str, work: Awaitable[None]) -> bool:
        """Do what belongs to one watch or repository. Raises only what is the whole forge's."""
        try:
            await as_edge_error("forge", name, work)
        except EdgeError as error:
            if error.kind in WHOLE_FORGE:
                raise
            _log.warning("watch.failed", watch=name, kind=error.kind, error=str(error))
            if pace.failed(error, self._clock.boot_s(), self._dice.fraction):
                await self.report(WatchFailing(watch=name, kind=error.kind), str(error))
            return False
        if pace.worked():
            await self.report(WatchRecovered(watch=name))
        return True

    async def report(self, payload: Payload, words: str | None = None) -> None:
        """Journal an event. Where the journal takes none, nothing is raised: polls go on."""
        with contextlib.suppress(EdgeError):
            await self._recorder.tell(payload, words=words)
