"""Follows the archive: what lanes report moves requests; what polls show is matched (G13)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import structlog

from allegro.core.authority.freeze import Freeze
from allegro.core.base.errors import EdgeError
from allegro.core.base.events import encode_event
from allegro.core.base.timestamps import unix_s
from allegro.core.base.untrusted import Unreadable, read_value
from allegro.core.effects.render import one_line
from allegro.core.health import codes
from allegro.core.health.codes import Code
from allegro.core.protocol.event_types import ACTIONS, AUDITS, FREEZES, SNAPSHOTS, EventType
from allegro.core.protocol.payloads.actions import Act
from allegro.core.protocol.payloads.base import Payload, own_event
from allegro.core.protocol.payloads.chat import ChatDeaf, ChatNoted
from allegro.core.protocol.payloads.lane import (
    DecisionAsked,
    DutyFailing,
    FreezeAdded,
    FreezeThawed,
)
from allegro.core.protocol.payloads.polls import (
    AuditDone,
    ForgeMark,
    ForgeReconciled,
    ForgeRecovered,
    ForgeUnreachable,
    ForgeUnread,
    Snapshot,
    WatchFailing,
    WatchReplaced,
)
from allegro.core.requests.decisions import NewDecision
from allegro.core.stores import Archived
from allegro.house.archive.events import ArchivedEvent, read_archived
from allegro.house.archive.vanished import Vanished
from allegro.house.files import Fleet
from allegro.house.ports import AskLane, Ports, Reactions, reading
from allegro.house.requests.bot_writes import BotWrites, Watched
from allegro.house.requests.chat_notes import take_note
from allegro.house.requests.ordered_effects import Names
from allegro.house.requests.outcomes import STEPS, Outcomes, named
from allegro.house.requests.requests import Requests
from allegro.runtime.reader import Reader
from allegro.runtime.tasks import OneEach

_log = structlog.get_logger()
RECHECK_S = 5.0
IDLE_S = 60.0
MATCH_S = 0.5
"""While a lane's flood is read, what polls show is matched so often."""
TROUBLE_S = 5.0
FRESH_S = 300.0
"""What passes by itself is told to a person only so long after it was so."""

OLD_S = 86_400.0
"""News that was archived longer ago is told to nobody: the archive is being read again."""

FOLLOWED = (
    ACTIONS,
    SNAPSHOTS,
    AUDITS,
    FREEZES,
    EventType.FORGE_RECONCILED,
    EventType.FORGE_UNREACHABLE,
    EventType.FORGE_RECOVERED,
    EventType.FORGE_UNREAD,
    EventType.FORGE_MARK,
    EventType.WATCH_FAILING,
    EventType.WATCH_REPLACED,
    EventType.DUTY_FAILING,
    EventType.DECISION_ASKED,
    EventType.CHAT_NOTED,
    EventType.CHAT_DEAF,
)


class FleetView(msgspec.Struct, frozen=True):
    """What following needs of the fleet.

    `fleet` is its record as it is now; `freeze` stops it for what was noticed in what a lane
    reports, `report` for a stop that a lane reports, which `save` makes durable; `is_linked` says whether any lane is,
    `is_home` whether everything the lane of this name reported is archived; `ask_lane` asks one.
    """

    fleet: Callable[[], Fleet]
    freeze: Callable[[Freeze, str], Awaitable[Any]]
    report: Callable[[Freeze], None]
    save: Callable[[], Awaitable[None]]
    is_linked: Callable[[], bool]
    is_home: Callable[[str], bool]
    ask_lane: AskLane


class Follow:
    """Reads archived events in order, once each; the cursor is durable in the ledger.

    Nothing here waits for a lane: what asks one runs in a task of its own.
    """

    def __init__(
        self, ports: Ports, requests: Requests, view: FleetView, reactions: Reactions, names: Names
    ) -> None:
        self._requests = requests
        self._clock = ports.clock
        self._dice = ports.dice
        self._open_words = ports.open_words
        self._view = view
        self._alarm = reactions.alarm
        self._pressed = reactions.pressed
        self._asked = reactions.asked
        self._grew = asyncio.Event()
        self._outcomes = Outcomes(ports, requests, reactions.alarm, lambda: view.fleet().secret)
        self._vanished = Vanished(ports, view.ask_lane, self._own, self._failed)
        self._writes = BotWrites(
            ports,
            requests,
            Watched(view.fleet, names, view.freeze, reactions.alarm, self._own, reactions.settle),
        )
        self._is_resumed = False
        self._match_at_s = 0.0
        self._renewals = OneEach("renewal", self._failed)
        self._reader = Reader("followed", FOLLOWED, self._one, reading(ports, reactions), view.save)

    def kick(self) -> None:
        self._grew.set()

    async def run(self) -> None:
        if not self._is_resumed:  # begun again, what is in memory goes on
            await self.resume()
            self._is_resumed = True
        try:
            while True:
                self._grew.clear()
                pause_s = await self.step()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._grew.wait(), pause_s)
        finally:
            await self._vanished.stop()
            await self._renewals.stop()

    async def resume(self) -> None:
        """Take up what the ledger keeps: whose writes are ours, what is to be compared."""
        await self._writes.resume()
        await self._vanished.resume()

    async def idle(self) -> None:
        """Wait until no lane is asked any more."""
        await self._vanished.idle()
        await self._renewals.idle()

    async def step(self) -> float:
        """Read on, match, begin what asks lanes; return the seconds to wait."""
        try:
            while await self._reader.read_share():
                if self._clock.boot_s() >= self._match_at_s:
                    await self._match()
            waits = await self._match()
        except EdgeError as error:  # a disk that refuses: the cursor stands, nothing is lost
            _log.error("follow.blocked", error=str(error))
            return TROUBLE_S
        self._vanished.begin()
        if self._view.is_linked():
            self._renewals.begin("stale", self._renew_stale)
        return RECHECK_S if waits else IDLE_S

    async def _match(self) -> bool:
        """Match what polls showed; say whether anything still waits. Raises EdgeError."""
        self._match_at_s = self._clock.boot_s() + MATCH_S

        def is_read(lane: str) -> bool:
            return self._view.is_home(lane) and not self._reader.waits(lane)

        return await self._writes.match(is_linked=self._view.is_linked(), is_home=is_read)

    def _failed(self, sentence: str) -> None:
        self._alarm(codes.TASK_FAILED, "follow", detail=sentence)

    def _own(self, payload: Payload, subject: str) -> bytes:
        """Return an event of the house itself."""
        id_, now_s = self._dice.token(16).hex(), self._clock.now_s()
        return encode_event(own_event(payload, id_=id_, now_s=now_s, subject=subject))

    async def _renew_stale(self) -> None:
        """Bring stale requests back, pinned to the world of now; one that cannot be is told."""
        for request in self._requests.stale():
            became = await self._requests.renew(request)
            if became:
                self._alarm(codes.REQUEST_STALE, named(request), reason=became)

    async def _one(self, archived: Archived) -> None:
        event = read_archived(archived)
        if isinstance(event, Unreadable):
            _log.warning("event.unreadable", row=archived.row, error=str(event))
            self._news(codes.EVENT_UNREADABLE, archived, archived.lane)
            return
        match event.payload:
            case Act() as act if act.type_ in STEPS:
                await self._outcomes.take(event, act)
            case ForgeReconciled() as done:
                await self._vanished.reconciled(event.lane, done.repository, event.row)
            case ForgeMark() as mark:
                await self._writes.hear_clock(event, mark)
            case ChatNoted() as note:
                await take_note(self._requests, note, event.lane)
                await self._pressed(note, event.lane)
            case DecisionAsked():
                await self._take_question(event)
            case AuditDone() as audit:
                await self._writes.learn(audit, event.lane)
            case FreezeAdded():
                self._news(codes.LANE_FROZE, event, event.lane)
                await self._take_freeze(event)
            case FreezeThawed():
                self._news(codes.LANE_THAWED, event, event.lane)
            case _ if isinstance(event.payload, Snapshot):
                await self._writes.note(event)
            case _:
                self._take_trouble(event)

    def _take_trouble(self, event: ArchivedEvent) -> None:
        """Tell a person what a lane says is wrong with it, or well again."""
        match event.payload:
            case WatchFailing(watch=watch):
                self._news(codes.WATCH, event, one_line(watch, 100))
            case DutyFailing(duty=duty):
                self._news(codes.LANE_DUTY, event, one_line(duty, 100))
            case ForgeUnread(watch=watch, number=number):
                self._news(codes.UNREAD, event, f"{one_line(watch, 100)}#{number}")
            case WatchReplaced(watch=watch):
                self._news(codes.WATCH_REPLACED, event, one_line(watch, 100))
            case ForgeUnreachable():
                self._news(codes.FORGE, event, event.lane)
            case ChatDeaf() as note:
                self._tell_deafness(event, note)
            case ForgeRecovered():
                self._news(codes.FORGE_BACK, event, event.lane)

    def _tell_deafness(self, event: ArchivedEvent, note: ChatDeaf) -> None:
        """Tell a person, by another channel first; what is old by now is in the lane's facts."""
        if abs(self._clock.now_s() - unix_s(event.envelope.time)) < FRESH_S:
            reason = one_line(note.why, 40)
            self._alarm(codes.CHAT_DEAF, one_line(note.channel, 40), event.lane, reason=reason)

    def _news(self, code: Code, event: Archived | ArchivedEvent, subject: str) -> None:
        if self._clock.now_s() - event.at_s < OLD_S:
            self._alarm(code, subject, event.lane)

    async def _take_question(self, event: ArchivedEvent) -> None:
        """Put a lane's question to the owner, once; an old one is not asked again."""
        question = read_value(self._open_words(event.envelope), NewDecision)
        if isinstance(question, Unreadable) or self._clock.now_s() - event.at_s >= OLD_S:
            _log.warning("question.unread", lane=event.lane, row=event.row)
            return
        await self._asked(question, event.lane, event.envelope.id)

    async def _take_freeze(self, event: ArchivedEvent) -> None:
        """Freeze here too: a lane may hear of a stop where the house does not (S6)."""
        freeze = read_value(self._open_words(event.envelope), Freeze)
        if not isinstance(freeze, Unreadable):
            self._view.report(freeze)
