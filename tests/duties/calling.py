"""A program that calls its owner, in virtual time: channels that fail or hang, a disk, kills."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from zoneinfo import ZoneInfo

import msgspec

from allegro.core.base.errors import EdgeError
from allegro.core.base.untrusted import Unreadable
from allegro.core.channels import ChannelError, Limits, Message, Outlet, Proof
from allegro.core.health.alert_state import Rules
from allegro.core.health.delivery.outbox import Sent
from allegro.core.health.facts import Fact
from allegro.core.health.kept import KeptAlerts
from allegro.runtime.alerting.node import Node
from allegro.runtime.alerting.shell import Alerting
from allegro.testing.virtual import SeededDice, VirtualClock

BERLIN = ZoneInfo("Europe/Berlin")
START_S = 1_790_000_000.0


class Phone:
    """A channel. Calls fail with the next of `errors`, hang while `held` is set, or arrive."""

    limits = Limits(text=4096, caption=1024, buttons=8, button_bytes=64)

    def __init__(self, name: str = "telegram") -> None:
        self.name = name
        self.messages: list[Message] = []
        self.errors: list[Exception] = []
        self.is_dead = False
        self.held: asyncio.Event | None = None
        self.is_closed = False

    async def send(self, message: Message) -> Proof:
        if self.held is not None:
            await self.held.wait()
        if self.errors:
            raise self.errors.pop(0)
        if self.is_dead:
            raise ChannelError("no answer", transient=True, sent=False, kind="unreachable")
        self.messages.append(message)
        return Proof(self.name, str(len(self.messages)), 1.0)

    async def close(self) -> None:
        self.is_closed = True

    @property
    def titles(self) -> list[str]:
        return [one.title for one in self.messages]


class Disk:
    """Keeps what was saved as bytes; refuses while `is_full`, answers nobody while `held` is set."""

    def __init__(self) -> None:
        self.raw: bytes | None = None
        self.saves = 0
        self.is_full = False
        self.held: asyncio.Event | None = None
        self.seen: list[KeptAlerts] = []

    async def load(self) -> KeptAlerts | Unreadable | None:
        if self.raw is None:
            return None
        try:
            return msgspec.json.decode(self.raw, type=KeptAlerts)
        except msgspec.MsgspecError as error:
            return Unreadable(str(error))

    async def save(self, kept: KeptAlerts) -> None:
        if self.held is not None:
            await self.held.wait()
        if self.is_full:
            raise EdgeError("the disk is full", transient=True, kind="disk_full")
        self.raw = msgspec.json.encode(kept)
        self.saves += 1
        self.seen.append(kept)


class Caller:
    """One program: `start` begins it anew from its disk, as after kill -9."""

    def __init__(
        self,
        *phones: Phone,
        rules: Callable[[], Rules] = lambda: Rules(BERLIN),
        content: bool = True,
    ) -> None:
        self.clock = VirtualClock(START_S)
        self.disk = Disk()
        self.phones = phones or (Phone(),)
        self.content = content
        self.rules = rules
        self.proven: list[Sent] = []
        self.alerting: Alerting
        self._writer: asyncio.Task[None] | None = None

    @property
    def phone(self) -> Phone:
        return self.phones[0]

    async def start(self, facts: Callable[[], Sequence[Fact]] = tuple) -> Alerting:
        """Forget what is in memory and take up what is on disk."""
        await self.kill()
        outlets = [Outlet(one, self.content) for one in self.phones]
        node = Node("house", self.rules, facts, on_proven=lambda _, sent: self.proven.append(sent))
        self.alerting = Alerting(self.disk, outlets, self.clock, SeededDice(3), node)
        writer = self.alerting.duties()[0].run
        assert writer is not None
        self._writer = asyncio.ensure_future(writer())
        await self.alerting.resume()
        return self.alerting

    async def kill(self) -> None:
        if self._writer is not None:
            self._writer.cancel()
            await asyncio.gather(self._writer, return_exceptions=True)
            self._writer = None

    async def step(self, seconds: float = 0.0) -> None:
        """Let time pass, make a step, and let what it began come to its end."""
        self.clock.advance(seconds)
        await self.alerting.step()
        await settled()

    async def live(self, seconds: float, tick_s: float = 5.0) -> None:
        for _ in range(int(seconds / tick_s)):
            await self.step(tick_s)


async def settled() -> None:
    """Let every task run on until nothing moves any more."""
    for _ in range(30):
        await asyncio.sleep(0)
