"""Counts what the events of one day say. Each event is taken once, in the order of the archive."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec

from allegro.core.agent.sessions import End
from allegro.core.authority.lease import ROLES, WHYS
from allegro.core.base.events import Event
from allegro.core.base.untrusted import MAX_NUMBER, text_of
from allegro.core.measures.answers import Window
from allegro.core.measures.due import owner_of_duty
from allegro.core.measures.state import Archived as Seen
from allegro.core.protocol.event_types import EventType
from allegro.core.protocol.payloads.duties import DutyEnded, DutyRan
from allegro.core.protocol.payloads.fleet import RoleTaken
from allegro.core.protocol.payloads.house import RequestSettled
from allegro.core.protocol.payloads.polls import ForgeVanished, SnapshotComment, SnapshotIssue
from allegro.core.protocol.payloads.sessions import ModelResult, SessionEnd
from allegro.core.reports.facts import (
    MOST,
    CameIn,
    CameItem,
    DutiesDay,
    DutyLine,
    SessionsDay,
    TakeOverLine,
)
from allegro.core.stores import HOUSE
from allegro.house.archive.events import ArchivedEvent

COUNTED = (
    EventType.FORGE_SNAPSHOT_ISSUE,
    EventType.FORGE_SNAPSHOT_COMMENT,
    EventType.FORGE_VANISHED,
    EventType.REQUEST_SETTLED,
    EventType.SESSION_END,
    EventType.MODEL_RESULT,
    EventType.ROLE_TAKEN,
    EventType.DUTY_RAN,
    EventType.DUTY_FAILED,
    EventType.DUTY_MISSED,
)
_ENDS = {end.value for end in End}
OTHER = "other"
MAX_SPEND_USD = 1e9

OpenWords = Callable[[Event], Any]


class DayCounter:
    """`take` counts one event.

    What people did on the forge, and what became of a request, belongs to the day on which it
    happened, also where it came home later; all else to the day on which it came home.
    """

    def __init__(self, day: Window, open_words: OpenWords) -> None:
        self._day = day
        self._open_words = open_words
        self._issues: dict[str, CameItem] = {}
        self._closed: set[str] = set()
        self._comments: set[str] = set()
        self._vanished: set[str] = set()
        self._sessions: dict[tuple[str, str], str] = {}
        self._calls: Counter[str] = Counter()
        self._cost_usd = 0.0
        self._duties: dict[tuple[str, str, float], DutyLine] = {}
        self.settled: dict[str, RequestSettled] = {}
        self.take_overs: list[TakeOverLine] = []
        self.unreadable = 0

    def take(self, event: ArchivedEvent) -> None:
        """Count one event. Never raises, whatever it holds."""
        match event.payload:
            case RequestSettled() as settled:
                self._settle(event, settled)
            case SnapshotIssue() as seen:
                self._issue(event, seen)
            case SnapshotComment() as seen if self._is_today(seen.created_s):
                self._comments.add(event.envelope.subject)
            case _ if self._is_today(event.at_s):
                self._arrived(event)

    def _arrived(self, event: ArchivedEvent) -> None:
        match payload := event.payload:
            case ForgeVanished(vanished=True):
                self._vanished.add(event.envelope.subject)
            case SessionEnd():
                end = payload.state if payload.state in _ENDS else OTHER
                self._sessions.setdefault((event.lane, text_of(payload.session, 64)), end)
            case ModelResult():
                self._call(payload)
            case RoleTaken() if payload.role in ROLES:
                self._take_over(event.lane, payload)
            case DutyEnded():
                self._duty(event, payload)

    def _is_today(self, at_s: float) -> bool:
        return self._day.from_s <= at_s < self._day.to_s

    def _settle(self, event: ArchivedEvent, settled: RequestSettled) -> None:
        """The newest word of a request counts; only the house's own."""
        if event.lane == HOUSE and self._is_today(settled.settled_s):
            self.settled.pop(settled.request, None)
            self.settled[settled.request] = settled

    def _issue(self, event: ArchivedEvent, seen: SnapshotIssue) -> None:
        subject = event.envelope.subject
        if self._is_today(seen.created_s):
            self._issues[subject] = self._item(event, seen)
        if seen.state == "closed" and self._is_today(seen.closed_s):
            self._closed.add(subject)

    def _item(self, event: ArchivedEvent, seen: SnapshotIssue) -> CameItem:
        words = self._open_words(event.envelope)
        words = words if isinstance(words, dict) else {}
        return CameItem(
            repository=str(seen.repository),
            number=seen.number,
            title=text_of(words.get("title"), 300),
            url=text_of(words.get("url"), 300),
            is_pull=seen.is_pull,
        )

    def _call(self, call: ModelResult) -> None:
        self._calls["calls"] += 1
        self._calls["failed"] += call.result != "ok"
        for name, count in (("in", call.tokens_in), ("out", call.tokens_out)):
            self._calls[name] = min(MAX_NUMBER, self._calls[name] + count)
        if isinstance(call.cost_usd, str):
            self._calls["unpriced"] += 1
        else:
            self._cost_usd = min(MAX_SPEND_USD, self._cost_usd + call.cost_usd)

    def _take_over(self, lane: str, taken: RoleTaken) -> None:
        why = taken.why if taken.why in WHYS else "unknown"
        before = "" if taken.before == lane else text_of(taken.before, 32)
        took_s = taken.silent_s + taken.take_s + taken.act_s
        self.take_overs.append(
            TakeOverLine(role=taken.role, lane=lane, before=before, why=why, took_s=took_s)
        )

    def _duty(self, event: ArchivedEvent, run: DutyEnded) -> None:
        """One record for each due time and owner: a record may be written twice."""
        words = self._open_words(event.envelope)
        result = words.get("result") if isinstance(words, dict) else run.result
        name = text_of(run.duty, 100)
        owner = _owner(event, run)
        key = (owner, f"{run.type_.value} {name}", run.due_s or event.at_s)
        ending = "ran" if isinstance(run, DutyRan) else run.type_.value.rpartition(".")[2]
        self._duties[key] = DutyLine(
            duty=name,
            owner=owner,
            ending=ending,
            at_s=event.at_s,
            result=text_of(result, 300),
        )

    # --- what it comes to --------------------------------------------------------------------

    def came_in(self, names: dict[int, str]) -> CameIn:
        """Return what came in; `names` are those of repositories by their id."""
        items = [
            msgspec.structs.replace(one, repository=names.get(int(one.repository), one.repository))
            for one in self._issues.values()
        ]
        pulls = sum(one.is_pull for one in items)
        return CameIn(
            issues=len(items) - pulls,
            pulls=pulls,
            closed=len(self._closed),
            comments=len(self._comments),
            vanished=len(self._vanished),
            items=tuple(items[-MOST:]),
            more=max(0, len(items) - MOST),
        )

    def sessions(self) -> SessionsDay:
        ids = [id_ for _, id_ in self._sessions]
        return SessionsDay(
            ends=dict(Counter(self._sessions.values())),
            calls=self._calls["calls"],
            failed_calls=self._calls["failed"],
            tokens_in=self._calls["in"],
            tokens_out=self._calls["out"],
            cost_usd=round(self._cost_usd, 6),
            unpriced=self._calls["unpriced"],
            ids=tuple(ids[-MOST:]),
            more=max(0, len(ids) - MOST),
        )

    def duties(self, overdue: list[DutyLine]) -> DutiesDay:
        """Return how duties went; `overdue` are those that left no record at all."""
        ran = sum(one.ending == "ran" for one in self._duties.values())
        bad = [one for one in self._duties.values() if one.ending != "ran"]
        known = {(one.owner, one.duty) for one in bad}
        bad += [one for one in overdue if (one.owner, one.duty) not in known]
        return DutiesDay(ran=ran, items=tuple(bad[-MOST:]), more=max(0, len(bad) - MOST))


def _owner(event: ArchivedEvent, run: DutyEnded) -> str:
    """Return whose duty it was: a role, the house or a lane."""
    is_own = event.lane == HOUSE
    seen = Seen(run.type_.value, event.lane, event.at_s, 0.0, is_own, run)
    return text_of(owner_of_duty(seen, run), 100)
