"""When which request is to be looked at: what moved, what a time came for, and who waits in line.

Cost is that of what is due, whatever else is open. Pure: two clocks are arguments, `now_s` in Unix
seconds (an approval's end) and `boot_s` that never jumps (silence, pauses).
"""

from __future__ import annotations

import heapq
import itertools


class Timers:
    """Ids with a time each; the newest time set for an id counts."""

    def __init__(self) -> None:
        self._at_s: dict[str, float] = {}
        self._heap: list[tuple[float, str]] = []

    def set(self, id_: str, at_s: float) -> None:
        """Set the time of an id. Never later than any float: NaN counts as now."""
        at_s = at_s if at_s == at_s else 0.0  # noqa: PLR0124 (NaN alone is not itself)
        if self._at_s.get(id_) != at_s:
            self._at_s[id_] = at_s
            heapq.heappush(self._heap, (at_s, id_))

    def drop(self, id_: str) -> None:
        self._at_s.pop(id_, None)

    def next_s(self) -> float | None:
        """Return the earliest time, None where there is none."""
        while self._heap and self._at_s.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def pop_due(self, now_s: float) -> str | None:
        """Take one id whose time has come."""
        at_s = self.next_s()
        if at_s is None or at_s > now_s:
            return None
        id_ = heapq.heappop(self._heap)[1]
        del self._at_s[id_]
        return id_


class Agenda:
    """What is to be looked at now (`take`), later (`at_boot`, `at_wall`), or waits in a line."""

    def __init__(self) -> None:
        self._awake: dict[str, None] = {}
        self._wall = Timers()
        self._boot = Timers()
        self._lines: dict[str, dict[str, int]] = {}
        self._line_of: dict[str, str] = {}
        self._counter = itertools.count()

    def wake(self, id_: str) -> None:
        """Look at this one at the next step; it leaves its line."""
        self._leave(id_)
        self._awake[id_] = None

    def at_wall(self, id_: str, now_s: float) -> None:
        self._wall.set(id_, now_s)

    def at_boot(self, id_: str, boot_s: float) -> None:
        self._boot.set(id_, boot_s)

    def forget(self, id_: str) -> None:
        """Take an id from everywhere: it ended."""
        self._leave(id_)
        self._awake.pop(id_, None)
        self._wall.drop(id_)
        self._boot.drop(id_)

    def take(self, now_s: float, boot_s: float) -> str | None:
        """Return one id to be looked at now, None when there is none. Each is given once."""
        if self._awake:
            id_ = next(iter(self._awake))
            del self._awake[id_]
            return id_
        due = self._wall.pop_due(now_s)
        if due is None:
            due = self._boot.pop_due(boot_s)
        if due is not None:
            self._leave(due)
        return due

    def queue(self, line: str, id_: str) -> None:
        """Let an id wait at the end of a line; those of one line wait for the same thing."""
        self._leave(id_)
        self._lines.setdefault(line, {})[id_] = next(self._counter)
        self._line_of[id_] = line

    def heads(self) -> list[str]:
        """Return the first id of each line, the one that waits longest first."""
        heads = [next(iter(line.items())) for line in self._lines.values()]
        return [id_ for id_, _ in sorted(heads, key=_turn)]

    def leave(self, id_: str) -> None:
        """Take an id out of its line: its turn came."""
        self._leave(id_)

    def pause_s(self, now_s: float, boot_s: float, *, idle_s: float, line_s: float) -> float:
        """Return the seconds until something is due: `idle_s` at most, `line_s` where some wait."""
        if self._awake:
            return 0.0
        pauses = [line_s if self._lines else idle_s]
        if (wall_s := self._wall.next_s()) is not None:
            pauses.append(wall_s - now_s)
        if (due_s := self._boot.next_s()) is not None:
            pauses.append(due_s - boot_s)
        return max(0.0, min(pauses))

    def _leave(self, id_: str) -> None:
        line = self._line_of.pop(id_, None)
        if line is not None:
            del self._lines[line][id_]
            if not self._lines[line]:
                del self._lines[line]


def _turn(item: tuple[str, int]) -> int:
    return item[1]
