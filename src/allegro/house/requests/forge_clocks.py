"""How far the forge's clock is ahead of the house's, as each lane's polls show it.

A lane journals the forge's time with its marks. What is on its way for a while makes the forge look
behind, never ahead, so the largest of the newest differences is the nearest to the truth. A lane's
word counts for the writes that this lane shows, and for no other's.
"""

from __future__ import annotations

from collections import deque

from allegro.core.base.untrusted import whole_number
from allegro.core.stores import Ledger

_NAME = "forge clocks"
NEWEST = 60
"""So many marks of a lane are compared: an hour of a lane that watches one repository."""
MAX_LANES = 64
STEP_S = 30
"""A change of so many seconds is written down."""
MAX_AHEAD_S = 86_400


class ForgeClocks:
    """Seconds by lane, negative where the forge is behind; kept in the ledger over restarts."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._heard: dict[str, deque[int]] = {}
        self._kept: dict[str, int] = {}

    async def resume(self) -> None:
        """Take up what the ledger keeps."""
        for kept in await self._ledger.strings(_NAME):
            ahead, _, lane = kept.partition(" ")
            seconds = whole_number(ahead.removeprefix("-"))
            if lane and seconds is not None:
                self._kept[lane] = -seconds if ahead.startswith("-") else seconds

    def ahead_s(self, lane: str) -> float | None:
        """Return how far the forge is ahead by this lane's polls, None where it told no time."""
        heard = self._heard.get(lane)
        return max(heard) if heard else self._kept.get(lane)

    async def hear(self, lane: str, forge_s: int, at_s: float) -> None:
        """Take up the forge's time of a mark that was archived at `at_s`.

        Raises EdgeError of the ledger.
        """
        ahead_s = forge_s - int(at_s)
        if abs(ahead_s) > MAX_AHEAD_S or (
            lane not in self._heard and len(self._heard) >= MAX_LANES
        ):
            return  # old news that came late, or no clock
        self._heard.setdefault(lane, deque(maxlen=NEWEST)).append(ahead_s)
        newest = max(self._heard[lane])
        if abs(newest - self._kept.get(lane, 0)) >= STEP_S:
            self._kept[lane] = newest
            words = [f"{ahead} {name}" for name, ahead in self._kept.items()]
            await self._ledger.set_strings(_NAME, tuple(words[-MAX_LANES:]))
