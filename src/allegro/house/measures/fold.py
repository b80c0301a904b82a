"""Folds the archive into figures, stretch by stretch, each event once, whatever happens between.

What a stretch adds and the row behind it are one commit of the figures' own file. The archive is
never written. Another archive, an older copy or a changed one is noticed at the start, by its id,
its length and the bytes of the last row that was folded; then everything is folded anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

import msgspec
import structlog

from allegro.core.base.events import decode_event
from allegro.core.base.timestamps import unix_s
from allegro.core.measures.buckets import Spans, quarter_of, with_samples
from allegro.core.measures.figures import Figures
from allegro.core.measures.folding import Folded, FoldPlace, RowsOf, check_of, is_same_archive
from allegro.core.measures.minutes import Counted, Look, with_looks
from allegro.core.measures.samples import FOLDED, TIMED, step
from allegro.core.measures.state import Archived, Sample, State
from allegro.core.protocol.event_types import EventType
from allegro.core.protocol.payloads.reading import read_payload
from allegro.core.stores import HOUSE, Archive
from allegro.core.stores import Archived as Stored

_log = structlog.get_logger()
SPAN = 1_000
BREATH = 100
"""After so many events the loop of the house gets its turn."""


class MeasureBook(Protocol):
    """Where figures are kept. What `add` brings is durable, whole, when it returns."""

    async def place(self) -> FoldPlace: ...
    async def add(self, folded: Folded) -> None: ...
    async def clear(self) -> None: ...
    async def figures(self, spans: Spans) -> dict[str, Figures]: ...
    async def minutes(self, spans: Spans) -> dict[str, Counted]: ...
    async def arrived(self, spans: Spans) -> tuple[int, int]: ...
    async def close(self) -> None: ...


class Fold:
    """Keeps the figures of one archive up to date. One stretch at a time, whoever asks."""

    def __init__(self, archive: Archive, book: MeasureBook) -> None:
        self._archive = archive
        self._book = book
        self._place: FoldPlace | None = None
        self._turn = asyncio.Lock()

    @property
    def place(self) -> FoldPlace:
        """Where the fold stands; the beginning before the first `fold_on`."""
        return self._place or FoldPlace()

    async def fold_on(self) -> None:
        """Fold to the end of the archive. Raises EdgeError of the stores; what was folded stays."""
        async with self._turn:
            place = self._place or await self._resume()
            while True:
                found, scanned = await self._archive.scan(place.row, SPAN, FOLDED)
                if scanned == place.row:
                    break
                folded = await _folded(place, found)
                last = await self._archive.events(scanned - 1, 1)
                check = check_of(last[0].stored) if last else b""
                place = msgspec.structs.replace(folded.place, row=scanned, check=check)
                await self._book.add(msgspec.structs.replace(folded, place=place))
                self._place = place
            self._place = place

    async def _resume(self) -> FoldPlace:
        """Return where to go on; at the first row where the archive is not the one of before."""
        place, archive = await self._book.place(), (await self._archive.tie()).id
        last_row = await self._archive.last_row()
        there = await self._archive.events(place.row - 1, 1) if place.row else []
        stored = there[0].stored if there and there[0].row == place.row else None
        if is_same_archive(place, archive, last_row, stored):
            return msgspec.structs.replace(place, archive=archive)
        _log.warning("measures.folded_anew", row=place.row, last_row=last_row)
        await self._book.clear()
        return FoldPlace(archive=archive)


async def _folded(place: FoldPlace, found: Sequence[Stored]) -> Folded:
    """Return what some events add. Gives the loop its turn now and then."""
    samples: list[Sample] = []
    looks: list[Look] = []
    rows: dict[int, RowsOf] = {}
    state, unreadable = place.state, place.unreadable
    for number, stored in enumerate(found, 1):
        _note_row(rows, stored)
        event = archived_event(stored)
        if event is None:
            unreadable += 1
            continue
        state, samples, looks = _taken(state, event, samples, looks)
        if number % BREATH == 0:
            await asyncio.sleep(0)
    began_s = place.began_s or (found[0].at_s if found else 0.0)
    after = msgspec.structs.replace(place, state=state, unreadable=unreadable, began_s=began_s)
    return Folded(after, with_samples(samples), with_looks(looks), rows)


def _taken(
    state: State, event: Archived, samples: list[Sample], looks: list[Look]
) -> tuple[State, list[Sample], list[Look]]:
    one = step(state, event)
    samples.extend(one.samples)
    looks.extend(one.looks)
    return one.state, samples, looks


def _note_row(rows: dict[int, RowsOf], stored: Stored) -> None:
    start_s = quarter_of(stored.at_s)
    held = rows.get(start_s)
    rows[start_s] = RowsOf(held.first if held else stored.row, stored.row)


def archived_event(stored: Stored) -> Archived | None:
    """Return a stored event as figures see it, None where it is no event. Never raises."""
    try:
        event = decode_event(stored.stored)
    except ValueError:
        return None
    is_timed = event.type.startswith(TIMED) and event.type != EventType.SESSION_END
    return Archived(
        type=event.type,
        lane=stored.lane,
        at_s=stored.at_s,
        born_s=unix_s(event.time),
        is_own=stored.lane == HOUSE,
        payload=None if is_timed else read_payload(event),
    )
