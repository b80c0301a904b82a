"""The events of sessions: each with its session, words sealed, claims marked."""

from __future__ import annotations

from typing import Any

import msgspec

from allegro.core.agent.sessions import (
    ANSWER_MARGIN_S,
    AgentEvent,
    Answered,
    Asked,
    Ended,
    Gap,
    TextDelta,
    ToolBegan,
    ToolEnded,
    UsageClaimed,
    asked_notes,
    question_digest,
)
from allegro.core.authority.actions.agent import AnswerOnce, session_subject
from allegro.core.authority.gate import Permit
from allegro.core.base.events import Event
from allegro.core.ports import Clock
from allegro.core.protocol.payloads.actions import SessionAct
from allegro.core.protocol.payloads.sessions import (
    SessionAnswered,
    SessionDelta,
    SessionEnd,
    SessionQuestion,
    SessionToolBegan,
    SessionToolEnded,
    SessionUsage,
    Talk,
    TelemetryGap,
)
from allegro.lane.agent.running import Live
from allegro.lane.context.recorder import Recorder


class SessionVoice:
    """Makes events. `timeout_s` is how long a question waits; `local` marks each event."""

    def __init__(self, recorder: Recorder, clock: Clock, timeout_s: float, *, local: bool) -> None:
        self._recorder = recorder
        self._clock = clock
        self._timeout_s = timeout_s
        self._local = local

    def event(
        self, session: str, payload: SessionAct | Talk, words: Any = None, id_: str = ""
    ) -> Event:
        payload = msgspec.structs.replace(payload, session=session, local=self._local)
        return self._recorder.event(payload, subject=session_subject(session), words=words, id_=id_)

    def action_event(self, permit: Permit, payload: SessionAct, words: Any) -> Event:
        action = permit.action
        session = action.session if isinstance(action, AnswerOnce) else action.id
        payload = msgspec.structs.replace(
            payload,
            digest=permit.digest,
            order=permit.order_number,
            kind=type(action).__struct_config__.tag,
        )
        return self.event(session, payload, words)

    def of_agent(self, live: Live, event: AgentEvent) -> Event:
        """Return the journal's event of what an agent said; its words are sealed."""
        session = live.action.id
        match event:
            case TextDelta():
                return self.event(session, SessionDelta(), {"text": event.text})
            case ToolBegan():
                began = SessionToolBegan(tool=event.tool, call=event.call)
                return self.event(session, began, event.words)
            case ToolEnded():
                ended = SessionToolEnded(
                    tool=event.tool, call=event.call, ok=event.ok, claimed_ms=event.duration_ms
                )
                return self.event(session, ended, event.words)
            case UsageClaimed():
                return self.event(
                    session,
                    SessionUsage(
                        model=event.model,
                        tokens_in=event.tokens_in,
                        tokens_out=event.tokens_out,
                        source="claimed",
                    ),
                )
            case Asked():
                number = live.numbers.get(id(event), live.questions)
                digest = question_digest(session, live.run, number, event)
                left_s = self._timeout_s - ANSWER_MARGIN_S
                question = SessionQuestion(
                    number=number,
                    run=live.run,
                    question=digest,
                    until_s=round(self._clock.now_s() + left_s, 3),
                    refused=bool(event.refused),
                )
                return self.event(session, question, asked_notes(event))
            case Answered():
                return self.event(session, SessionAnswered(choice=event.choice))
            case Gap():
                return self.event(session, TelemetryGap(), {"reason": event.reason})
            case Ended():
                raise AssertionError("an end is an event of its own")

    def end(self, session: str, payload: SessionEnd, why: str, output: str | None) -> Event:
        """Return the one end of a session: recorded twice, it is archived once."""
        words = {"output": output, "why": why}
        return self.event(session, payload, words, id_=self._recorder.end_id(session))
