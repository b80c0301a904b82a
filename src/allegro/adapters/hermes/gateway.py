"""Starts Hermes gateways, each in its own sandbox, each for one session.

A gateway that served a session is ended: with it go its memory file system, its keys and whatever
a tool left behind. Nothing of one session can reach the next.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import math
import os
import shutil
import signal
import socket
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path

import msgspec

from allegro.adapters.hermes.home import (
    API_PORT,
    CONNECT_PORT,
    MODEL_PORT,
    Template,
    home_files,
    in_home,
    inside_script,
)
from allegro.adapters.hermes.sandbox import (
    DOORS,
    INSIDE,
    Sandbox,
    command,
    passwd,
    python_roots,
)
from allegro.adapters.hermes.seccomp import program
from allegro.adapters.hermes.telemetry import Telemetry
from allegro.adapters.hermes.wire import HermesWire
from allegro.core.errors import EdgeError
from allegro.core.ports import GatewaySpec, Run
from allegro.core.sessions import AgentEvent, End, Ended, Gap, ToolBegan, ToolEnded
from allegro.core.settings import HermesSettings

WATCH_S = 2.0
EXIT_S = 5.0
LAST_WORDS_S = 0.01
HOLD_S = 0.2
MAX_STDERR = 4_000
MAX_FILES = 1_024


OpenDoor = Callable[[Path], Awaitable[Callable[[], Awaitable[None]]]]
"""Serves something at a socket's path until the function it gives is called."""


class Doors(msgspec.Struct, frozen=True):
    """What a sandbox may reach. Each gateway gets a door to the models of its own, so that what
    one does to it harms no other. `connect` None: no way out at all."""

    models: OpenDoor
    connect: Path | None


class HermesHost:
    """Starts gateways of one installed Hermes. `new_key` makes 32 random bytes in hex."""

    def __init__(
        self, settings: HermesSettings, python: Path, runtime: Path, doors: Doors,
        sandbox: Sandbox, new_key: Callable[[], str], *, max_tokens: int,
    ) -> None:  # fmt: skip
        self._settings = settings
        self._python = python
        self._runtime = runtime
        self._doors = doors
        self._sandbox = sandbox
        self._new_key = new_key
        self._max_tokens = max_tokens
        self._users: set[int] = set()

    @property
    def is_ours(self) -> bool:
        return True

    @property
    def sandbox_trouble(self) -> str:
        return "" if self._sandbox.holds else self._sandbox.reason

    async def start(self, spec: GatewaySpec) -> HermesGateway:
        """Start a gateway and wait until it answers. Raises EdgeError with the reason."""
        if spec.tools and not self._sandbox.holds:
            raise EdgeError(f"no tools without a sandbox: {self._sandbox.reason}", transient=False)
        folder = Path(tempfile.mkdtemp(prefix="gateway-", dir=self._runtime))
        user_id = next(n for n in itertools.count(self._settings.user_id) if n not in self._users)
        self._users.add(user_id)
        gateway = HermesGateway(folder, self._settings, lambda: self._users.discard(user_id))
        try:
            await self._start(gateway, spec, folder, user_id)
        except BaseException:
            await gateway.close("")
            raise
        return gateway

    async def _start(
        self, gateway: HermesGateway, spec: GatewaySpec, folder: Path, user_id: int
    ) -> None:
        key = self._new_key()
        gateway.telemetry.open()
        gateway.close_door = await self._doors.models(folder / "models")
        api = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            api.bind(str(folder / "api.sock"))
            api.listen(32)
            told, argv, files = self._plan(spec, folder, user_id, api.fileno(), key)
            try:
                gateway.process = await asyncio.create_subprocess_exec(
                    *argv, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL,
                    stderr=asyncio.subprocess.PIPE, pass_fds=(api.fileno(), *files),
                    env={"PATH": os.environ.get("PATH", os.defpath)}, start_new_session=True,
                )  # fmt: skip
            except OSError as error:
                raise EdgeError(f"Hermes cannot be started: {error}", transient=True) from error
            finally:
                for descriptor in files:
                    os.close(descriptor)
        finally:
            api.close()
        assert gateway.process.stdin is not None
        gateway.process.stdin.write(json.dumps(told).encode() + b"\n")
        gateway.open(key)
        await gateway.ready(self._settings.start_s)

    def _plan(
        self, spec: GatewaySpec, folder: Path, user_id: int, api_fd: int, key: str
    ) -> tuple[dict[str, object], list[str], list[int]]:
        """Return what `inside.py` is told, the command, and the descriptors it needs."""
        ports = (API_PORT, MODEL_PORT, CONNECT_PORT) if self._sandbox.holds else _free_ports()
        template = Template(
            token=spec.token, tools=spec.tools, models=spec.models,
            question_timeout_s=self._settings.question_timeout_s,
            context_tokens=self._settings.context_tokens, max_tokens=self._max_tokens,
            model_port=ports[1],
        )  # fmt: skip
        connect = self._doors.connect if spec.network else None
        held = self._sandbox.holds
        environment = {
            "API_SERVER_ENABLED": "true", "API_SERVER_KEY": key, "API_SERVER_HOST": "127.0.0.1",
            "API_SERVER_PORT": str(ports[0]),
            "ALLEGRO_TELEMETRY": f"{DOORS}/telemetry" if held else str(folder / "telemetry"),
        }  # fmt: skip
        doors = [(ports[1], f"{DOORS}/models" if held else str(folder / "models"))]
        if connect is not None:
            doors.append((ports[2], f"{DOORS}/connect" if held else str(connect)))
            proxy = f"http://127.0.0.1:{ports[2]}"
            environment |= {"HTTPS_PROXY": proxy, "https_proxy": proxy}
        told: dict[str, object] = {
            "argv": ["hermes", "gateway", "run"], "api_fd": api_fd, "api_port": ports[0],
            "doors": doors, "environment": environment, "limits": self._limits(),
        }  # fmt: skip
        if held:
            return told, *self._sandboxed(template, folder, user_id, connect)
        return told, self._bare(template, folder, environment), []

    def _sandboxed(
        self, template: Template, folder: Path, user_id: int, connect: Path | None
    ) -> tuple[list[str], list[int]]:
        files = [(_memory_file(f.content), in_home(f.path)) for f in home_files(template)]
        files.append((_memory_file(inside_script()), INSIDE))
        files.append((_memory_file(passwd(user_id)), "/etc/passwd"))
        shown = [(root, root) for root in python_roots(self._python)]
        shown += [
            (str(folder / "models"), f"{DOORS}/models"),
            (str(folder / "telemetry"), f"{DOORS}/telemetry"),
        ]
        if connect is not None:
            shown.append((str(connect), f"{DOORS}/connect"))
        refused = program()
        filter_fd = _memory_file(refused) if refused else None
        argv = command(
            ["bwrap"], files, shown, str(self._python), ["-I", INSIDE],
            disk_bytes=self._settings.disk_mb * 1_000_000, user_id=user_id, filter_fd=filter_fd,
        )  # fmt: skip
        held = [descriptor for descriptor, _ in files]
        return argv, held if filter_fd is None else [*held, filter_fd]

    def _bare(self, template: Template, folder: Path, environment: dict[str, str]) -> list[str]:
        """Return the command where there is no sandbox: no tools, and a home that is removed."""
        home = folder / "home" / ".hermes"
        for file in home_files(template):
            path = home / file.path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(file.content)
        script = folder / "inside.py"
        script.write_bytes(inside_script())
        environment |= {"HOME": str(home.parent), "HERMES_HOME": str(home)}
        return [str(self._python), "-I", str(script)]

    def _limits(self) -> list[tuple[str, int]]:
        settings = self._settings
        return [
            ("RLIMIT_NPROC", settings.processes),
            ("RLIMIT_FSIZE", settings.disk_mb * 1_000_000),
            ("RLIMIT_CORE", 0),
            ("RLIMIT_NOFILE", MAX_FILES),
            ("RLIMIT_CPU", settings.session_s),
            ("RLIMIT_AS", max(8 * settings.memory_mb, 8192) * 1_000_000),
        ]


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
            asyncio.create_task(self._read_stderr()), asyncio.create_task(self._watch_memory()),
        ]  # fmt: skip

    async def ready(self, within_s: float) -> None:
        """Wait until Hermes answers. Raises EdgeError with its last words when it does not."""
        assert self.wire is not None
        assert self.process is not None
        until_s = asyncio.get_running_loop().time() + within_s
        while not await self.wire.is_up():
            dead = self.process.returncode is not None
            if dead or asyncio.get_running_loop().time() > until_s:
                await asyncio.sleep(LAST_WORDS_S)
                told = self._stderr.decode("utf-8", "replace").strip()[-600:]
                why = (
                    f"ended with {self.process.returncode}" if dead else f"not up in {within_s:g} s"
                )
                raise EdgeError(f"Hermes did not start ({why}): {told}", transient=True)
            await asyncio.sleep(0.05)
        await self.wire.learn()

    async def begin(self, run: Run) -> str:
        assert self.wire is not None
        self._release(math.inf)
        while not self._queue.empty():
            self._queue.get_nowait()
        self._streamed, self._datagrams = Counter(), Counter()  # of this run alone
        body = {
            "input": run.prompt, "session_id": run.session, "model": run.model,
            **({"instructions": run.instructions} if run.instructions else {}),
            **({"conversation_history": [{"role": turn.role, "content": turn.text}
                                         for turn in run.history]} if run.history else {}),
        }  # fmt: skip
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
        assert self.wire is not None
        async for event, at_s in self.wire.stamped(run):
            self.telemetry.read()
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
        self, event: ToolBegan | ToolEnded, number: int, told: Counter[tuple[str, str]]
    ) -> None:
        key = type(event).__name__, event.tool
        if told is self._datagrams and told[key] < number:
            told[key] += 1
            self._queue.put_nowait(event)

    def _hold(self, event: AgentEvent, at_s: float) -> None:
        """Keep what a datagram told until the stream, which is slower, told what was before."""
        if isinstance(event, ToolBegan | ToolEnded):
            self._datagrams[type(event).__name__, event.tool] += 1
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
        if not entry.name.isdigit():
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


def _memory_file(content: bytes) -> int:
    """Return a descriptor of an unnamed file in memory, at its beginning."""
    descriptor = os.memfd_create("handed", 0)
    os.write(descriptor, content)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _free_ports() -> tuple[int, int, int]:
    sockets = [socket.socket() for _ in range(3)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    first, second, third = (one.getsockname()[1] for one in sockets)
    for one in sockets:
        one.close()
    return first, second, third
