"""A lane's forge duty in virtual time: real journal and rules, a forge in memory."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from allegro.adapters.council import LocalCouncil, Registers
from allegro.adapters.sqlite.journal import SqliteJournal, open_journal
from allegro.core.authority.freeze import FreezeSet
from allegro.core.authority.gate import LaneTrust
from allegro.core.authority.lease import Me
from allegro.core.base.events import Event, decode_event
from allegro.core.base.sequence import Kept
from allegro.core.forge.issues import Issue
from allegro.core.forge.marks import Mark
from allegro.core.ports import ForgeReader, ForgeWriter
from allegro.core.settings import ForgeSettings
from allegro.lane.context.recorder import Author, Recorder
from allegro.lane.context.role_work import Workers
from allegro.lane.context.state import KeptState, LaneState
from allegro.lane.fleet.lease_memory import Epochs, Memory, Written
from allegro.lane.fleet.peers import Siblings
from allegro.lane.fleet.roles import Pace, Roles, TakeOver, Terms
from allegro.lane.forge.polling.poller import ForgeDuty
from allegro.lane.forge.snapshots import Taking
from allegro.lane.forge.triage import Triage
from allegro.testing.virtual import BOT, FakeForge, PlainSealer, SeededDice, VirtualClock
from tests.core.builders import TRUST

from .contexts import context_of

FORGE = "forge.example.org"
GARDEN, SHED = "home/garden", "home/shed"


def settings_of(**changes: object) -> ForgeSettings:
    plain = ForgeSettings(
        url="https://" + FORGE, token_file="token", watch=(GARDEN,), bots=("fleet-bot",)
    )
    return msgspec.structs.replace(plain, **changes)


class Keeper:
    """Keeps the roles of a lane, as the fleet's part does."""

    def __init__(self, lane: Lane) -> None:
        self._lane = lane

    @property
    def taken(self) -> Mapping[str, TakeOver]:
        return self._lane.roles.taken

    async def acted(self, role: str) -> None:
        await self._lane.roles.acted(role)

    def undecided(self) -> bool:
        return self._lane.undecided


class Lane:
    """One lane with its forge duty. `linked`: the house is heard before each step.

    `real` are reader and writer of a forge that is reached over HTTP, instead of `forge`.
    """

    def __init__(
        self, forge: FakeForge, clock: VirtualClock, journal: SqliteJournal,
        settings: ForgeSettings, real: tuple[ForgeReader, ForgeWriter] | None = None,
    ) -> None:  # fmt: skip
        self.forge = forge
        self._reader, self._writer = real or (forge, forge)
        self.clock = clock
        self.journal = journal
        self.settings = settings
        self.linked = True
        self.undecided = False
        self._dice = SeededDice(1)
        self.state = self._new_state()
        self.duty: ForgeDuty
        self.roles: Roles

    def _new_state(self) -> LaneState:
        return LaneState(
            clock=self.clock,
            journal=self.journal,
            kept=KeptState(LaneTrust(TRUST), FreezeSet(), _kept, _kept),
            forge=FORGE,
            safe_mode=False,
        )

    async def start(self) -> None:
        """Start the duty, or start it again: only the journal remembers what was before."""
        self.state = state = self._new_state()
        self.recorder = recorder = Recorder(
            self.journal, PlainSealer(), self.clock, self._dice, by=Author("a", b"s" * 32)
        )
        taking = Taking(recorder, FORGE, await self.journal.versions())
        ctx = context_of(
            state, recorder, self.clock, self.settings, reader=self._reader, writer=self._writer,
            dice=self._dice,
        )  # fmt: skip
        council = LocalCouncil(Registers(), "a", alone=True)
        siblings = Siblings(ctx, council, tuple, lambda: ("forge",), lambda: self.linked)
        terms = Terms(
            me=Me("a", "a1"), roles=("forge",), pace=Pace(30.0, 300.0), order=lambda role: ("a",),
            banned=frozenset, ready=lambda: ("forge",),
        )  # fmt: skip
        memory = Memory(Epochs({}, _kept), Written({}, _kept))
        self.roles = Roles(ctx, council, siblings, terms, memory, Workers())
        self.duty = ForgeDuty(ctx, taking, Triage(ctx, frozenset({BOT})), Keeper(self))
        await self.duty.resume()

    async def step(self) -> float:
        if self.linked:
            self.state.heard_house(self.clock.now_s())
        await self.roles.step("forge")
        return await self.duty.step()

    async def live(self, seconds: float) -> None:
        """Run the duty for so much virtual time, waiting between steps as it asks to."""
        until_s = self.clock.boot_s() + seconds
        while self.clock.boot_s() < until_s:
            wait_s = await self.step()
            self.clock.advance(min(wait_s, max(0.001, until_s - self.clock.boot_s())))
        await self.step()

    async def mark(self, watch: str = GARDEN) -> Mark:
        return (await self.journal.marks())[watch]

    async def told(self, prefix: str) -> list[Event]:
        """Return the journalled events of these types that the house did not take yet."""
        events: list[Event] = []
        seq = self.journal.acked.seq
        while entries := await self.journal.read(seq, 10**9):
            seq += len(entries)
            events += [decode_event(entry.body) for entry in entries if isinstance(entry, Kept)]
        return [event for event in events if event.type.startswith(prefix)]

    async def snapshots(self) -> list[Issue]:
        """Return every issue version that was journalled, in order."""
        told = await self.told("forge.snapshot.issue")
        return [msgspec.json.decode(event.sealed, type=Issue) for event in told]


async def journal_in(
    folder: Path, clock: VirtualClock, cap_bytes: int = 500_000_000
) -> SqliteJournal:
    return await open_journal(
        folder / "journal.db", cap_bytes=cap_bytes, reserved_share=0.1, new_id="j1",
        now_s=clock.now_s, gap_event=_gap_event,
    )  # fmt: skip


def _gap_event(reason: str, shed: int, count: int, first: int, last: int) -> Event:
    told = {"reason": reason, "class": shed, "count": count, "first": first, "last": last}
    return Event(f"gap-{first}-{last}", "journal.gap", "lane:a", "2030-01-01T00:00:00Z", data=told)


def _kept(value: object) -> None:
    del value
