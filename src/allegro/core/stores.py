"""The house's two stores as ports: what its duties ask of archive and ledger."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from allegro.core.authority.freeze import FreezeSet
from allegro.core.base.errors import Refusal
from allegro.core.base.sequence import Entry, Position
from allegro.core.base.store_ties import Tie
from allegro.core.base.untrusted import Unreadable
from allegro.core.effects.matching import BotWrite, Receipt
from allegro.core.forge.marks import Mark
from allegro.core.health.duty_runs import DutyRun, DutyState
from allegro.core.health.duty_watch import WatchedDuty
from allegro.core.health.kept import KeptAlerts
from allegro.core.requests.decisions import Decision
from allegro.core.requests.requests import Request

GapRow = tuple[str, str, int, int, int, int, str, float]
"""lane, journal, first, last, count, class, reason, when (Unix s)."""

HOUSE = "house"
"""Who stands as the lane of events that the house itself archives."""


class Archived(msgspec.Struct, frozen=True):
    """One archived event: `row` orders all events of all lanes by arrival."""

    row: int
    lane: str
    at_s: float
    stored: bytes


class Taken(msgspec.Struct, frozen=True):
    """What a batch came to. `fresh` counts events not seen before, `rejected` those not kept.

    `clashes` are fresh ones whose id was told before with another content.
    """

    position: Position
    fresh: int
    rejected: int
    last_row: int
    clashes: int = 0


class Place(msgspec.Struct, frozen=True):
    """Where a reader of the archive stands.

    Every row up to `row` was read. Rows up to `upto` are under work where that is more than `row`.
    `item` is the row that is tried by itself, 0 for none; `tries` counts how often that was begun.
    """

    row: int = 0
    upto: int = 0
    item: int = 0
    tries: int = 0


class SetAside(msgspec.Struct, frozen=True, kw_only=True):
    """An item that could not be handled: what a duty met, from which lane, and why.

    `item` is a row of the archive or the duty's own name of it; `lane` is empty where the item came
    from none; `at_s` Unix seconds.
    """

    duty: str
    item: str
    lane: str
    reason: str
    at_s: float


class SessionRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What the house knows of one session.

    `state` is accepted, running, waiting or ended; `end` empty until it ended. `tokens` and
    `cost_usd` are measured by the lane's proxy, None where the price is unknown. Times are Unix
    seconds of the house; `heard_s` is when its lane's newest word of it came. `presumed` is true
    where the house itself took it for lost: a later word of its lane counts more. `row` is the last
    row of the archive that is counted in it.
    """

    id: str
    lane: str
    began_s: float
    issue: str = ""
    state: str = ""
    end: str = ""
    why: str = ""
    output: str = ""
    model: str = ""
    provider: str = ""
    agent: str = ""
    run: str = ""
    local: bool = False
    limit_s: float = 0.0
    tools_on: tuple[str, ...] = ()
    tools: int = 0
    calls: int = 0
    questions: int = 0
    asked: int = 0
    denied: int = 0
    tokens: int = 0
    cost_usd: float | None = None
    duration_s: float | None = None
    ended_s: float = 0.0
    heard_s: float = 0.0
    presumed: bool = False
    row: int = 0


class Archive(Protocol):
    """Every lane's events, once each, in order, gaps named. Durable when a method returns."""

    async def cursors(self, lane: str) -> tuple[Position, ...]: ...
    async def take(
        self, lane: str, journal: str, first_seq: int, entries: Sequence[Entry], at_s: float
    ) -> Taken | Refusal: ...
    async def skip_to(self, lane: str, position: Position, reason: str, at_s: float) -> None: ...
    async def events(
        self, after_row: int, limit: int, *, prefix: str = "", subject: str | None = None
    ) -> list[Archived]: ...
    async def scan(
        self, after_row: int, span: int, prefixes: tuple[str, ...]
    ) -> tuple[list[Archived], int]: ...
    async def heads(
        self, after_row: int, span: int, prefixes: tuple[str, ...]
    ) -> tuple[list[tuple[int, str]], int]: ...
    async def rows(self, rows: Sequence[int]) -> list[Archived]: ...
    async def objects(self, repository: int, since_s: int, kind: str) -> list[bytes]: ...
    async def newest_of_type(self, kind: str) -> list[bytes]: ...
    async def living(self, repository: int, before_row: int) -> list[str]: ...
    async def add(self, stored: Sequence[bytes], at_s: float) -> None: ...
    async def marks(self, lanes: Sequence[str], share: int) -> dict[str, Mark]: ...
    async def gaps(self) -> list[GapRow]: ...
    async def counts(self) -> dict[str, int]: ...
    async def last_row(self) -> int: ...
    async def tie(self) -> Tie: ...
    async def keep_tie(self, tie: Tie) -> None: ...


class WorkBook(Protocol):
    """What is under work and what was set aside. Durable when a method returns.

    `begin` notes that an item of a duty is under work for the `tries`th time, `end` that it is no
    more; `begun` are those that were never ended, with their tries.
    """

    async def place(self, name: str) -> Place: ...
    async def keep_place(self, name: str, place: Place) -> None: ...
    async def begin(self, duty: str, item: str, tries: int) -> None: ...
    async def end(self, duty: str, item: str) -> None: ...
    async def begun(self, duty: str) -> dict[str, int]: ...
    async def set_aside(self, aside: SetAside) -> None: ...
    async def all_set_aside(self) -> list[SetAside]: ...


class AlertBook(Protocol):
    """Where alerts, their outbox and the board are kept, whole. Durable when a method returns."""

    async def alerting(self) -> KeptAlerts | Unreadable | None: ...
    async def keep_alerting(self, kept: KeptAlerts) -> None: ...


class OwnedRun(msgspec.Struct, frozen=True):
    """A record of a scheduled duty, and whose it is: `house`, `lane NAME` or `role NAME`."""

    owner: str
    run: DutyRun


class DutyStore(Protocol):
    """What is kept of scheduled duties. Durable when a method returns.

    `states` are of the house's own; `watched` what it expects of lanes. `add_run` keeps a record
    once and says whether it is new; `runs` returns the records of a time (Unix s, from included,
    to not), oldest first.
    """

    async def states(self) -> dict[str, DutyState]: ...
    async def keep_state(self, duty: str, state: DutyState) -> None: ...
    async def watched(self) -> list[WatchedDuty]: ...
    async def keep_watched(self, duty: WatchedDuty) -> None: ...
    async def drop_watched(self, owner: str) -> None: ...
    async def add_run(self, owner: str, run: DutyRun) -> bool: ...
    async def runs(self, from_s: float, to_s: float) -> list[OwnedRun]: ...


class DecisionStore(Protocol):
    """Where questions and their answers are kept. Durable when a method returns.

    `decisions` are the open ones and those made since `since_s` (Unix s), oldest first;
    `stored_decisions` three at most whose id begins so.
    """

    async def save_decision(self, decision: Decision) -> None: ...
    async def decisions(self, since_s: float) -> list[Decision]: ...
    async def stored_decisions(self, prefix: str) -> list[Decision]: ...


class Ledger(WorkBook, AlertBook, DecisionStore, Protocol):
    """Requests, receipts, freezes, numbers. `requests` is the part held in memory, by id.

    `damaged` are the cells that could not be read at the start; `duties` is what is kept of
    scheduled duties.
    """

    @property
    def duties(self) -> DutyStore: ...

    requests: dict[str, Request]
    damaged: tuple[SetAside, ...]

    async def save(self, *requests: Request, receipts: tuple[Receipt, ...] = ()) -> None: ...
    async def stored(self, prefix: str) -> list[Request]: ...
    def forget(self, settled_before_s: float) -> int: ...
    async def receipts_for(self, target: str) -> list[Receipt]: ...
    async def add_bot_write(self, write: BotWrite) -> bool: ...
    async def bot_writes(self) -> list[BotWrite]: ...
    async def drop_bot_writes(self, events: Sequence[str], foreign: Sequence[BotWrite]) -> None: ...
    async def is_foreign(self, write: BotWrite) -> bool: ...
    async def next_number(self, name: str) -> int: ...
    async def number(self, name: str) -> int: ...
    async def set_number(self, name: str, value: int) -> None: ...
    async def strings(self, name: str) -> tuple[str, ...]: ...
    async def set_strings(self, name: str, values: tuple[str, ...]) -> None: ...
    async def freezes(self) -> FreezeSet: ...
    async def save_freezes(self, freezes: FreezeSet) -> None: ...
    async def save_sessions(self, records: Sequence[SessionRecord]) -> None: ...
    async def sessions(self, limit: int = 2_000) -> list[SessionRecord]: ...
    async def furthest(self) -> int: ...
    async def forget_places(self) -> None: ...
    async def tie(self) -> Tie: ...
    async def keep_tie(self, tie: Tie) -> None: ...
