"""The label by which issues are marked as seen must be the one that the house expects (G13).

The house matches labels under our name by the label of house.toml. A lane that would set another
one sets none: else the house would take its own lane for a thief. The house's word can only make a
lane do less.
"""

from __future__ import annotations

from allegro.core.base.untrusted import text_of
from allegro.core.ports import Clock
from allegro.core.protocol.queries import Params

WAIT_S = 10.0
"""So long after a log-in a lane waits for the house's label; an older house names none."""
MAX_LABEL = 200


class HomeLabel:
    """What the house names, `None` while it named nothing."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._wait_until_s = float("-inf")
        self.named: str | None = None

    def logged_in(self) -> None:
        """Note that a house logged in: its label is about to come."""
        if self.named is None:
            self._wait_until_s = self._clock.boot_s() + WAIT_S

    def hear(self, params: Params) -> None:
        """Take the house's label of a question; what is no label changes nothing."""
        self.named = text_of(params.get("label"), MAX_LABEL) or self.named

    def is_awaited(self) -> bool:
        return self.named is None and self._clock.boot_s() < self._wait_until_s

    def allows(self, label: str) -> bool:
        """Say whether this label may be set under the lease."""
        return self.named == label if self.named is not None else not self.is_awaited()
