"""The one way we wait before trying again: exponential, capped, with full jitter."""

from __future__ import annotations

from collections.abc import Callable

import msgspec


class Backoff(msgspec.Struct, frozen=True):
    """Delays in seconds. `delay_s(n, dice)` for the n-th failure in a row, n from 0."""

    first_s: float
    cap_s: float

    def delay_s(self, failures: int, dice: Callable[[], float]) -> float:
        """Return a delay between half and all of the capped step; `dice` gives 0 to 1."""
        step_s = min(self.cap_s, self.first_s * 2.0 ** min(failures, 32))
        return step_s * (0.5 + 0.5 * dice())


LONGEST_WAIT_S = 3600.0
"""The longest that a forge may ask us to wait: more is not believed."""

LINK = Backoff(first_s=0.1, cap_s=0.9)
FORGE = Backoff(first_s=1.0, cap_s=60.0)
TOKEN = Backoff(first_s=0.5, cap_s=5.0)
REPOSITORY = Backoff(first_s=1.0, cap_s=900.0)
SESSION = Backoff(first_s=0.5, cap_s=2.0)
GATEWAY = Backoff(first_s=1.0, cap_s=60.0)
ORDER = Backoff(first_s=0.5, cap_s=15.0)
DUTY = Backoff(first_s=1.0, cap_s=60.0)
