"""The one place that reads clocks and throws dice."""

from __future__ import annotations

import asyncio
import secrets
import sys
import time

_BOOT = getattr(time, "CLOCK_BOOTTIME", None)


class SystemClock:
    """The machine's clocks. `boot_s` counts suspend where the system offers that."""

    def now_s(self) -> float:
        return time.time()

    def boot_s(self) -> float:
        if _BOOT is not None:
            return time.clock_gettime(_BOOT)
        if sys.platform == "darwin":
            return time.clock_gettime(time.CLOCK_MONOTONIC)  # counts sleep on macOS
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class SystemDice:
    """The system's random source."""

    def token(self, size: int) -> bytes:
        return secrets.token_bytes(size)

    def fraction(self) -> float:
        return secrets.randbelow(1 << 30) / (1 << 30)
