"""Runs agent sessions for the house: begins once, tells all, forgets (H1, H2, H5, H7, H8).

A session that may have begun is never begun again here: it ends as lost, and the sovereign
decides. A question of the agent is answered with `once` only by his signature for exactly that
question while it is pending, and with `deny` in every other case.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Coroutine
from typing import Any

import structlog

from allegro.core.agent.sessions import (
    End,
    Ended,
    has_network,
    prompt_of,
    tools_of,
)
from allegro.core.authority.actions.agent import AnswerOnce, LendModel, RunSession
from allegro.core.authority.gate import Permit, may_write
from allegro.core.base.errors import EdgeError, Refusal
from allegro.core.effects.render import one_line
from allegro.core.ports import Dress, Run
from allegro.core.protocol.answers.lane import RunningSession
from allegro.core.protocol.answers.sessions import LentModel
from allegro.core.protocol.payloads.actions import (
    ActionFailed,
    ActionIntent,
    ActionReceipt,
    ActionVoid,
    SessionAct,
)
from allegro.core.protocol.payloads.sessions import (
    SessionAccepted,
    SessionEnd,
    SessionStarted,
    Talk,
)
from allegro.lane.agent.ending import Endings
from allegro.lane.agent.events import SessionVoice
from allegro.lane.agent.following import Following
from allegro.lane.agent.gateways import NEED_TERMINAL, Gateways, Wanted
from allegro.lane.agent.known import Known
from allegro.lane.agent.running import Live
from allegro.lane.agent.tallies import Tallies
from allegro.lane.agent.tool_answers import Answers, Outcome
from allegro.lane.context import Context
from allegro.lane.models.grants import Grant
from allegro.lane.models.proxy import ModelProxy
from allegro.runtime.consumer import as_edge_error
from allegro.runtime.tasks import Soon

_log = structlog.get_logger()
BEGIN_S = 3.0


class Sessions:
    """Begins, stops and ends sessions. `known` are those that this lane began, on disk."""

    def __init__(
        self, ctx: Context, gateways: Gateways, proxy: ModelProxy, known: Known, tallies: Tallies
    ) -> None:
        lane = ctx.settings.lane
        self.gateways = gateways
        self._proxy = proxy
        self._recorder = recorder = ctx.recorder
        self._clock = clock = ctx.ports.clock
        self._dice = ctx.ports.dice
        self._settings = settings = ctx.settings.hermes
        self._situation = situation = ctx.state.situation
        self._voice = SessionVoice(recorder, clock, settings.question_timeout_s, local=lane.local)
        self._known = known
        self._endings = Endings(recorder, self._voice, proxy, known, tallies, clock)
        self.live: dict[str, Live] = {}
        self.answers = Answers(self.live, clock, situation, self._outcome, self._soon, lane.name)
        self._acts = Soon("sessions")
        self._following = Following(recorder, self._voice, self.answers, settings, clock, self.stop)
        self._beginning: set[str] = set()

    async def recover(self) -> None:
        """Tell of sessions that were open when this lane last ended: they are lost.

        Waits as long as the journal takes nothing; none of them is begun again meanwhile.
        """
        while self._known.lost:
            why = "the lane ended while it ran; not begun again"
            await self._endings.journal(
                self._known.lost[0], SessionEnd(state=End.LOST.value), why, None
            )
            del self._known.lost[0]
        self._known.forget_old()

    async def carry_out(self, permit: Permit, dress: Dress | None = None) -> None:
        """See a permit to its end and journal what came of it. Raises EdgeError of the journal.

        `dress` is what forge acts need beside an action; an act of a session needs nothing.
        """
        match permit.action:
            case RunSession() as action:
                outcome = await self._begin(permit, action)
            case AnswerOnce() as action:
                outcome = await self.answers.once(permit, action)
            case LendModel() as action:
                outcome = await self._lend(permit, action)
            case _:
                raise TypeError("not an act of a session")
        if outcome is not None:
            await self._outcome(permit, *outcome)

    async def set_aside(self, permit: Permit, error: BaseException) -> None:
        """Tell of an order that a bug ended. A session that may have begun is lost."""
        words = f"a fault in the lane ended it: {one_line(repr(error))}"
        session = permit.action.id
        if session in self.live:
            await self._outcome(permit, ActionReceipt(artifact=0), words)
            return
        if isinstance(permit.action, RunSession) and self._known.is_open(session):
            await self._endings.journal(session, SessionEnd(state=End.LOST.value), words, None)
        await self._outcome(permit, ActionFailed(reason="bug"), words)

    # --- beginning -------------------------------------------------------------------------

    async def _begin(self, permit: Permit, action: RunSession) -> Outcome | None:
        if action.id in self._known:  # also one that is lost and not yet reported
            return ActionReceipt(reason="begun before"), None
        if action.id in self._beginning:
            return ActionVoid(reason="busy"), "another order of it is under way"
        self._beginning.add(action.id)
        try:
            return await self._take_and_post(permit, action)
        finally:
            self._beginning.discard(action.id)

    async def _take_and_post(self, permit: Permit, action: RunSession) -> Outcome | None:
        model = self._proxy.ladder.resolve(action.model)
        if isinstance(model, Refusal):
            return ActionFailed(reason=model.reason), model.detail
        tools = tools_of(action, self.gateways.tools())
        if isinstance(tools, str):
            why = self.gateways.why_off(tools.partition(",")[0])
            return ActionFailed(reason="tool_off"), f"{tools}: off here ({why})"
        if set(tools) & NEED_TERMINAL and "terminal" not in tools:
            return ActionFailed(reason="tool_off"), f"{', '.join(NEED_TERMINAL)} needs terminal"
        within_s = permit.until_boot_s - self._clock.boot_s() - BEGIN_S
        network = has_network(action, bool(self._settings.destinations))
        ready = await self.gateways.take(Wanted(action.id, tools, network), within_s)
        if ready is None:
            return ActionVoid(reason="busy"), self.gateways.trouble or "no gateway is free"
        live = Live(action, model, ready, self._clock.boot_s())
        self.live[action.id] = live
        try:
            return await self._post(permit, live)
        finally:
            if live.task is None:
                self.live.pop(action.id, None)
                await self.gateways.done(ready, action.id)

    async def _post(self, permit: Permit, live: Live) -> Outcome | None:
        action = live.action
        refusal = may_write(permit, self._situation(), needs_s=BEGIN_S)
        if refusal is not None:
            return ActionVoid(reason=refusal.reason), refusal.detail
        self._known.remember(action.id, permit)
        accepted = SessionAccepted(
            model=live.model,
            tools=tuple(live.ready.tools),
            network=live.ready.network,
            quotes=len(action.quotes),
            agent=f"hermes-agent {self.gateways.version}",
            limit_s=min(action.limit_s, self._settings.session_s),
        )
        await self._recorder.append(
            [
                self._voice.action_event(permit, ActionIntent(step="run"), None),
                self._voice.event(action.id, accepted),
            ]
        )
        refusal = may_write(permit, self._situation(), needs_s=BEGIN_S)
        if refusal is not None:
            self._known.forget(action.id)
            return ActionVoid(reason=refusal.reason), refusal.detail
        live.grant = Grant(action.id, live.model, math.inf, 10**12)  # it ends with the session
        self._proxy.grant(live.ready.token, live.grant)
        run = Run(action.id, prompt_of(action), action.instructions, action.history, live.model)
        try:
            live.run = await live.ready.gateway.begin(run)
        except EdgeError as error:
            return await self._not_begun(live, error)
        # from here on it runs, whatever the journal says: it is followed to its end
        live.task = self._acts.task(action.id, self._see_through(live))
        try:
            await self._recorder.append(
                [
                    self._voice.action_event(permit, ActionReceipt(artifact=0), None),
                    self._voice.event(action.id, SessionStarted(run=live.run)),
                ]
            )
        except EdgeError as error:
            _log.warning("session.begin_untold", session=action.id, error=str(error))
        return None

    async def _not_begun(self, live: Live, error: EdgeError) -> Outcome:
        """Hermes gave no clear answer: where a run may have begun, its gateway ends with it."""
        if not error.sent:
            self._known.forget(live.action.id)
            if error.transient:
                return ActionVoid(reason="not_sent"), str(error)
            return ActionFailed(reason="refused"), str(error)
        await self.gateways.end(live.ready, live.action.id)
        ended = Ended(End.LOST, str(error), "", {})
        await self._endings.end(live, End.LOST, "no answer after the prompt was sent", ended)
        return ActionFailed(reason="answer_lost"), "may have begun; not begun again"

    # --- to its end ------------------------------------------------------------------------

    async def _see_through(self, live: Live) -> None:
        """Follow a session; a bug met on the way is its end, and its gateway's."""
        try:
            ended = await as_edge_error("session", live.action.id, self._following.follow(live))
        except EdgeError as error:
            ended = Ended(End.LOST, "", f"a fault in the lane: {error}", {})
        await self._finish(live, ended)

    async def _finish(self, live: Live, ended: Ended) -> None:
        end, why = ended.end, ended.error
        if live.why_stopped:
            end, why = End.STOPPED, live.why_stopped
        self.live.pop(live.action.id, None)
        try:
            await self._endings.close(live, self.gateways)
            ending = self._endings.end(live, end, why, ended)
            await as_edge_error("session", live.action.id, ending)
        except EdgeError as error:  # what it said at its end cannot be recorded; that it ended can
            words = f"its end cannot be recorded whole: {error}"
            await self._endings.journal(live.action.id, SessionEnd(state=end.value), words, None)
        finally:
            await self.gateways.done(live.ready, live.action.id)

    # --- answering, stopping, lending ----------------------------------------------------------

    def _soon(self, act: Coroutine[Any, Any, Any]) -> None:
        """Do something that needs nothing, in the background; an agent that is gone is no bug."""
        self._acts.begin("an act", act)

    async def stop(self, session: str, why: str) -> bool:
        """Stop a session at once: its token, its process, all it started. Needs nothing."""
        live = self.live.get(session)
        if live is None:
            return False
        live.why_stopped = live.why_stopped or why
        self._proxy.revoke(live.ready.token)
        await self.gateways.end(live.ready, session)
        return True

    def freeze(self) -> None:
        """Stop every session and take every token back."""
        self._proxy.revoke_all()
        for session in list(self.live):
            self._soon(self.stop(session, "frozen"))

    async def close(self) -> None:
        """End what runs, and tell it, before the journal closes."""
        tasks = [live.task for live in self.live.values() if live.task]
        for session in list(self.live):
            await self.stop(session, "the lane was stopped")
        if tasks:
            await asyncio.wait(tasks, timeout=4.0)

    async def _lend(self, permit: Permit, action: LendModel) -> Outcome:
        model = self._proxy.ladder.resolve(action.model)
        if isinstance(model, Refusal):
            return ActionFailed(reason=model.reason), model.detail
        await self._outcome(permit, ActionIntent(step="lend"), None)
        no = may_write(permit, self._situation(), needs_s=1.0)
        if no is not None:
            return ActionVoid(reason=no.reason), no.detail
        token = self._dice.token(24).hex()
        until_s = self._clock.boot_s() + action.lives_s
        self._proxy.grant(token, Grant(action.id, model, until_s, action.max_tokens))
        return ActionReceipt(artifact=0), LentModel(
            token, model, self._clock.now_s() + action.lives_s
        )

    async def record(self, holder: str, payload: Talk) -> None:
        """Journal one fact about a session or loan. Raises EdgeError when it is not on disk."""
        await self._recorder.append([self._voice.event(holder, payload)])

    async def _outcome(self, permit: Permit, payload: SessionAct, words: Any) -> None:
        await self._recorder.append([self._voice.action_event(permit, payload, words)])

    def describe(self) -> tuple[RunningSession, ...]:
        """Return what runs, without a word of it."""
        return tuple(live.describe(self._clock.boot_s()) for live in self.live.values())
