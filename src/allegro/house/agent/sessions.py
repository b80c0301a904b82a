"""The sessions of this house: asked for, followed to their one end, their questions put to Timmy."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from functools import partial

import msgspec
import structlog

from allegro.core.authority.actions.agent import AGENT, RunSession
from allegro.core.base.errors import EdgeError, Refusal
from allegro.core.base.untrusted import Unreadable, text_of
from allegro.core.health import codes
from allegro.core.protocol.answers.sessions import StoppedAnswer
from allegro.core.protocol.payloads.sessions import (
    SessionEnd,
    SessionQuestion,
)
from allegro.core.protocol.queries import QueryName, StopSession
from allegro.core.requests.lifecycle import State, Step
from allegro.core.requests.requests import Request
from allegro.core.stores import Archived, SessionRecord
from allegro.house.agent.barrier import Unread
from allegro.house.agent.lost import Lost
from allegro.house.agent.questions import Questions
from allegro.house.agent.session_records import (
    FOLLOWED,
    Followed,
    after,
    heard,
    limit_of,
    new_record,
    presumed,
    running_at,
    uncounted,
)
from allegro.house.agent.waiting import Waiting, is_over
from allegro.house.archive.events import read_archived
from allegro.house.ports import AskLane, Ports, Reactions, reading
from allegro.house.requests.asking import Origin, Terms
from allegro.house.requests.requests import Requests
from allegro.runtime.reader import Reader
from allegro.runtime.tasks import OneEach

_log = structlog.get_logger()
IDLE_S = 15.0


class SessionLanes(msgspec.Struct, frozen=True):
    """What sessions need of lanes: to ask one; whether it is linked and all it said is archived."""

    ask: AskLane
    is_home: Callable[[str], bool]


class Sessions:
    """Keeps a record of every session, from the archive alone; `records` is the newest part."""

    def __init__(
        self,
        ports: Ports,
        requests: Requests,
        lanes: SessionLanes,
        reactions: Reactions,
        kick: Callable[[], None],
    ) -> None:
        self._archive, self._ledger, self._clock = ports.archive, ports.ledger, ports.clock
        self._open_words = ports.open_words
        self._requests = requests
        self._ask_lane, self._lane_home = lanes.ask, lanes.is_home
        self._alarm = reactions.alarm
        self._kick = kick
        self._grew = asyncio.Event()
        self._listeners: list[Callable[[SessionRecord], None]] = []
        self._waiting = Waiting()
        self._lost = Lost(lanes.ask, lanes.is_home, ports.clock)
        self._is_resumed = False
        self._questions = Questions(ports, requests, lanes.ask, reactions.alarm)
        self._unread = Unread(requests)
        self.records: dict[str, SessionRecord] = {}
        self._reader = Reader(
            "sessions followed", FOLLOWED, self._one, reading(ports, reactions), self._flush
        )
        self._unsaved: dict[str, SessionRecord] = {}
        self._asking = OneEach("lost sessions", self._failed)
        requests.on_change(self._request_changed)

    def _failed(self, sentence: str) -> None:
        self._alarm(codes.TASK_FAILED, "lost sessions", detail=sentence)

    def on_change(self, listener: Callable[[SessionRecord], None]) -> None:
        self._listeners.append(listener)

    def kick(self) -> None:
        """Look at the archive now: it grew."""
        self._grew.set()

    def busy(self, lane: str) -> int:
        """Return how many sessions of a lane have not ended, as far as the house knows."""
        ordered = {
            request.id
            for request in self._requests.open_of("run_session")
            if request.lane == lane and request.state in {State.ORDERED, State.SENT, State.UNKNOWN}
        }
        return len(running_at(lane, self.records.values()) | ordered)

    async def run(self) -> None:
        """Follow the archive until cancelled."""
        if not self._is_resumed:  # begun again, what is in memory goes on
            await self.resume()
            self._is_resumed = True
        try:
            while True:
                self._grew.clear()
                await self.step()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._grew.wait(), IDLE_S)
        finally:
            await self._asking.stop()

    async def resume(self) -> None:
        """Take up the records; open ones are empty where what was told of them is read anew."""
        records = await self._ledger.sessions()
        anew = {one for one in {r.lane for r in records} if await self._reader.begins_anew(one)}
        for record in records:
            is_new = record.lane in anew and (not record.end or record.presumed)
            self.records[record.id] = uncounted(record) if is_new else record

    async def step(self) -> None:
        """Read on, and begin to ask lanes for sessions of which no end will come."""
        try:
            ended = self._unread.ended()
            await self._reader.read_on()
            self._waiting.wake(*self._unread.read(ended))
        except EdgeError as error:
            _log.error("sessions.blocked", error=str(error))
            return
        for lane in {record.lane for record in self.records.values() if not record.end}:
            self._asking.begin(lane, partial(self._find_lost, lane))

    async def idle(self) -> None:
        """Wait until no lane is asked any more."""
        await self._asking.idle()

    async def _flush(self) -> None:
        """Write the records that changed since, in one commit."""
        unsaved, self._unsaved = self._unsaved, {}
        if not unsaved:
            return
        try:
            await self._ledger.save_sessions(list(unsaved.values()))
        except (EdgeError, asyncio.CancelledError):
            self._unsaved = {**unsaved, **self._unsaved}
            raise

    async def wait(self, id_: str, timeout_s: float) -> SessionRecord | Request | Refusal:
        """Return a session once it ended, or its request once that ended without one."""
        until_s = self._clock.boot_s() + timeout_s
        while True:
            with self._waiting.for_news_of(id_) as event:
                found = self.find(id_)
                if isinstance(found, Refusal) or is_over(found):
                    return found
                left_s = until_s - self._clock.boot_s()
                if left_s <= 0:
                    return found
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(event.wait(), left_s)

    def find(self, prefix: str) -> SessionRecord | Request | Refusal:
        """Return the session whose id begins so; before it began, the request for it.

        While the archive may hold the end of a session whose request failed, the session is open.
        """
        found = [r for id_, r in self.records.items() if prefix and id_.startswith(prefix)]
        if len(found) == 1:
            asked = self._requests.find_exact(found[0].id)
            if found[0].state == "accepted" and asked and self._unread.shows(asked):
                return asked
            return found[0]
        if len(found) > 1:
            return Refusal("ambiguous", f"{len(found)} sessions begin with {prefix!r}")
        request = self._requests.find(prefix)
        if isinstance(request, Request) and request.kind == "run_session":
            if self._unread.hides(request):
                return msgspec.structs.replace(
                    new_record(self._requests.work(request)), state="ordered"
                )
            return request
        return Refusal("not_found", f"no session begins with {prefix!r}")

    async def stop(self, prefix: str) -> StoppedAnswer | Refusal:
        """Stop a session, or withdraw it before it began."""
        found = self.find(prefix)
        if isinstance(found, Refusal):
            return found
        if isinstance(found, Request):
            taken = await self._requests.withdraw(found.id)
            return taken if isinstance(taken, Refusal) else StoppedAnswer(found.id, stopped=True)
        if found.end:
            return Refusal("wrong_state", f"it ended already: {found.end}")
        query = StopSession(session=found.id)
        stopped = await self._ask_lane(found.lane, query.name, query.params())
        return StoppedAnswer(found.id, stopped=stopped is True)

    # --- following ---------------------------------------------------------------------------

    async def _one(self, archived: Archived) -> None:
        event = read_archived(archived)
        if isinstance(event, Unreadable) or not isinstance(event.payload, Followed):
            return
        payload = event.payload
        session = text_of(payload.session, 64)
        request = self._requests.find_exact(session)
        if request is None or request.kind != "run_session" or request.lane != archived.lane:
            return  # a lane speaks of sessions that were ordered from it, and of no others
        record = self.records.get(session) or new_record(self._requests.work(request))
        if (record.end and not record.presumed) or archived.row <= record.row:
            return
        record = msgspec.structs.replace(heard(record, archived.at_s), row=archived.row)
        words = self._open_words(event.envelope) if isinstance(payload, SessionEnd) else None
        changed = after(record, payload, words, self._clock.now_s())
        if isinstance(payload, SessionEnd) and payload.forged:
            self._alarm(codes.FORGED, session, archived.lane, count=payload.forged)
        if isinstance(payload, SessionQuestion):
            changed = await self._questions.put(changed, event, payload)
        if changed.end:
            await self._ended(changed)
        self._keep(changed)

    def _keep(self, record: SessionRecord) -> None:
        self._unsaved[record.id] = record
        self.records[record.id] = record
        for listener in self._listeners:
            listener(record)
        self._waiting.wake(record.id)

    async def _ended(self, record: SessionRecord) -> None:
        """Withdraw what the session still asked; make room for the next."""
        await self._questions.end(record)
        self._kick()

    # --- what the requests say ---------------------------------------------------------------

    def _request_changed(self, request: Request) -> None:
        if request.kind not in AGENT.kinds:
            return
        self._waiting.wake(request.id)
        if self._unread.hides(request):
            self.kick()
        self._questions.changed(request)

    async def settle(self, request: Request) -> None:
        """Settle a request whose order brought no word: never by a second order.

        A session may have begun; while its lane knows it, or is away within its time, it waits.
        """
        if request.kind == "run_session":
            record = self.records.get(request.id)
            if record is not None and record.state not in {"", "accepted"}:
                await self._requests.take_step(request, Step.RECEIPT, "its telemetry came")
                return
            if self._lane_home(request.lane):
                known = await self._ask_lane(request.lane, QueryName.SESSIONS, {})
                if isinstance(known, list) and request.id in known:
                    return
            elif not self._lost.is_over(
                request.history[-1].at_s, limit_of(self._requests.work(request))
            ):
                return
        why = "no word after the order; it may have begun and is not begun again"
        await self._requests.take_step(request, Step.FAIL, why)

    async def _find_lost(self, lane: str) -> None:
        """End the sessions of one lane that cannot run any more, of which no end will come."""
        known = await self._lost.known(lane)
        for record in [r for r in self.records.values() if r.lane == lane and not r.end]:
            why = self._lost.why(record, known)
            if why:
                lost = presumed(record, why, self._clock.now_s())
                await self._ended(lost)
                self._keep(lost)
                await self._flush()

    # --- asking ------------------------------------------------------------------------------

    async def begin(self, action: RunSession, asked_by: str, key: str, asked: str = "") -> Request:
        """Ask for a session. Raises EdgeError when it cannot be made as asked.

        `asked` names the content of the asking (`proposals.asking`).
        """
        first = (action.prompt.strip().splitlines() or [""])[0]
        question = f"Run a session: {first[:80]}"
        expires_s = self._clock.now_s() + action.limit_s + 3600
        terms = Terms(question, "review", expires_s, action.issue)
        return await self._requests.propose_act(action, terms, Origin(asked_by, key, asked))
