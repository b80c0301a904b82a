"""Questions of sessions: put to the sovereign as requests, denied at their lane, ended with theirs."""

from __future__ import annotations

import contextlib

import msgspec

from allegro.core.agent.sessions import asked_of, question_digest
from allegro.core.authority.actions.agent import AnswerOnce
from allegro.core.base.errors import EdgeError
from allegro.core.base.untrusted import (
    text_of,
)
from allegro.core.health import codes
from allegro.core.health.alerts import RaiseAlert
from allegro.core.protocol.payloads.sessions import (
    SessionQuestion,
)
from allegro.core.protocol.queries import Deny
from allegro.core.requests.lifecycle import State, Step
from allegro.core.requests.requests import Request
from allegro.core.stores import SessionRecord
from allegro.house.archive.events import ArchivedEvent
from allegro.house.ports import AskLane, Ports
from allegro.house.requests.asking import Origin, Terms
from allegro.house.requests.requests import Requests
from allegro.runtime.tasks import Soon

MAX_QUESTIONS = 200
MAX_COMMAND = 20_000
_NO = frozenset({State.REJECTED, State.WITHDRAWN, State.EXPIRED, State.STALE})


class Questions:
    """Each question is a request of kind `answer_once`."""

    def __init__(
        self, ports: Ports, requests: Requests, ask_lane: AskLane, alarm: RaiseAlert
    ) -> None:
        self._clock = ports.clock
        self._open_words = ports.open_words
        self._requests = requests
        self._ask_lane = ask_lane
        self._alarm = alarm
        self._denials = Soon("denials", self._failed)

    def _failed(self, sentence: str) -> None:
        self._alarm(codes.TASK_FAILED, "denials", detail=sentence)

    async def put(
        self, record: SessionRecord, event: ArchivedEvent, asks: SessionQuestion
    ) -> SessionRecord:
        """Put a question to Timmy: what he would sign is computed from the words, here.

        Returns the record with the question counted. Raises EdgeError, transient, of the ledger.
        """
        words, lane = self._open_words(event.envelope), event.lane
        number, run = asks.number, text_of(asks.run)
        if not isinstance(words, dict) or number < 1 or record.asked >= MAX_QUESTIONS:
            self._alarm(codes.QUESTION_UNREADABLE, record.id, record.lane)
            return record
        notes = {str(key): str(value)[:MAX_COMMAND] for key, value in list(words.items())[:10]}
        asked = asked_of(notes)
        if asks.refused or asked.refused:
            why = text_of(asked.refused) or "it cannot be shown whole"
            self._alarm(codes.QUESTION_DENIED, record.id, record.lane, reason=why)
            return msgspec.structs.replace(record, asked=record.asked + 1)
        until_s = min(asks.until_s, self._clock.now_s() + 3600)
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

    async def end(self, record: SessionRecord) -> None:
        """Withdraw what a session that ended still asked. Raises EdgeError of the ledger."""
        for request in self._requests.open_of("answer_once"):
            action = self._requests.work(request).action
            if isinstance(action, AnswerOnce) and action.session == record.id:
                step = Step.WITHDRAW
                if request.state in {State.ORDERED, State.SENT, State.UNKNOWN}:
                    step = Step.FAIL
                await self._requests.take_step(request, step, "the session ended")

    def changed(self, request: Request) -> None:
        """Begin to tell the lane no, where the answer of a request is no."""
        if request.kind == "answer_once" and request.state in _NO:
            self._denials.begin(request.id, self._deny(request))

    async def _deny(self, request: Request) -> None:
        """Tell the lane no; it says no by itself as well when time runs out."""
        action = self._requests.work(request).action
        if isinstance(action, AnswerOnce):
            with contextlib.suppress(EdgeError):
                query = Deny(session=action.session, number=action.number)
                await self._ask_lane(action.lane, query.name, query.params())
