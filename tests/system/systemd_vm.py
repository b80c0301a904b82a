"""Boxes: machines for tests that boot the real systemd as process 1, without any container tool.

A box has processes, mounts, users of its own and, where it is given one, a network of its own. Its
root is this machine's, read through an overlay: what a box writes goes to a disk in memory, which
lives as long as the `Box`, so a box whose power was cut boots with what it had. No unit of this
machine is started in it, and none of its resource limits count: a box has no cgroup controllers.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from allegro.core.base.errors import UserError
from tests.patience import patient

ROOT = Path(__file__).parents[2]
PROGRAM = "/usr/local/lib/allegro"
UP_S, RUN_S, GONE_S = 20.0, 30.0, 10.0
_TIMED_OUT = {124, 137}  # what timeout(1) ends with
_TOOLS = ("unshare", "nsenter", "setpriv", "pivot_root", "mount", "systemctl", "journalctl")

# The disk: a file system in memory that only this process's mounts show, until its input ends.
_DISK = """
mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs "$1"
mkdir "$1/upper" "$1/work" "$1/root" "$1/program" "$1/program-work"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$1/root"
umount "$1/root"
"""
_ROOT = """
mount --make-rprivate /
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$1/root"
cd "$1/root"
mkdir -p ".$4"
mount -t overlay overlay -o "lowerdir=$3,upperdir=$1/program,workdir=$1/program-work" ".$4"
[ -e "$1/fresh" ] || chroot . sh -euc "$6" sh "$2" "$3" "$4" "$5"
touch "$1/fresh"
"""
# Once, in the new root: nothing of this machine's services, file systems, identity or allegro; a
# message bus, a journal and log-ins; the program's paths as if it had been installed there.
_FRESH = """
find /etc/systemd /lib/systemd/ \\( -name "*.wants" -o -name "*.requires" \\) -prune \
  -exec rm -rf {} +
rm -rf /etc/allegro /var/lib/allegro /etc/systemd/system/allegro-* /var/log/journal
echo "$1" > /etc/hostname
: > /etc/machine-id
: > /etc/fstab
cd /etc/systemd/system
mkdir -p sockets.target.wants sysinit.target.wants multi-user.target.wants /var/log/journal
ln -s /lib/systemd/system/dbus.socket sockets.target.wants/
for unit in systemd-journald systemd-journal-flush; do
  ln -s /lib/systemd/system/$unit.service sysinit.target.wants/
done
ln -s /lib/systemd/system/systemd-logind.service multi-user.target.wants/
cd "$3"
sed -i "s|$2|$3|g" .venv/lib/*/site-packages/__editable__.allegro-*
for folder in .venv .hermes; do
  [ -e $folder ] || continue
  for link in $folder/bin/python*; do ln -sfn "$4" $link; done
  sed -i "s|^home = .*|home = ${4%/*}|" $folder/pyvenv.cfg
  sed -i "s|^#!$2|#!$3|" $(grep -lI "^#!$2" $folder/bin/*)
done
"""
_BOOT = """
mount -t proc -o nosuid,nodev,noexec proc proc
mount -t sysfs -o ro,nosuid,nodev,noexec sysfs sys
mount -t cgroup2 -o nosuid,nodev,noexec cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755,nosuid tmpfs dev
for name in null zero full random urandom tty; do
  : > dev/$name
  mount --bind /dev/$name dev/$name
done
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666,mode=0620 devpts dev/pts
mount -t tmpfs -o mode=1777 tmpfs dev/shm
ln -s pts/ptmx dev/ptmx
for pair in fd:fd stdin:fd/0 stdout:fd/1 stderr:fd/2; do
  ln -s "/proc/self/${pair#*:}" "dev/${pair%%:*}"
done
mount -t tmpfs -o mode=755,nosuid,nodev tmpfs run
mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs tmp
hostname "$2"
mkdir run/old
pivot_root . run/old
umount -l /run/old
rmdir /run/old
exec env -i container=box PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
  /lib/systemd/systemd --system --unit=multi-user.target --log-target=journal-or-kmsg
"""


def trouble() -> str:
    """Return what keeps boxes from being made here, empty for nothing."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "boxes need root on Linux"
    missing = [name for name in _TOOLS if shutil.which(name) is None]
    missing += [] if Path("/lib/systemd/systemd").exists() else ["systemd"]
    if missing:
        return f"missing for boxes: {', '.join(missing)}"
    try:
        _cgroup()
        _python()
    except UserError as error:
        return str(error)
    with tempfile.TemporaryDirectory(prefix="allegro-box-") as folder:
        tried = subprocess.run(
            ["unshare", "--mount", "sh", "-euc", _DISK, "sh", folder], capture_output=True, text=True, check=False,
        )  # fmt: skip
    return f"boxes need an overlay of /: {tried.stderr.strip()}" if tried.returncode else ""


class Box:
    """One machine. Its power is off until `boot`; `close` ends it and leaves nothing behind."""

    def __init__(self, name: str, enter: Sequence[str] = ()) -> None:
        """`enter` are the words that start a program in the box's network; empty: in ours."""
        self.name = name
        self._enter = enter
        self._folder = Path(tempfile.mkdtemp(prefix=f"allegro-box-{name}-"))
        self._cgroup = _cgroup() / self._folder.name
        self._disk: asyncio.subprocess.Process | None = None
        self._power: asyncio.subprocess.Process | None = None
        self._first = 0
        self._log = self._folder / "boot.log"

    @property
    def is_on(self) -> bool:
        return self._power is not None and self._power.returncode is None

    async def boot(self) -> None:
        """Switch it on; return when systemd says that all is up. Raises UserError."""
        if self._disk is None:
            await self._make_disk()
        assert self._disk is not None
        self._cgroup.mkdir(exist_ok=True)
        outside = (
            f"echo $$ > {self._cgroup}/cgroup.procs; "
            'exec unshare --mount --pid --cgroup --uts --ipc --fork --kill-child sh -euc "$@"'
        )
        mounts = ["nsenter", f"--mount=/proc/{self._disk.pid}/ns/mnt"]
        with self._log.open("ab") as log:
            self._power = await asyncio.create_subprocess_exec(
                "setpriv", "--pdeathsig", "KILL", *self._enter, *mounts, "sh", "-euc", outside,
                "sh", _ROOT + _BOOT, "sh", str(self._folder), self.name, str(ROOT), PROGRAM,
                _python(), _FRESH, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        self._first = await self._find_first()
        output = await self.run("systemctl", "is-system-running", "--wait", code=None)
        if output.strip() not in {"running", "degraded"}:
            raise UserError(f"box {self.name} is {output}: {self._log.read_text()}")

    async def _make_disk(self) -> None:
        self._disk = await asyncio.create_subprocess_exec(
            "unshare", "--mount", "sh", "-euc", _DISK + "echo made; exec cat", "sh",
            str(self._folder), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert self._disk.stdout is not None
        if await self._disk.stdout.readline() != b"made\n":
            raise UserError(f"box {self.name} gets no disk")

    async def _find_first(self) -> int:
        """Wait until systemd is process 1 of the box and hears us; return its id outside."""
        assert self._power is not None
        children = Path(f"/proc/{self._power.pid}/task/{self._power.pid}/children")
        for _ in range(int(patient(UP_S) / 0.02)):
            with contextlib.suppress(OSError, ValueError):
                first = int(children.read_text())
                is_booted = Path(f"/proc/{first}/comm").read_text() == "systemd\n"
                if is_booted and Path(f"/proc/{first}/root/run/systemd/private").exists():
                    return first
            if not self.is_on:
                break
            await asyncio.sleep(0.02)
        raise UserError(f"box {self.name} does not boot: {self._log.read_text()}")

    async def run(self, *words: str, user: str = "", code: int | None = 0, stdin: str = "") -> str:
        """Run a command in the box, as root or one of its users; return what it printed.

        `code` None takes any exit code. Raises UserError for another one, and for a command that
        does not end within `RUN_S`.
        """
        enter = ["nsenter", "-t", str(self._first), "-m", "-p", "-u", "-i", "-C", "-n", "-r", "-w"]
        clean = ["env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8"]
        bounded = ["timeout", "--kill-after=1", str(RUN_S)]  # inside: nsenter's own end leaves it
        as_user = ["runuser", "-u", user, "--"] if user else []
        child = await asyncio.create_subprocess_exec(
            *enter, *clean, *bounded, *as_user, *words, stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, error = await child.communicate(stdin.encode())
        if child.returncode != code and (code is not None or child.returncode in _TIMED_OUT):
            message = f"{error.decode('utf-8', 'replace')} {out.decode('utf-8', 'replace')}"
            raise UserError(
                f"{self.name}: {' '.join(words)} ended with {child.returncode}: {message}"
            )
        return out.decode("utf-8", "replace")

    async def put(self, inside: str, text: str, *, owner: str = "root", mode: str = "644") -> None:
        """Write a file of the running box."""
        words = ("install", "-D", "-o", owner, "-g", owner, "-m", mode)
        await self.run(*words, "/dev/stdin", inside, stdin=text)

    async def cut_power(self) -> None:
        """Kill all its processes at once; the disk stays as it is."""
        if self._power is not None and self._power.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._power.send_signal(signal.SIGKILL)
            await self._power.wait()
        await self._gone()

    async def shut_down(self, within_s: float = UP_S) -> None:
        """Switch it off in order, as `systemctl poweroff` does. Raises UserError."""
        assert self._power is not None
        await self.run("systemctl", "poweroff")
        try:
            await asyncio.wait_for(self._power.wait(), patient(within_s))
        except TimeoutError:
            raise UserError(f"box {self.name} does not shut down") from None
        await self._gone()

    async def _gone(self) -> None:
        """Wait until no process is left, and remove its cgroups."""
        for _ in range(int(patient(GONE_S) / 0.02)):
            with contextlib.suppress(OSError):
                for folder, _, _ in os.walk(self._cgroup, topdown=False):
                    Path(folder).rmdir()
            if not self._cgroup.exists():
                return
            await asyncio.sleep(0.02)
        raise UserError(f"box {self.name} leaves processes in {self._cgroup}")

    async def close(self) -> None:
        """End the box and its disk, whatever state they are in."""
        try:
            await self.cut_power()
        finally:
            if self._disk is not None:
                assert self._disk.stdin is not None
                self._disk.stdin.close()
                await self._disk.wait()
            shutil.rmtree(self._folder, ignore_errors=True)


def _python() -> str:
    """Return a Python of this version that a unit with ProtectHome= sees. Raises UserError."""
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for folder in (Path(sys.base_prefix) / "bin", Path("/usr/local/bin"), Path("/usr/bin")):
        found = (folder / name).resolve()
        if found.exists() and found.parts[1] not in {"home", "root", "run"}:
            return str(found)
    raise UserError(f"boxes need a {name} outside /home and /root, which the units hide")


def _cgroup() -> Path:
    """Return this process's folder in the cgroup2 tree. Raises UserError."""
    ours = next(
        (line[3:] for line in Path("/proc/self/cgroup").read_text().splitlines()
         if line.startswith("0::")), None,
    )  # fmt: skip
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, place, kind, *_ = line.split()
        if kind == "cgroup2" and ours is not None and os.access(f"{place}{ours}", os.W_OK):
            return Path(f"{place}{ours}")
    raise UserError("boxes need a cgroup2 tree that can be written")
