"""Short work of a program beside its duties: one task a name, or as many as come.

A bug in one of them is logged and reported; it ends neither the program nor the other work.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any

import structlog

from allegro.core.base.errors import EdgeError
from allegro.runtime.consumer import as_edge_error, note_bug, reason_of

_log = structlog.get_logger()
AGAIN_S = 5.0


class OneEach:
    """Runs at most one task for each name, so that a slow lane holds up its own work alone.

    EdgeErrors are logged, a bug is given to `failed` as a sentence: neither ends the program.
    """

    def __init__(self, duty: str, failed: Callable[[str], None]) -> None:
        self._duty = duty
        self._failed = failed
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def begin(self, name: str, work: Callable[[], Awaitable[None]]) -> bool:
        """Begin work under this name; say whether it was begun, false while some is under way."""
        if name in self._tasks:
            return False
        task = asyncio.create_task(self._run(name, work), name=f"{self._duty} {name}")
        self._tasks[name] = task
        task.add_done_callback(lambda _: self._tasks.pop(name, None))
        return True

    async def _run(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except EdgeError as error:
            _log.info("task.postponed", duty=self._duty, name=name, error=str(error))
        except Exception as error:  # noqa: BLE001 (a bug belongs to its task: see the module)
            note_bug(error, duty=self._duty, item=name, lane=name)
            self._failed(f"{self._duty}, {name}: {reason_of(error)}")

    async def idle(self) -> None:
        """Wait until what was begun has ended."""
        while self._tasks:
            await asyncio.wait(set(self._tasks.values()))

    async def stop(self) -> None:
        await ended(self._tasks.values())


class Soon:
    """Short work beside a duty. Whatever it raises is logged and ends nothing else.

    Work that must not be lost is no such work: it belongs to a duty that tries again.
    """

    def __init__(self, name: str, failed: Callable[[str], None] = lambda _: None) -> None:
        """`failed` is given a sentence for each bug."""
        self._name = name
        self._failed = failed
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, item: str, work: Coroutine[Any, Any, Any]) -> None:
        """Begin the work now. `item` names it in the log."""
        _ = self.task(item, work)

    def task(self, item: str, work: Coroutine[Any, Any, Any]) -> asyncio.Task[None]:
        """Begin work that somebody waits for or may cancel. The task itself raises nothing."""
        task = asyncio.create_task(self._run(item, work), name=f"{self._name} {item}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _: work.close())  # cancelled before it began, it is unawaited
        return task

    async def idle(self) -> None:
        """Wait until what was begun has ended."""
        while self._tasks:
            await asyncio.wait(set(self._tasks))

    @property
    def count(self) -> int:
        """How much is under way."""
        return len(self._tasks)

    def cancel(self) -> None:
        """Cancel what is under way, and wait for nothing."""
        for task in self._tasks:
            task.cancel()

    async def stop(self) -> None:
        """Cancel what is under way, and wait until it has ended."""
        await ended(self._tasks)

    async def _run(self, item: str, work: Coroutine[Any, Any, Any]) -> None:
        try:
            await as_edge_error(self._name, item, work)
        except EdgeError as error:
            if error.kind == "bug":
                self._failed(f"{self._name}: {error}")


async def ended(tasks: Iterable[asyncio.Task[None]], *, again_s: float = AGAIN_S) -> None:
    """Cancel tasks and wait for their end, whatever it is.

    They are cancelled again every `again_s`: what they wait for may turn a cancellation into an
    answer or a time-out of its own that came at the same moment, and they would go on for ever.
    """
    found = list(tasks)
    going = {task for task in found if not task.done()}
    while going:
        for task in going:
            task.cancel()
        _, going = await asyncio.wait(going, timeout=again_s)
    await asyncio.gather(*found, return_exceptions=True)
