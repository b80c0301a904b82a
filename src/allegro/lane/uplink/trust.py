"""What a house brings for everybody: stops, thaws, and tokens that change whom this lane believes.

Invariant: a stop counts at once and needs no signature of the sovereign; everything that lets a
lane do more (a thaw, a new seat, a new key) counts only with one that holds under the trust of now.
"""

from __future__ import annotations

import structlog

from allegro.core.authority.freeze import Freeze
from allegro.core.authority.gate import read_sovereign
from allegro.core.authority.tokens import TYPES, RecoveryStop, Thaw, Verify, read_token, token_type
from allegro.core.base.errors import Refusal
from allegro.core.protocol.payloads.lane import FreezeAdded, FreezeThawed, TrustChanged
from allegro.lane.context import Context
from allegro.link.handshake import take_token

_log = structlog.get_logger()


class Trust:
    """Takes stops and tokens, and says in the journal what came of them."""

    def __init__(self, ctx: Context, verify: Verify) -> None:
        self._state = ctx.state
        self._recorder = ctx.recorder
        self._clock = ctx.ports.clock
        self._verify = verify

    async def stop(self, freeze: Freeze) -> None:
        """Freeze at once, then say so in the journal."""
        try:
            self._state.freeze(freeze)
        finally:  # it counts although the disk refuses it: the house keeps it then
            _log.warning("freeze.added", id=freeze.id, by=freeze.by)
            await self._recorder.tell(FreezeAdded(id=freeze.id), words=freeze)

    async def bring(self, token: str) -> None:
        if token_type(token) == TYPES[Thaw]:
            if self.thaw(token):
                await self._recorder.tell(FreezeThawed(), words=token)
            return
        if token_type(token) == TYPES[RecoveryStop]:
            await self._recovery_stop(token)
            return
        held = take_token(self._state.held, token, now_s=self._clock.now_s(), verify=self._verify)
        if isinstance(held, Refusal):
            _log.warning("trust.refused", reason=held.reason, detail=held.detail)
            return
        self._state.keep_trust(held)
        trust = held.trust
        await self._recorder.tell(
            TrustChanged(seat=trust.seat, sovereign_number=trust.sovereign_number)
        )

    def thaw(self, token: str) -> bool:
        trust = self._state.held.trust
        claims = read_sovereign(token, Thaw, trust, self._verify)
        if isinstance(claims, Refusal):
            _log.warning("thaw.refused", reason=claims.reason)
            return False
        muted = (self._state.muted | set(claims.mutes)) - set(claims.hears)
        known = set(claims.freezes) <= self._state.freezes.thawed
        if known and muted == self._state.muted:
            return False
        if not self._clock.now_s() < claims.exp:
            _log.warning("thaw.refused", reason="thaw_expired")
            return False
        self._state.thaw(claims.freezes)
        self._state.mute(muted)
        return True

    async def _recovery_stop(self, token: str) -> None:
        trust = self._state.held.trust
        claims = read_token(
            token,
            RecoveryStop,
            kid="recovery",
            key=trust.recovery,
            aud=trust.fleet,
            verify=self._verify,
        )
        if isinstance(claims, Refusal):
            _log.warning("stop.refused", reason=claims.reason)
            return
        await self.stop(Freeze(claims.freeze, self._clock.now_s(), "recovery key", "recovery stop"))
