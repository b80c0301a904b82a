"""Lanes with whose word something is wrong: no orders go to them until a person lifts that.

An event of theirs that claims a receipt or a freeze was set aside by a bug of ours: what it said is
not known. Other lanes get the orders. A suspension is kept in the ledger, over restarts and
updates, and is lifted by `POST /v1/lanes/NAME/resume` (`allegro fleet resume NAME`).
"""

from __future__ import annotations

from allegro.core.base.untrusted import text_of
from allegro.core.protocol.answers.house import SuspendedLane
from allegro.core.protocol.event_types import ACTIONS, FREEZES
from allegro.core.stores import Ledger

_NAME = "suspended lanes"
MAX_LANES = 64
CLAIMS = (ACTIONS, FREEZES)
"""Types of events that claim what became of an order, or that a stop was made."""


class Suspended:
    """`lanes` maps each suspended lane to the reason."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.lanes: dict[str, str] = {}

    async def resume(self) -> None:
        """Take up what the ledger keeps."""
        kept = await self._ledger.strings(_NAME)
        pairs = [one.partition(" ") for one in kept[:MAX_LANES]]
        self.lanes = {lane: reason for lane, _, reason in pairs if lane}

    def __contains__(self, lane: object) -> bool:
        return lane in self.lanes

    async def suspend(self, lane: str, reason: str) -> bool:
        """Suspend a lane, durably; say whether it was not before. Raises EdgeError."""
        if lane in self.lanes:
            return False
        await self._keep({**self.lanes, lane: text_of(reason, 300)})
        return True

    async def lift(self, lane: str) -> bool:
        """Let orders go to a lane again; say whether it was suspended. Raises EdgeError."""
        if lane not in self.lanes:
            return False
        await self._keep({name: why for name, why in self.lanes.items() if name != lane})
        return True

    def described(self) -> tuple[SuspendedLane, ...]:
        return tuple(SuspendedLane(lane, reason) for lane, reason in self.lanes.items())

    async def _keep(self, lanes: dict[str, str]) -> None:
        await self._ledger.set_strings(_NAME, tuple(f"{lane} {why}" for lane, why in lanes.items()))
        self.lanes = lanes
