"""What the house measures: keeps the figures up to date, and answers for any window."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from allegro.core.base.errors import EdgeError
from allegro.core.measures.answers import Judged, Measured, MeasuresAnswer, Window, answered
from allegro.core.measures.buckets import spans_of
from allegro.core.measures.state import Due
from allegro.core.ports import Clock
from allegro.core.stores import Archive
from allegro.house.measures.fold import Fold, MeasureBook
from allegro.house.measures.settled import SettledEvents

_log = structlog.get_logger()
FOLD_S = 60.0
TROUBLE_S = 5.0

Judges = Callable[[], Judged | None]
"""Returns what people said of alerts, None where no verdicts are kept."""


def no_verdicts() -> Judged | None:
    """Say that no verdicts are kept."""
    return None


class MeasuresWing:
    """`run` folds on once a minute; `answer` folds what came since, then answers."""

    def __init__(
        self,
        archive: Archive,
        clock: Clock,
        book: MeasureBook,
        settled: SettledEvents,
        judges: Judges = no_verdicts,
    ) -> None:
        self._archive = archive
        self._clock = clock
        self._book = book
        self._settled = settled
        self._fold = Fold(archive, book)
        self._judges = judges

    async def run(self) -> None:
        """Write what ended, and fold on, until cancelled."""
        while True:
            await self._clock.sleep(await self.step())

    async def step(self) -> float:
        """Do it once; return the seconds to wait."""
        try:
            await self._settled.write()
            await self._fold.fold_on()
        except EdgeError as error:  # a disk that refuses: what was folded stays
            _log.error("measures.blocked", error=str(error))
            return TROUBLE_S
        return FOLD_S

    async def answer(self, window_s: float, *, to_s: float | None = None) -> MeasuresAnswer:
        """Return every row over the `window_s` before `to_s` (Unix s), None for now.

        The window is widened to whole quarters of an hour. Raises EdgeError of the stores.
        """
        end_s = self._clock.now_s() if to_s is None else to_s
        await self._settled.write()
        await self._fold.fold_on()
        spans, place = spans_of(end_s - window_s, end_s), self._fold.place
        figures, minutes = await asyncio.gather(
            self._book.figures(spans), self._book.minutes(spans)
        )
        window = Window(spans.from_s, min(end_s, spans.to_s))
        measured = Measured(window, figures, minutes, self._judges(), place.began_s)
        return MeasuresAnswer(
            from_s=window.from_s,
            to_s=window.to_s,
            began_s=place.began_s,
            rows=answered(measured),
            row=place.row,
            behind=max(0, await self._archive.last_row() - place.row),
            unreadable=place.unreadable,
        )

    async def rows_between(self, from_s: float, to_s: float) -> tuple[int, int]:
        """Return between which rows all lies that was archived in a span; (1, 0) for nothing.

        Raises EdgeError of the stores.
        """
        await self._settled.write()
        await self._fold.fold_on()
        return await self._book.arrived(spans_of(from_s, to_s))

    @property
    def due(self) -> tuple[Due, ...]:
        """When each scheduled duty is due next, by what its owner told last."""
        return tuple(self._fold.place.state.due.values())

    async def close(self) -> None:
        await self._book.close()
