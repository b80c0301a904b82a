"""The daily check of Hermes: a fresh gateway, tried with today's canary."""

from __future__ import annotations

from allegro.core.base.errors import EdgeError
from allegro.core.ports import Clock
from allegro.lane.agent.gateways import Gateways
from allegro.runtime.scheduled_duty import DutyResult


class HealthCheck:
    """Replaces one gateway that waits by a fresh one, which must pass the check at start."""

    def __init__(self, gateways: Gateways, clock: Clock) -> None:
        self._gateways = gateways
        self._clock = clock

    async def run(self) -> DutyResult:
        """Try it once. Raises EdgeError with what differs, or why no gateway starts."""
        gateways, boot_s = self._gateways, self._clock.boot_s()
        if not await gateways.renew():
            if gateways.trouble:
                raise EdgeError(f"no gateway waits: {gateways.trouble}", transient=True)
            return DutyResult("not tried: every gateway serves a session", {"tried": 0})
        took_s = self._clock.boot_s() - boot_s
        off = gateways.off()
        named = f"hermes-agent {gateways.version or 'of unknown version'}"
        figures = {"tried": 1, "start_s": took_s, "tools": len(gateways.tools()), "off": len(off)}
        if off:
            reasons = "; ".join(f"{name}: {why}" for name, why in off.items())
            return DutyResult(f"{named} starts, with tools off: {reasons}", figures, is_good=False)
        played = "passed its check" if gateways.plays_check else "answers; its check is not ours"
        return DutyResult(f"{named} started in {took_s:.1f} s and {played}", figures)
