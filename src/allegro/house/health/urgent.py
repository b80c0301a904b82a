"""Tells the owner at once of an urgent request, with buttons to note what he thinks of it."""

from __future__ import annotations

from collections.abc import Iterable

from allegro.core.chat.taps import Verb, button_data, request_subject
from allegro.core.health.codes import Severity
from allegro.core.health.codes.code import Way
from allegro.core.health.delivery.notices import Kind, Notice, Said
from allegro.core.ports import Clock
from allegro.core.requests.lifecycle import State
from allegro.core.requests.requests import Request
from allegro.runtime.alerting.shell import Alerting
from allegro.runtime.tasks import Soon

URGENT = {"critical": Severity.P1, "high": Severity.P2}
"""Which urgencies are told at once, and how loudly."""

RECENT_S = 86_400.0
_BUTTONS: dict[Verb, str] = {"approve": "Approve (a note)", "reject": "Reject (a note)"}


class UrgentRequests:
    """Posts each request once: a message of its id is known to the outbox, also after a restart."""

    def __init__(self, alerting: Alerting, clock: Clock) -> None:
        self._alerting = alerting
        self._clock = clock
        self._posts = Soon("urgent requests")

    def resume(self, requests: Iterable[Request]) -> None:
        """Take up what was asked lately, whether or not it was told before the program ended."""
        for request in requests:
            self.changed(request)

    def changed(self, request: Request) -> None:
        """Take the newest version of a request. Nobody is called where no channel is configured."""
        now_s = self._clock.now_s()
        waits = request.state is State.PROPOSED and not request.internal and not request.history
        is_recent = now_s - request.created_s < RECENT_S
        if waits and is_recent and request.document.urgency in URGENT and self._alerting.channels:
            self._posts.begin(request.id, self._alerting.post(notice_of(request, now_s)))

    async def stop(self) -> None:
        await self._posts.idle()


def notice_of(request: Request, now_s: float) -> Notice:
    """Return the message about a request. Its words are foreign: they leave where content may."""
    document, subject = request.document, request_subject(request.id)
    severity = URGENT.get(document.urgency, Severity.P2)
    return Notice(
        id=f"request-{request.id[:20]}",
        kind=Kind.REPORT,
        severity=severity,
        way=Way.FIRST,
        keys=(),
        lines=(),
        at_s=now_s,
        by_s=now_s,
        title=f"{document.urgency.capitalize()} request: {request.kind}",
        said=(
            Said(f"{request.id[:10]}, needs your signature: `allegro show {request.id[:10]}`\n"),
            Said(request.target, is_foreign=True),
            Said("\n"),
            Said(document.question, is_foreign=True),
        ),
        buttons=tuple(
            (label, button_data(verb, subject, request.digest)) for verb, label in _BUTTONS.items()
        ),
    )
