"""Follows what lanes tell of roles and beats, and watches each lane's own beat (R5, T1)."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Annotated

import msgspec
import structlog
from msgspec import Meta

from allegro.core.authority.lease import ROLES, WHYS
from allegro.core.base.errors import EdgeError
from allegro.core.base.events import decode_event
from allegro.core.base.timestamps import rfc3339
from allegro.core.base.untrusted import Name, Unreadable, read_json, read_value, text_of
from allegro.core.effects.render import one_line
from allegro.core.health import codes
from allegro.core.health.alert_state import Told
from allegro.core.health.alerts import MAX_SUBJECT
from allegro.core.health.codes import Code
from allegro.core.health.delivery.notices import Kind
from allegro.core.protocol.answers.fleet import TakeOver
from allegro.core.protocol.event_types import BEATS, COUNCIL, EventType
from allegro.core.protocol.payloads.alerts import AlertTold
from allegro.core.protocol.payloads.fleet import (
    BeatBack,
    BeatMissing,
    CouncilBack,
    CouncilLost,
    CouncilPageAside,
    RoleTaken,
)
from allegro.core.protocol.payloads.lane import LaneBeat
from allegro.core.stores import HOUSE, Archived
from allegro.house.archive.events import read_archived
from allegro.house.fleet.heartbeats import BeatWatch
from allegro.house.fleet.links import LinkWatch
from allegro.house.lanes import Lanes
from allegro.house.ports import Ports, Reactions, reading
from allegro.house.requests.follow import OLD_S
from allegro.runtime.reader import Reader

_log = structlog.get_logger()
LOOK_S = 5.0
TROUBLE_S = 5.0
KEPT = 5
SHOWN = 3
NOBODY_S = 20.0
FOLLOWED = (EventType.ROLE_TAKEN, BEATS, COUNCIL, EventType.LANE_BEAT, EventType.ALERT_TOLD)


class _ToldKeys(msgspec.Struct, frozen=True):
    """What a lane seals into `alert.told`."""

    keys: Annotated[tuple[tuple[Name, Name, Name], ...], Meta(max_length=200)] = ()


class FleetWatch:
    """Runs until cancelled. `took` are the newest take-overs, oldest first."""

    def __init__(self, ports: Ports, lanes: Lanes, reactions: Reactions) -> None:
        self._ledger = ports.ledger
        self._lanes = lanes
        self._clock = ports.clock
        self._alarm = reactions.alarm
        self._lane_called = reactions.lane_called
        self._open_words = ports.open_words
        self._grew = asyncio.Event()
        self._is_unread = True
        self._links = LinkWatch(ports, lanes)
        self._beats = BeatWatch(ports, lanes, reactions)
        self.took: list[TakeOver] = []
        self._nobody_since_s: dict[str, float] = {}
        self._reported_unheld: set[str] = set()
        self._reader = Reader("fleet", FOLLOWED, self._one, reading(ports, reactions), self._flush)
        self._is_unsaved = False
        self._is_resumed = False

    def kick(self) -> None:
        """The archive grew."""
        self._is_unread = True
        self._grew.set()

    @property
    def local_only_since_s(self) -> float | None:
        """Since when (Unix s) no lane is linked; None while one is."""
        return self._beats.local_only_since_s()

    def last_heard_s(self, lane: str) -> float | None:
        """Return when a lane that is late was last heard (Unix s), None for one that is not."""
        return self._beats.last_heard_s(lane)

    async def run(self) -> None:
        if not self._is_resumed:  # begun again, what is in memory goes on
            await self.resume()
            self._is_resumed = True
        while True:
            self._grew.clear()
            pause_s = await self.step()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._grew.wait(), pause_s)

    async def resume(self) -> None:
        """Take up what the ledger keeps."""
        await self._beats.resume()
        for kept in await self._ledger.strings("take-overs"):
            took = read_json(kept, TakeOver)
            if not isinstance(took, Unreadable):
                self.took.append(took)

    async def step(self) -> float:
        """Read on and look at the beats once; return the seconds to wait."""
        try:
            if self._is_unread:
                self._is_unread = False
                more = await self._reader.read_share()
                self._is_unread = self._is_unread or more
            await self._beats.look()
            await self._links.look()
            self._note_nobody()
        except EdgeError as error:
            _log.error("fleet.blocked", error=str(error))
            self._is_unread = True
            return TROUBLE_S
        return 0.0 if self._is_unread else LOOK_S

    async def _one(self, archived: Archived) -> None:
        event = read_archived(archived)
        if isinstance(event, Unreadable) or archived.lane == HOUSE:
            return  # no event, or our own word, told when it was written
        lane = archived.lane
        match event.payload:
            case RoleTaken() as taken:
                self._note_take_over(archived, taken)
            case AlertTold() as told_alert:
                self._note_told(archived, told_alert)
            case LaneBeat():
                self._beats.beat(lane, archived.at_s)
            case BeatMissing(lane=other):
                self._news(codes.PEER, archived, _name(other))
            case BeatBack(lane=other):
                self._news(codes.PEER_BACK, archived, _name(other))
            case CouncilLost():
                self._news(codes.COUNCIL, archived, lane)
            case CouncilBack():
                self._news(codes.COUNCIL_BACK, archived, lane)
            case CouncilPageAside(lane=other):
                self._news(codes.COUNCIL_PAGE, archived, _name(other))

    def _note_told(self, archived: Archived, payload: AlertTold) -> None:
        """Pass on what a lane told a person of itself; its keys are sealed."""
        try:
            words = self._open_words(decode_event(archived.stored))
        except ValueError:
            return
        keys = read_value(words, _ToldKeys)
        kind = Kind.RECOVERY if payload.kind == Kind.RECOVERY else Kind.ALARM
        for code, lane, subject in () if isinstance(keys, Unreadable) else keys.keys:
            if not lane:  # of itself: of others it cannot speak
                key = (code, archived.lane, text_of(subject, MAX_SUBJECT))
                self._lane_called(Told(key, kind, _name(payload.notice), archived.at_s))

    def _news(self, code: Code, archived: Archived, subject: str, **values: object) -> None:
        if self._clock.now_s() - archived.at_s < OLD_S:
            self._alarm(code, subject, archived.lane, **values)

    async def _flush(self) -> None:
        """Write the newest take-overs, when there are new ones."""
        if not self._is_unsaved:
            return
        kept = tuple(msgspec.json.encode(one).decode() for one in self.took)
        await self._ledger.set_strings("take-overs", kept)
        self._is_unsaved = False

    def newest(self) -> list[TakeOver]:
        """Return the newest take-overs of each lane, a few of each, oldest first."""
        shown = [
            one for lane in {took.lane for took in self.took} for one in self._of(lane)[-SHOWN:]
        ]
        return sorted(shown, key=lambda one: one.at)

    def _of(self, lane: str) -> list[TakeOver]:
        return [one for one in self.took if one.lane == lane]

    def _note_take_over(self, archived: Archived, taken: RoleTaken) -> None:
        """Keep a take-over that a lane of the council tells of; its time is when it came home.

        Another lane has no role to take, and names of lanes that are not in the council are none.
        """
        lane, members = archived.lane, self._lanes.members()
        role, before, why = (text_of(one, 32) for one in (taken.role, taken.before, taken.why))
        if lane not in members or role not in ROLES:
            return
        took = TakeOver(
            at=rfc3339(archived.at_s),
            lane=lane,
            role=role,
            before=before if before in {*members, *self._lanes.names()} else "",
            why=why if why in WHYS else "unknown",
            epoch=taken.epoch,
            silent_s=taken.silent_s,
            take_s=taken.take_s,
            act_s=taken.act_s,
        )
        others = [one for one in self.took if one.lane != lane]
        self.took = sorted([*others, *self._of(lane)[-(KEPT - 1) :], took], key=lambda one: one.at)
        self._is_unsaved = True
        if took.before not in {"", lane}:
            code = codes.ROLE_HANDED_OVER if took.why == "offered" else codes.ROLE_TAKEN
            seconds = f"{took.silent_s + took.take_s + took.act_s:.1f}"
            self._news(code, archived, role, before=took.before, why=took.why, seconds=seconds)

    def _note_nobody(self) -> None:
        """Alert once when lanes are linked that serve a role and none of them holds it."""
        boot_s = self._clock.boot_s()
        linked = [lane.name for lane in self._lanes.describe() if lane.linked]
        served = {role for name in linked for role in self._lanes.serves(name)}
        held = {role for name in linked for role in self._lanes.roles_of(name)}
        for role in ROLES:
            if role not in served - held:
                if role in self._reported_unheld:
                    self._alarm(codes.ROLE_HELD, role)
                self._nobody_since_s.pop(role, None)
                self._reported_unheld.discard(role)
                continue
            since_s = self._nobody_since_s.setdefault(role, boot_s)
            if boot_s - since_s >= NOBODY_S and role not in self._reported_unheld:
                self._reported_unheld.add(role)
                self._alarm(codes.ROLE_VACANT, role, seconds=f"{boot_s - since_s:.0f}")


def _name(given: str) -> str:
    """Return the name of a lane that another lane gave, fit for a sentence."""
    return one_line(text_of(given, 32))
