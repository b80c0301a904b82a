"""Every task that was carried out leaves its report where it was asked for: one comment (C7)."""

from __future__ import annotations

from allegro.core.documents.outcomes import report_of
from allegro.core.documents.report_text import report_text
from allegro.core.documents.subject import subject_of
from allegro.core.requests.lifecycle import State
from allegro.core.requests.requests import Request
from allegro.core.settings import RequestSettings
from allegro.core.stores import Ledger
from allegro.house.documents.comments import Comments, home_of, reports_since
from allegro.house.requests.newest_state import Homes, ItemPorts
from allegro.house.requests.requests import Requests

REPORTED = frozenset({"propose_change", "create_pr", "close_issue"})
"""Kinds that are tasks. A comment or a label is seen where it stands and reports itself."""
_ENDS = frozenset({State.DONE, State.FAILED, State.CONFLICT, State.STALE})


class Reports:
    """Asks for a report's comment once its request ended. A no of the owner is no task."""

    def __init__(
        self,
        requests: Requests,
        settings: RequestSettings,
        comments: Comments,
        ports: ItemPorts,
        ledger: Ledger,
    ) -> None:
        self._requests = requests
        self._settings = settings
        self._comments = comments
        self._clock = ports.clock
        self._ledger = ledger
        self._since_s = float("inf")
        self._homes = Homes("reports", self._show, ports)
        requests.on_change(self._changed)

    @property
    def waiting(self) -> int:
        """How many reports are not asked for yet."""
        return self._homes.waiting

    async def run(self) -> None:
        """Leave reports until cancelled; what ended while nobody looked is reported first.

        Raises EdgeError of the ledger.
        """
        if not self._settings.mirror:
            return
        self._since_s = await reports_since(self._ledger, self._clock.now_s())
        for request in self._requests.all():
            if not self._comments.is_shown_since(report_name(request.id), request.settled_s):
                self._changed(request)
        await self._homes.run()

    def _changed(self, request: Request) -> None:
        if request.settled_s >= self._since_s and is_task_ended(request):
            self._homes.put(request.id)

    async def _show(self, id_: str) -> None:
        request = self._requests.find_exact(id_)
        if request is None or not is_task_ended(request):
            return
        home = home_of(self._requests, request, self._settings.home)
        if home is None:
            return
        report, subject = report_of(request), subject_of(request.document, request.digest)
        await self._comments.show(
            report_name(id_), home, lambda private: report_text(report, subject, private=private)
        )


def report_name(id_: str) -> str:
    """Return the name of a request's report, beside the request's own comment."""
    return f"report {id_}"


def is_task_ended(request: Request) -> bool:
    """Say whether a request is a task that was carried out, or tried."""
    if request.internal or request.kind not in REPORTED or not request.is_final:
        return False
    return request.state in _ENDS or request.order_number > 0
