"""Where the nodes of a scratch fleet stand: on loopback, or each in a network of its own."""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import shutil
import sys
from collections.abc import Iterable, Mapping
from typing import Protocol

import msgspec

from allegro.core.base.errors import UserError
from allegro.scratch.processes import free_port

CLONE_NEWNET = 0x40000000
UP_S = 15.0
NODES = {"home": 254, "forge": 253}
_FIRST_LANE = 11


class Network(Protocol):
    """`address` and `enter` say where a node is and what its programs start with."""

    def address(self, node: str) -> str: ...
    def port(self, node: str) -> int: ...
    def enter(self, node: str) -> tuple[str, ...]: ...
    async def start(self) -> None: ...
    async def shape(self, delay_ms: float, cuts: Iterable[tuple[str, str]]) -> None: ...
    async def stop(self) -> None: ...


class Loopback:
    """All nodes on 127.0.0.1: nothing can be cut, and no rights are needed."""

    def address(self, node: str) -> str:
        del node
        return "127.0.0.1"

    def port(self, node: str) -> int:
        del node
        return free_port()

    def enter(self, node: str) -> tuple[str, ...]:
        del node
        return ()

    async def start(self) -> None:
        return None

    async def shape(self, delay_ms: float, cuts: Iterable[tuple[str, str]]) -> None:
        if delay_ms or list(cuts):
            raise UserError("cutting links needs root: each lane gets a network of its own then")

    async def stop(self) -> None:
        return None


class Namespaces:
    """One network namespace a node, joined by the hub; this process itself moves to `home`."""

    def __init__(self, lanes: Iterable[str]) -> None:
        self._addresses = {node: f"192.0.2.{last}" for node, last in NODES.items()}
        for number, lane in enumerate(lanes):
            self._addresses[lane] = f"192.0.2.{_FIRST_LANE + number}"
        self._pids: dict[str, int] = {}
        self._hub: asyncio.subprocess.Process | None = None
        self._was: int | None = None

    @staticmethod
    def trouble() -> str:
        """Return what keeps namespaces from being made here, empty for nothing."""
        if sys.platform != "linux" or os.geteuid() != 0:
            return "networks of their own need root on Linux"
        if not os.path.exists("/dev/net/tun"):  # noqa: PTH110 (a device, not a path of ours)
            return "/dev/net/tun is missing"
        missing = [name for name in ("ip", "nsenter") if shutil.which(name) is None]
        return f"missing: {', '.join(missing)} (iproute2, util-linux)" if missing else ""

    def address(self, node: str) -> str:
        return self._addresses[node]

    def port(self, node: str) -> int:
        del node
        return free_port()

    def enter(self, node: str) -> tuple[str, ...]:
        return ("nsenter", f"--net=/proc/{self._pids[node]}/ns/net")

    async def start(self) -> None:
        """Make the namespaces and move this process into `home`. Raises UserError."""
        if trouble := self.trouble():
            raise UserError(trouble)
        nodes = [f"{node}={address}" for node, address in self._addresses.items()]
        self._hub = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "allegro.scratch.router",
            *nodes,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,  # it ends with its input, after the fleet
        )
        self._pids = msgspec.convert((await self._answer())["pids"], dict[str, int])
        self._was = os.open("/proc/self/ns/net", os.O_RDONLY)
        set_network(f"/proc/{self._pids['home']}/ns/net")

    async def shape(
        self,
        delay_ms: float,
        cuts: Iterable[tuple[str, str]],
        *,
        rates: Mapping[str, float] | None = None,
        loss: float = 0.0,
    ) -> None:
        """Set delay (one way) and cuts (from, to) of the whole network at once.

        `rates` are bytes a second that a node may send; `loss` is the share of packets lost.
        """
        assert self._hub is not None
        assert self._hub.stdin is not None
        state = {
            "delay_ms": delay_ms,
            "cuts": [list(cut) for cut in cuts],
            "rates": dict(rates or {}),
            "loss": loss,
        }
        self._hub.stdin.write(json.dumps(state).encode() + b"\n")
        await self._answer()

    async def stop(self) -> None:
        """Move back and end the hub; every namespace ends with it."""
        if self._was is not None:
            set_network(f"/proc/self/fd/{self._was}")
            os.close(self._was)
            self._was = None
        if self._hub is not None:
            assert self._hub.stdin is not None
            self._hub.stdin.close()
            try:
                await asyncio.wait_for(self._hub.wait(), 5.0)
            except TimeoutError:
                self._hub.kill()
                await self._hub.wait()

    async def _answer(self) -> dict[str, object]:
        assert self._hub is not None
        assert self._hub.stdout is not None
        line = await asyncio.wait_for(self._hub.stdout.readline(), UP_S)
        if not line:
            raise UserError("the hub ended: no network of its own can be made here")
        return dict(json.loads(line))


def set_network(path: str) -> None:
    """Move the calling thread, and what it starts from now on, into a network namespace."""
    held = os.open(path, os.O_RDONLY)
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.setns(held, CLONE_NEWNET):
            number = ctypes.get_errno()
            raise UserError(f"cannot enter a network namespace: {os.strerror(number)}")
    finally:
        os.close(held)
