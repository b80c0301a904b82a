"""The consumer beside NATS: push, no acknowledgement, a cursor of our own, SQLite before counting.

It stores with the same database settings and writer thread as the archive, but files nothing and
checks no chain: the least a house would have to do.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from pathlib import Path
from typing import Any

import nats
from nats.aio.msg import Msg
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from allegro.adapters.sqlite.connection import Worker, open_database
from bench.child import obey
from bench.nats_lane import STREAM, SUBJECT

SCHEMA = """
CREATE TABLE IF NOT EXISTS event (seq INTEGER PRIMARY KEY, stored BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS cursor (name TEXT PRIMARY KEY, seq INTEGER NOT NULL);
"""
MAX_BATCH = 8000


class NatsHouse:
    """What the driver may ask for."""

    def __init__(self) -> None:
        self._takes: list[tuple[int, int, int]] = []
        self._took = asyncio.Event()
        self._gathered: list[tuple[int, bytes]] = []
        self._came = asyncio.Event()
        self._cursor = 0

    async def open(self, url: str, folder: str) -> dict[str, Any]:
        self._client = await nats.connect(url)
        self._stream = self._client.jetstream(timeout=30)
        database = open_database(Path(folder) / "cursor.db", SCHEMA)
        self._worker = Worker(database, "cursor")
        self._taker = asyncio.create_task(self._take())
        return {}

    async def link(self) -> dict[str, Any]:
        """Subscribe behind the cursor; return when that was."""
        began_ns = time.monotonic_ns()
        self._subscription = await self._stream.subscribe(
            SUBJECT, stream=STREAM, cb=self._came_in, manual_ack=True,
            config=ConsumerConfig(
                ack_policy=AckPolicy.NONE, deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
                opt_start_seq=self._cursor + 1, flow_control=True, idle_heartbeat=0.5,
                max_deliver=1,
            ),
            pending_msgs_limit=-1, pending_bytes_limit=-1,
        )  # fmt: skip
        return {"at_ns": began_ns}

    async def unlink(self) -> dict[str, Any]:
        await self._subscription.unsubscribe()
        return {}

    async def reach(self, seq: int) -> dict[str, Any]:
        """Wait until everything up to `seq` is stored; return (first, last, when) of each take."""
        while self._cursor < seq:
            self._took.clear()
            await asyncio.wait_for(self._took.wait(), 60)
        takes, self._takes = self._takes, []
        return {"takes": takes, "at_ns": takes[-1][2]}

    async def _came_in(self, message: Msg) -> None:
        self._gathered.append((message.metadata.sequence.stream, message.data))
        self._came.set()

    async def _take(self) -> None:
        while True:
            await self._came.wait()
            self._came.clear()
            while self._gathered:
                rows = self._gathered[:MAX_BATCH]
                del self._gathered[:MAX_BATCH]

                def job(connection: sqlite3.Connection, rows: Any = rows) -> None:
                    connection.executemany("INSERT INTO event VALUES (?,?)", rows)
                    connection.execute(
                        "INSERT OR REPLACE INTO cursor VALUES ('tel', ?)", (rows[-1][0],)
                    )

                await self._worker.run(job)
                self._cursor = rows[-1][0]
                self._takes.append((rows[0][0], self._cursor, time.monotonic_ns()))
                self._took.set()


if __name__ == "__main__":
    obey(NatsHouse)
