"""The life of a program: it owns its folder, runs until a signal, and stops in order.

Order rule: the folder is taken before anything is opened and given back after everything else is
closed, so that no second program ever works on the same state. What was opened last closes first,
whatever raises on the way.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Callable
from typing import Protocol

Notify = Callable[[str], None]
"""Sends one sd_notify(3) message to the supervisor; does nothing where there is none."""


class Closable(Protocol):
    def close(self) -> None: ...


class Program:
    """A program that runs now.

    `stopping` is set by SIGTERM and SIGINT. `stack` closes what is pushed on it, last first.
    """

    def __init__(self, stack: contextlib.AsyncExitStack, notify: Notify) -> None:
        self.stack = stack
        self.stopping = asyncio.Event()
        self._notify = notify

    def ready(self, status: str = "running") -> None:
        """Tell the supervisor that the program serves."""
        self._notify(f"READY=1\nSTATUS={status}")


@contextlib.asynccontextmanager
async def running(hold: Callable[[], Closable], notify: Notify) -> AsyncIterator[Program]:
    """Live as a program: own the folder that `hold` takes, and close all in order at the end.

    Raises what `hold` raises (ConfigError when another program holds the folder) before anything
    else is done.
    """
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(hold().close)
        program = Program(stack, notify)
        for name in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(name, program.stopping.set)
        try:
            yield program
        finally:
            notify("STOPPING=1")
