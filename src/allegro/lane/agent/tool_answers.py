"""Answers of the sovereign to an agent's questions: `once` for exactly one, else `deny` (H8)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any

from allegro.core.authority.actions.agent import AnswerOnce
from allegro.core.authority.gate import Permit, Situation, may_write
from allegro.core.base.errors import EdgeError
from allegro.core.ports import Clock
from allegro.core.protocol.payloads.actions import (
    ActionFailed,
    ActionIntent,
    ActionReceipt,
    ActionStale,
    ActionVoid,
    SessionAct,
)
from allegro.lane.agent.running import Live

ANSWER_S = 2.0
CONFIRM_S = 3.0

Outcome = tuple[SessionAct, Any]
"""How an order about a session ended: what is told in clear, and words for the house alone."""

Tell = Callable[[Permit, SessionAct, Any], Awaitable[None]]


class Answers:
    """`live` are the running sessions, `tell` journals what came of an act, `soon` does what
    needs nothing in the background."""

    def __init__(
        self,
        live: Mapping[str, Live],
        clock: Clock,
        situation: Callable[[], Situation],
        tell: Tell,
        soon: Callable[[Coroutine[Any, Any, Any]], None],
        lane: str,
    ) -> None:
        self._live = live
        self._clock = clock
        self._situation = situation
        self._outcome = tell
        self._soon = soon
        self._lane = lane

    async def once(self, permit: Permit, action: AnswerOnce) -> Outcome:
        live = self._live.get(action.session)
        refusal = self._against(live, action)
        if live is None or refusal:
            return ActionStale(reason="not_pending"), refusal
        no = may_write(permit, self._situation(), needs_s=ANSWER_S)
        if no is not None:
            return ActionVoid(reason=no.reason), no.detail
        await self._outcome(permit, ActionIntent(step="answer"), None)
        no = may_write(permit, self._situation(), needs_s=ANSWER_S)
        if no is not None:
            return ActionVoid(reason=no.reason), no.detail
        if refusal := self._against(live, action):
            return ActionStale(reason="not_pending"), refusal
        live.answering = action.number
        try:
            await live.ready.gateway.answer(live.run, "once")
            await asyncio.wait_for(live.answered.wait(), CONFIRM_S)
        except EdgeError as error:
            if error.status == 409:
                return ActionStale(reason="not_pending"), str(error)
            return ActionFailed(reason="no_clear_answer"), str(error)
        except TimeoutError:
            return ActionFailed(reason="no_clear_answer"), "Hermes did not confirm it"
        return ActionReceipt(artifact=action.number), None

    def _against(self, live: Live | None, action: AnswerOnce) -> str:
        """Return why an approval does not meet the pending question; empty when it does."""
        if live is None or action.lane != self._lane:
            return "this session does not run here any more"
        return live.against(action, self._clock.boot_s())

    async def deny(self, session: str, number: int) -> bool:
        """Say no to a pending question. Needs nothing; False when it is not pending."""
        live = self._live.get(session)
        if live is None or live.pending is None or live.pending.number != number:
            return False
        await live.ready.gateway.answer(live.run, "deny")
        return True

    def deny_late(self, live: Live, number: int) -> None:
        if live.pending is not None and live.pending.number == number:
            self.deny_soon(live)

    def deny_soon(self, live: Live) -> None:
        self._soon(live.ready.gateway.answer(live.run, "deny"))
