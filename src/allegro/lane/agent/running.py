"""One running session as the lane sees it: its question, its counters, its time."""

from __future__ import annotations

import asyncio

import msgspec

from allegro.core.agent.sessions import (
    AgentEvent,
    Answered,
    Asked,
    ToolBegan,
    may_answer,
    question_digest,
)
from allegro.core.authority.actions.agent import AnswerOnce, RunSession
from allegro.core.protocol.answers.lane import RunningSession
from allegro.lane.agent.gateways import Ready
from allegro.lane.models.grants import Grant


class OpenSession(msgspec.Struct, frozen=True):
    """What is on the lane's disk of a session: no word of it."""

    began_s: float
    digest: str
    order: int
    ended_s: float = 0.0


class Pending(msgspec.Struct, frozen=True):
    """The question that waits. `deadline_s` is boot time; Hermes gives up then."""

    number: int
    digest: str
    deadline_s: float


class Live:
    """One running session."""

    def __init__(self, action: RunSession, model: str, ready: Ready, now_s: float) -> None:
        self.action = action
        self.model = model
        self.ready = ready
        self.grant: Grant | None = None
        self.began_s = now_s
        self.run = ""
        self.pending: Pending | None = None
        self.questions = 0
        self.numbers: dict[int, int] = {}
        self.unanswered = 0
        self.answering = 0
        self.tools = 0
        self.waited_s = 0.0
        self.asked_s = 0.0
        self.why_stopped = ""
        self.answered = asyncio.Event()
        self.task: asyncio.Task[None] | None = None

    def notice(self, event: AgentEvent, now_s: float, timeout_s: float) -> bool:
        """Count an event. True when no approval may meet what waits: all must be denied."""
        if isinstance(event, ToolBegan):
            self.tools += 1
        elif isinstance(event, Answered):
            self.unanswered = max(0, self.unanswered - 1)
            if self.unanswered:
                return True  # another still waits: it is denied as well
            if self.pending is not None:
                self.waited_s += min(now_s, self.pending.deadline_s) - self.asked_s
            self.pending = None
            self.answered.set()
        elif isinstance(event, Asked):
            return self._asked(event, now_s, timeout_s)
        return False

    def _asked(self, event: Asked, now_s: float, timeout_s: float) -> bool:
        beside = self.unanswered > 0
        self.unanswered += 1
        self.questions += 1
        self.numbers[id(event)] = self.questions
        self.asked_s = self.asked_s if beside else now_s
        digest = question_digest(self.action.id, self.run, self.questions, event)
        # beside another, no approval may meet it: an answer could reach the wrong one
        is_no = beside or bool(event.refused)
        self.pending = Pending(self.questions, "" if is_no else digest, now_s + timeout_s)
        self.answered.clear()
        return is_no

    def waits(self, now_s: float) -> bool:
        """Say whether a question waits for its answer; behind its deadline the agent has its no."""
        return self.pending is not None and now_s < self.pending.deadline_s

    def used_s(self, now_s: float) -> float:
        """Return how long it ran, the time it waited for answers left out."""
        until_s = min(now_s, self.pending.deadline_s) if self.pending else self.asked_s
        return now_s - self.began_s - self.waited_s - (until_s - self.asked_s)

    def describe(self, now_s: float) -> RunningSession:
        """Return what `status` shows of it, without a word of the session."""
        return RunningSession(
            session=self.action.id,
            model=self.model,
            run=self.run,
            runs_s=max(0.0, round(now_s - self.began_s, 1)),
            tools=self.tools,
            waits_for_answer=self.pending.number if self.pending else 0,
        )

    def against(self, action: AnswerOnce, now_s: float) -> str:
        """Return why an approval does not meet the pending question; empty when it does."""
        pending = self.pending
        if pending is None or action.run != self.run:
            return "no such question is pending"
        if pending.number != action.number or pending.digest != action.question:
            return "another question is pending"
        if self.answering == pending.number:
            return "it is being answered already"
        if not may_answer(now_s, pending.deadline_s):
            return "too close to the agent's own deadline"
        return ""
