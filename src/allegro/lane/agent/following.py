"""Follows a session that runs: what it says is journalled in order, up to its one end.

Invariant: whatever the agent, its process or the journal does, a session ends: its stream closes,
its time is over, or the journal takes nothing for so long that it is stopped.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import structlog

from allegro.core.agent.sessions import ANSWER_MARGIN_S, AgentEvent, Asked, End, Ended, joined
from allegro.core.base.errors import EdgeError
from allegro.core.ports import Clock
from allegro.core.settings import HermesSettings
from allegro.lane.agent.events import SessionVoice
from allegro.lane.agent.running import Live
from allegro.lane.agent.tool_answers import Answers
from allegro.lane.context.recorder import Recorder

_log = structlog.get_logger()
KEEP_TRYING_S = 0.5
GIVE_UP_TRIES = 20

Stop = Callable[[str, str], Awaitable[bool]]
"""Stops a session, given its id and why."""


class Following:
    """Reads an agent's events and journals them; sees that each question gets its answer."""

    def __init__(
        self,
        recorder: Recorder,
        voice: SessionVoice,
        answers: Answers,
        settings: HermesSettings,
        clock: Clock,
        stop: Stop,
    ) -> None:
        self._recorder = recorder
        self._voice = voice
        self._answers = answers
        self._settings = settings
        self._clock = clock
        self._stop = stop

    async def follow(self, live: Live) -> Ended:
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
                        await self._stop(live.action.id, "its journal has no room")
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
                await self._stop(live.action.id, f"its {limit_s} s were over")
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
            loop.call_soon(self._answers.deny_soon, live)
        if isinstance(event, Asked):
            wait_s = timeout_s - ANSWER_MARGIN_S
            loop.call_later(wait_s, self._answers.deny_late, live, live.questions)
