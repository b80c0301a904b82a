"""The producer beside NATS, in whichever of the engine's own forms is the faster one.

Paced events go out one by one, many in flight, when the server defers its fsync. With fsync always
what gathered while the last commit was in flight becomes one atomic batch, its group commit
(ADR-50; nats-py has no call for it). A backlog is published in large atomic batches both times.
"""

from __future__ import annotations

import asyncio
import os
import time
from typing import Any

import nats
from nats.js.api import StreamConfig

from allegro.core.base.events import encode_event
from bench import events, measure
from bench.child import obey

STREAM, SUBJECT = "TEL", "tel.bench"
PACED_BATCH = 100
FILL_BATCH = 1000


class NatsLane:
    """What the driver may ask for."""

    def __init__(self) -> None:
        self._waiting: list[tuple[bytes, int]] = []
        self._wake = asyncio.Event()

    async def open(self, url: str) -> dict[str, Any]:
        self._client = await nats.connect(url, pending_size=64 * 1024 * 1024)
        self._stream = self._client.jetstream(timeout=30)
        await self._stream.add_stream(
            StreamConfig(name=STREAM, subjects=["tel.>"], allow_atomic=True)
        )
        self._maker = events.recorder(None, events.any_sealing_key())
        return {}

    async def fill(self, count: int) -> dict[str, Any]:
        """Publish clear events in large atomic batches, which is its fastest durable way."""
        made = [encode_event(event) for event in events.clear(self._maker, count)]
        seq = 0
        began_s = time.monotonic()
        for at in range(0, count, FILL_BATCH):
            seq = await self._publish(made[at : at + FILL_BATCH])
        return {"took_s": time.monotonic() - began_s, "head": seq}

    async def pace(self, rate: float, seconds: float, batches: bool) -> dict[str, Any]:
        """Let sealed events be born at a rate; return (sequence, birth) of each."""
        births: list[tuple[int, int]] = []
        send = self._send_batches if batches else self._send_singly
        sender = asyncio.create_task(send(births))

        def born(birth_ns: int) -> None:
            self._waiting.append((encode_event(events.sealed(self._maker)), birth_ns))
            self._wake.set()

        count = await measure.pace(rate, seconds, born)
        while len(births) < count:
            await asyncio.sleep(0.01)
        sender.cancel()
        return {"births": births, "head": max(seq for seq, _ in births)}

    async def _send_singly(self, births: list[tuple[int, int]]) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            waiting, self._waiting = self._waiting, []
            for body, birth_ns in waiting:
                acknowledged = await self._stream.publish_async(SUBJECT, body)

                def done(acknowledged: Any, birth_ns: int = birth_ns) -> None:
                    births.append((acknowledged.result().seq, birth_ns))

                acknowledged.add_done_callback(done)

    async def _send_batches(self, births: list[tuple[int, int]]) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                part = self._waiting[:PACED_BATCH]
                del self._waiting[:PACED_BATCH]
                last = await self._publish([body for body, _ in part])
                first = last - len(part) + 1
                births.extend((first + n, birth_ns) for n, (_, birth_ns) in enumerate(part))

    async def _publish(self, bodies: list[bytes]) -> int:
        """Publish as one atomic batch; return the stream's sequence of the last."""
        if len(bodies) == 1:
            return int((await self._stream.publish(SUBJECT, bodies[0])).seq)
        batch = os.urandom(12).hex()
        for n, body in enumerate(bodies[:-1], 1):
            await self._client.publish(
                SUBJECT, body, headers={"Nats-Batch-Id": batch, "Nats-Batch-Sequence": str(n)}
            )
        acknowledged = await self._stream.publish(
            SUBJECT,
            bodies[-1],
            headers={
                "Nats-Batch-Id": batch, "Nats-Batch-Sequence": str(len(bodies)),
                "Nats-Batch-Commit": "1",
            },
        )  # fmt: skip
        return int(acknowledged.seq)


if __name__ == "__main__":
    obey(NatsLane)
