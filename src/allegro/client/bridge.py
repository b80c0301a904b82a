"""What every bridge is: a client of the house that rides over the house's restarts."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from allegro.client.errors import HouseUnreachable
from allegro.client.house_client import HouseClient

RESTART_S = 15.0
T = TypeVar("T")
B = TypeVar("B", bound="Bridge")


class Bridge:
    """Use as an async context manager or call `close`. `wait_s` bounds every wait for an end."""

    def __init__(self, socket: Path | str | None = None, *, wait_s: float = 86_400.0) -> None:
        self._house = HouseClient(Path(socket) if socket else None)
        self._wait_s = wait_s

    async def __aenter__(self: B) -> B:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        await self._house.close()

    async def _riding_over(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Ask, and ask again while the house restarts; RESTART_S at most."""
        until_s = asyncio.get_running_loop().time() + RESTART_S
        while True:
            try:
                return await ask()
            except HouseUnreachable:
                if asyncio.get_running_loop().time() >= until_s:
                    raise
                await asyncio.sleep(0.5)


def asked_by() -> str:
    """Name the program that asks, for `explain`."""
    return f"{Path(sys.argv[0]).name or 'python'} (pid {os.getpid()})"
