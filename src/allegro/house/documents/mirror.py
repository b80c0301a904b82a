"""Each request has one home on the forge: a comment that follows its state (C1)."""

from __future__ import annotations

from functools import partial

from allegro.core.base.timestamps import rfc3339
from allegro.core.documents.outcomes import artifact_of
from allegro.core.documents.request_text import Facts, request_text
from allegro.core.requests.decisions import Decision, label_of
from allegro.core.requests.lifecycle import State
from allegro.core.requests.requests import Request
from allegro.core.settings import RequestSettings
from allegro.house.documents.comments import Comments, home_of, issue_named
from allegro.house.documents.decisions import Decisions
from allegro.house.requests.newest_state import Homes, ItemPorts
from allegro.house.requests.requests import Requests

NOTE = "Answers are given at the house; a comment here is no approval."
QUESTION_NOTE = (
    "Answered at the house (`allegro answer`) or by a tap; a comment here is no answer, and an answer"
    " causes nothing by itself."
)
_SHOWN = frozenset(
    {
        State.PROPOSED,
        State.DONE,
        State.FAILED,
        State.CONFLICT,
        State.STALE,
        State.EXPIRED,
        State.WITHDRAWN,
        State.REJECTED,
    }
)


class Mirror:
    """Asks for a mirror whenever what needs Timmy, a request or a question, begins or ends."""

    def __init__(
        self,
        requests: Requests,
        decisions: Decisions,
        settings: RequestSettings,
        comments: Comments,
        ports: ItemPorts,
    ) -> None:
        self._requests = requests
        self._decisions = decisions
        self._settings = settings
        self._comments = comments
        self._homes = Homes("mirror", self._show, ports)
        requests.on_change(self._changed)
        decisions.on_change(self._decided)

    @property
    def waiting(self) -> int:
        """How many requests are not shown yet as they are."""
        return self._homes.waiting

    def _changed(self, request: Request) -> None:
        if self._settings.mirror and _is_shown(request):
            self._homes.put(request.id)

    def _decided(self, decision: Decision) -> None:
        if self._settings.mirror:
            self._homes.put(decision.id)

    async def run(self) -> None:
        """Keep homes up to date. A forge that cannot be asked now is asked again later.

        What an earlier start showed after its end stays as it is, also in the form of before.
        """
        if not self._settings.mirror:
            return
        for request in self._requests.all():
            ended_s = request.settled_s if request.is_final else float("inf")
            if not self._comments.is_shown_since(request.id, ended_s):
                self._changed(request)
        for decision in self._decisions.all():
            ended_s = float("inf") if decision.is_open else decision.settled_s
            if not self._comments.is_shown_since(decision.id, ended_s):
                self._decided(decision)
        await self._homes.run()

    async def _show(self, id_: str) -> None:
        decision = self._decisions.find_exact(id_)
        if decision is not None:
            await self._show_decision(decision)
            return
        request = self._requests.find_exact(id_)
        if request is None or not _is_shown(request):
            return
        home = home_of(self._requests, request, self._settings.home)
        if home is not None:
            await self._comments.show(request.id, home, partial(mirror_text, request))

    async def _show_decision(self, decision: Decision) -> None:
        context = issue_named(decision.document.context)
        home = context or issue_named(self._settings.home)
        if home is not None:
            await self._comments.show(decision.id, home, partial(decision_text, decision))


def _is_shown(request: Request) -> bool:
    return not request.internal and request.needs_approval and request.state in _SHOWN


def mirror_text(request: Request, private: bool) -> str:
    """Return a request's comment. On a public repository: id, type, urgency, age only."""
    note = "" if request.is_final else NOTE
    return request_text(request.document, request.digest, _facts(request), note, private=private)


def _facts(request: Request) -> Facts:
    facts = [("Kind", request.kind), ("State", request.state.value)]
    if request.url:
        facts.append(("Outcome", artifact_of(request).name))
    if request.detail and request.is_final:
        facts.append(("Reason", request.detail))
    return tuple(facts)


def decision_text(decision: Decision, private: bool) -> str:
    """Return a question's comment. On a public repository: id, type, urgency, age only."""
    facts = [("State", decision.state.value)]
    if decision.answer is not None:
        held = decision.answer
        facts.append(("Answer", f"{held.option}. {label_of(decision)}"))
        facts.append(("Answered by", f"{held.by}, {rfc3339(held.at_s)}"))
    note = QUESTION_NOTE if decision.is_open else ""
    return request_text(decision.document, decision.digest, tuple(facts), note, private=private)
