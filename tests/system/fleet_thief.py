"""A stolen lane in the council: it has all its keys, and writes what no lane's program would."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import AsyncIterator

from allegro.adapters.nats.council import SUBJECT, NatsCouncil
from allegro.core.authority.lease import MAX_EPOCH, ROLES, Record
from allegro.core.base.errors import EdgeError
from allegro.core.forge.marks import Mark
from allegro.core.protocol.pages import Page
from allegro.scratch.fleet import REPOSITORY

from .fleet_life import Life

AHEAD_S = 86_400
PAUSE_S = 0.3


class Thief:
    """Speaks as a lane whose program it ended; the lane's council server goes on."""

    def __init__(self, fleet: Life, name: str) -> None:
        self._fleet = fleet
        self.name = name
        self.epoch = MAX_EPOCH
        self.written = 0
        self.refused = 0

    @contextlib.asynccontextmanager
    async def holding(self) -> AsyncIterator[None]:
        """Hold the forge role by force and lie in the page, until the block ends."""
        await self._fleet.lanes[self.name].daemon.end(signal.SIGKILL)
        async with self._fleet.council(self.name) as council:
            grabbing = asyncio.create_task(self._grab(council))
            try:
                yield
            finally:
                grabbing.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await grabbing

    async def scribble(self, value: bytes) -> None:
        """Write to the register what is no record."""
        import nats  # noqa: PLC0415 (it may be missing)

        access = self._fleet.access(self.name)
        assert access is not None
        client = await nats.connect(
            access.url, nkeys_seed_str=access.seed, allow_reconnect=False, connect_timeout=2
        )
        try:
            await client.jetstream().publish(SUBJECT + "role.forge", value, timeout=2)
        finally:
            await client.close()

    async def _grab(self, council: NatsCouncil) -> None:
        while True:
            try:
                slot = await council.read("forge")
                record = Record(self.name, "stolen", self.epoch, beat=slot.revision)
                done = await council.write("forge", record, slot.revision)
                self.written += done is not None
                await council.publish(self._page())
            except EdgeError:
                self.refused += 1
            await asyncio.sleep(PAUSE_S)

    def _page(self) -> Page:
        ahead_s = time.time() + AHEAD_S
        return Page(
            lane=self.name, at_s=ahead_s, ready=ROLES, marks={REPOSITORY: Mark(int(ahead_s), 0.0)},
            house_linked=True, done="polled", version="stolen",
        )  # fmt: skip
