"""Starts programs by forking one that has their modules: loading them is most of a short test.

What is forked is as real as what is started anew: a process in a session of its own with its own
arguments, environment and log, that ends and is killed like any. Tests of what a program loads or
shows of itself start it anew (`Stage` does).
"""

from __future__ import annotations

import asyncio
import atexit
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from allegro.scratch.network import set_network
from allegro.scratch.processes import Process, end_with_parent

LOADED = {
    "allegro lane": ("allegro.cli.main", "allegro.cli.commands.lane", "allegro.lane.app"),
    "allegro council": (
        "allegro.cli.main",
        "allegro.cli.commands.lane",
        "allegro.lane.fleet.council_server",
    ),
    "allegro house": ("allegro.cli.main", "allegro.cli.commands.house", "allegro.house.app"),
    "allegro.testing.lane": ("allegro.lane.app", "allegro.testing.gateways"),
    "allegro.testing.gitea": ("allegro.testing.gitea.server", "allegro.testing.gitea.seed"),
}
"""What is loaded before a program is forked, by the program."""
ANSWER_S, MOST_BYTES = 120.0, 256 * 1024


class Forker:
    """A process that forks one program whenever it is asked."""

    def __init__(self, program: str) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._door = ours
        self._door.settimeout(ANSWER_S)
        self._codes: dict[int, int] = {}
        self._child = subprocess.Popen(
            [sys.executable, "-m", "tests.system.forks", str(theirs.fileno()), *LOADED[program]],
            pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        theirs.close()
        atexit.register(self.close)

    def fork(
        self, module: str, arguments: Sequence[str], files: tuple[int, int], env: dict[str, str]
    ) -> int:
        """Start the program and return its process id; `files` are its log and its network."""
        asked = json.dumps({"module": module, "arguments": list(arguments), "env": env})
        socket.send_fds(self._door, [asked.encode()], list(files))
        while True:
            answer = self._next()
            if "started" in answer:
                return int(answer["started"])

    def code(self, pid: int) -> int:
        """Return how a program ended that has ended: its exit code, or minus a signal's number."""
        while pid not in self._codes:
            self._next()
        return self._codes[pid]

    def _next(self) -> dict[str, Any]:
        raw = self._door.recv(MOST_BYTES)
        if not raw:
            raise OSError("the process that forks programs has ended")
        answer: dict[str, Any] = json.loads(raw)
        if "ended" in answer:
            self._codes[answer["ended"]] = os.waitstatus_to_exitcode(answer["status"])
        return answer

    def close(self) -> None:
        self._door.close()
        self._child.wait()


class Forked:
    """One forked program: as much of `asyncio.subprocess.Process` as tests use."""

    def __init__(self, forker: Forker, pid: int) -> None:
        self.pid = pid
        self._forker = forker
        self._handle = os.pidfd_open(pid)
        self._code: int | None = None

    @property
    def returncode(self) -> int | None:
        if self._code is None and select.select([self._handle], [], [], 0)[0]:
            self._code = self._forker.code(self.pid)
            os.close(self._handle)
        return self._code

    def send_signal(self, how: int) -> None:
        if self.returncode is None:
            signal.pidfd_send_signal(self._handle, how)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    async def wait(self) -> int:
        while (code := self.returncode) is None:  # a reader of the loop would outlive the loop
            await asyncio.sleep(0.02)
        return code


class QuickProcess(Process):
    """A process that is forked where its program is known, and started anew where it is not."""

    async def start(self, asked: Sequence[str], environment: dict[str, str] | None = None) -> None:
        arguments = asked
        network = "/proc/thread-self/ns/net"
        if arguments[0] == "nsenter":
            network, arguments = arguments[1].removeprefix("--net="), arguments[2:]
        python, flag, module, *rest = arguments
        name = f"{module} {rest[0]}" if module == "allegro" and rest else module
        if (python, flag) != (sys.executable, "-m") or name not in LOADED:
            await super().start(asked, environment)
            return
        forker = _forkers.get(name) or _forkers.setdefault(name, Forker(name))
        with self.log.open("ab") as log, Path(network).open("rb") as net:
            env = {**os.environ, **(environment or {})}
            pid = forker.fork(module, rest, (log.fileno(), net.fileno()), env)
            self._child = Forked(forker, pid)  # type: ignore[assignment]


_forkers: dict[str, Forker] = {}


def serve(door: socket.socket) -> tuple[str, list[str]]:
    """Fork whenever asked; return in each child what it is to run. Ends when nobody asks any more."""
    woken, wake = socket.socketpair()
    wake.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake.fileno())
    while True:
        ready = select.select([door, woken], [], [])[0]
        if woken in ready:
            woken.recv(MOST_BYTES)
            _report(door)
        if door not in ready:
            continue
        raw, files, _, _ = socket.recv_fds(door, MOST_BYTES, 2)
        if not raw:
            sys.exit(0)
        asked = json.loads(raw)
        pid = os.fork()
        if not pid:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for one in (door, woken, wake):
                one.close()
            _become(asked["env"], *files)
            return asked["module"], asked["arguments"]
        for file in files:
            os.close(file)
        door.send(json.dumps({"started": pid}).encode())


def _report(door: socket.socket) -> None:
    """Say of each child that ended how it did."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            return
        door.send(json.dumps({"ended": pid, "status": status}).encode())


def _become(env: dict[str, str], log: int, network: int) -> None:
    """Take over session, network, output and environment."""
    os.setsid()
    end_with_parent()
    os.dup2(log, 1)
    os.dup2(log, 2)
    if os.fstat(network).st_ino != Path("/proc/self/ns/net").stat().st_ino:
        set_network(f"/proc/self/fd/{network}")
    os.close(log)
    os.close(network)
    os.environ.clear()
    os.environ.update(env)


def main() -> None:
    for name in sys.argv[2:]:
        __import__(name)
    module, arguments = serve(socket.socket(fileno=int(sys.argv[1])))
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
