"""How a lane tells of sessions: every event with its session, words sealed, claims marked."""

from __future__ import annotations

from typing import Any

from allegro.core.agent.sessions import (
    ANSWER_MARGIN_S,
    AgentEvent,
    Answered,
    Asked,
    End,
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
from allegro.lane.agent.running import Live
from allegro.lane.recorder import Recorder


class SessionVoice:
    """Makes events. `timeout_s` is how long a question waits; `local` marks each event."""

    def __init__(self, recorder: Recorder, clock: Clock, timeout_s: float, *, local: bool) -> None:
        self._recorder = recorder
        self._clock = clock
        self._timeout_s = timeout_s
        self._local = local

    def event(
        self, session: str, type_: str, data: dict[str, Any], words: Any = None, id_: str = ""
    ) -> Event:
        told = {**data, "session": session, **({"local": True} if self._local else {})}
        return self._recorder.event(
            type_, subject=session_subject(session), data=told, words=words, id_=id_
        )

    def action_event(self, permit: Permit, type_: str, data: dict[str, Any], words: Any) -> Event:
        action = permit.action
        session = action.session if isinstance(action, AnswerOnce) else action.id
        clear = {
            "digest": permit.digest, "order": permit.order_number,
            "kind": type(action).__struct_config__.tag, **data,
        }  # fmt: skip
        return self.event(session, type_, clear, words)

    def told(self, live: Live, event: AgentEvent) -> Event:
        """Return the journal's event of what an agent said; its words are sealed."""
        session = live.action.id
        data: dict[str, Any]
        match event:
            case TextDelta():
                return self.event(session, "session.delta", {}, {"text": event.text})
            case ToolBegan():
                data = {"tool": event.tool, "call": event.call}
                return self.event(session, "session.tool_began", data, event.words)
            case ToolEnded():
                data = {
                    "tool": event.tool, "call": event.call, "ok": event.ok,
                    "claimed_ms": event.duration_ms,
                }  # fmt: skip
                return self.event(session, "session.tool_ended", data, event.words)
            case UsageClaimed():
                data = {
                    "model": event.model, "tokens_in": event.tokens_in,
                    "tokens_out": event.tokens_out, "source": "claimed",
                }  # fmt: skip
                return self.event(session, "session.usage", data)
            case Asked():
                number = live.numbers.get(id(event), live.questions)
                digest = question_digest(session, live.run, number, event)
                left_s = self._timeout_s - ANSWER_MARGIN_S
                data = {
                    "number": number, "run": live.run, "question": digest,
                    "until_s": round(self._clock.now_s() + left_s, 3),
                    **({"refused": True} if event.refused else {}),
                }  # fmt: skip
                return self.event(session, "session.question", data, asked_notes(event))
            case Answered():
                return self.event(session, "session.answered", {"choice": event.choice})
            case Gap():
                return self.event(session, "telemetry.gap", {}, {"reason": event.reason})
            case Ended():
                raise AssertionError("an end is told on its own")

    def end(
        self, session: str, end: End, why: str, data: dict[str, Any], output: str | None
    ) -> Event:
        """Return the one end of a session: told twice, it is archived once."""
        return self.event(
            session, "session.end", {"state": end.value, **data},
            {"output": output, "why": why}, id_=self._recorder.end_id(session),
        )  # fmt: skip
