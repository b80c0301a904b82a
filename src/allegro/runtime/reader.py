"""Reads the archive on for one duty, lane by lane: no lane's flood holds up what another told.

Invariant: the events of one lane are given in order, each at least once, from a durable place. A
lane gets CHUNK events a turn, then it is the next one's, however much the first has waiting. Rows
are found ahead of their reading, without their content; of a lane with much waiting only the first
MOST_ROWS stand in memory.

Places on disk: one under the duty's name, up to which everything of every lane was read; and one
for each lane that is ahead of it. Where all was read, the first says it alone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable

from allegro.core.base.errors import EdgeError
from allegro.core.stores import Archived, Place
from allegro.runtime.consumer import OF, LaneReader, ReaderPorts

SPAN = 20_000
CHUNK = 200
LAZY = 1_000
MOST_ROWS = 20_000
LOOK_S = 0.25
"""So long it looks for rows at most before the next turn of reading."""


class _Lane:
    """What waits of one lane. `behind` is the row after which rows were found and not noted."""

    def __init__(self, reader: LaneReader) -> None:
        self.reader = reader
        self.rows: deque[int] = deque()
        self.behind: int | None = None

    @property
    def waits(self) -> bool:
        return bool(self.rows) or self.behind is not None

    def add(self, row: int) -> None:
        if self.behind is not None or row <= self.reader.row:
            return
        if len(self.rows) < MOST_ROWS:
            self.rows.append(row)
        else:
            self.behind = self.rows[-1]

    def take_up(self) -> int | None:
        """Return the row after which rows of this lane are to be found again, and note them."""
        at, self.behind = self.behind, None
        return at

    def drop(self, upto: int) -> None:
        while self.rows and self.rows[0] <= upto:
            self.rows.popleft()


class Reader:
    """Gives each archived event of some types to `one`; see the module and `LaneReader`."""

    def __init__(
        self,
        name: str,
        prefixes: tuple[str, ...],
        one: Callable[[Archived], Awaitable[None]],
        ports: ReaderPorts,
        flush: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """`name` is that of the places; `prefixes` are the types of events that are read.

        `flush` makes durable what `one` kept in memory; it is called before a place is kept.
        """
        self._name = name
        self._prefixes = prefixes
        self._one = one
        self._ports = ports
        self._archive, self._book = ports.archive, ports.book
        self._flush = flush
        self._lanes: dict[str, _Lane] = {}
        self._base: Place | None = None
        self._found = 0
        self._is_at_end = False

    @property
    def row(self) -> int:
        """The row up to which everything was read, 0 before the first reading."""
        waiting = (lane.reader.row for lane in self._lanes.values() if lane.waits)
        return min(waiting, default=self._found)

    def waits(self, lane: str) -> bool:
        """Say whether events of this lane are known that were not read yet."""
        held = self._lanes.get(lane)
        return held is not None and held.waits

    async def begins_anew(self, lane: str) -> bool:
        """Say whether this lane's events will be read from the first one."""
        return (await self._book.place(self._name)).row == 0 and (
            await self._book.place(f"{self._name}{OF}{lane}")
        ).row == 0

    async def read_on(self) -> None:
        """Read to the end of the archive. Raises EdgeError of the stores."""
        while await self.read_share():
            pass

    async def read_share(self) -> bool:
        """Read a turn of each lane; say whether more waits.

        Raises EdgeError of the stores, after every lane had its turn.
        """
        await self._look_ahead()
        trouble: EdgeError | None = None
        for lane in list(self._lanes.values()):
            try:
                await self._turn_of(lane)
            except EdgeError as error:
                trouble = trouble or error
        if trouble is not None:
            raise trouble
        if not self._is_at_end or any(lane.waits for lane in self._lanes.values()):
            return True
        await self._settle()
        return False

    async def _look_ahead(self) -> None:
        """Note whose rows wait, up to the end of the archive if it is not too far."""
        if self._base is None:
            self._base = await self._book.place(self._name)
            self._found = self._base.row
        until_s = self._ports.clock.boot_s() + LOOK_S
        self._is_at_end = False
        while not self._is_at_end and self._ports.clock.boot_s() <= until_s:
            before = self._found
            found, last = await self._archive.heads(before, SPAN, self._prefixes)
            for row, name in found:
                lane = self._lanes.get(name) or await self._begun(name)
                lane.add(row)
            self._found = max(last, before)
            self._is_at_end = last < before + SPAN

    async def _begun(self, name: str) -> _Lane:
        """Return a lane that is heard of for the first time, at its place."""
        assert self._base is not None
        own, place = f"{self._name}{OF}{name}", self._base
        held = await self._book.place(own)
        if held.row >= place.row and held != Place():
            place = held
        lane = _Lane(LaneReader(own, place, self._one, self._ports, self._flush))
        self._lanes[name] = lane
        return lane

    async def _turn_of(self, lane: _Lane) -> None:
        if not lane.rows and lane.behind is not None:
            await self._fill_up(lane)
        rows = [lane.rows[at] for at in range(min(CHUNK, len(lane.rows)))]
        if not rows:
            return
        try:
            if chunk := await self._archive.rows(rows):
                await lane.reader.stretch(chunk)
            lane.drop(rows[-1])
        finally:
            lane.drop(lane.reader.row)

    async def _fill_up(self, lane: _Lane) -> None:
        """Note the next rows of a lane that were found before and were too many to keep."""
        at = lane.take_up()
        while at is not None and at < self._found and lane.behind is None:
            found, last = await self._archive.heads(at, SPAN, self._prefixes)
            for row, name in found:
                if row <= self._found and self._lanes.get(name) is lane:
                    lane.add(row)
            at = last

    async def _settle(self) -> None:
        """Keep the one place up to which all was read, where it is worth a commit."""
        assert self._base is not None
        if self._flush is not None:
            await self._flush()
        row = self._found
        readers = [lane.reader for lane in self._lanes.values()]
        is_open = self._base.upto > self._base.row or any(one.is_under_work for one in readers)
        if self._base.row != row and (is_open or row >= self._base.row + LAZY):
            self._base = Place(row, row)
            await self._ports.settle()
            await self._book.keep_place(self._name, self._base)
            for one in readers:
                one.pass_to(row)
