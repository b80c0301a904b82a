"""One running Hermes gateway: what it tells as one stream, and its end.

A gateway that served a session is ended: with it go its memory file system, its keys and whatever
a tool left behind. Nothing of one session can reach the next.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import shutil
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path

import structlog

from allegro.adapters.hermes.frames import squeezed
from allegro.adapters.hermes.questions import OpenCalls
from allegro.adapters.hermes.telemetry import Telemetry
from allegro.adapters.hermes.wire import HermesWire
from allegro.core.agent.sessions import AgentEvent, Asked, End, Ended, Gap, ToolBegan, ToolEnded
from allegro.core.agent.tallies import AgentTally
from allegro.core.base.errors import EdgeError
from allegro.core.base.untrusted import whole_number
from allegro.core.ports import Run
from allegro.core.settings import HermesSettings

_log = structlog.get_logger()
WATCH_S = 2.0
EXIT_S = 5.0
LAST_WORDS_S = 0.01
HOLD_S = 0.2
SHOWN = 40
MAX_STDERR = 4_000


class HermesGateway:
    """One running gateway. `close` ends it and leaves nothing."""

    def __init__(self, folder: Path, settings: HermesSettings, gone: Callable[[], None]) -> None:
        self._folder = folder
        self._gone = gone
        self.close_door: Callable[[], Awaitable[None]] | None = None
        self._settings = settings
        self._queue: asyncio.Queue[AgentEvent] = asyncio.Queue()
        self._held: list[tuple[AgentEvent, float]] = []
        self._stderr = b""
        self._tasks: list[asyncio.Task[None]] = []
        self._over_memory = False
        self._streamed: Counter[tuple[str, str]] = Counter()
        self._datagrams: Counter[tuple[str, str]] = Counter()
        self._arrived: Counter[tuple[str, str]] = Counter()
        self._begun: list[str] = []
        self._calls = OpenCalls()
        self.telemetry = Telemetry(folder / "telemetry", self._hold)
        self.process: asyncio.subprocess.Process | None = None
        self.wire: HermesWire | None = None

    @property
    def version(self) -> str:
        return self.wire.capabilities.version if self.wire else ""

    @property
    def forged(self) -> int:
        return self.telemetry.forged

    def open(self, key: str) -> None:
        """Begin to speak to the process that was started."""
        self.wire = HermesWire("http://hermes", key, socket=str(self._folder / "api.sock"))
        self._tasks = [
            asyncio.create_task(self._read_stderr()),
            asyncio.create_task(self._watch_memory()),
        ]
        for task in self._tasks:
            task.add_done_callback(self._unwatched)

    def _unwatched(self, task: asyncio.Task[None]) -> None:
        """End a process that is no longer watched because of a bug: its session ends as lost."""
        if task.cancelled() or (error := task.exception()) is None:
            return
        _log.error("hermes.unwatched", error=repr(error))
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)

    async def ready(self, within_s: float) -> None:
        """Wait until Hermes answers. Raises EdgeError with its last words when it does not."""
        assert self.wire is not None
        assert self.process is not None
        until_s = asyncio.get_running_loop().time() + within_s
        while not await self.wire.is_up():
            dead = self.process.returncode is not None
            if dead or asyncio.get_running_loop().time() > until_s:
                await asyncio.sleep(LAST_WORDS_S)
                output = self._stderr.decode("utf-8", "replace").strip()[-600:]
                why = (
                    f"ended with {self.process.returncode}" if dead else f"not up in {within_s:g} s"
                )
                raise EdgeError(f"Hermes did not start ({why}): {output}", transient=True)
            await asyncio.sleep(0.05)
        await self.wire.learn()

    async def begin(self, run: Run) -> str:
        assert self.wire is not None
        self._release(math.inf)
        while not self._queue.empty():
            self._queue.get_nowait()
        self._streamed, self._datagrams = Counter(), Counter()  # of this run alone
        self._arrived, self._begun, self._calls = Counter(), [], OpenCalls()
        body: dict[str, object] = {
            "input": run.prompt,
            "session_id": run.session,
            "model": run.model,
        }
        if run.instructions:
            body["instructions"] = run.instructions
        if run.history:
            body["conversation_history"] = [
                {"role": turn.role, "content": turn.text} for turn in run.history
            ]
        return await self.wire.begin(body, run.session)

    async def events(self, run: str) -> AsyncIterator[AgentEvent]:
        """Yield stream and datagrams as one, to the end; a gateway that dies ends as lost."""
        stream = asyncio.create_task(self._stream(run))
        assert self.process is not None
        died = asyncio.create_task(self.process.wait())
        died.add_done_callback(self._tell_death)
        try:
            while True:
                event = await self._queue.get()
                if isinstance(event, Ended):
                    missing = self._streamed.total() > self._datagrams.total()
                    # datagrams sent before the end
                    await asyncio.sleep(2.5 * HOLD_S if missing else LAST_WORDS_S)
                    self._release(math.inf)
                    while not self._queue.empty():
                        late = self._queue.get_nowait()
                        if not isinstance(late, Ended | Gap):
                            yield late
                    yield event
                    return
                yield event
        finally:
            stream.cancel()
            died.cancel()

    def _tell_death(self, died: asyncio.Task[int]) -> None:
        if not died.cancelled():
            self._queue.put_nowait(_dead(self._over_memory))

    async def _stream(self, run: str) -> None:
        try:
            await self._read_stream(run)
        except Exception as error:  # noqa: BLE001 (a session has one end, whatever happens)
            _log.exception("hermes.stream_unread")
            self._queue.put_nowait(Ended(End.LOST, "", f"its stream was not read: {error!r}", {}))

    async def _read_stream(self, run: str) -> None:
        assert self.wire is not None
        async for event, at_s in self.wire.stamped(run):
            self.telemetry.read()
            if isinstance(event, Asked):
                is_whole = all(self._arrived[key] >= count for key, count in self._streamed.items())
                event = self._calls.whole(event, is_complete=is_whole)  # noqa: PLW2901 (the same)
            self._release(at_s)
            if self.telemetry.hello.is_set() and isinstance(event, ToolBegan | ToolEnded):
                self._await_datagram(event)
            else:
                self._queue.put_nowait(event)

    def _await_datagram(self, event: ToolBegan | ToolEnded) -> None:
        """Let the plugin tell a tool call better; tell it from the stream where it does not."""
        key = type(event).__name__, event.tool
        self._streamed[key] += 1
        fill_in = partial(self._fill_in, event, self._streamed[key], self._datagrams)
        asyncio.get_running_loop().call_later(2 * HOLD_S, fill_in)

    def _fill_in(
        self, event: ToolBegan | ToolEnded, number: int, counted: Counter[tuple[str, str]]
    ) -> None:
        """Tell a tool call from the stream if its datagram was lost: perhaps one behind it came."""
        key = type(event).__name__, event.tool
        if counted is not self._datagrams or self._arrived[key] >= self._streamed[key]:
            return
        preview = squeezed(event.words.get("preview")) if isinstance(event, ToolBegan) else ""
        if preview:
            shown = preview[:SHOWN]
            found = next((text for text in self._begun if shown in text), None)
            if found is not None:
                self._begun.remove(found)
                return
        elif counted[key] >= number:
            return
        counted[key] += 1
        self._queue.put_nowait(event)

    def _hold(self, event: AgentEvent, at_s: float) -> None:
        """Keep what a datagram told until the stream, which is slower, told what was before."""
        if isinstance(event, Gap):
            self._queue.put_nowait(event)
            return
        self._calls.hear(event)
        if isinstance(event, ToolBegan | ToolEnded):
            self._datagrams[type(event).__name__, event.tool] += 1
            self._arrived[type(event).__name__, event.tool] += 1
        if isinstance(event, ToolBegan):
            self._begun.append(squeezed(event.words.get("args")))
        self._held.append((event, at_s))
        asyncio.get_running_loop().call_later(HOLD_S, self._release, at_s)

    def _release(self, until_s: float) -> None:
        while self._held and self._held[0][1] <= until_s:
            self._queue.put_nowait(self._held.pop(0)[0])

    async def answer(self, run: str, choice: str) -> None:
        assert self.wire is not None
        await self.wire.answer(run, choice)

    async def stop(self, run: str) -> None:
        assert self.wire is not None
        await self.wire.stop(run)

    async def died(self) -> None:
        assert self.process is not None
        await self.process.wait()

    async def tally(self, session: str) -> AgentTally | None:
        assert self.wire is not None
        return await self.wire.tally(session)

    async def close(self, session: str) -> None:
        """Kill the process with all it started, and remove what it had."""
        for task in self._tasks:
            task.cancel()
        if self.process is not None and self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.process.wait(), EXIT_S)
        if self.wire is not None:
            await self.wire.close()
        if self.close_door is not None:
            await self.close_door()
            self.close_door = None
        self.telemetry.close()
        shutil.rmtree(self._folder, ignore_errors=True)
        self._gone()

    async def _read_stderr(self) -> None:
        assert self.process is not None
        assert self.process.stderr is not None
        while chunk := await self.process.stderr.read(4096):
            self._stderr = (self._stderr + chunk)[-MAX_STDERR:]

    async def _watch_memory(self) -> None:
        limit = self._settings.memory_mb * 1_000_000
        assert self.process is not None
        while self.process.returncode is None:
            await asyncio.sleep(WATCH_S)
            if tree_bytes(self.process.pid) > limit:
                self._over_memory = True
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self.process.pid, signal.SIGKILL)


def _dead(over_memory: bool) -> Ended:
    why = "the gateway used more than hermes.memory_mb" if over_memory else "the gateway died"
    return Ended(End.LOST, "", why, {})


def tree_bytes(root: int) -> int:
    """Return the resident bytes of a process and all below it; 0 where the system does not tell."""
    if sys.platform != "linux":
        return 0
    parents: dict[int, list[int]] = {}
    sizes: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if whole_number(entry.name) is None:
            continue
        with contextlib.suppress(OSError, ValueError, IndexError):
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            parents.setdefault(int(fields[1]), []).append(int(entry.name))
            sizes[int(entry.name)] = int(fields[21]) * os.sysconf("SC_PAGE_SIZE")
    total, todo = 0, [root]
    while todo:
        pid = todo.pop()
        total += sizes.get(pid, 0)
        todo += parents.get(pid, [])
    return total
