"""`python -m bench.measures [--quick]`: what figures over a large archive cost.

It writes an archive of 3,000,000 events of one year (300,000 with `--quick`), folds it once, and then asks for a
day, a week and the year, in turn. What counts is that a year costs about as much as a day, and that
one more event is folded without reading the others again.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
from tests.duties.house import House

from allegro.adapters.sqlite.archive import SqliteArchive, open_archive
from allegro.adapters.sqlite.measures import open_measures
from allegro.core.base.events import Event, encode_event
from allegro.core.base.sequence import Kept
from allegro.core.base.timestamps import rfc3339
from allegro.core.protocol.payloads.base import Payload
from allegro.core.protocol.payloads.lane import LaneBeat
from allegro.core.protocol.payloads.polls import SnapshotIssue
from allegro.core.protocol.payloads.sessions import SessionDelta, SessionEnd
from allegro.house.measures.settled import SettledEvents
from allegro.house.measures.wing import MeasuresWing
from allegro.house.ports import Ports
from allegro.testing.virtual import SeededDice, VirtualClock

MANY, QUICK = 3_000_000, 300_000
YEAR_S = 365 * 86_400.0
BEGIN_S = 1_800_000_000.0
BATCH = 2_000
ROUNDS = 9
TARGET_S = 0.3


def payload_of(number: int, at_s: float) -> Payload:
    """Return the payload of one event: mostly telemetry, as in a year of work."""
    if number % 20 == 0:
        return LaneBeat(done="polled", done_s=at_s, cycles=number, hears=("b",), house_s=1.0)
    if number % 50 == 1:
        return SnapshotIssue(
            repository=7, number=number, state="open", updated_s=int(at_s) - 3,
            created_s=int(at_s) - 3, author_id=5, is_pull=False, comments=0, issue_id=number, closed_s=0,
        )  # fmt: skip
    if number % 500 == 2:
        return SessionEnd(session=f"s{number}", state="completed")
    return SessionDelta(session=f"s{number // 500}")


async def written(archive: SqliteArchive, count: int) -> float:
    """Write the events, evenly over a year; return the seconds it took."""
    began, seq = time.perf_counter(), 1
    for first in range(0, count, BATCH):
        at_s = BEGIN_S + YEAR_S * (first + BATCH) / count
        entries = [
            Kept(encode_event(_event(n, BEGIN_S + YEAR_S * n / count)))
            for n in range(first, first + BATCH)
        ]
        await archive.take("a", "j", seq, entries, at_s + 0.05)
        seq += BATCH
    return time.perf_counter() - began


def _event(number: int, at_s: float) -> Event:
    payload = payload_of(number, at_s)
    return Event(
        id=f"{number:012x}", type=payload.type_.value, source="lane:a", time=rfc3339(at_s),
        subject=f"f/7#{number}", data=payload.clear(), sealed=b"w" * 200,
    )  # fmt: skip


async def _median_s(work: Callable[[], Awaitable[object]]) -> float:
    took = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        await work()
        took.append(time.perf_counter() - began)
    return statistics.median(took)


class Slept(msgspec.Struct):
    """The longest time in which the loop served nobody else, in seconds."""

    longest: float = 0.0

    async def watch(self) -> None:
        while True:
            began = time.perf_counter()
            await asyncio.sleep(0.001)
            self.longest = max(self.longest, time.perf_counter() - began - 0.001)


async def _main(count: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        small = House(folder, VirtualClock(BEGIN_S + YEAR_S))
        await small.start()
        archive = open_archive(folder / "archive.db", quota_bytes=10**12)
        wrote_s = await written(archive, count)
        ports = Ports(archive, small.ledger, small.clock, SeededDice(1), lambda _: None)
        book = open_measures(folder / "measures.db")
        wing = MeasuresWing(archive, small.clock, book, SettledEvents(ports, small.requests))
        slept = Slept()
        watcher = asyncio.create_task(slept.watch())
        began = time.perf_counter()
        await wing.step()
        first_s = time.perf_counter() - began
        watcher.cancel()
        spans = {"a day": 86_400.0, "a week": 7 * 86_400.0, "the year": YEAR_S}
        asked = {}
        for title, span_s in spans.items():
            asked[title] = await _median_s(lambda s=span_s: wing.answer(s))  # type: ignore[misc]
        answer = await wing.answer(YEAR_S)
        size = (folder / "measures.db").stat().st_size
        await book.close()
        await archive.close()
        await small.ledger.close()
    counts = {row.name: row.count for row in answer.rows if row.count}
    print(f"{count:,} events written in {wrote_s:.1f} s, folded in {first_s:.1f} s")
    print(
        f"  ({count / first_s:,.0f} a second; the loop waited {slept.longest * 1000:.0f} ms at most)"
    )
    for title, took_s in asked.items():
        met = "met" if took_s <= TARGET_S else "MISSED"
        print(f"{title:9} {took_s * 1000:7.1f} ms  x {took_s / asked['a day']:5.2f}  {met}")
    print(f"figures take {size / 1e6:.1f} MB; samples: {counts}")


if __name__ == "__main__":
    asyncio.run(_main(QUICK if "--quick" in sys.argv else MANY))
