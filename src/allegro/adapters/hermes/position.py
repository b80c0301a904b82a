"""Where a reader stands in a run's stream: what it was told, what is missing, what comes next.

Newer versions of Hermes number their frames and tell them again to a reader that names the last
one it had. A hole in the numbers is the proof that something was lost; an older version has no
numbers, and what it lost shows only where the answer at the end has words that were never told.
"""

from __future__ import annotations

from collections.abc import Iterator

from allegro.adapters.hermes.completeness import Heard
from allegro.adapters.hermes.frames import Frame, event_of
from allegro.core.agent.sessions import AgentEvent, Ended, Gap
from allegro.core.base.untrusted import Unreadable


class Place:
    """One reader's place. `last` is the number of the newest frame, None where none had one."""

    def __init__(self) -> None:
        self.last: int | None = None
        self._heard = Heard()
        self._unread = 0

    def take(self, number: int | None, frame: Frame | Unreadable) -> Iterator[AgentEvent]:
        """Yield what a frame tells, a Gap before it for what was lost; a repeated frame nothing."""
        if number is not None:
            if self.last is not None and number <= self.last:
                return
            if hole := self._hole(number):
                yield Gap(hole)
            self.last = number
        if isinstance(frame, Unreadable):
            self._unread += 1
            if self._unread == 1:  # a flood of them is told with its count at the end
                yield Gap(f"a frame of the stream cannot be read: {frame}"[:200])
            return
        event = event_of(frame)
        if isinstance(event, Ended):
            yield from self._before_end(event)
        if event is not None:
            self._heard.hear(event)
            yield event

    def _hole(self, number: int) -> str:
        """Name the numbers that are missing before this one; streams begin with 0 or 1."""
        first = 0 if self.last is None else self.last + 1
        if number == first or (self.last is None and number == 1):
            return ""
        return f"frames {first} to {number - 1} of the stream are missing"

    def _before_end(self, end: Ended) -> Iterator[Gap]:
        if self._unread > 1:
            yield Gap(f"{self._unread} frames of the stream could not be read")
        if self.last is None and self._heard.lacks(end):
            yield Gap("the stream did not tell all words of the answer")
