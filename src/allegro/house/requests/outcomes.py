"""Follows the archive: what lanes report moves requests; what polls show is matched (G13)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import structlog

from allegro.core.authority.actions.forge import ProposeChange
from allegro.core.authority.freeze import Freeze
from allegro.core.base.errors import EdgeError, Refusal
from allegro.core.base.events import encode_event
from allegro.core.base.untrusted import Unreadable, read_value, text_of
from allegro.core.effects.receipts import address_of, content_of, receipts_of
from allegro.core.effects.render import one_line
from allegro.core.health import codes
from allegro.core.health.codes import Code
from allegro.core.protocol.event_types import ACTIONS, AUDITS, FREEZES, SNAPSHOTS, EventType
from allegro.core.protocol.payloads.actions import Act, ActionIntent, ActionReceipt, ActionVoid
from allegro.core.protocol.payloads.base import Payload, own_event
from allegro.core.protocol.payloads.lane import DutyFailing, FreezeAdded
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
from allegro.core.requests.lifecycle import State, Step
from allegro.core.requests.ordering import was_ordered
from allegro.core.requests.requests import Request
from allegro.core.requests.work import Work
from allegro.core.stores import Archived
from allegro.house.archive.events import ArchivedEvent, read_archived
from allegro.house.archive.vanished import Vanished
from allegro.house.files import Fleet
from allegro.house.ports import AskLane, Ports, Reactions, reading
from allegro.house.requests.bot_writes import BotWrites, Watched
from allegro.house.requests.ordered_effects import Names
from allegro.house.requests.requests import NO_CLEAR_ANSWER, Requests
from allegro.runtime.consumer import Reader
from allegro.runtime.duties import OneEach

_log = structlog.get_logger()
RECHECK_S = 5.0
IDLE_S = 60.0
TROUBLE_S = 5.0
MAX_TEXT = 1_000
MAX_WORDS_OF_ORDER = 30
"""So many intents and doubts of one order are written down; a lane may not write without end."""
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
)
STEPS: dict[str, Step] = {
    EventType.ACTION_INTENT: Step.INTENT,
    EventType.ACTION_RECEIPT: Step.RECEIPT,
    EventType.ACTION_FAILED: Step.FAIL,
    EventType.ACTION_CONFLICT: Step.CONFLICT,
    EventType.ACTION_STALE: Step.STALE,
    EventType.ACTION_VOID: Step.VOID,
    EventType.ACTION_UNKNOWN: Step.SILENCE,
}


class FleetView(msgspec.Struct, frozen=True):
    """What following needs of the fleet.

    `fleet` is its record as it is now; `freeze` stops it; `is_linked` says whether any lane is,
    `all_home` whether everything lanes reported is archived; `ask_lane` asks one.
    """

    fleet: Callable[[], Fleet]
    freeze: Callable[[Freeze], Awaitable[Any]]
    is_linked: Callable[[], bool]
    all_home: Callable[[], bool]
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
        self._grew = asyncio.Event()
        self._said: dict[tuple[str, int], int] = {}
        self._vanished = Vanished(ports, view.ask_lane, self._own, self._failed)
        self._writes = BotWrites(
            ports, requests, Watched(view.fleet, names, view.freeze, reactions.alarm, self._own)
        )
        self._is_resumed = False
        self._renewals = OneEach("renewal", self._failed)
        self._reader = Reader("followed", FOLLOWED, self._one, reading(ports, reactions))

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
            await self._reader.read_on()
            waits = await self._writes.match(
                is_linked=self._view.is_linked(), journals_home=self._view.all_home()
            )
        except EdgeError as error:  # a disk that refuses: the cursor stands, nothing is lost
            _log.error("follow.blocked", error=str(error))
            return TROUBLE_S
        self._vanished.begin()
        if self._view.is_linked():
            self._renewals.begin("stale", self._renew_stale)
        return RECHECK_S if waits else IDLE_S

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
                self._alarm(codes.REQUEST_STALE, _named(request), reason=became)

    async def _one(self, archived: Archived) -> None:
        event = read_archived(archived)
        if isinstance(event, Unreadable):
            _log.warning("event.unreadable", row=archived.row, error=str(event))
            self._news(codes.EVENT_UNREADABLE, archived, archived.lane)
            return
        match event.payload:
            case Act() as act if act.type_ in STEPS:
                await self._act(event, act)
            case ForgeReconciled() as done:
                await self._vanished.reconciled(event.lane, done.repository, event.row)
            case ForgeMark() as mark:
                await self._writes.hear_clock(event, mark)
            case AuditDone() as audit:
                await self._writes.learn(audit, event.lane)
            case FreezeAdded():
                self._news(codes.LANE_FROZE, event, event.lane)
                await self._take_freeze(event)
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
            case ForgeRecovered():
                self._news(codes.FORGE_BACK, event, event.lane)

    def _news(self, code: Code, event: Archived | ArchivedEvent, subject: str) -> None:
        if self._clock.now_s() - event.at_s < OLD_S:
            self._alarm(code, subject, event.lane)

    async def _take_freeze(self, event: ArchivedEvent) -> None:
        """Freeze here too: a lane may hear of a stop where the house does not (S6)."""
        freeze = read_value(self._open_words(event.envelope), Freeze)
        if not isinstance(freeze, Unreadable):
            await self._view.freeze(freeze)

    async def _act(self, event: ArchivedEvent, act: Act) -> None:
        request = self._requests.of_digest(act.digest)
        if request is None:
            return
        order = act.order or 0
        if not was_ordered(request, order, event.lane):
            return  # a lane speaks of its own orders only
        step = STEPS[act.type_]
        words = self._open_words(event.envelope)
        if isinstance(act, ActionReceipt):
            await self._take_receipt(event, act, request, words)
            return
        detail = text_of(words if isinstance(words, str) else _reason_of(act), MAX_TEXT)
        if order != request.order_number:  # says nothing about the newest order
            if step is Step.VOID and order in request.outstanding:
                await self._requests.void_earlier(request, order, detail)
            return
        if step in {Step.SILENCE, Step.INTENT} and not self._may_say_more(request):
            return
        if step is Step.SILENCE:  # the state waits out its time, the reason is kept
            await self._requests.note(request, NO_CLEAR_ANSWER, detail)
            return
        if isinstance(act, ActionIntent):
            about = "shadow mode, would write" if act.shadow else "about to write"
            detail = f"{about}: {text_of(act.step, 20)}"
        after_s = act.retry_after_s if isinstance(act, ActionVoid) else None
        retry_at_s = event.at_s + after_s if after_s else 0.0
        moved = await self._requests.take_step(request, step, detail, retry_at_s=retry_at_s)
        if not isinstance(moved, Refusal) and moved.state is State.CONFLICT:
            reason = one_line(moved.detail)
            self._alarm(codes.REQUEST_CONFLICT, _named(moved), event.lane, reason=reason)

    def _may_say_more(self, request: Request) -> bool:
        key = (request.id, request.order_number)
        self._said[key] = self._said.get(key, 0) + 1
        if len(self._said) > 10_000:
            self._said.pop(next(iter(self._said)))
        return self._said.get(key, 0) <= MAX_WORDS_OF_ORDER

    async def _take_receipt(
        self, event: ArchivedEvent, receipt: ActionReceipt, request: Request, words: Any
    ) -> None:
        """Settle a request by its receipt: one artifact for each order, its content computed here.

        A receipt that settles nothing covers nothing. One that comes after the request ended is
        still the truth, but for an order that its lane called void.
        """
        artifact, order = receipt.artifact or 0, receipt.order or 0
        if (
            request.is_final
            and request.state is not State.DONE
            and order not in request.outstanding
        ):
            self._alarm_late(request, artifact, event.lane)
            return
        if request.artifact and artifact != request.artifact:
            both = {"artifact": artifact, "first": request.artifact}
            self._alarm(codes.RECEIPT_SECOND, _named(request), event.lane, **both)
            return
        work, opened = self._requests.work(request), words if isinstance(words, dict) else {}
        commit, claimed = text_of(receipt.commit, 64), receipt.content
        branch, content, url = self._as_approved(work, artifact, text_of(opened.get("url")))
        moved = await self._requests.take_step(
            request,
            Step.RECEIPT,
            artifact=artifact,
            url=url,
            branch=branch,
            commit=commit,
            receipts=receipts_of(
                work,
                artifact,
                content,
                branch=branch,
                commit=commit,
                now_s=self._clock.now_s(),
            ),
        )
        if isinstance(moved, Refusal):
            if request.state is not State.DONE:
                self._alarm_late(request, artifact, event.lane)
            return
        await self._moot_renewed(moved, event.lane)
        if claimed and content and claimed != content:
            self._alarm(codes.RECEIPT_CONTENT, _named(moved), event.lane)
        if receipt.others:
            others = one_line(list(receipt.others), 100)
            self._alarm(codes.WRITE_DOUBLED, _named(moved), event.lane, others=others)

    def _alarm_late(self, request: Request, artifact: int, lane: str) -> None:
        state = request.state.value
        self._alarm(codes.RECEIPT_LATE, _named(request), lane, state=state, artifact=artifact)

    async def _moot_renewed(self, done: Request, lane: str) -> None:
        """Take back what was asked in the place of a request that was done after all, and tell."""
        newer = await self._requests.withdraw_renewed(done)
        if newer is not None:
            state = newer.state.value
            self._alarm(codes.RENEWED_DONE, _named(done), lane, newer=newer.id, state=state)

    def _as_approved(self, work: Work, artifact: int, said: str) -> tuple[str, str, str]:
        """Return branch, name of the words and address of an effect, from the approved bytes."""
        action = work.action
        if work.family.place(action) is None:
            return "", "", said
        branch = work.delivery.branch if isinstance(action, ProposeChange) else ""
        content = content_of(action, work.delivery.marker, self._view.fleet().secret)
        return branch, content, address_of(action, artifact, said)


def _reason_of(act: Act) -> str:
    """Return the short code a lane gives for how an order ended, empty where it gives none."""
    return getattr(act, "reason", "")


def _named(request: Request) -> str:
    """Return a request as the subject of an alert."""
    return f"{request.kind} {request.id}"
