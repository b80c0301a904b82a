"""What the chat knows from the house: the requests that wait, as it said them last."""

from __future__ import annotations

from collections.abc import Callable

from allegro.core.chat.answers import Waiting
from allegro.core.chat.taps import question_subject, request_subject
from allegro.core.protocol.statement import QUESTION, WaitingRequest
from allegro.lane.chat.links import Asked
from allegro.lane.context import Context


class FromHouse:
    """Reads the last statement; `is_linked` says whether the house is there now."""

    def __init__(self, ctx: Context, is_linked: Callable[[], bool]) -> None:
        self._state = ctx.state
        self._clock = ctx.ports.clock
        self._is_linked = is_linked

    def asked(self) -> Asked | None:
        """Return what waits, None where no house ever said so."""
        statement, heard_s = self._state.house_word.statement, self._state.house_heard_s
        if statement is None or statement.requests is None:
            return None
        silent_s = 0.0
        if not self._is_linked():
            since_s = self._clock.now_s() - statement.at_s
            silent_s = max(1.0, since_s if heard_s is None else self._clock.boot_s() - heard_s)
        waiting = tuple(map(self._waiting, statement.requests))
        return Asked(waiting, silent_s, statement.waiting)

    def digest_of(self, subject: str) -> str | None:
        """Return the digest of what waits with this button's subject, None where nothing does."""
        statement = self._state.house_word.statement
        found = (statement.requests if statement else None) or ()
        return next((one.digest for one in found if _subject(one) == subject), None)

    def _waiting(self, one: WaitingRequest) -> Waiting:
        """Return a request as it is shown; its age is by this lane's clock, never below zero."""
        age_s = max(0.0, self._clock.now_s() - one.created_s)
        return Waiting(one.id[:10], one.kind, one.urgency, age_s, one.title, one.target)


def _subject(one: WaitingRequest) -> str:
    return question_subject(one.id) if one.kind == QUESTION else request_subject(one.id)
