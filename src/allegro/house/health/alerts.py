"""What a person should see: kept in the ledger by urgency, counted, alive after a restart."""

from __future__ import annotations

import asyncio
from typing import Any

import structlog

from allegro.core.base.errors import EdgeError
from allegro.core.health.alerts import URGENCIES, Alert, Key, by_urgency, raised
from allegro.core.ports import Clock
from allegro.core.stores import AlertBook
from allegro.runtime.duties import Soon

_log = structlog.get_logger()
SHOWN = 20


class Alerts:
    """`raise_alert` shows an alert at once and writes it down soon; a full disk loses none."""

    def __init__(self, book: AlertBook, clock: Clock) -> None:
        self._book = book
        self._clock = clock
        self._held: dict[Key, Alert] = {}
        self._unsaved: dict[Key, Alert | None] = {}
        self._saves = Soon("alerts")
        self._is_saving = False

    async def resume(self) -> None:
        """Take up the alerts of before."""
        before = {alert.key: alert for alert in await self._book.alerts()}
        self._held = {**before, **self._held}

    def raise_alert(self, urgency: str, sentence: str, lane: str = "") -> None:
        """Show a person this sentence; `lane` is whose word caused it. Repeats are counted."""
        alert, gone = raised(self._held, urgency, lane[:64], sentence, self._clock.now_s())
        if alert.count == 1:
            _log.warning("alert", urgency=alert.urgency, lane=alert.lane, sentence=alert.sentence)
        for key in gone:
            self._held.pop(key, None)
            self._unsaved[key] = None
        self._held[alert.key] = self._unsaved[alert.key] = alert
        if not self._is_saving:
            self._is_saving = True
            self._saves.begin("the newest", self._save())

    def listed(self) -> list[dict[str, Any]]:
        """Return the most urgent alerts, newest first among equals, in plain values.

        `at_s` is when one was raised last and `first_s` when first (Unix s), `told` the sentence.
        """
        return [
            {
                "at_s": one.last_s, "first_s": one.first_s, "urgency": one.urgency,
                "told": one.sentence, "count": one.count, "lane": one.lane,
            }
            for one in by_urgency(self._held.values())[:SHOWN]
        ]  # fmt: skip

    def counts(self) -> dict[str, int]:
        """Return how many different alerts are kept of each urgency."""
        return {
            urgency: sum(one.urgency == urgency for one in self._held.values())
            for urgency in URGENCIES
        }

    async def save(self) -> None:
        """Write down what is not yet on disk. Raises EdgeError of the book."""
        unsaved, self._unsaved = self._unsaved, {}
        if not unsaved:
            return
        gone = [key for key, alert in unsaved.items() if alert is None]
        kept = [alert for alert in unsaved.values() if alert is not None]
        try:
            await self._book.keep_alerts(kept, gone)
        except (EdgeError, asyncio.CancelledError):
            self._unsaved = {**unsaved, **self._unsaved}
            raise

    async def _save(self) -> None:
        try:
            while self._unsaved:
                await self.save()
        except EdgeError as error:  # the next alert, or the end of the program, tries again
            _log.error("alerts.unsaved", error=str(error))
        finally:
            self._is_saving = False
