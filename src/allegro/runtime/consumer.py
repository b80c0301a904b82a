"""The one supervised consumer loop: a bug belongs to the item it met, never to the program.

This and `duties` are the only places besides an `app.py` with a broad `except`. `LaneReader` reads
what one lane archived, for one duty (`reader` goes from lane to lane); `Items` runs the work of a duty whose items come from elsewhere (a queue, a table). Both
keep on disk what is under work, log the traceback of a bug, try the item once more, and then set it
aside: durably, with a sentence for a person, while the next item is handled. An item that was under
work when the program died counts as one try.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import traceback
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import msgspec
import structlog

from allegro.core.base.errors import EdgeError, UserError
from allegro.core.ports import Clock
from allegro.core.stores import Archive, Archived, Place, SetAside, WorkBook

_log = structlog.get_logger()
TRIES = 2
OF = " of "
"""Stands between a duty's name and a lane's in the name of a place."""
DIED = "the program died while this was under work"

T = TypeVar("T")

OnSetAside = Callable[[SetAside, bytes], Awaitable[None]]
"""Is given what was set aside and, from a `Reader`, the stored event; else no bytes."""


async def nothing_to_settle() -> None:
    return None


class ReaderPorts(msgspec.Struct, frozen=True):
    """What a reader stands on: where events and its place are kept; who takes what it sets aside.

    `settle` is awaited before a place is kept: what the events caused elsewhere is on disk then.
    """

    archive: Archive
    book: WorkBook
    clock: Clock
    on_set_aside: OnSetAside
    settle: Callable[[], Awaitable[None]] = nothing_to_settle


class Outcome(enum.Enum):
    """What became of one item."""

    DONE = "done"
    AGAIN = "again"
    SET_ASIDE = "set aside"


class LaneReader:
    """Gives the events of one lane to `one`, in order, from a durable place of this name.

    In bulk the place costs one commit for each stretch: the stretch under work is written down
    before. After a death or an error inside a stretch, that stretch is read event by event with a
    commit for each. An event may be given again after a crash, so `one` must bear repeats. A
    transient EdgeError of `one` is the disk's or the link's: it is raised, nothing is set aside.
    """

    def __init__(
        self,
        name: str,
        place: Place,
        one: Callable[[Archived], Awaitable[None]],
        ports: ReaderPorts,
        flush: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """`place` is where to go on. `flush` makes durable what `one` kept in memory; it is called
        before a place is kept."""
        self._name = name
        self._duty = name.partition(OF)[0]
        self._book = ports.book
        self._clock = ports.clock
        self._one = one
        self._on_set_aside = ports.on_set_aside
        self._settle = ports.settle
        self._flush = flush
        self._place = self._kept = place

    @property
    def row(self) -> int:
        """The last row of this lane that was read."""
        return self._place.row

    @property
    def is_under_work(self) -> bool:
        """Whether a stretch is under work as far as the disk knows."""
        return self._kept.upto > self._kept.row

    def pass_to(self, row: int) -> None:
        """Take note that nothing of this lane is left up to this row, and that the disk knows."""
        self._place = self._kept = Place(row, row)

    async def stretch(self, chunk: Sequence[Archived]) -> None:
        """Read these events. Raises EdgeError of the stores; what was read before it is read."""
        upto = chunk[-1].row
        careful = self._place.upto > self._place.row
        if not careful:
            await self._keep(Place(self._place.row, upto))
        for archived in chunk:
            if archived.row > self._place.upto:
                careful = False
            if careful:
                begun = self._place.tries if self._place.item == archived.row else 0
                await self._try_on(archived, max(upto, self._place.upto), begun)
            elif await self._try(archived):
                await self._try_on(archived, upto, 1)
            self._place = Place(archived.row, max(upto, self._place.upto))
        if self._place.upto <= upto:
            self._place = Place(upto, upto)

    async def _try_on(self, archived: Archived, upto: int, begun: int) -> None:
        """Try one event until it is read or set aside; `begun` tries came to nothing."""
        reason = DIED
        while begun < TRIES:
            await self._keep(Place(archived.row - 1, upto, archived.row, begun + 1))
            try:
                reason = await self._try(archived)
            except EdgeError:
                self._place = Place(archived.row - 1, upto, archived.row, begun)
                raise
            except asyncio.CancelledError:  # a clean stop is no try
                with contextlib.suppress(EdgeError):
                    await self._keep(Place(archived.row - 1, upto, archived.row, begun))
                raise
            if not reason:
                return
            begun += 1
        aside = SetAside(
            duty=self._duty,
            item=str(archived.row),
            lane=archived.lane,
            reason=reason,
            at_s=self._clock.now_s(),
        )
        await self._book.set_aside(aside)
        await self._on_set_aside(aside, archived.stored)

    async def _try(self, archived: Archived) -> str:
        """Give one event to the duty; return why it could not be read, empty when it was."""
        try:
            await self._one(archived)
        except EdgeError as error:
            if error.transient:
                upto = max(self._place.upto, archived.row)
                self._place = Place(archived.row - 1, upto, archived.row, 0)
                raise
            return reason_of(error)
        except Exception as error:  # noqa: BLE001 (the supervised loop: see the module)
            note_bug(error, duty=self._duty, item=str(archived.row), lane=archived.lane)
            return reason_of(error)
        return ""

    async def _keep(self, place: Place) -> None:
        if self._flush is not None:
            await self._flush()
        await self._settle()
        await self._book.keep_place(self._name, place)
        self._place = self._kept = place


class Items:
    """Runs the items of one duty, named by `item`, where a bug in one must not end the others.

    A second call for an item that failed is its second try: the duty decides when. EdgeErrors are
    the duty's own business and pass through.
    """

    def __init__(self, name: str, book: WorkBook, clock: Clock, on_set_aside: OnSetAside) -> None:
        self._name = name
        self._book = book
        self._clock = clock
        self._on_set_aside = on_set_aside
        self._tries: dict[str, int] | None = None

    async def handle(
        self, item: str, work: Callable[[], Awaitable[object]], *, lane: str = ""
    ) -> Outcome:
        """Do the work of one item. Raises EdgeError of the work and of the book.

        `lane` is the lane from which the item came, empty where none did.
        """
        if self._tries is None:
            self._tries = await self._book.begun(self._name)
        tries, reason = self._tries.get(item, 0), DIED
        if tries < TRIES:
            await self._book.begin(self._name, item, tries + 1)
            try:
                await work()
            except (EdgeError, asyncio.CancelledError):  # no try: the disk, the link, a clean stop
                with contextlib.suppress(EdgeError):
                    await self._put_down(item, tries)
                raise
            except Exception as error:  # noqa: BLE001 (the supervised loop: see the module)
                note_bug(error, duty=self._name, item=item, lane=lane)
                reason = reason_of(error)
            else:
                self._tries.pop(item, None)
                await self._book.end(self._name, item)
                return Outcome.DONE
            self._tries[item] = tries + 1
            if tries + 1 < TRIES:
                return Outcome.AGAIN
        aside = SetAside(
            duty=self._name, item=item, lane=lane, reason=reason, at_s=self._clock.now_s()
        )
        await self._book.set_aside(aside)
        self._tries.pop(item, None)
        await self._book.end(self._name, item)
        await self._on_set_aside(aside, b"")
        return Outcome.SET_ASIDE

    async def _put_down(self, item: str, tries: int) -> None:
        if tries:
            await self._book.begin(self._name, item, tries)
        else:
            await self._book.end(self._name, item)


async def as_edge_error(name: str, item: str, work: Awaitable[T]) -> T:
    """Do the work of one item that is tried again later, such as reading one repository.

    A bug in it is logged with its traceback and raised as a transient EdgeError of kind `bug`, so
    that the caller treats it as what fails with this item alone. EdgeErrors, and what is told to a
    person at the program's end (UserError), pass through.
    """
    try:
        return await work
    except (EdgeError, UserError):
        raise
    except Exception as error:
        note_bug(error, duty=name, item=item, lane="")
        raise EdgeError(f"{item}: {reason_of(error)}", transient=True, kind="bug") from error


def note_bug(error: Exception, *, duty: str, item: str, lane: str) -> None:
    """Log where a bug is: the traceback, and no value of what was under work."""
    error = _innermost(error)
    trace = "".join(traceback.format_tb(error.__traceback__))[-4_000:]
    _log.error("item.failed", duty=duty, item=item, lane=lane, error=reason_of(error), trace=trace)


def reason_of(error: Exception) -> str:
    """Return what an error says, in at most 300 characters; of a group, what its first one says."""
    error = _innermost(error)
    return f"{type(error).__name__}: {error}"[:300]


def _innermost(error: Exception) -> Exception:
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error
