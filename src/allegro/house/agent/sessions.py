"""The sessions of this house: asked for, followed to their one end, their questions put to Timmy."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec
import structlog

from allegro.core.agent.sessions import End, asked_of, question_digest
from allegro.core.authority.actions.agent import AGENT, AnswerOnce, LendModel, RunSession
from allegro.core.base.errors import EdgeError, Refusal
from allegro.core.base.events import Event, decode_event
from allegro.core.base.untrusted import (
    MAX_NUMBER,
    Unreadable,
    names_of,
    text_of,
)
from allegro.core.health import codes
from allegro.core.protocol.event_types import EventType
from allegro.core.protocol.payloads.sessions import (
    ModelResult,
    SessionAccepted,
    SessionAnswered,
    SessionEnd,
    SessionQuestion,
    SessionStarted,
)
from allegro.core.protocol.queries import Deny, QueryName, RevokeLoan, StopSession
from allegro.core.requests.lifecycle import State, Step
from allegro.core.requests.requests import Request
from allegro.core.requests.work import Work
from allegro.core.stores import Archived, SessionRecord
from allegro.house.agent.barrier import Unread
from allegro.house.agent.lost import Lost, heard, presumed
from allegro.house.archive.events import ArchivedEvent, read_archived
from allegro.house.ports import AskLane, Ports, Reactions, reading
from allegro.house.requests.asking import Origin, Terms
from allegro.house.requests.requests import Requests
from allegro.runtime.consumer import Reader
from allegro.runtime.duties import OneEach, Soon

_log = structlog.get_logger()
IDLE_S = 15.0
MAX_QUESTIONS = 200
MAX_COMMAND = 20_000
MAX_OUTPUT = 1_000_000
FOLLOWED = (
    SessionAccepted.type_,
    SessionStarted.type_,
    SessionQuestion.type_,
    SessionAnswered.type_,
    SessionEnd.type_,
    ModelResult.type_,
)
Followed = (
    SessionAccepted | SessionStarted | SessionQuestion | SessionAnswered | SessionEnd | ModelResult
)
_ENDS = {end.value for end in End}


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
        self._waiting: dict[str, list[asyncio.Event]] = {}
        self._lost = Lost(lanes.ask, lanes.is_home, ports.clock)
        self._is_resumed = False
        self._denials = Soon("denials", self._failed("denials"))
        self._unread = Unread(requests)
        self.records: dict[str, SessionRecord] = {}
        self._reader = Reader(
            "sessions followed", FOLLOWED, self._one, reading(ports, reactions), self._flush
        )
        self._unsaved: dict[str, SessionRecord] = {}
        self._asking = OneEach("lost sessions", self._failed("lost sessions"))
        requests.on_change(self._request_changed)

    def _failed(self, task: str) -> Callable[[str], None]:
        """Return what raises the alert of a fault in short work of this name."""
        return lambda sentence: self._alarm(codes.TASK_FAILED, task, detail=sentence)

    def on_change(self, listener: Callable[[SessionRecord], None]) -> None:
        self._listeners.append(listener)

    def kick(self) -> None:
        """Look at the archive now: it grew."""
        self._grew.set()

    def busy(self, lane: str) -> int:
        """Return how many sessions of a lane have not ended, as far as the house knows."""
        running = {
            r.id
            for r in self.records.values()
            if r.lane == lane and not r.end and r.state != "accepted"
        }
        ordered = {
            request.id
            for request in self._requests.open_of("run_session")
            if request.lane == lane and request.state in {State.ORDERED, State.SENT, State.UNKNOWN}
        }
        return len(running | ordered)

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
        """Take up the records. Where the archive is read from its first row, open ones are empty.

        Else what it told of them would be counted twice.
        """
        is_new = (await self._ledger.place("sessions followed")).row == 0
        for record in await self._ledger.sessions():
            is_open = not record.end or record.presumed
            self.records[record.id] = _uncounted(record) if is_new and is_open else record

    async def step(self) -> None:
        """Read on, and begin to ask lanes for sessions of which no end will come."""
        try:
            ended = self._unread.ended()
            await self._reader.read_on()
            self._wake(*self._unread.read(ended))
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
            event = asyncio.Event()
            self._waiting.setdefault(id_, []).append(event)
            try:
                found = self.find(id_)
                if isinstance(found, Refusal):
                    return found
                over = bool(found.end) if isinstance(found, SessionRecord) else found.is_final
                if over and not (isinstance(found, Request) and found.state is State.DONE):
                    return found
                left_s = until_s - self._clock.boot_s()
                if left_s <= 0:
                    return found
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(event.wait(), left_s)
            finally:
                self._waiting[id_].remove(event)
                if not self._waiting[id_]:
                    del self._waiting[id_]

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
                return msgspec.structs.replace(_new(self._requests.work(request)), state="ordered")
            return request
        return Refusal("not_found", f"no session begins with {prefix!r}")

    def _wake(self, *ids: str) -> None:
        """Let those who wait for these sessions look again."""
        for event in [event for id_ in ids for event in self._waiting.get(id_, ())]:
            event.set()

    async def stop(self, prefix: str) -> dict[str, Any] | Refusal:
        """Stop a session, or withdraw it before it began."""
        found = self.find(prefix)
        if isinstance(found, Refusal):
            return found
        if isinstance(found, Request):
            taken = await self._requests.withdraw(found.id)
            return taken if isinstance(taken, Refusal) else {"id": found.id, "stopped": True}
        if found.end:
            return Refusal("wrong_state", f"it ended already: {found.end}")
        query = StopSession(session=found.id)
        stopped = await self._ask_lane(found.lane, query.name, query.params())
        return {"id": found.id, "stopped": stopped is True}

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
        record = self.records.get(session) or _new(self._requests.work(request))
        if (record.end and not record.presumed) or archived.row <= record.row:
            return
        record = msgspec.structs.replace(heard(record, archived.at_s), row=archived.row)
        changed = self._after(record, event.envelope, payload)
        if isinstance(payload, SessionEnd) and payload.forged:
            self._alarm(codes.FORGED, session, archived.lane, count=payload.forged)
        if isinstance(payload, SessionQuestion):
            changed = await self._ask_sovereign(changed, event, payload)
        if changed.end:
            await self._ended(changed)
        self._keep(changed)

    def _after(self, record: SessionRecord, event: Event, payload: Followed) -> SessionRecord:
        """Return the record after one event of its lane. Nothing in it is believed unchecked."""
        change = msgspec.structs.replace
        match payload:
            case SessionAccepted():
                return change(
                    record,
                    state="accepted",
                    model=text_of(payload.model),
                    agent=text_of(payload.agent),
                    local=payload.local,
                    tools_on=names_of(list(payload.tools)),
                    limit_s=float(payload.limit_s),
                )
            case SessionStarted():
                return change(record, state="running", run=text_of(payload.run))
            case SessionQuestion():
                return change(record, state="waiting")
            case SessionAnswered():
                denied = record.denied + (payload.choice == "deny")
                return change(record, state="running", denied=denied)
            case ModelResult():
                tokens = record.tokens + payload.tokens_in + payload.tokens_out
                return change(
                    record,
                    tokens=min(MAX_NUMBER, tokens),
                    calls=min(MAX_NUMBER, record.calls + 1),
                    provider=text_of(payload.provider),
                )
            case SessionEnd():
                return self._over(record, event, payload)

    def _over(self, record: SessionRecord, event: Event, end: SessionEnd) -> SessionRecord:
        words = self._open_words(event)
        facts = words if isinstance(words, dict) else {}
        return msgspec.structs.replace(
            record,
            state="ended",
            end=end.state if end.state in _ENDS else End.LOST.value,
            why=text_of(facts.get("why")),
            output=text_of(facts.get("output"), MAX_OUTPUT),
            ended_s=self._clock.now_s(),
            duration_s=end.duration_s,
            calls=max(record.calls, end.calls or 0),
            tools=end.tools or 0,
            questions=end.questions or 0,
            tokens=max(record.tokens, end.tokens or 0),
            cost_usd=None if isinstance(end.cost_usd, str) else end.cost_usd,
        )

    def _keep(self, record: SessionRecord) -> None:
        self._unsaved[record.id] = record
        self.records[record.id] = record
        for listener in self._listeners:
            listener(record)
        self._wake(record.id)

    async def _ended(self, record: SessionRecord) -> None:
        """Withdraw what the session still asked; make room for the next."""
        for request in self._requests.open_of("answer_once"):
            action = self._requests.work(request).action
            if isinstance(action, AnswerOnce) and action.session == record.id:
                step = Step.WITHDRAW
                if request.state in {State.ORDERED, State.SENT, State.UNKNOWN}:
                    step = Step.FAIL
                await self._requests.take_step(request, step, "the session ended")
        self._kick()

    async def _ask_sovereign(
        self, record: SessionRecord, event: ArchivedEvent, put: SessionQuestion
    ) -> SessionRecord:
        """Put a question to Timmy: what he would sign is computed from the words, here."""
        words, lane = self._open_words(event.envelope), event.lane
        number, run = put.number, text_of(put.run)
        if not isinstance(words, dict) or number < 1 or record.asked >= MAX_QUESTIONS:
            self._alarm(codes.QUESTION_UNREADABLE, record.id, record.lane)
            return record
        notes = {str(key): str(value)[:MAX_COMMAND] for key, value in list(words.items())[:10]}
        asked = asked_of(notes)
        if put.refused or asked.refused:
            why = text_of(asked.refused) or "it cannot be shown whole"
            self._alarm(codes.QUESTION_DENIED, record.id, record.lane, reason=why)
            return msgspec.structs.replace(record, asked=record.asked + 1)
        until_s = min(put.until_s, self._clock.now_s() + 3600)
        action = AnswerOnce(
            id=self._requests.new_id(),
            lane=lane,
            session=record.id,
            run=run,
            number=number,
            question=question_digest(record.id, run, number, asked),
        )
        question = f"Let session {record.id[:10]} do this once: {asked.description or 'a command'}?"
        try:
            terms = Terms(question, "decision", until_s, f"session {record.id}", notes)
            key = f"question {record.id} {run} {number}"
            await self._requests.propose_act(action, terms, Origin(key=key))
        except EdgeError as error:
            if error.transient:
                raise  # the ledger's disk: read again
            self._alarm(codes.QUESTION_UNASKED, record.id, record.lane, reason=error)
            return record
        return msgspec.structs.replace(record, asked=record.asked + 1)

    # --- what the requests say ---------------------------------------------------------------

    def _request_changed(self, request: Request) -> None:
        if request.kind not in AGENT.kinds:
            return
        self._wake(request.id)
        if self._unread.hides(request):
            self.kick()
        no = {State.REJECTED, State.WITHDRAWN, State.EXPIRED, State.STALE}
        if request.kind == "answer_once" and request.state in no:
            self._denials.begin(request.id, self._deny(request))

    async def _deny(self, request: Request) -> None:
        """Tell the lane no; it says no by itself as well when time runs out."""
        action = self._requests.work(request).action
        if isinstance(action, AnswerOnce):
            with contextlib.suppress(EdgeError):
                query = Deny(session=action.session, number=action.number)
                await self._ask_lane(action.lane, query.name, query.params())

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
                request.history[-1].at_s, _limit_of(self._requests.work(request))
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

    async def lend(self, action: LendModel, asked_by: str) -> Request:
        """Ask for a token for a lane's model proxy."""
        terms = Terms(f"Lend the model {action.model}", "review", self._clock.now_s() + 120)
        return await self._requests.propose_act(action, terms, Origin(asked_by))

    async def revoke(self, id_: str) -> bool:
        """Take a lent model back. Raises EdgeError when its lane cannot be reached."""
        request = self._requests.find_exact(id_)
        if request is None or request.kind != "lend_model":
            raise EdgeError(f"no loan {id_}", transient=False, kind="not_found")
        query = RevokeLoan(loan=id_)
        return await self._ask_lane(request.lane, query.name, query.params()) is True

    async def loan_of(self, request: Request) -> dict[str, Any]:
        """Return the token that a lane sealed to us for a loan. Raises EdgeError when it is gone."""
        rows = await self._archive.events(
            0, 20, prefix=EventType.ACTION_RECEIPT, subject=f"session:{request.id}"
        )
        for archived in rows:
            words = self._open_words(decode_event(archived.stored))
            if archived.lane == request.lane and isinstance(words, dict) and words.get("token"):
                return {**words, "lane": request.lane}
        raise EdgeError("the lane's token did not come", transient=True)


def _new(work: Work) -> SessionRecord:
    request, action = work.request, work.action
    issue = action.issue if isinstance(action, RunSession) else ""
    return SessionRecord(id=request.id, lane=request.lane, began_s=request.created_s, issue=issue)


def _uncounted(record: SessionRecord) -> SessionRecord:
    """Return an open record as before its lane's first word: the archive tells it all again."""
    return msgspec.structs.replace(record, row=0, calls=0, tokens=0, denied=0)


def _limit_of(work: Work) -> float:
    """Return the seconds that a session request asked for."""
    action = work.action
    return float(action.limit_s) if isinstance(action, RunSession) else 0.0
