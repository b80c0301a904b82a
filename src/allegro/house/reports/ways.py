"""The ways by which a report is brought: whole to the forge, a few sentences to a chat.

To hand a report over is no proof. A way is believed when it proves it: the forge shows the comment, a
channel gave a message id. Until then the report after it says that this one did not arrive.
"""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Sequence

from allegro.core.base.errors import EdgeError
from allegro.core.health.alarm import owed
from allegro.core.health.alerts import Alert
from allegro.core.health.codes import Severity, code_of
from allegro.core.health.codes.code import Way
from allegro.core.health.delivery.notices import Kind, Notice, Said
from allegro.core.ports import Clock
from allegro.core.reports.facts import DeliveryLine
from allegro.house.documents.report_issue import ReportIssue
from allegro.house.reports.reporter import DELIVERED, Delivery, Reporter
from allegro.runtime.alerting.shell import Alerting

FORGE, CHAT = "forge", "chat"
TITLE = "Morning report"
MOST_LISTED = 50
"""So many alerts that waited for the report are listed at most; others wait for the next digest."""
WITHIN_S = 900.0
"""So long after it was built a report is late, and goes by every channel."""


class Ways:
    """Brings reports, and says what became of them."""

    def __init__(self, issue: ReportIssue, alerting: Alerting, clock: Clock) -> None:
        self._issue = issue
        self._alerting = alerting
        self._clock = clock
        self._reporter: Reporter | None = None

    def join(self, reporter: Reporter, *, to_forge: bool) -> None:
        """Let a reporter use the ways that are configured."""
        self._reporter = reporter
        if to_forge:
            reporter.add_way(FORGE, self._to_forge)
        if self._alerting.channels:
            reporter.add_way(CHAT, self._to_chat)

    async def _to_forge(self, delivery: Delivery) -> None:
        await self._issue.publish(delivery.date, delivery.whole)

    async def _to_chat(self, delivery: Delivery) -> None:
        """Put the short form into the outbox; it lists the alerts that waited for a report."""
        now_s = self._clock.now_s()
        listed = owed(self._alerting.alerts)[:MOST_LISTED]
        notice = Notice(
            id=notice_id(delivery.date),
            kind=Kind.REPORT,
            severity=Severity.P3,
            way=Way.FIRST,
            keys=tuple(one.key for one in listed),
            lines=(),
            at_s=now_s,
            by_s=now_s + WITHIN_S,
            title=TITLE,
            said=(Said(delivery.short), *_listed(listed)),
        )
        if not await self._alerting.post(notice):
            raise EdgeError("it could not be stored to be sent", transient=True, kind="disk")

    async def lines(self, date: datetime.date) -> Sequence[DeliveryLine]:
        """Return how the report of a day came by each way. Raises EdgeError of disk and ledger."""
        assert self._reporter is not None
        return [await self._proven(date, one) for one in await self._reporter.sent(date)]

    async def _proven(self, date: datetime.date, line: DeliveryLine) -> DeliveryLine:
        """Return a line with the proof of its way, where the way took the report."""
        if line.state != DELIVERED:
            return line
        if line.way == FORGE:
            forge = await self._issue.delivery(date)
            return DeliveryLine(way=FORGE, state=forge.state, url=forge.url, detail=forge.detail)
        return self._by_chat(date) if line.way == CHAT else line

    def _by_chat(self, date: datetime.date) -> DeliveryLine:
        proofs = [one for one in self._alerting.sent if one.notice == notice_id(date)]
        if not proofs:
            return DeliveryLine(way=CHAT, state="waiting", detail="no channel proved it yet")
        detail = ", ".join(f"{one.channel} {one.message}".strip() for one in proofs)
        return DeliveryLine(way=CHAT, state=DELIVERED, detail=detail)


def _listed(alerts: Sequence[Alert]) -> tuple[Said, ...]:
    """Return the alerts that waited for a report, by what they are about; no word of others."""
    if not alerts:
        return ()
    counts = Counter(code_of(one.code).title for one in alerts)
    words = ", ".join(f"{count} × {title}" for title, count in sorted(counts.items()))
    return (Said(f" Alerts that waited for this report: {words}."),)


def notice_id(date: datetime.date) -> str:
    """Return the id of a day's message: brought again, it is the same one."""
    return f"report-{date.isoformat()}"
