"""Three lanes' roles and siblings over one council in virtual time, without their work."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from allegro.adapters.council import LocalCouncil, Registers
from allegro.adapters.sqlite.journal import SqliteJournal
from allegro.core.authority.freeze import FreezeSet
from allegro.core.authority.gate import LaneTrust
from allegro.core.authority.lease import Me, Record, Slot, holds
from allegro.core.base.errors import EdgeError
from allegro.core.base.events import decode_event
from allegro.core.base.sequence import Kept
from allegro.core.protocol.pages import Page
from allegro.core.settings import ForgeSettings, LaneIdentity, LaneSettings
from allegro.lane.context.recorder import Author, Recorder
from allegro.lane.context.role_work import Workers
from allegro.lane.context.state import KeptState, LaneState
from allegro.lane.fleet.lease_memory import Epochs, Memory, Written
from allegro.lane.fleet.peers import Siblings
from allegro.lane.fleet.roles import Pace, Roles, Terms
from allegro.testing.virtual import PlainSealer, SeededDice, VirtualClock
from tests.core.builders import TRUST

from .contexts import context_of
from .lane import FORGE, journal_in

NAMES = ("a", "b", "c")
LEASE_S, RETURN_S = 5.0, 60.0


class Cut:
    """A council that can be out of reach."""

    def __init__(self, council: LocalCouncil) -> None:
        self._council = council
        self.away = False
        self.loses_answers = 0

    async def read(self, role: str) -> Slot:
        return await self._reached().read(role)

    async def write(self, role: str, record: Record, expected: int) -> int | None:
        revision = await self._reached().write(role, record, expected)
        if revision is not None and self.loses_answers:
            self.loses_answers -= 1
            raise EdgeError("the answer was lost", transient=True)
        return revision

    async def publish(self, page: Page) -> None:
        await self._reached().publish(page)

    async def page(self, lane: str) -> tuple[int, Page | None]:
        return await self._reached().page(lane)

    async def close(self) -> None:
        return None

    def _reached(self) -> LocalCouncil:
        if self.away:
            raise EdgeError("cut off", transient=True)
        return self._council


class OneLane:
    """One lane's roles and siblings, without its work."""

    def __init__(self, name: str, fleet: Fleet, journal: SqliteJournal, *, starts: int = 1) -> None:
        self.name, self.fleet, self.journal = name, fleet, journal
        self.is_ready, self.alive = True, True
        self.kept: dict[str, int] = {}
        clock = fleet.clock
        self.council = Cut(LocalCouncil(fleet.registers, name, alone=False))
        self.state = LaneState(
            clock=clock,
            journal=journal,
            kept=KeptState(LaneTrust(TRUST), FreezeSet(), _drop, _drop),
            forge=FORGE,
            safe_mode=False,
            watches=("acme/web",),
        )
        self.recorder = Recorder(
            journal, PlainSealer(), clock, SeededDice(ord(name)), by=Author(name, b"s" * 32)
        )
        settings = LaneSettings(LaneIdentity(name, "state"), ForgeSettings())
        self.ctx = ctx = context_of(self.state, self.recorder, clock, settings)
        self.siblings = Siblings(ctx, self.council, self.others, self.ready, lambda: True)
        terms = Terms(
            me=Me(name, f"{name}{starts}"), roles=("forge",), pace=Pace(LEASE_S, RETURN_S),
            order=lambda role: NAMES, banned=lambda: fleet.banned, ready=self.ready,
        )  # fmt: skip
        memory = Memory(Epochs({}, self.kept.update), Written({}, _drop))
        self.workers = Workers()
        self.roles = Roles(ctx, self.council, self.siblings, terms, memory, self.workers)

    def others(self) -> tuple[str, ...]:
        return tuple(n for n in NAMES if n != self.name and n not in self.fleet.banned)

    def ready(self) -> tuple[str, ...]:
        return ("forge",) if self.is_ready else ()

    @property
    def holds(self) -> bool:
        return holds(self.state.leases.get("forge"), self.fleet.clock.boot_s())

    async def told(self, prefix: str) -> list[dict[str, object]]:
        entries = await self.journal.read(0, 10**9)
        events = [decode_event(one.body) for one in entries if isinstance(one, Kept)]
        return [event.data for event in events if event.type.startswith(prefix)]


class Fleet:
    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.registers = Registers()
        self.banned: frozenset[str] = frozenset()
        self.lanes: dict[str, OneLane] = {}

    async def live(self, seconds: float) -> None:
        """Let all living lanes tick five times a lease, and share a page every other tick."""
        for tick in range(int(seconds * 5 / LEASE_S)):
            for lane in self.lanes.values():
                if lane.alive and tick % 2 == 0:
                    with contextlib.suppress(EdgeError):
                        await lane.siblings.step()
                if lane.alive:
                    await lane.roles.step("forge")
            self.clock.advance(LEASE_S / 5)

    def holders(self) -> list[str]:
        return [name for name, lane in self.lanes.items() if lane.alive and lane.holds]


@contextlib.asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[Fleet]:
    """Three lanes that have lived for a while: the first of them holds the role."""
    fleet, journals = Fleet(), []
    for name in NAMES:
        (folder / name).mkdir()
        journal = await journal_in(folder / name, fleet.clock)
        journals.append(journal)
        fleet.lanes[name] = OneLane(name, fleet, journal)
    await fleet.live(10)
    yield fleet
    for journal in journals:
        await journal.close()


def _drop(value: object) -> None:
    del value
