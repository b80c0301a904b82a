"""The day's log in files: its events without their words, and a digest of it; and whether all is there.

A day is one of the owner's zone and holds what came home in it. Its files are made from the archive
alone, so the same archive gives the same bytes, and a file that is lost or damaged is written again.
"""

from __future__ import annotations

import datetime
import hashlib
import zlib
from collections import Counter
from collections.abc import AsyncIterator
from typing import Annotated, Protocol

import msgspec

from allegro.core.base.untrusted import Name, Unreadable, read_json
from allegro.core.health.days import Day, day_of
from allegro.core.ports import Clock
from allegro.core.protocol.payloads.sessions import ModelResult, SessionEnd
from allegro.core.stores import Archive, Archived
from allegro.house.archive.events import ArchivedEvent, read_archived
from allegro.house.archive.rows import row_before
from allegro.house.ports import Ports
from allegro.runtime.scheduled_duty import DutyResult

KEPT_DAYS = 7
CHUNK = 500
MAX_TYPES = 200


class Exports(Protocol):
    """Where files go that other programs may take. Raises EdgeError."""

    async def write(self, name: str, raw: bytes) -> None: ...
    async def read(self, name: str) -> bytes | None: ...


class DayDigest(msgspec.Struct, frozen=True, kw_only=True):
    """One day in numbers. `types` counts events by type, `lanes` by who told them.

    `sha256` is of the day's events file. Times are Unix seconds.
    """

    schema: str = "allegro.digest/1"
    date: Annotated[str, msgspec.Meta(max_length=10)]
    from_s: float
    to_s: float
    events: int
    unreadable: int
    types: dict[Name, int]
    lanes: dict[Name, int]
    sessions: dict[Name, int]
    model_calls: int
    tokens: int
    sha256: Annotated[str, msgspec.Meta(max_length=64)]


class Fold:
    """Counts events, and packs their lines."""

    def __init__(self) -> None:
        self._packer = zlib.compressobj(6, zlib.DEFLATED, 31)  # gzip, with no time in its head
        self._packed: list[bytes] = []
        self._types: Counter[str] = Counter()
        self._lanes: Counter[str] = Counter()
        self._ends: Counter[str] = Counter()
        self._events = self._unreadable = self._calls = self._tokens = 0

    def take(self, archived: Archived) -> None:
        self._events += 1
        self._lanes[archived.lane[:64]] += 1
        event = read_archived(archived)
        if isinstance(event, Unreadable):
            self._unreadable += 1
            return
        kind = event.envelope.type[:64]
        if kind in self._types or len(self._types) < MAX_TYPES:
            self._types[kind] += 1
        match event.payload:
            case SessionEnd(state=state):
                self._ends[state[:32]] += 1
            case ModelResult() as result:
                self._calls += 1
                self._tokens += result.tokens_in + result.tokens_out
        self._packed.append(self._packer.compress(_line(event)))

    def packed(self) -> bytes:
        """Return the events file. To be called once, at the end."""
        return b"".join([*self._packed, self._packer.flush()])

    def digest(self, day: Day, sha256: str) -> DayDigest:
        return DayDigest(
            date=day.date.isoformat(), from_s=day.start_s, to_s=day.end_s, events=self._events,
            unreadable=self._unreadable, types=dict(sorted(self._types.items())),
            lanes=dict(sorted(self._lanes.items())), sessions=dict(sorted(self._ends.items())),
            model_calls=self._calls, tokens=self._tokens, sha256=sha256,
        )  # fmt: skip


def _line(event: ArchivedEvent) -> bytes:
    """Return an event as one line: its clear part, never its words."""
    one = event.envelope
    return (
        msgspec.json.encode(
            {
                "row": event.row, "lane": event.lane, "archived_s": event.at_s, "id": one.id,
                "type": one.type, "subject": one.subject, "time": one.time, "data": one.data,
            }
        )
        + b"\n"
    )  # fmt: skip


class DayExports:
    """The two duties: `roll_up` writes what is new, `sync` sees that all of the last days is there."""

    def __init__(self, ports: Ports, folder: Exports, zone: datetime.tzinfo) -> None:
        self._archive: Archive = ports.archive
        self._clock: Clock = ports.clock
        self._folder = folder
        self._zone = zone

    async def roll_up(self) -> DutyResult:
        """Write the days that ended and have no digest yet, the newest KEPT_DAYS at most."""
        written = [
            await self.write_day(day)
            for day in await self._ended_days()
            if await self._digest_of(day) is None
        ]
        if not written:
            return DutyResult("nothing new: each day that ended has its digest", {"days": 0})
        newest, events = written[-1], sum(one.events for one in written)
        words = (
            f"{newest.date}: {newest.events} events of {len(newest.lanes)} sources,"
            f" {sum(newest.sessions.values())} sessions ended, {newest.model_calls} model calls"
        )
        figures = {
            "days": len(written), "events": events,
            "unreadable": sum(one.unreadable for one in written),
        }  # fmt: skip
        return DutyResult(words, figures)

    async def sync(self) -> DutyResult:
        """Check each file of the last days against its digest, and write again what differs."""
        days, mended, files = await self._ended_days(), 0, {}
        for day in days:
            digest = await self._digest_of(day)
            raw = await self._folder.read(events_name(day))
            if digest is None or raw is None or hashlib.sha256(raw).hexdigest() != digest.sha256:
                digest, mended = await self.write_day(day), mended + 1
            files[events_name(day)] = digest.sha256
        manifest = {"schema": "allegro.exports/1", "files": files}
        await self._folder.write("manifest.json", msgspec.json.encode(manifest) + b"\n")
        again = f", {mended} of them written again" if mended else ""
        words = f"{len(days)} days are complete{again}; none configured to carry them elsewhere"
        return DutyResult(words, {"days": len(days), "written_again": mended})

    async def write_day(self, day: Day) -> DayDigest:
        """Write the events and the digest of one day, the digest last."""
        fold = Fold()
        async for archived in self._events_of(day):
            fold.take(archived)
        raw = fold.packed()
        await self._folder.write(events_name(day), raw)
        digest = fold.digest(day, hashlib.sha256(raw).hexdigest())
        whole = msgspec.json.format(msgspec.json.encode(digest), indent=1) + b"\n"
        await self._folder.write(digest_name(day), whole)
        return digest

    async def _digest_of(self, day: Day) -> DayDigest | None:
        raw = await self._folder.read(digest_name(day))
        digest = None if raw is None else read_json(raw, DayDigest)
        is_of_day = isinstance(digest, DayDigest) and digest.date == day.date.isoformat()
        return digest if isinstance(digest, DayDigest) and is_of_day else None

    async def _ended_days(self) -> list[Day]:
        """Return the newest days that are over and in which the archive was there, oldest first."""
        first = await self._archive.events(0, 1)
        if not first:
            return []
        found: list[Day] = []
        day = day_of(self._clock.now_s(), self._zone)
        while len(found) < KEPT_DAYS:
            day = day_of(day.start_s - 1, self._zone)
            if day.end_s <= first[0].at_s:
                break
            found.append(day)
        return found[::-1]

    async def _events_of(self, day: Day) -> AsyncIterator[Archived]:
        row = await row_before(self._archive, day.start_s)
        while batch := await self._archive.events(row, CHUNK):
            for archived in batch:
                if archived.at_s >= day.end_s:
                    return
                yield archived
            row = batch[-1].row


def events_name(day: Day) -> str:
    return f"{day.date.isoformat()}/events.jsonl.gz"


def digest_name(day: Day) -> str:
    return f"{day.date.isoformat()}/digest.json"
