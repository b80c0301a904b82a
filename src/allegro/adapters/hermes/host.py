"""Starts Hermes gateways, each in its own sandbox with a user id, keys and doors of its own."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import socket
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec

from allegro.adapters.hermes.gateway import HermesGateway
from allegro.adapters.hermes.home import (
    API_PORT,
    CONNECT_PORT,
    MODEL_PORT,
    Template,
    home_files,
    in_home,
    inside_script,
)
from allegro.adapters.sandbox.boundary import (
    DOORS,
    INSIDE,
    Sandbox,
    command,
    passwd,
    python_roots,
)
from allegro.adapters.sandbox.seccomp import program
from allegro.core.base.errors import EdgeError
from allegro.core.ports import GatewaySpec
from allegro.core.settings import HermesSettings

MAX_FILES = 1_024

OpenDoor = Callable[[Path], Awaitable[Callable[[], Awaitable[None]]]]
"""Serves something at a socket's path until the function it gives is called."""


class Doors(msgspec.Struct, frozen=True):
    """What a sandbox may reach. Each gateway gets a door to the models of its own, so that what
    one does to it harms no other. `connect` None: no way out at all."""

    models: OpenDoor
    connect: Path | None


class Installed(msgspec.Struct, frozen=True):
    """The interpreter of an installed Hermes, and the folder in which each gateway gets its own."""

    python: Path
    runtime: Path


class HermesHost:
    """Starts gateways of one installed Hermes. `new_key` makes 32 random bytes in hex."""

    def __init__(
        self,
        settings: HermesSettings,
        installed: Installed,
        doors: Doors,
        sandbox: Sandbox,
        new_key: Callable[[], str],
        *,
        max_tokens: int,
    ) -> None:
        self._settings = settings
        self._python, self._runtime = installed.python, installed.runtime
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
            plan, argv, files = self._plan(spec, folder, user_id, api.fileno(), key)
            try:
                gateway.process = await asyncio.create_subprocess_exec(
                    *argv,
                    stdin=asyncio.subprocess.PIPE,
                    stdout=asyncio.subprocess.DEVNULL,
                    stderr=asyncio.subprocess.PIPE,
                    pass_fds=(api.fileno(), *files),
                    env={"PATH": os.environ.get("PATH", os.defpath)},
                    start_new_session=True,
                )
            except OSError as error:
                raise EdgeError(f"Hermes cannot be started: {error}", transient=True) from error
            finally:
                for descriptor in files:
                    os.close(descriptor)
        finally:
            api.close()
        assert gateway.process.stdin is not None
        gateway.process.stdin.write(json.dumps(plan).encode() + b"\n")
        gateway.open(key)
        await gateway.ready(self._settings.start_s)

    def _plan(
        self, spec: GatewaySpec, folder: Path, user_id: int, api_fd: int, key: str
    ) -> tuple[dict[str, object], list[str], list[int]]:
        """Return what `inside.py` is told, the command, and the descriptors it needs."""
        ports = (API_PORT, MODEL_PORT, CONNECT_PORT) if self._sandbox.holds else _free_ports()
        template = Template(
            token=spec.token,
            tools=spec.tools,
            models=spec.models,
            question_timeout_s=self._settings.question_timeout_s,
            context_tokens=self._settings.context_tokens,
            max_tokens=self._max_tokens,
            model_port=ports[1],
        )
        connect = self._doors.connect if spec.network else None
        held = self._sandbox.holds
        environment = {
            "API_SERVER_ENABLED": "true",
            "API_SERVER_KEY": key,
            "API_SERVER_HOST": "127.0.0.1",
            "API_SERVER_PORT": str(ports[0]),
            "ALLEGRO_TELEMETRY": f"{DOORS}/telemetry" if held else str(folder / "telemetry"),
        }
        doors = [(ports[1], f"{DOORS}/models" if held else str(folder / "models"))]
        if connect is not None:
            doors.append((ports[2], f"{DOORS}/connect" if held else str(connect)))
            proxy = f"http://127.0.0.1:{ports[2]}"
            environment |= {"HTTPS_PROXY": proxy, "https_proxy": proxy}
        plan: dict[str, object] = {
            "argv": ["hermes", "gateway", "run"],
            "api_fd": api_fd,
            "api_port": ports[0],
            "doors": doors,
            "environment": environment,
            "limits": self._limits(),
        }
        if held:
            return plan, *self._sandboxed(template, folder, user_id, connect)
        return plan, self._bare(template, folder, environment), []

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
            ["bwrap"],
            files,
            shown,
            str(self._python),
            ["-I", INSIDE],
            disk_bytes=self._settings.disk_mb * 1_000_000,
            user_id=user_id,
            filter_fd=filter_fd,
        )
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
