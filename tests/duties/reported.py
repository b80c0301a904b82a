"""A house in virtual time that measures and reports: real archive, ledger, figures and files."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from allegro.adapters.report_files import ReportFiles
from allegro.adapters.sqlite.archive import SqliteArchive, open_archive
from allegro.adapters.sqlite.measures import open_measures
from allegro.config import load_zone
from allegro.core.authority.freeze import FreezeSet
from allegro.core.base.errors import EdgeError, Refusal
from allegro.core.base.events import Event, encode_event
from allegro.core.base.sequence import Kept, ShedEntry
from allegro.core.base.timestamps import rfc3339
from allegro.core.health.alerts import Alert
from allegro.core.protocol.payloads.base import Payload, own_event
from allegro.core.reports.facts import DeliveryLine, FactLine, LaneLine, Unknown
from allegro.house.measures.settled import SettledEvents
from allegro.house.measures.wing import MeasuresWing
from allegro.house.ports import Ports
from allegro.house.reports.collect import Collector
from allegro.house.reports.reporter import Delivery, Reporter
from allegro.house.reports.sources import Sources
from allegro.testing.virtual import SeededDice, VirtualClock

from .house import House as Small


class Told:
    """What the sources of a report say, as a test sets it."""

    def __init__(self) -> None:
        self.freezes = FreezeSet()
        self.lanes: list[LaneLine] = []
        self.alerts: list[Alert] | Unknown = []
        self.doctor: list[FactLine] | EdgeError = []
        self.deliveries: list[DeliveryLine] | EdgeError | None = None


class ReportedHouse:
    """`said` is what other parts would tell; `brought` what the ways took."""

    def __init__(self, folder: Path, clock: VirtualClock, zone: str = "Europe/Berlin") -> None:
        self.folder = folder
        self.clock = clock
        self.zone: ZoneInfo = load_zone(zone)
        self.small = Small(folder, clock)
        self.said = Told()
        self.brought: list[Delivery] = []
        self.is_refusing = False
        self.store = ReportFiles(folder / "reports")
        self.archive: SqliteArchive
        self.measures: MeasuresWing
        self.reporter: Reporter
        self._seq: dict[str, int] = {}
        self._made = 0

    async def open(self) -> None:
        await self.small.start()
        self.archive = open_archive(self.folder / "archive.db", quota_bytes=10**9)
        ports = Ports(self.archive, self.small.ledger, self.clock, SeededDice(9), _words)
        book = open_measures(self.folder / "measures.db")
        settled = SettledEvents(ports, self.small.requests)
        self.measures = MeasuresWing(self.archive, self.clock, book, settled)
        sources = Sources(
            freezes=lambda: self.said.freezes,
            lanes=lambda: self.said.lanes,
            alerts=lambda: self.said.alerts,
            doctor=self._doctor,
            deliveries=self._deliveries,
        )
        collector = Collector("home", ports, self.measures, sources, self.zone)
        self.reporter = Reporter(collector, self.measures, self.store, self.clock, self.zone)
        self.reporter.add_way("chat", self._take)
        self.collector = collector

    async def close(self) -> None:
        await self.measures.close()
        await self.archive.close()
        await self.small.ledger.close()

    async def reopen(self) -> None:
        await self.close()
        await self.open()

    async def _take(self, delivery: Delivery) -> None:
        if self.is_refusing:
            raise EdgeError("the channel is down", transient=True)
        self.brought.append(delivery)

    async def _doctor(self) -> Sequence[FactLine]:
        if isinstance(self.said.doctor, EdgeError):
            raise self.said.doctor
        return self.said.doctor

    async def _deliveries(self, date: datetime.date) -> Sequence[DeliveryLine]:
        if isinstance(self.said.deliveries, EdgeError):
            raise self.said.deliveries
        kept = await self.reporter.sent(date)
        if not kept or self.said.deliveries is None:
            return kept
        return [*kept, *self.said.deliveries]

    # --- what happens --------------------------------------------------------------------------

    async def tell(
        self,
        payload: Payload,
        lane: str = "a",
        *,
        subject: str = "",
        words: Any = None,
        at_s: float | None = None,
    ) -> None:
        """Archive an event of a lane now; `words` are what it sealed."""
        self._made += 1
        now_s = self.clock.now_s() if at_s is None else at_s
        event = Event(
            id=f"e{self._made}", type=payload.type_.value, source=f"lane:{lane}",
            time=rfc3339(now_s), subject=subject, data=payload.clear(),
            sealed=b"" if words is None else msgspec.json.encode(words),
        )  # fmt: skip
        await self._take_in(lane, Kept(encode_event(event)), now_s)

    async def raw(self, stored: bytes, lane: str = "a") -> None:
        await self._take_in(lane, Kept(stored), self.clock.now_s())

    async def shed(self, lane: str = "a") -> None:
        """A lane's journal gave an entry up: it comes home as a named gap."""
        await self._take_in(lane, ShedEntry(b"h" * 32, "full", 5), self.clock.now_s())

    async def _take_in(self, lane: str, entry: Kept | ShedEntry, at_s: float) -> None:
        seq = self._seq[lane] = self._seq.get(lane, 0) + 1
        taken = await self.archive.take(lane, "j" + lane, seq, [entry], at_s)
        assert not isinstance(taken, Refusal)

    async def own(self, payload: Payload) -> None:
        """Archive an event of the house's own now."""
        self._made += 1
        event = own_event(payload, id_=f"o{self._made}", now_s=self.clock.now_s())
        await self.archive.add([encode_event(event)], self.clock.now_s())


def _words(event: Event) -> Any:
    return msgspec.json.decode(event.sealed) if event.sealed else None


def well(*names: str) -> list[LaneLine]:
    """Return lanes that are linked and home."""
    return [LaneLine(name=name, is_linked=True, is_home=True, heard_s=1.0) for name in names]
