"""Who waits for news of a session, and what ends the waiting."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator

from allegro.core.requests.lifecycle import State
from allegro.core.requests.requests import Request
from allegro.core.stores import SessionRecord


class Waiting:
    """An event for each that waits, by the id of the session."""

    def __init__(self) -> None:
        self._events: dict[str, list[asyncio.Event]] = {}

    @contextlib.contextmanager
    def for_news_of(self, id_: str) -> Iterator[asyncio.Event]:
        """Hold an event that is set at the next news; take it before you look, so none is missed."""
        event = asyncio.Event()
        self._events.setdefault(id_, []).append(event)
        try:
            yield event
        finally:
            self._events[id_].remove(event)
            if not self._events[id_]:
                del self._events[id_]

    def wake(self, *ids: str) -> None:
        """Let those who wait for these sessions look again."""
        for event in [event for id_ in ids for event in self._events.get(id_, ())]:
            event.set()


def is_over(found: SessionRecord | Request) -> bool:
    """Say whether nothing more comes: a session that ended, or a request that did without one."""
    if isinstance(found, SessionRecord):
        return bool(found.end)
    return found.is_final and found.state is not State.DONE
