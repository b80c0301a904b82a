"""The lane's side as a process: the product's journal, recorder and link listener.

Only who-are-you is left out: greeting and log-in are answered without signatures.
"""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import Any

from allegro.adapters.crypto.tls import make_certificate, pin_of, server_context
from allegro.adapters.sqlite.journal import SqliteJournal, open_journal
from allegro.core.base.events import Event
from allegro.core.base.sequence import start
from allegro.core.ports import Journal
from allegro.core.protocol.messages import (
    PROTOCOL,
    FromHouse,
    FromLane,
    Greet,
    Hello,
    HouseBeat,
    LaneBeat,
    LogIn,
    Refused,
    Welcome,
)
from allegro.lane.context.recorder import Recorder
from allegro.link.listen import LinkListener
from bench import events, measure
from bench.child import obey

CAP_BYTES = 4_000_000_000
MADE_AT_ONCE = 20_000


async def bench_journal(path: Path) -> SqliteJournal:
    """Open a journal with room for everything."""
    return await open_journal(
        path,
        cap_bytes=CAP_BYTES,
        reserved_share=0.1,
        new_id=os.urandom(8).hex(),
        now_s=time.time,
        gap_event=lambda *_: Event(
            id=os.urandom(16).hex(), type="journal.gap", source="b", time=""
        ),
    )


async def fill(maker: Recorder, count: int, batch: int) -> float:
    """Append clear events, one batch after the other; return the seconds the appending took."""
    took_s = 0.0
    for at in range(0, count, MADE_AT_ONCE):
        made = events.clear(maker, min(MADE_AT_ONCE, count - at))
        began_s = time.monotonic()
        for n in range(0, len(made), batch):
            await maker.append(made[n : n + batch])
        took_s += time.monotonic() - began_s
    return took_s


class BenchLane:
    """The LaneEnd, and what the driver may ask for."""

    journal: Journal

    def __init__(self) -> None:
        self.grew = asyncio.Event()
        self._births: list[tuple[int, int]] = []
        self._tasks: set[asyncio.Task[None]] = set()

    # --- LaneEnd
    def greet(self, hello: Hello) -> tuple[Greet | Refused, str]:
        del hello
        return Greet(PROTOCOL, "bench", "bench"), ""

    async def log_in(self, message: LogIn, challenge: str) -> Welcome | Refused:
        del challenge
        name = self.journal.head.journal
        known = [cursor for cursor in message.cursors if cursor.journal == name]
        return Welcome(known[0] if known else start(name), self.journal.head.seq, ())

    async def answer(self, message: FromHouse) -> FromLane | None:
        del message
        return None

    async def heard(self, beat: HouseBeat) -> None:
        del beat

    def beat(self) -> LaneBeat:
        return LaneBeat(self.journal.head.seq, "bench")

    # --- what the driver asks
    async def open(self, folder: str, sealing: str) -> dict[str, Any]:
        at = Path(folder)
        self.journal = await bench_journal(at / "journal.db")
        self._recorder: Recorder = events.recorder(self.journal, bytes.fromhex(sealing))
        self._recorder.grew = self.grew
        certificate, key = at / "link.crt", at / "link.key"
        make_certificate(certificate, key, "bench", time.time())
        self._listener = LinkListener(self)
        await self._listener.start("127.0.0.1:0", server_context(certificate, key))
        return {"port": self._listener.port, "pin": pin_of(certificate).hex()}

    async def fill(self, count: int, batch: int) -> dict[str, Any]:
        took_s = await fill(self._recorder, count, batch)
        return {"took_s": took_s, "head": self.journal.head.seq}

    async def head(self) -> dict[str, Any]:
        return {"head": self.journal.head.seq}

    async def singles(self, count: int, at_once: int) -> dict[str, Any]:
        """Append events one by one, many tasks at once: what group commit is for."""
        made = iter(events.clear(self._recorder, count))

        async def writer() -> None:
            for event in made:
                await self._recorder.append([event])

        began_s = time.monotonic()
        await asyncio.gather(*(writer() for _ in range(at_once)))
        took_s = time.monotonic() - began_s
        return {"took_s": took_s, "head": self.journal.head.seq}

    async def pace(self, rate: float, seconds: float) -> dict[str, Any]:
        """Let sealed events be born at a rate; return (sequence, birth) of each."""
        self._births = []

        async def record(birth_ns: int) -> None:
            position = await self._recorder.append([events.sealed(self._recorder)])
            self._births.append((position.seq, birth_ns))

        def born(birth_ns: int) -> None:
            task = asyncio.get_running_loop().create_task(record(birth_ns))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        count = await measure.pace(rate, seconds, born)
        while len(self._births) < count:
            await asyncio.sleep(0.01)
        return {"births": self._births, "head": self.journal.head.seq}


if __name__ == "__main__":
    obey(BenchLane)
