"""After a reconcile: what the archive holds to exist and the lane does not has vanished.

A lane whose disk went back does not know what it once told, so the house asks: that very lane,
while it still polls. What another one knows is older. Each lane is asked in a task of its own, so
one that does not answer holds up nobody.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import structlog

from allegro.core.base.errors import EdgeError
from allegro.core.base.untrusted import Unreadable, read_value, whole_number
from allegro.core.protocol.answers.forge import Listing
from allegro.core.protocol.payloads.base import Payload
from allegro.core.protocol.payloads.polls import ForgeVanished
from allegro.core.protocol.queries import AskListing
from allegro.house.ports import AskLane, Ports
from allegro.runtime.tasks import OneEach

_log = structlog.get_logger()
IDLE_S = 60.0
MAX_COMPARED = 500
"""So many repositories of one lane wait to be compared; the oldest go first."""
_NAME = "to be compared"

Own = Callable[[Payload, str], bytes]
"""(payload, subject) -> the stored form of an event of the house itself."""


class Vanished:
    """Keeps, for each lane, the repositories that it reconciled, and compares them by and by.

    What waits is kept in the ledger: a restart of the house loses none.
    """

    def __init__(
        self, ports: Ports, ask_lane: AskLane, own: Own, failed: Callable[[str], None]
    ) -> None:
        self._archive = ports.archive
        self._ledger = ports.ledger
        self._clock = ports.clock
        self._ask_lane = ask_lane
        self._own = own
        self._to_compare: dict[str, dict[int, int]] = {}
        self._not_before_s: dict[str, float] = {}
        self._tasks = OneEach("vanished", failed)

    async def resume(self) -> None:
        """Take up what was still to be compared when the house stopped."""
        for kept in await self._ledger.strings(_NAME):
            repository, row, lane = (*kept.split(" ", 2), "", "")[:3]
            at, number = whole_number(row), whole_number(repository)
            if lane and at is not None and number is not None:
                self._to_compare.setdefault(lane, {})[number] = at

    async def reconciled(self, lane: str, repository: int, row: int) -> None:
        """Note durably that a lane listed a repository whole, as told in this row of the archive.

        Raises EdgeError of the ledger.
        """
        rows = self._to_compare.setdefault(lane, {})
        if repository in rows or len(rows) < MAX_COMPARED:
            rows[repository] = row
            await self._keep()
        else:
            _log.warning("vanished.too_many", lane=lane, repository=repository)

    async def _keep(self) -> None:
        kept = [
            f"{repository} {row} {lane}"
            for lane, rows in self._to_compare.items()
            for repository, row in rows.items()
        ]
        await self._ledger.set_strings(_NAME, tuple(kept))

    def begin(self) -> None:
        """Begin to compare for each lane that has something to compare."""
        for lane in [lane for lane, rows in self._to_compare.items() if rows]:
            if self._clock.boot_s() >= self._not_before_s.get(lane, float("-inf")):
                self._tasks.begin(lane, lambda lane=lane: self._compare_all(lane))  # type: ignore[misc]

    async def idle(self) -> None:
        """Wait until nobody is asked any more."""
        await self._tasks.idle()

    async def stop(self) -> None:
        await self._tasks.stop()

    async def _compare_all(self, lane: str) -> None:
        rows = self._to_compare.get(lane, {})
        for repository, row in list(rows.items()):
            try:
                query = AskListing(repository=repository)
                held = _subjects(await self._ask_lane(lane, query.name, query.params()))
            except EdgeError as error:
                if error.transient:
                    self._not_before_s[lane] = self._clock.boot_s() + IDLE_S
                    return
                _log.info("listing.refused", repository=repository, error=str(error))
            else:
                await self._note_gone(repository, row, held)
            if rows.get(repository) == row:
                del rows[repository]
                await self._keep()

    async def _note_gone(self, repository: int, row: int, held: set[str]) -> None:
        living = await self._archive.living(repository, row)
        gone = [subject for subject in living if _tail(subject) not in held]
        if gone:
            await self._archive.add(self._events(gone, repository), self._clock.now_s())

    def _events(self, gone: Sequence[str], repository: int) -> list[bytes]:
        payload = ForgeVanished(
            repository=repository, vanished=True, updated_s=int(self._clock.now_s())
        )
        return [self._own(payload, subject) for subject in gone]


def _subjects(answer: object) -> set[str]:
    """Return the ends of the subjects a lane lists. Raises EdgeError where it is no listing."""
    listing = read_value(answer, Listing)
    if isinstance(listing, Unreadable):
        raise EdgeError("the lane's listing cannot be read", transient=True)
    numbers = {f"#{number}" for number in listing.issues}
    return numbers | {f"/comment/{id_}" for id_ in listing.comments}


def _tail(subject: str) -> str:
    at = subject.find("#") if "#" in subject else subject.find("/comment/")
    return subject[at:]
