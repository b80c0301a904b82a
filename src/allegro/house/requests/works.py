"""Keeps the action of each request that is being worked on, so that its bytes are read once."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from allegro.core.authority.actions.family import Action
from allegro.core.requests.lifecycle import State
from allegro.core.requests.requests import Request
from allegro.core.requests.work import Work, work_of


class Works:
    """Holds an action from the decision about its request to the request's end, in memory.

    One that waits for a decision, or ended, is read anew each time it is asked for: that is seldom,
    and a proposed change can be as large as 8 MiB.
    """

    def __init__(self, key: Callable[[], bytes]) -> None:
        self._key = key
        self._held: dict[str, Work] = {}

    def of(self, request: Request) -> Work:
        """Return the newest version of a request with its action and what goes beside its order."""
        held = self._held.get(request.id)
        if held is not None:
            if held.request is request:
                return held
            work = msgspec.structs.replace(held, request=request)
        else:
            work = work_of(request, self._key())
        if not request.is_final and request.state is not State.PROPOSED:
            self._held[request.id] = work
        return work

    def keep(self, request: Request, action: Action) -> None:
        """Take the action of a new request that needs no decision: it was just read."""
        if request.state is not State.PROPOSED:
            self._held[request.id] = work_of(request, self._key(), action)

    def changed(self, request: Request) -> None:
        """Forget the action of a request that ended or waits for a decision again."""
        if request.is_final or request.state is State.PROPOSED:
            self._held.pop(request.id, None)
