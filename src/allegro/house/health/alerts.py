"""What a person should see: kept in the ledger by severity, counted, alive after a restart."""

from __future__ import annotations

import asyncio

import structlog

from allegro.core.base.errors import EdgeError
from allegro.core.health.alerts import URGENCIES, Alert, Key, by_severity, raised
from allegro.core.health.codes import Code, code_of
from allegro.core.ports import Clock
from allegro.core.stores import AlertBook
from allegro.runtime.tasks import Soon

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

    def raise_alert(self, code: Code, subject: str, /, lane: str = "", **values: object) -> None:
        """Show a person that a condition began (see RaiseAlert). Repeats are counted."""
        now_s = self._clock.now_s()
        alert, gone = raised(self._held, code, subject, lane[:64], values, now_s)
        if alert.count == 1:
            _log.warning(
                "alert",
                code=alert.code,
                subject=alert.subject,
                lane=alert.lane,
                severity=alert.severity.value,
                sentence=alert.sentence,
            )
        for key in gone:
            self._held.pop(key, None)
            self._unsaved[key] = None
        self._held[alert.key] = self._unsaved[alert.key] = alert
        if not self._is_saving:
            self._is_saving = True
            self._saves.begin("the newest", self._save())

    def held(self) -> list[Alert]:
        """Return every alert that is kept."""
        return list(self._held.values())

    def listed(self) -> list[dict[str, object]]:
        """Return the most urgent alerts, newest first among equals, in plain values.

        `at_s` is when one was raised last and `first_s` when first (Unix s). `urgency` and `told`
        are the names of the release before.
        """
        return [_shown(one) for one in by_severity(self._held.values())[:SHOWN]]

    def counts(self) -> dict[str, int]:
        """Return how many different alerts are kept of each urgency."""
        return {
            urgency: sum(one.severity is severity for one in self._held.values())
            for severity, urgency in URGENCIES.items()
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


def _shown(alert: Alert) -> dict[str, object]:
    code = code_of(alert.code)
    return {
        "code": alert.code,
        "title": code.title,
        "severity": alert.severity.value,
        "subject": alert.subject,
        "values": alert.values,
        "sentence": alert.sentence,
        "source": f"lane {alert.lane}" if alert.lane else "house",
        "lane": alert.lane,
        "fix": code.fix.replace("{subject}", alert.subject),
        "runbook": code.runbook,
        "at_s": alert.last_s,
        "first_s": alert.first_s,
        "count": alert.count,
        "urgency": URGENCIES[alert.severity],
        "told": alert.sentence,
    }
