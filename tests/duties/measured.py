"""An archive that is written by hand: lanes tell payloads, the house tells its own, times are given."""

from __future__ import annotations

from pathlib import Path

from allegro.adapters.sqlite.archive import SqliteArchive, open_archive
from allegro.adapters.sqlite.measures import SqliteMeasures, open_measures
from allegro.core.base.errors import Refusal
from allegro.core.base.events import Event, encode_event
from allegro.core.base.sequence import Kept
from allegro.core.base.timestamps import rfc3339
from allegro.core.measures.answers import Measured, RowAnswer, Window, answered
from allegro.core.measures.buckets import spans_of
from allegro.core.protocol.payloads.base import Payload, own_event
from allegro.house.measures.fold import Fold

NOON = 1_800_000_000.0 // 86_400 * 86_400 + 43_200
"""Noon of a day in UTC."""


class MeasuredArchive:
    """A real archive and real figures in one folder. Ids count up, so runs are alike."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.archive: SqliteArchive
        self.book: SqliteMeasures
        self.fold: Fold
        self._seq: dict[str, int] = {}
        self._made = 0

    async def open(self) -> None:
        self.archive = open_archive(self.folder / "archive.db", quota_bytes=10**9)
        self.book = open_measures(self.folder / "measures.db")
        self.fold = Fold(self.archive, self.book)

    async def close(self) -> None:
        await self.book.close()
        await self.archive.close()

    async def reopen(self) -> None:
        """As a house that starts again."""
        await self.close()
        await self.open()

    async def tell(
        self, payload: Payload, at_s: float, *, lane: str = "a", born_s: float | None = None
    ) -> None:
        """Archive an event of a lane at `at_s`, born at `born_s` (Unix s)."""
        self._made += 1
        event = Event(
            id=f"e{self._made}", type=payload.type_.value, source=f"lane:{lane}",
            time=rfc3339(at_s if born_s is None else born_s), data=payload.clear(),
        )  # fmt: skip
        await self.raw(encode_event(event), at_s, lane=lane)

    async def raw(self, stored: bytes, at_s: float, *, lane: str = "a") -> None:
        seq = self._seq[lane] = self._seq.get(lane, 0) + 1
        taken = await self.archive.take(lane, "j" + lane, seq, [Kept(stored)], at_s)
        assert not isinstance(taken, Refusal)

    async def own(self, payload: Payload, at_s: float) -> None:
        """Archive an event of the house's own."""
        self._made += 1
        event = own_event(payload, id_=f"o{self._made}", now_s=at_s)
        await self.archive.add([encode_event(event)], at_s)

    async def rows(self, from_s: float, to_s: float) -> dict[str, RowAnswer]:
        """Fold on, and return every row over a window by its name."""
        await self.fold.fold_on()
        spans = spans_of(from_s, to_s)
        measured = Measured(
            Window(from_s, to_s), await self.book.figures(spans), await self.book.minutes(spans),
            None, self.fold.place.began_s,
        )  # fmt: skip
        return {row.name: row for row in answered(measured)}
