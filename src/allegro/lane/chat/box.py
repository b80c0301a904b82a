"""The inbox on disk: every change is written before anything is built on it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import structlog

from allegro.core.base.errors import EdgeError
from allegro.core.chat.inbox import Inbox, confirmed, done, settled, stored
from allegro.core.chat.received import Batch, Command, Tap

_log = structlog.get_logger()


class Box:
    """Holds the inbox; `grew` is set where something may be there to act on.

    A disk that refuses loses no command of this run: the inbox in memory goes on, and `is_saved`
    says that the service must not be told yet.
    """

    def __init__(self, inbox: Inbox, save: Callable[[Inbox], None]) -> None:
        """`save` writes it whole. It raises EdgeError."""
        self.inbox = inbox
        self.is_saved = True
        self.grew = asyncio.Event()
        self.grew.set()
        self._save = save

    def store(self, news: Sequence[tuple[int, Command | Tap]], epoch: int, now_s: float) -> None:
        """Take in what was never read before."""
        self._keep(stored(self.inbox, news, epoch, now_s))

    def settle(self, batch: Batch, alone_since: int) -> None:
        """Note what a reading shows of updates whose confirmation is in doubt."""
        self._keep(settled(self.inbox, batch, alone_since))

    def confirm(self, upto: int) -> None:
        """Note that the service was told of everything up to this number."""
        self._keep(confirmed(self.inbox, upto))

    def done(self, key: str) -> None:
        """Forget what was acted on."""
        self._keep(done(self.inbox, key))

    def _keep(self, inbox: Inbox) -> None:
        if inbox == self.inbox and self.is_saved:
            return
        self.inbox = inbox
        self.grew.set()
        try:
            self._save(inbox)
            self.is_saved = True
        except EdgeError as error:
            if self.is_saved:
                _log.error("chat.not_saved", error=str(error))
            self.is_saved = False
