"""The ports of time and chance."""

from __future__ import annotations

from typing import Protocol


class Clock(Protocol):
    """All time. `now_s` is Unix wall time; `boot_s` never jumps and counts suspend."""

    def now_s(self) -> float: ...
    def boot_s(self) -> float: ...
    async def sleep(self, seconds: float) -> None: ...


class Dice(Protocol):
    """All chance: random bytes for ids and challenges, and a fraction for jitter."""

    def token(self, size: int) -> bytes: ...
    def fraction(self) -> float: ...
