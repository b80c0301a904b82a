"""The one end of a session, journalled however long the disk takes."""

from __future__ import annotations

import asyncio

import structlog

from allegro.core.agent.sessions import End, Ended
from allegro.core.base.errors import EdgeError, Unholdable
from allegro.core.ports import Clock
from allegro.core.protocol.payloads.sessions import SessionEnd
from allegro.lane.agent.events import SessionVoice
from allegro.lane.agent.gateways import Gateways
from allegro.lane.agent.known import Known
from allegro.lane.agent.running import Live
from allegro.lane.agent.tallies import Tallies
from allegro.lane.context.recorder import Recorder
from allegro.lane.models.proxy import ModelProxy

_log = structlog.get_logger()
PAUSE_S = 1.0


class Endings:
    """Writes how a session ended, with what it used and what it claimed to have used."""

    def __init__(
        self,
        recorder: Recorder,
        voice: SessionVoice,
        proxy: ModelProxy,
        known: Known,
        tallies: Tallies,
        clock: Clock,
    ) -> None:
        self._recorder = recorder
        self._voice = voice
        self._proxy = proxy
        self._known = known
        self._tallies = tallies
        self._clock = clock

    async def close(self, live: Live, gateways: Gateways) -> None:
        """End a session's gateway; before, ask its agent what it counted."""
        await self._tallies.ask(live)
        await gateways.end(live.ready, live.action.id)

    async def end(self, live: Live, end: End, why: str, ended: Ended) -> None:
        """Take the session's token back and journal its end. Raises Unholdable."""
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
        self._tallies.keep(live.action.id, grant)
        await self.journal(live.action.id, payload, why, ended.output)

    async def journal(
        self, session: str, payload: SessionEnd, why: str, output: str | None
    ) -> None:
        """Journal an end, however long the disk takes. Raises Unholdable for what no disk can hold."""
        event = self._voice.end(session, payload, why, output)
        while True:
            try:
                await self._recorder.append([event])
                break
            except Unholdable:
                raise
            except EdgeError as error:
                _log.error("session.end_untold", session=session, error=str(error))
                await asyncio.sleep(PAUSE_S)
        self._known.ended(session)
