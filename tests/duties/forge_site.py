"""A simulated forge on loopback with the real adapter before it, and a lane on virtual time."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from allegro.adapters.gitea.http import MAX_ANSWER_BYTES, GiteaHttp
from allegro.adapters.gitea.reader import GiteaReader
from allegro.adapters.gitea.writer import GiteaWriter
from allegro.lane.tokens.auditor import Auditor
from allegro.lane.tokens.daily import DailyToken
from allegro.testing.gitea import GiteaSimulator
from allegro.testing.virtual import FakeForge, SeededDice, VirtualClock

from .contexts import context_of
from .lane import Lane, journal_in, settings_of

DAILY = ("write:issue", "read:repository", "read:user", "read:organization")
START_S = 1_790_000_000.0


class Site:
    """`token` is what the daily token's file holds now."""

    def __init__(self, simulator: GiteaSimulator, clock: VirtualClock) -> None:
        self.simulator = simulator
        self.world = simulator.world
        self.clock = clock
        self.token = ""
        self.daily = DailyToken(lambda: self.token)
        self.http: GiteaHttp
        self.reader: GiteaReader
        self.lane: Lane
        self.auditor: Auditor

    def users(self) -> set[str]:
        """Return in whose names the forge was asked since the last call."""
        asked = {call.user for call in self.simulator.log}
        self.simulator.log.clear()
        return asked

    def auditor_with(self, reader: GiteaReader) -> Auditor:
        """Return an auditor of the daily token that reads with this reader."""
        lane = self.lane
        ctx = context_of(
            lane.state, lane.recorder, lane.clock, lane.settings, reader=reader, writer=None,
            dice=SeededDice(2),
        )  # fmt: skip
        return Auditor(ctx, self.daily)

    async def live(self, seconds: float) -> None:
        await self.lane.live(seconds)


@contextlib.asynccontextmanager
async def site(
    folder: Path, max_answer_bytes: int = MAX_ANSWER_BYTES, **changes: object
) -> AsyncIterator[Site]:
    """Run a forge with the watched `home/garden` and `home/shed`, and a lane that polls it."""
    clock = VirtualClock(now_s=START_S)
    simulator = GiteaSimulator(folder / "forge", clock=clock.now_s)
    made = Site(simulator, clock)
    for login in ("rosa", "alice", "fleet-bot"):
        made.world.add_user(login)
    made.world.add_user("boss", admin=True)
    org = made.world.add_org("home")
    made.world.add_member(org, "rosa", "owner")
    made.world.add_member(org, "fleet-bot", "write")
    for name in ("garden", "shed"):
        made.world.add_repo("home", name, False, {"README.md": "x"})
    url = await simulator.start()
    made.token = made.world.token("fleet-bot", DAILY)
    made.http = GiteaHttp(
        url, made.daily, timeout_s=10.0, boot_s=clock.boot_s, max_answer_bytes=max_answer_bytes
    )
    made.reader = GiteaReader(made.http)
    settings = settings_of(**{"url": url, "watch": ("home/garden", "home/shed"), **changes})
    journal = await journal_in(folder, clock)
    real = made.reader, GiteaWriter(made.http, made.reader, clock.now_s)
    made.lane = lane = Lane(FakeForge(clock), clock, journal, settings, real)
    await lane.start()
    made.auditor = made.auditor_with(made.reader)
    try:
        yield made
    finally:
        await made.http.close()
        await journal.close()
        await simulator.stop()
