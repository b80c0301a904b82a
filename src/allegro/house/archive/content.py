"""The words that lanes sealed to this house: opened here, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import structlog

from allegro.core.base.errors import EdgeError
from allegro.core.base.events import Event, decode_event
from allegro.core.base.untrusted import Unreadable, plain, read_json

_log = structlog.get_logger()

OpenSealed = Callable[[str, bytes], bytes]
"""(event id, sealed bytes) -> the bytes inside. Raises EdgeError for what was sealed otherwise."""


class Words:
    """Opens events. Never raises for anything that a lane sealed."""

    def __init__(self, open_sealed: OpenSealed) -> None:
        self._open_sealed = open_sealed

    def open(self, event: Event) -> Any:
        """Return the words of an event, None when it has none or they cannot be read."""
        if not event.sealed:
            return None
        raw = self._bytes_of(event)
        words = Unreadable("sealed for another key or event") if raw is None else _read(raw)
        if isinstance(words, Unreadable):
            _log.warning("words.unreadable", id=event.id[:64], reason=words.reason)
            return None
        return words

    def same(self, one: bytes, other: bytes) -> bool:
        """Say whether two stored events of one id tell the same: facts, and words once opened.

        Words that cannot be opened are the same only where their sealed bytes are.
        """
        a, b = event_of(one), event_of(other)
        if a is None or b is None:
            return one == other
        if (a.type, a.subject, a.data) != (b.type, b.subject, b.data):
            return False
        if a.sealed == b.sealed:
            return True
        first, second = self._bytes_of(a), self._bytes_of(b)
        return first is not None and first == second

    def _bytes_of(self, event: Event) -> bytes | None:
        try:
            return self._open_sealed(event.id, event.sealed)
        except EdgeError:
            return None


def _read(raw: bytes) -> Any:
    words = read_json(raw, object)
    return words if isinstance(words, Unreadable) else plain(words)


def event_of(stored: bytes) -> Event | None:
    """Return a stored event, None where it is none."""
    try:
        return decode_event(stored)
    except ValueError:
        return None
