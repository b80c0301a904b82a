"""Sets the stage: a forge, a lane and a house as real processes in one folder."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import itertools
import json
import os
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from allegro.client.house_client import HouseClient
from allegro.config import toml_value
from allegro.core.base.errors import EdgeError, UserError
from allegro.core.protocol.answers.house import ShownLane

READY_S = 20.0
PATIENCE = float(os.environ.get("ALLEGRO_PATIENCE", "1"))
"""Every wait may last so many times its limit: for machines that are busy with other things."""

PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


class Forge(msgspec.Struct, frozen=True):
    """A forge to play on: its address, the scratch repository, who our bots are."""

    url: str
    repository: str
    bots: tuple[str, str]
    daily_token: str
    change_token: str


class Process:
    """One child in its own process group, its output in a file.

    On Linux the kernel ends it with the program that started it, whatever ended that one.
    """

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        self._child: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        assert self._child is not None
        return self._child.pid

    @property
    def is_running(self) -> bool:
        return self._child is not None and self._child.returncode is None

    async def start(
        self, arguments: Sequence[str], environment: dict[str, str] | None = None
    ) -> None:
        with self.log.open("ab") as log:
            self._child = await asyncio.create_subprocess_exec(
                *arguments,
                stdout=log,
                stderr=log,
                stdin=asyncio.subprocess.DEVNULL,
                env={**os.environ, **(environment or {})},
                start_new_session=True,
                preexec_fn=end_with_parent if _LIBC else None,
            )

    async def end(self, how: signal.Signals = signal.SIGTERM, within_s: float = 10.0) -> int:
        """Signal the process and wait; kill it when it does not end. Return its exit code."""
        if self._child is None:
            return 0
        if self._child.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._child.send_signal(how)
            try:
                await asyncio.wait_for(self._child.wait(), within_s)
            except TimeoutError:
                self._child.kill()
                await self._child.wait()
        return self._child.returncode or 0

    def tail(self, lines: int = 15) -> str:
        try:
            return "\n".join(self.log.read_text("utf-8", "replace").splitlines()[-lines:])
        except OSError:
            return ""


def end_with_parent() -> None:
    """Ask the kernel, after a fork, to kill this process with its parent."""
    if _LIBC is not None:
        _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Stage:
    """Everything the play needs. `folder` is made private; nothing outside it is touched."""

    process: type[Process] = Process

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.folder = folder
        self.lane_config = folder / "lane.toml"
        self.house_config = folder / "house.toml"
        self.passphrase_file = secret_file(folder / "passphrase", "correct horse battery staple")
        self.socket = folder / "house" / "house.sock"
        self.simulator = self.process("simulator", folder)
        self.lane = self.process("lane", folder)
        self.house = self.process("house", folder)
        self.client = HouseClient(self.socket)
        self.link_port = free_port()
        self.forge_host = self.home = "127.0.0.1"
        self.words: tuple[str, str] = ("", "")
        self.environment = {"ALLEGRO_PASSPHRASE_FILE": str(self.passphrase_file)}

    @property
    def forge_port(self) -> int:
        """The port of the simulated forge, once it was started."""
        return int(self._simulator_port)

    async def start_simulator(
        self, world: Mapping[str, object], *, flavour: str = "gitea", enter: Sequence[str] = ()
    ) -> dict[str, Any]:
        """Start the simulated forge; return its address and tokens."""
        seed = self.folder / "world.json"
        seed.write_text(json.dumps(world))
        self._simulator_port = getattr(self, "_simulator_port", None) or free_port()
        before = self.simulator.log.stat().st_size if self.simulator.log.exists() else 0
        options = {
            "host": self.forge_host,
            "controller": self.home,
            "directory": self.folder / "forge",
            "port": self._simulator_port,
            "seed-file": seed,
            "flavour": flavour,
        }
        command = [*enter, sys.executable, "-m", "allegro.testing.gitea", *as_options(options)]
        await self.simulator.start(command)

        def ready() -> str:
            lines = self.simulator.log.read_text()[before:].splitlines()
            return next((line for line in lines if line.startswith("{")), "")

        started = await self.until(ready, "the simulated forge starts", self.simulator)
        return dict(json.loads(started))

    async def prepare(
        self,
        forge: Forge,
        *,
        lane: Mapping[str, object] | None = None,
        house: Mapping[str, object] | None = None,
    ) -> None:
        """Write both configurations and pair, through the same commands a person uses.

        `lane` and `house` override settings, keyed by section.name.
        """
        daily = secret_file(self.folder / "daily.token", forge.daily_token)
        change = secret_file(self.folder / "change.token", forge.change_token)
        await self.init_house(change)
        options = {
            "config": self.lane_config,
            "name": "allegro",
            "state-dir": self.folder / "lane",
            "forge": forge.url,
            "token-file": daily,
            "watch": forge.repository,
            "listen": f"127.0.0.1:{self.link_port}",
        }
        bots = [word for bot in forge.bots for word in ("--bot", bot)]
        await self.command("init", "lane", *as_options(options), *bots)
        override(self.lane_config, {"forge.poll_s": 1.0, "forge.sweep_s": 5.0, **(lane or {})})
        override(self.house_config, house or {})
        offer = json.loads(await self.command("pair", "--config", str(self.lane_config), "--json"))
        answer = json.loads(
            await self.command("pair", "--config", str(self.house_config), offer["line"], "--json")
        )
        joined = json.loads(
            await self.command("pair", "--config", str(self.lane_config), answer["line"], "--json")
        )
        self.words = (answer["words"], joined["words"])

    async def init_house(self, change_token: Path) -> None:
        """Write the house's configuration, as `allegro init house` does."""
        options = {
            "config": self.house_config,
            "state-dir": self.folder / "house",
            "change-token-file": change_token,
        }
        await self.command("init", "house", *as_options(options))

    async def start_lane(self, *, module: str = "allegro", extra: Sequence[str] = ()) -> None:
        command = [sys.executable, "-m", module]
        if module == "allegro":
            command.append("lane")
        await self.lane.start([*command, "--config", str(self.lane_config), *extra])

    async def start_house(self) -> None:
        await self.house.start(
            [sys.executable, "-m", "allegro", "house", "--config", str(self.house_config)]
        )

    async def linked(self, within_s: float = READY_S) -> None:
        """Wait until the house is linked with its lane and the lane has reached the forge."""

        async def is_linked() -> bool:
            return are_well((await self.client.status()).lanes)

        await self.until(is_linked, "house and lane are linked and healthy", self.house, within_s)

    async def status(self) -> dict[str, Any]:
        """Return what `allegro status --json` shows."""
        return dict(await self.client.get("status"))

    async def command(self, *arguments: str, code: int = 0, stdin: str | None = None) -> str:
        """Run one allegro command as a person would; return what it printed.

        Raises UserError when it ends with another exit code than `code`.
        """
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "allegro",
            *arguments,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            stdin=asyncio.subprocess.DEVNULL if stdin is None else asyncio.subprocess.PIPE,
            env={**os.environ, **self.environment, "ALLEGRO_SOCKET": str(self.socket)},
        )
        out, error = await child.communicate(None if stdin is None else stdin.encode())
        if child.returncode != code:
            raise UserError(
                f"allegro {' '.join(arguments[:2])} ended with {child.returncode}: "
                f"{error.decode()} {out.decode()}"
            )
        return out.decode()

    async def simulate(self, act: str, **arguments: Any) -> Any:
        """Let a person act on the simulated forge."""
        return await self._control("act", {"act": act, "args": arguments})

    async def simulate_many(self, acts: Sequence[Mapping[str, object]]) -> None:
        """Let persons act many times in one go: `[{"act": name, "args": {...}}]`."""
        await self._control("act", acts)

    async def faults(self, **body: Any) -> Any:
        return await self._control("faults", body)

    async def forge_log(self) -> list[dict[str, Any]]:
        """Return every request the simulated forge got, with what it answered."""
        url = f"http://{self.forge_host}:{self._simulator_port}/_sim/log"
        async with aiohttp.ClientSession() as session, session.get(url) as response:
            answer = await response.json()
        return list(answer["calls"] if isinstance(answer, dict) else answer)

    async def _control(self, what: str, body: Any) -> Any:
        url = f"http://{self.forge_host}:{self._simulator_port}/_sim/{what}"
        async with aiohttp.ClientSession() as session, session.post(url, json=body) as response:
            if response.status >= 300:
                raise UserError(f"the simulator refused {body}: {await response.text()}")
            return await response.json()

    async def until(
        self, check: Any, what: str, process: Process | None = None, within_s: float = READY_S
    ) -> Any:
        """Wait until `check` (plain or async) gives something true; return it.

        Raises UserError with the end of the process's log when it does not come in time.
        """
        loop = asyncio.get_running_loop()
        until_s = loop.time() + within_s * PATIENCE
        trouble = ""
        while loop.time() < until_s:
            try:
                found = check()
                found = await found if asyncio.iscoroutine(found) else found
                if found:
                    return found
            except (UserError, EdgeError, OSError) as error:
                trouble = str(error)
            if process is not None and not process.is_running:
                break
            await asyncio.sleep(0.05)
        tail = process.tail() if process else ""
        raise UserError(f"not within {within_s:g} s: {what}. {trouble}\n{tail}")

    async def close(self) -> None:
        """End every process, the house first."""
        await self.client.close()
        for process in (self.house, self.lane, self.simulator):
            await process.end()


def are_well(lanes: Sequence[ShownLane]) -> bool:
    """Whether there are lanes, and each is linked and says that it is healthy."""
    return bool(lanes) and all(one.linked and one.detail and one.detail.healthy for one in lanes)


def as_options(values: Mapping[str, object]) -> list[str]:
    """Return the words of a command line: `--name value` for each."""
    return [word for name, value in values.items() for word in (f"--{name}", str(value))]


_ports = itertools.count()


def free_port() -> int:
    """Return a loopback port that nobody holds and that this process gave nobody yet.

    Below the range from which a system hands out ports by itself, so that no connection and no
    other listener takes it before its owner does.
    """
    for n in _ports:
        port = 10_240 + (os.getpid() * 97 + n) % 20_000
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
    raise AssertionError("an endless count ended")


def secret_file(path: Path, text: str) -> Path:
    """Write a secret that its owner alone can read; return where it is."""
    path.touch(mode=0o600)
    path.write_text(text + "\n", "utf-8")
    return path


def override(config: Path, values: Mapping[str, object]) -> None:
    """Set keys in a written configuration, as a person would in an editor."""
    lines = config.read_text("utf-8").splitlines()
    for dotted, value in values.items():
        section, _, name = dotted.partition(".")
        at = lines.index(f"[{section}]")
        end = next((n for n in range(at + 1, len(lines)) if lines[n].startswith("[")), len(lines))
        for n in range(at + 1, end):
            if lines[n].lstrip("#").startswith(f"{name} ="):
                lines[n] = f"{name} = {toml_value(value)}"
                break
        else:
            raise UserError(f"{config.name} has no {dotted}")
    config.write_text("\n".join(lines) + "\n", "utf-8")
