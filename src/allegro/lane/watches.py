"""What the forge duty watches, and where each watch stands: here, at home, and at a take-over."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Protocol

from allegro.core.errors import EdgeError
from allegro.core.issues import Repository
from allegro.core.marks import Mark
from allegro.core.sequence import Position


class Watch:
    """One thing watched: a repository, or an organisation with the repositories it has."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.organisation = name.removeprefix("org:") if name.startswith("org:") else None
        self.repositories: dict[int, Repository] = {}
        self.mark: Mark | None = None
        self.told_s = 0.0
        self.deep_s = float("-inf")
        self.listed_s = float("-inf")
        self.reconciled_s = float("-inf")
        self.started_s = 0
        self.triaged_s = 0
        self.failures = 0
        self.not_before_s = float("-inf")
        self.trouble: EdgeError | None = None

    def begin(self, home: Mark | None, date_s: int, new: Mark) -> None:
        """Stand at the mark that is home, else at a new one; what lies before is listed anew."""
        began_s = home.forge_s if home else date_s
        self.mark = home or new
        self.started_s = min(self.started_s or began_s, began_s)
        self.triaged_s = min(self.triaged_s or began_s, began_s)
        self.reconciled_s = float("-inf")

    def begin_again(self) -> None:
        """Forget where it stood here: another lane polled meanwhile."""
        self.mark = None
        self.reconciled_s = self.not_before_s = float("-inf")


class Taken(Protocol):
    """How a role was taken: see `roles.TakeOver`."""

    @property
    def epoch(self) -> int: ...
    @property
    def is_from_another(self) -> bool: ...


class RoleKeeper(Protocol):
    """What a duty asks of `Roles`: how it came to its role; and it tells of its first act."""

    @property
    def taken(self) -> Mapping[str, Taken]: ...
    async def acted(self, role: str) -> None: ...


class MarksHome:
    """Learns which marks are home: those whose events the house has acknowledged."""

    def __init__(self) -> None:
        self._on_the_way: deque[tuple[Position, str, Mark]] = deque()

    def sent(self, position: Position, watch: str, mark: Mark) -> None:
        """Note that an event up to here carries this mark."""
        self._on_the_way.append((position, watch, mark))

    def learn(self, acked: Position) -> dict[str, Mark]:
        """Return the marks that came home since the last call, by watch."""
        home: dict[str, Mark] = {}
        while self._on_the_way:
            position, watch, mark = self._on_the_way[0]
            if position.journal == acked.journal and position.seq > acked.seq:
                break
            self._on_the_way.popleft()
            if position.journal == acked.journal:
                home[watch] = mark
        return home


def newest_home(
    known: tuple[Mapping[str, Mark], ...], watch: str, date_s: int, now_s: float
) -> Mark | None:
    """Return the newest mark of a watch, on our own clock.

    One ahead of the forge's own clock is nobody's; whose wall clock it was set by is not asked.
    """
    found = [mark.forge_s for marks in known if (mark := marks.get(watch)) is not None]
    newest_s = max((at_s for at_s in found if 0 <= at_s <= date_s), default=None)
    return None if newest_s is None else Mark(newest_s, now_s - (date_s - newest_s))
