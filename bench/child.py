"""A process of its own that does what it is told: one JSON object a line, each way."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import Any, TypeVar

import structlog

LIMIT = 64 * 1024 * 1024
Command = Callable[..., Awaitable[dict[str, Any]]]
S = TypeVar("S", bound="Child")


class Child:
    """The telling side. `async with Child("bench.lane")` starts and ends `python -m bench.lane`.

    `enter` are words put before the command, such as those that enter a network namespace.
    """

    def __init__(self, module: str, enter: Sequence[str] = ()) -> None:
        self._module = module
        self._enter = enter
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    async def __aenter__(self: S) -> S:
        self._process = await asyncio.create_subprocess_exec(
            *self._enter, sys.executable, "-m", self._module, limit=LIMIT,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, env=dict(os.environ),
        )  # fmt: skip
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        process = self._process
        assert process is not None
        assert process.stdin is not None
        process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), 5)
        except TimeoutError:
            process.send_signal(signal.SIGKILL)
            await process.wait()

    async def ask(self, command: str, **arguments: Any) -> dict[str, Any]:
        """Let the child do one thing; return what it told. Raises RuntimeError when it died."""
        process = self._process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps([command, arguments]).encode() + b"\n")
        line = await process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._module} died at {command!r}; see above")
        return dict(json.loads(line))


def obey(make: Callable[[], object]) -> None:
    """Serve the telling side: a line names a method of what `make` returns."""
    structlog.configure(
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
    )
    asyncio.run(_obey(make))


async def _obey(make: Callable[[], object]) -> None:
    loop = asyncio.get_running_loop()
    lines = asyncio.StreamReader(limit=LIMIT)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    servant = make()
    while line := await lines.readline():
        command, arguments = json.loads(line)
        method: Command = getattr(servant, command)
        answer = await method(**arguments)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
