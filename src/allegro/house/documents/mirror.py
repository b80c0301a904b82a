"""Each request has one home on the forge: a comment that follows its state (C1)."""

from __future__ import annotations

from functools import partial

from allegro.core.documents.outcomes import artifact_of
from allegro.core.documents.request_text import Facts, request_text
from allegro.core.requests.lifecycle import State
from allegro.core.requests.requests import Request
from allegro.core.settings import RequestSettings
from allegro.house.documents.comments import Comments, home_of
from allegro.house.requests.newest_state import Homes, ItemPorts
from allegro.house.requests.requests import Requests

NOTE = "Answers are given at the house; a comment here is no approval."
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
    """Asks for a mirror whenever a request that needs Timmy begins or ends."""

    def __init__(
        self, requests: Requests, settings: RequestSettings, comments: Comments, ports: ItemPorts
    ) -> None:
        self._requests = requests
        self._settings = settings
        self._comments = comments
        self._homes = Homes("mirror", self._show, ports)
        requests.on_change(self._changed)

    @property
    def waiting(self) -> int:
        """How many requests are not shown yet as they are."""
        return self._homes.waiting

    def _changed(self, request: Request) -> None:
        if self._settings.mirror and _is_shown(request):
            self._homes.put(request.id)

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
        await self._homes.run()

    async def _show(self, id_: str) -> None:
        request = self._requests.find_exact(id_)
        if request is None or not _is_shown(request):
            return
        home = home_of(self._requests, request, self._settings.home)
        if home is not None:
            await self._comments.show(request.id, home, partial(mirror_text, request))


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
