"""Runs agent sessions for the house: begins once, tells all, forgets (H1, H2, H5, H7, H8).

A session that may have begun is never begun again here: it ends as lost, and the sovereign
decides. A question of the agent is answered with `once` only by his signature for exactly that
question while it is pending, and with `deny` in every other case.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec
import structlog

from allegro.core.agent.sessions import (
    ANSWER_MARGIN_S,
    AgentEvent,
    Asked,
    End,
    Ended,
    has_network,
    joined,
    prompt_of,
    tools_of,
)
from allegro.core.authority.actions.agent import AnswerOnce, LendModel, RunSession
from allegro.core.authority.gate import Permit, may_write
from allegro.core.base.errors import EdgeError, Refusal, Unholdable
from allegro.core.effects.render import one_line
from allegro.core.ports import Dress, Run
from allegro.core.protocol.answers.lane import RunningSession
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
from allegro.lane.agent.events import SessionVoice
from allegro.lane.agent.gateways import NEED_TERMINAL, Gateways, Wanted
from allegro.lane.agent.running import Live, OpenSession
from allegro.lane.agent.tool_answers import Answers, Outcome
from allegro.lane.context import Context
from allegro.lane.models.call import Grant
from allegro.lane.models.proxy import ModelProxy
from allegro.runtime.consumer import as_edge_error
from allegro.runtime.tasks import Soon

_log = structlog.get_logger()
BEGIN_S = 3.0
KEEP_TRYING_S = 0.5
GIVE_UP_TRIES = 20
KNOWN_S = 8 * 86_400


class Sessions:
    """`known` are the sessions that the last process left on disk; `save` writes them there."""

    def __init__(
        self,
        ctx: Context,
        gateways: Gateways,
        proxy: ModelProxy,
        known: dict[str, OpenSession],
        save: Callable[[dict[str, OpenSession]], None],
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
        self._save = save
        self.live: dict[str, Live] = {}
        self.answers = Answers(self.live, clock, situation, self._outcome, self._soon, lane.name)
        self._acts = Soon("sessions")
        self._beginning: set[str] = set()
        self._lost = [session for session, held in known.items() if not held.ended_s]

    async def recover(self) -> None:
        """Tell of sessions that were open when this lane last ended: they are lost.

        Waits as long as the journal takes nothing; none of them is begun again meanwhile.
        """
        while self._lost:
            why = "the lane ended while it ran; not begun again"
            await self._tell_end(self._lost[0], SessionEnd(state=End.LOST.value), why, None)
            del self._lost[0]
        self._forget_known()

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
        held = self._known.get(session)
        if session in self.live:
            await self._outcome(permit, ActionReceipt(artifact=0), words)
            return
        if isinstance(permit.action, RunSession) and held is not None and not held.ended_s:
            await self._tell_end(session, SessionEnd(state=End.LOST.value), words, None)
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
        self._remember(action.id, permit)
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
            self._forget(action.id)
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
            self._forget(live.action.id)
            if error.transient:
                return ActionVoid(reason="not_sent"), str(error)
            return ActionFailed(reason="refused"), str(error)
        await self.gateways.end(live.ready, live.action.id)
        ended = Ended(End.LOST, str(error), "", {})
        await self._end(live, End.LOST, "no answer after the prompt was sent", ended)
        return ActionFailed(reason="answer_lost"), "may have begun; not begun again"

    # --- following -------------------------------------------------------------------------

    async def _see_through(self, live: Live) -> None:
        """Follow a session; a bug met on the way is its end, and its gateway's."""
        try:
            ended = await as_edge_error("session", live.action.id, self._follow(live))
        except EdgeError as error:
            ended = Ended(End.LOST, "", f"a fault in the lane: {error}", {})
        await self._finish(live, ended)

    async def _follow(self, live: Live) -> Ended:
        """Tell everything a session says, in order; return its one end."""
        queue: asyncio.Queue[AgentEvent] = asyncio.Queue()
        reader = asyncio.create_task(self._read(live, queue))
        ended: Ended | None = None
        tries = 0
        waiting: list[AgentEvent] = []
        try:
            while ended is None:
                if not waiting:
                    waiting = [await self._next(live, queue)]
                while not queue.empty():
                    waiting.append(queue.get_nowait())
                waiting = joined(waiting)
                ended = next((one for one in waiting if isinstance(one, Ended)), None)
                said = [one for one in waiting if not isinstance(one, Ended)]
                try:
                    if said:
                        events = [self._voice.of_agent(live, one) for one in said]
                        await self._recorder.append(events)
                    waiting, tries = [], 0
                except EdgeError as error:
                    ended, tries = None, tries + 1
                    _log.warning("session.untold", session=live.action.id, error=str(error))
                    if tries >= GIVE_UP_TRIES:
                        await self.stop(live.action.id, "its journal has no room")
                        waiting, ended = [], Ended(End.STOPPED, "", live.why_stopped, {})
                    await asyncio.sleep(KEEP_TRYING_S)
        finally:
            reader.cancel()
        return ended

    async def _read(self, live: Live, queue: asyncio.Queue[AgentEvent]) -> None:
        try:
            async for event in live.ready.gateway.events(live.run):
                self._notice(live, event)
                queue.put_nowait(event)
        except EdgeError as error:
            queue.put_nowait(Ended(End.LOST, "", str(error), {}))
        except Exception as error:  # noqa: BLE001 (a session has one end, whatever happens)
            _log.exception("session.unread", session=live.action.id)
            queue.put_nowait(Ended(End.LOST, "", f"it was not read on: {error!r}", {}))

    async def _next(self, live: Live, queue: asyncio.Queue[AgentEvent]) -> AgentEvent:
        """Return the next event; when the session's time is over, end it."""
        limit_s = min(live.action.limit_s, self._settings.session_s)
        while True:
            now_s = self._clock.boot_s()
            left_s = limit_s - live.used_s(now_s)
            if left_s <= 0.1 and not live.waits(now_s):  # also where it never stops speaking
                await self.stop(live.action.id, f"its {limit_s} s were over")
                return Ended(End.STOPPED, "", live.why_stopped, {})
            with contextlib.suppress(TimeoutError):
                return await asyncio.wait_for(queue.get(), max(0.05, left_s))
            await asyncio.sleep(0)

    def _notice(self, live: Live, event: AgentEvent) -> None:
        """Keep what counts, before the event is journalled; see that questions get their no."""
        timeout_s = self._settings.question_timeout_s
        beside = live.notice(event, self._clock.boot_s(), timeout_s)
        loop = asyncio.get_running_loop()
        if beside:  # an answer could meet the wrong one
            loop.call_soon(self.answers.deny_soon, live)
        if isinstance(event, Asked):
            wait_s = timeout_s - ANSWER_MARGIN_S
            loop.call_later(wait_s, self.answers.deny_late, live, live.questions)

    async def _finish(self, live: Live, ended: Ended) -> None:
        end, why = ended.end, ended.error
        if live.why_stopped:
            end, why = End.STOPPED, live.why_stopped
        self.live.pop(live.action.id, None)
        try:
            await self.gateways.end(live.ready, live.action.id)
            ending = self._end(live, end, why, ended)
            await as_edge_error("session", live.action.id, ending)
        except EdgeError as error:  # what it said at its end cannot be recorded; that it ended can
            words = f"its end cannot be recorded whole: {error}"
            await self._tell_end(live.action.id, SessionEnd(state=end.value), words, None)
        finally:
            await self.gateways.done(live.ready, live.action.id)

    async def _end(self, live: Live, end: End, why: str, ended: Ended) -> None:
        """Journal the end of a session, with what it used and what it claimed to have used."""
        grant = self._proxy.revoke(live.ready.token) or live.grant
        spend = grant.spend if grant else None
        unpriced = bool(spend and spend.unpriced_tokens)
        payload = SessionEnd(
            state=end.value,
            model=live.model,
            duration_s=round(self._clock.boot_s() - live.began_s, 3),
            tools=live.tools,
            questions=live.questions,
            forged=live.ready.gateway.forged,
            calls=grant.calls if grant else 0,
            tokens=spend.tokens if spend else 0,
            cost_usd="unknown" if unpriced or spend is None else round(spend.usd, 8),
            claimed=ended.usage,
            served=ended.served,
        )
        await self._tell_end(live.action.id, payload, why, ended.output)

    async def _tell_end(
        self, session: str, payload: SessionEnd, why: str, output: str | None
    ) -> None:
        """Journal the one end of a session, however long the disk takes."""
        event = self._voice.end(session, payload, why, output)
        while True:
            try:
                await self._recorder.append([event])
                break
            except Unholdable:
                raise
            except EdgeError as error:
                _log.error("session.end_untold", session=session, error=str(error))
                await asyncio.sleep(2 * KEEP_TRYING_S)
        held = self._known.get(session)
        if held is not None:
            self._known[session] = msgspec.structs.replace(held, ended_s=self._clock.now_s())
            with contextlib.suppress(EdgeError):  # recorded twice, it is archived once
                self._save(self._known)

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
        words = {"token": token, "model": model, "expires_s": self._clock.now_s() + action.lives_s}
        return ActionReceipt(artifact=0), words

    # --- telling -----------------------------------------------------------------------------

    async def record(self, holder: str, payload: Talk) -> None:
        """Journal one fact about a session or loan. Raises EdgeError when it is not on disk."""
        await self._recorder.append([self._voice.event(holder, payload)])

    async def _outcome(self, permit: Permit, payload: SessionAct, words: Any) -> None:
        await self._recorder.append([self._voice.action_event(permit, payload, words)])

    def _remember(self, session: str, permit: Permit) -> None:
        """Write down that a session may begin. Raises EdgeError: then it does not."""
        held = OpenSession(self._clock.now_s(), permit.digest, permit.order_number or 0)
        self._save({**self._known, session: held})
        self._known[session] = held

    def _forget(self, session: str) -> None:
        self._known.pop(session, None)
        with contextlib.suppress(EdgeError):
            self._save(self._known)

    def _forget_known(self) -> None:
        """Drop sessions that ended so long ago that no order for them can come."""
        before_s = self._clock.now_s() - KNOWN_S
        for session in [s for s, held in self._known.items() if 0 < held.ended_s < before_s]:
            del self._known[session]

    def describe(self) -> tuple[RunningSession, ...]:
        """Return what runs, without a word of it."""
        return tuple(live.describe(self._clock.boot_s()) for live in self.live.values())
