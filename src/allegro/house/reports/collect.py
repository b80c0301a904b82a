"""Collects the facts of one day: from archive, ledger and figures, and from all who can speak.

Invariant: a source that fails is `Unknown` in the facts, with its reason; it never looks like a
source that had nothing to tell, and it keeps no other source from speaking.
"""

from __future__ import annotations

import asyncio
import datetime
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import TypeVar
from zoneinfo import ZoneInfo

import structlog

from allegro.core.base.errors import EdgeError
from allegro.core.base.events import decode_event
from allegro.core.base.untrusted import UNREADABLE, Unreadable, number_of, text_of
from allegro.core.health.alerts import Alert, Phase
from allegro.core.health.days import Day
from allegro.core.measures.answers import Window
from allegro.core.protocol.event_types import EventType
from allegro.core.reports.facts import (
    MOST,
    AlertLine,
    AlertsDay,
    DayFacts,
    Done,
    DoneItem,
    DutyLine,
    FreezeLine,
    GapLine,
    Unknown,
    WaitingRequest,
)
from allegro.core.requests.documents import URGENCIES
from allegro.core.requests.lifecycle import State
from allegro.core.requests.requests import Request
from allegro.house.archive.events import read_archived
from allegro.house.measures.wing import MeasuresWing
from allegro.house.ports import Ports
from allegro.house.reports.counting import COUNTED, DayCounter
from allegro.house.reports.sources import Sources

_log = structlog.get_logger()
SPAN = 4_000
AFTER_S = 86_400.0
"""So long after a day events are read that speak of it: what ended while the house was off."""
FRESH_S = 1.5 * 86_400.0
"""So long after a day, what holds now says nothing any more of how that day was."""
LONG_AGO = Unknown("it is known of the moment only, and that day is too long ago")
SILENT = Unknown("nothing came home that day: no lane was heard")

S = TypeVar("S")
T = TypeVar("T")


class Collector:
    """`facts` asks everybody. `zone` is the owner's."""

    def __init__(
        self, house: str, ports: Ports, measures: MeasuresWing, sources: Sources, zone: ZoneInfo
    ) -> None:
        self._house = house
        self._ports = ports
        self._clock = ports.clock
        self._measures = measures
        self._sources = sources
        self._zone = zone

    async def facts(self, day: Day, late_s: float = 0.0) -> DayFacts:
        """Return the facts of a day as they are known now. Never raises EdgeError."""
        now_s, sources = self._clock.now_s(), self._sources
        window = Window(day.start_s, day.end_s)
        counter = await _asked("archive", self._counted(window))
        doctor, deliveries, gaps, rows, names = await asyncio.gather(
            _asked("doctor", sources.doctor()),
            _asked("deliveries", sources.deliveries(day.date - datetime.timedelta(1))),
            _asked("gaps", self._gaps(window)),
            _asked("figures", self._measures.answer(window.to_s - window.from_s, to_s=day.end_s)),
            _asked("repositories", self._names()),
        )
        repositories = {} if isinstance(names, Unknown) else names
        is_fresh = now_s - day.end_s <= FRESH_S
        overdue = self._overdue(now_s) if is_fresh else []
        until_now = Window(window.from_s, now_s if is_fresh else window.to_s)
        return DayFacts(
            house=self._house,
            date=day.date,
            zone=self._zone.key,
            from_s=day.start_s,
            to_s=day.end_s,
            built_s=now_s,
            late_s=late_s,
            waiting=self._waiting(),
            came_in=_of(counter, lambda found: found.came_in(repositories)),
            done=_of(counter, self._done),
            sessions=_of(counter, lambda found: found.sessions()),
            measures=_of(rows, lambda answer: answer.rows),
            alerts=self._alerts(until_now),
            duties=_of(counter, lambda found: found.duties(overdue)),
            freezes=self._freezes(until_now),
            gaps=gaps,
            take_overs=_of(counter, lambda found: tuple(found.take_overs)),
            lanes=tuple(sources.lanes()) if is_fresh else LONG_AGO,
            doctor=_of(doctor, tuple) if is_fresh else LONG_AGO,
            deliveries=_of(deliveries, tuple),
            unreadable=0 if isinstance(counter, Unknown) else counter.unreadable,
            drift=sources.drift(),
            backup=sources.backup(),
        )

    async def _counted(self, window: Window) -> DayCounter | Unknown:
        first, last = await self._measures.rows_between(window.from_s, window.to_s)
        if first > last:
            return SILENT
        counter = DayCounter(window, self._ports.open_words)
        first, last = await self._measures.rows_between(window.from_s, window.to_s + AFTER_S)
        row = first - 1
        while row < last:
            found, scanned = await self._ports.archive.scan(row, SPAN, COUNTED)
            for stored in found:
                event = read_archived(stored)
                if not isinstance(event, Unreadable):
                    counter.take(event)
                elif window.from_s <= stored.at_s < window.to_s:
                    counter.unreadable += 1
            if scanned == row:
                break
            row = scanned
        return counter

    async def _names(self) -> dict[int, str]:
        """Return the names of repositories by their id, as their lanes told them."""
        names: dict[int, str] = {}
        kind = EventType.FORGE_SNAPSHOT_REPOSITORY
        for raw in await self._ports.archive.newest_of_type(kind):
            try:
                event = decode_event(raw)
                words = self._ports.open_words(event)
            except UNREADABLE:
                continue
            if isinstance(words, dict):
                name = text_of(words.get("name"), 200)
                names.setdefault(number_of(event.data.get("repository")), name)
        return names

    def _waiting(self) -> tuple[WaitingRequest, ...]:
        waiting = [
            _waiting(one)
            for one in self._ports.ledger.requests.values()
            if one.state is State.PROPOSED and not one.internal
        ]
        return tuple(sorted(waiting, key=lambda one: (one.created_s, one.id)))

    def _done(self, counter: DayCounter) -> Done:
        settled = list(counter.settled.values())
        items = []
        for one in settled[-MOST:]:
            held = self._ports.ledger.requests.get(one.request)
            items.append(
                DoneItem(
                    id=one.request,
                    kind=one.kind,
                    state=one.state,
                    settled_s=one.settled_s,
                    question=held.document.question if held else "",
                    url=held.url if held else "",
                )
            )
        done = [one for one in settled if one.state == State.DONE.value]
        return Done(
            states=dict(Counter(one.state for one in settled)),
            kinds=dict(Counter(one.kind for one in done)),
            items=tuple(items),
            more=max(0, len(settled) - MOST),
        )

    def _alerts(self, window: Window) -> AlertsDay | Unknown:
        held = self._sources.alerts()
        if isinstance(held, Unknown):
            return held
        shown = [one for one in held if _is_of(one, window)]
        shown.sort(key=lambda one: (one.severity, -one.last_s, one.key))
        return AlertsDay(
            items=tuple(map(_alert_line, shown[:MOST])),
            more=max(0, len(shown) - MOST),
            judged=self._sources.judged(),
        )

    def _freezes(self, window: Window) -> tuple[FreezeLine, ...] | Unknown:
        held = self._sources.freezes()
        if not held.known:
            return Unknown("the freeze set is unknown, which counts as frozen")
        active = {one.id for one in held.active}
        return tuple(
            FreezeLine(
                id=one.id,
                by=one.by,
                reason=one.reason,
                at_s=one.at_s,
                is_active=one.id in active,
            )
            for one in held.freezes
            if one.at_s < window.to_s and (one.id in active or window.from_s <= one.at_s)
        )

    async def _gaps(self, window: Window) -> tuple[GapLine, ...]:
        return tuple(
            GapLine(lane=lane, first=first, last=last, count=count, reason=reason)
            for lane, _, first, last, count, _, reason, at_s in await self._ports.archive.gaps()
            if window.from_s <= at_s < window.to_s
        )

    def _overdue(self, now_s: float) -> list[DutyLine]:
        """Return the duties whose time passed without any record, told or not."""
        return [
            DutyLine(
                duty=one.duty,
                owner=one.owner,
                ending="left no record",
                at_s=one.due_s,
            )
            for one in self._measures.due
            if one.due_s + one.grace_s < now_s
        ]


async def _asked(name: str, answer: Awaitable[T]) -> T | Unknown:
    try:
        return await answer
    except EdgeError as error:
        _log.warning("report.source_unknown", source=name, error=str(error))
        return Unknown(f"{name} could not be read")


def _of(source: S | Unknown, make: Callable[[S], T]) -> T | Unknown:
    return source if isinstance(source, Unknown) else make(source)


def _waiting(request: Request) -> WaitingRequest:
    urgency = request.document.urgency
    return WaitingRequest(
        id=request.id,
        kind=request.kind,
        urgency=urgency if urgency in URGENCIES else "unknown",
        repository=request.repository,
        question=request.document.question,
        created_s=request.created_s,
        expires_s=request.document.expires_s,
    )


def _is_of(alert: Alert, window: Window) -> bool:
    """Say whether an alert belongs to a span: raised or held in it, if only for a part."""
    if alert.course.phase is Phase.PENDING or not alert.first_s < window.to_s:
        return False
    if alert.is_condition and alert.course.phase in {Phase.FIRING, Phase.ACKNOWLEDGED}:
        return True
    return max(alert.last_s, alert.course.well_s) >= window.from_s


def _alert_line(alert: Alert) -> AlertLine:
    return AlertLine(
        severity=alert.severity.value,
        code=alert.code,
        sentence=alert.sentence,
        first_s=alert.first_s,
        last_s=alert.last_s,
        count=alert.count,
        is_over=alert.course.phase is Phase.RECOVERED,
    )
