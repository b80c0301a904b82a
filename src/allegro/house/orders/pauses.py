"""When a request may be ordered, or ordered again: silence after an order, waits after a no.

All times are seconds of the clock that never jumps (`Clock.boot_s`). They live in memory: after a
restart of the house each silence begins anew, so that no order is repeated too early.
"""

from __future__ import annotations

from allegro.core.ports import Clock, Dice
from allegro.core.requests.lifecycle import State, Step
from allegro.core.requests.ordering import doubt_pause_s, refusal_pause_s
from allegro.core.requests.requests import Request

LONGEST_WAIT_S = 3600.0
"""So long at most an order waits because the forge asked for it."""


class Pauses:
    """`wait_s` is how long a lane must be silent before nothing more can come of an order."""

    def __init__(self, clock: Clock, dice: Dice, wait_s: float) -> None:
        self._clock = clock
        self._dice = dice
        self._wait_s = wait_s
        self._silent_from: dict[str, tuple[int, float]] = {}
        self._not_before: dict[str, float] = {}
        self._refusals: dict[str, int] = {}

    def resume(self, request: Request) -> None:
        """Take up a request after a restart: a pause in doubt begins anew."""
        if request.state is State.UNKNOWN:
            self.doubted(request)
        self._pause(request.id, self._asked_wait_s(request))

    def changed(self, request: Request) -> None:
        """Take note of a request's newest version: ordered, refused by the forge, or ended."""
        newest = request.history[-1].what if request.history else ""
        if newest == Step.ORDER:
            self._silence_of(request)
        elif newest in {Step.VOID, Step.DOUBT}:
            self.postpone(request)
            self._pause(request.id, self._asked_wait_s(request))
        if request.is_final:
            for memory in (self._silent_from, self._not_before, self._refusals):
                memory.pop(request.id, None)

    def silent_until_s(self, request: Request) -> float:
        """Return until when the lane that has the newest order may still say what came of it."""
        return self._silence_of(request) + self._wait_s

    def _silence_of(self, request: Request) -> float:
        """Return since when nothing was heard of the newest order: since this is first asked."""
        number, since_s = self._silent_from.get(request.id, (None, 0.0))
        if number != request.order_number:
            since_s = self._clock.boot_s()
            self._silent_from[request.id] = request.order_number, since_s
        return since_s

    def until_s(self, id_: str) -> float:
        """Return when the next order may be given; the beginning of time where nothing waits."""
        return self._not_before.get(id_, float("-inf"))

    def postpone(self, request: Request) -> None:
        """Wait before the next try, longer after each one in a row."""
        count = self._refusals.get(request.id, 0)
        self._refusals[request.id] = count + 1
        self._pause(request.id, refusal_pause_s(request.kind, count, self._dice.fraction))

    def accepted(self, id_: str) -> None:
        """Begin with short waits again: a lane took the order."""
        self._refusals.pop(id_, None)

    def doubted(self, request: Request) -> None:
        """Wait after an order that brought no clear answer."""
        self._pause(request.id, doubt_pause_s(request, self._dice.fraction))

    def _asked_wait_s(self, request: Request) -> float:
        """Return how long the forge still wants to be left alone, as its lane reported (bounded)."""
        return min(request.retry_at_s - self._clock.now_s(), LONGEST_WAIT_S)

    def _pause(self, id_: str, delay_s: float) -> None:
        """Never shorten a longer pause that began before."""
        if delay_s > 0:
            until_s = self._clock.boot_s() + delay_s
            self._not_before[id_] = max(until_s, self._not_before.get(id_, until_s))
