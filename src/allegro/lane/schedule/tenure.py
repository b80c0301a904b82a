"""Whether this lane has held a role long enough to run what belongs to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from allegro.core.ports import Clock

SETTLE_S = 30.0
"""After a take-over the holder waits so long: what the last one served is told by the house."""


class Tenure:
    """Notes since when a role is held; to be asked every few seconds."""

    def __init__(self, held: Callable[[], Mapping[str, int]], role: str, clock: Clock) -> None:
        """`held` returns the roles that this lane holds now, with their epochs."""
        self._held = held
        self._role = role
        self._clock = clock
        self._epoch: int | None = None
        self._since_s = clock.boot_s()

    def is_settled(self) -> bool:
        """Whether the role is held since SETTLE_S without a break that was seen."""
        epoch = self._held().get(self._role)
        if epoch != self._epoch:
            self._epoch, self._since_s = epoch, self._clock.boot_s()
        return epoch is not None and self._clock.boot_s() - self._since_s >= SETTLE_S
