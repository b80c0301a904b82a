"""What calling a person must remember: changed in memory, written whole by one writer.

Invariant: nothing waits for a disk that does not answer, and nothing is lost from memory by one that
refuses: the newest value is written as soon as the disk takes it again, and `trouble` says so
meanwhile. What only says "we looked" is not written: an idle program writes nothing.
"""

from __future__ import annotations

import asyncio

import msgspec
import structlog

from allegro.core.base.errors import EdgeError
from allegro.core.base.untrusted import Unreadable
from allegro.core.health.alert_state import AlertState
from allegro.core.health.delivery.outbox import Outbox
from allegro.core.health.freshness import Board, loaded
from allegro.core.health.kept import AlertStore, KeptAlerts

_log = structlog.get_logger()
SAVE_S = 1.0
"""So long a message waits for the disk. After it the person is called all the same."""


class Memory:
    """`kept` is the value of now; `origin` begins the ids of notices where nothing was kept."""

    def __init__(self, store: AlertStore, origin: str) -> None:
        self._store = store
        self.kept = KeptAlerts(AlertState(origin))
        self.trouble = ""
        self.lost = ""
        self._version = self._durable = 0
        self._wanted = asyncio.Event()
        self._waiting: list[tuple[int, asyncio.Future[bool]]] = []

    async def resume(self) -> None:
        """Take up what was kept. A damaged store is noted in `lost` and begins anew.

        What was raised before this call stays. Raises EdgeError of the store.
        """
        found = await self._store.load()
        if isinstance(found, Unreadable):
            self.lost = found.reason
            _log.error("alerts.damaged", error=found.reason)
        elif found is not None:
            alerts = msgspec.structs.replace(found.alerts, origin=self.kept.alerts.origin)
            self.kept = KeptAlerts(alerts, found.outbox, loaded(found.board))

    def change(
        self,
        *,
        alerts: AlertState | None = None,
        outbox: Outbox | None = None,
        board: Board | None = None,
    ) -> None:
        """Hold these parts instead of those of now."""
        before = self.kept
        after = KeptAlerts(
            before.alerts if alerts is None else alerts,
            before.outbox if outbox is None else outbox,
            before.board if board is None else board,
        )
        self.kept = after
        if _without_looks(after) != _without_looks(before):
            self._version += 1

    @property
    def is_saved(self) -> bool:
        """Whether all there is to remember is on disk."""
        return self._durable == self._version

    async def save(self, within_s: float = SAVE_S) -> bool:
        """Let the writer write; return whether it is on disk within that time."""
        if self.is_saved:
            return True
        done: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append((self._version, done))
        self._wanted.set()
        try:
            return await asyncio.wait_for(done, within_s)
        except TimeoutError:
            return False

    async def write_on(self) -> None:
        """Write whenever something changed, until cancelled: one writer for all."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            await self.write()

    async def write(self) -> bool:
        """Write the value of now; return whether the disk took it."""
        version, kept = self._version, self.kept
        try:
            await self._store.save(kept)
        except EdgeError as error:
            if not self.trouble:
                _log.error("alerts.unsaved", error=str(error))
            self.trouble = str(error)
        else:
            self._durable, self.trouble = version, ""
        is_well = not self.trouble
        due = [done for upto, done in self._waiting if upto <= version]
        self._waiting = [one for one in self._waiting if one[0] > version]
        for done in due:
            if not done.done():
                done.set_result(is_well)
        return is_well


def _without_looks(kept: KeptAlerts) -> KeptAlerts:
    """Return the value without the times of the last look, which change at each step."""
    alerts = tuple(msgspec.structs.replace(one, last_s=0.0) for one in kept.alerts.alerts)
    return KeptAlerts(
        msgspec.structs.replace(kept.alerts, alerts=alerts, at_s=0.0),
        kept.outbox,
        Board(kept.board.facts),
    )
