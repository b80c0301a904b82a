"""What the forge duty watches, and where each watch stands: here, at home, and at a take-over."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from allegro.core.base.backoff import FORGE, LONGEST_WAIT_S, REPOSITORY, Backoff
from allegro.core.base.errors import EdgeError
from allegro.core.base.sequence import Position
from allegro.core.forge.issues import Repository
from allegro.core.forge.marks import Mark

TELL_AFTER = 3


class Pace:
    """When something that failed is tried again: it alone, after growing pauses."""

    def __init__(self, backoff: Backoff) -> None:
        self._backoff = backoff
        self.failures = 0
        self.not_before_s = float("-inf")
        self.trouble: EdgeError | None = None

    def is_due(self, now_s: float) -> bool:
        return now_s >= self.not_before_s

    @property
    def is_failing(self) -> bool:
        """Whether it failed so often in a row that a person is told."""
        return self.failures >= TELL_AFTER

    def failed(self, error: EdgeError, now_s: float, dice: Callable[[], float]) -> bool:
        """Note a failure; return whether a person is to be told of it now."""
        self.failures += 1
        delay_s = self._backoff.delay_s(self.failures - 1, dice)
        asked_s = min(error.retry_after_s or 0.0, LONGEST_WAIT_S)
        self.not_before_s = now_s + max(delay_s, asked_s)
        self.trouble = error
        return self.failures == TELL_AFTER

    def retry_now(self) -> None:
        """Wait no longer, whatever failed before."""
        self.not_before_s = float("-inf")

    def worked(self) -> bool:
        """Note that it works; return whether a person was told that it does not."""
        was_failing = self.is_failing
        self.failures, self.not_before_s, self.trouble = 0, float("-inf"), None
        return was_failing


class ForgeClock:
    """A second that the forge's clock has surely reached, also where its answers tell none.

    Without a `Date`, what it showed last or the newest change that was seen, and from there on our
    own steady clock: so a poll never reads more than what changed of late. `boot_s` are its
    seconds.
    """

    def __init__(self) -> None:
        self._known: tuple[int, float] | None = None
        self.is_undated = False

    def showed(self, date_s: int, boot_s: float) -> None:
        """Note what the forge's clock showed."""
        self._known = date_s, boot_s
        self.is_undated = False

    def reached(self, mark_s: int, newest_s: int, boot_s: float) -> int:
        """Return what it has reached, by a mark and the newest change that was seen by now."""
        self.is_undated = True
        at_s, since_s = self._known or (mark_s, boot_s)
        now_s = at_s + int(boot_s - since_s)
        if newest_s > now_s or self._known is None:
            now_s = max(now_s, newest_s)
            self._known = now_s, boot_s
        return max(mark_s, now_s)


class Unit:
    """One repository: it fails, rests, is told and recovers by itself.

    `swept` is (when on our clock, up to which second of the forge's), None before the first look.
    """

    def __init__(self, repo: Repository) -> None:
        self.repo = repo
        self.pace = Pace(REPOSITORY)
        self.reconciled_s = float("-inf")
        self.active_s = float("-inf")
        self.branches_s = float("-inf")
        self.swept: tuple[float, int] | None = None


class Watch:
    """One thing watched: a repository, or an organisation with the repositories it has.

    `catch_up`: the next poll looks back to where triage stands. `known_id` is the id that its
    repository had when it was last seen, 0 for none.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.organisation = name.removeprefix("org:") if name.startswith("org:") else None
        self.repositories: dict[int, Unit] = {}
        self.pace = Pace(FORGE)
        self.mark: Mark | None = None
        self.mark_sent_s = 0.0
        self.deep_s = float("-inf")
        self.listed_s = float("-inf")
        self.started_s = 0
        self.triaged_s = 0
        self.catch_up = True
        self.known_id = 0
        self.clock = ForgeClock()

    def resume(self, marks: Mapping[str, Mark]) -> None:
        """Take up where the journal says it stood."""

        def second(key: str, otherwise: int) -> int:
            found = marks.get(key + self.name)
            return found.forge_s if found else otherwise

        self.mark = marks.get(self.name)
        self.started_s = second("started:", 0)
        self.triaged_s = second("triaged:", self.started_s)
        self.known_id = second("repository:", 0)

    def begin(self, home: Mark | None, date_s: int, new: Mark) -> None:
        """Stand at the mark that is home, else at a new one; what lies before is listed anew."""
        began_s = home.forge_s if home else date_s
        self.mark = home or new
        self.started_s = min(self.started_s or began_s, began_s)
        self.triaged_s = min(self.triaged_s or began_s, began_s)
        self.list_anew()

    def begin_again(self) -> None:
        """Forget where it stood here: another lane polled meanwhile."""
        self.mark = None
        self.catch_up = True
        self.pace.retry_now()
        self.list_anew()

    def list_anew(self) -> None:
        """Compare each of its repositories with the forge at the next look."""
        for unit in self.repositories.values():
            unit.reconciled_s = float("-inf")

    def take_up(self, found: Iterable[Repository]) -> None:
        """Watch exactly these repositories; what is known of those that stay is kept."""
        units: dict[int, Unit] = {}
        for repo in found:
            unit = units[repo.id] = self.repositories.get(repo.id) or Unit(repo)
            unit.repo = repo
        self.repositories = units


class Taken(Protocol):
    """How a role was taken: see `roles.TakeOver`."""

    @property
    def epoch(self) -> int: ...
    @property
    def is_from_another(self) -> bool: ...


class RoleKeeper(Protocol):
    """What a duty asks of who keeps the roles: how it came to its role, and whether nobody is named.

    `undecided` says that the council has decided nothing for a while about who polls. `acted`
    notes the first act after a take-over.
    """

    @property
    def taken(self) -> Mapping[str, Taken]: ...
    def undecided(self) -> bool: ...
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
