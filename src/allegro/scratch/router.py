"""A wide-area network in one process: nodes in network namespaces of their own, a hub between.

Run as root: `python -m allegro.scratch.router NODE=ADDRESS ...`. It makes one namespace a node, each
with a TUN device, and carries packets between them, later by a delay and not at all where a pair
is cut. It says `{"pids": {...}}` once it is up (enter with `nsenter --net=/proc/PID/ns/net`), then
takes the whole state as lines of JSON, `{"delay_ms": 75, "cuts": [["a", "b"]]}`, and answers each
with `{}`. A cut is one-way: from the first to the second. `"rates": {"a": 40000}` lets a node send so
many bytes a second, through a queue of QUEUE_BYTES that drops what does not fit; `"loss": 0.01` drops
so many of all packets, the same ones in each run. Everything ends with its standard input.
"""

from __future__ import annotations

import array
import ctypes
import fcntl
import heapq
import itertools
import json
import os
import selectors
import signal
import socket
import struct
import subprocess
import sys
import time
import zlib

CLONE_NEWNET = 0x40000000
TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 0x0001, 0x1000
PR_SET_PDEATHSIG = 1
DEVICE = "wan0"
MTU = 1500
MAX_PACKETS = 20_000
QUEUE_BYTES = 64 * 1024
"""What a node's router holds when it has a rate: 1.6 s at 40 kB/s, as cheap ones do."""


def main() -> None:
    """Set up the nodes, then carry packets until standard input ends."""
    nodes = dict(argument.split("=", 1) for argument in sys.argv[1:])
    hub = Hub()
    pids = {}
    for name, address in nodes.items():
        pids[name], device = make_node(address)
        hub.add(name, address, device)
    _say({"pids": pids})
    try:
        hub.run()
    finally:
        for pid in pids.values():
            os.kill(pid, signal.SIGKILL)


def make_node(address: str) -> tuple[int, int]:
    """Make a namespace with a TUN device; return the process that keeps it, and the device."""
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        ours.close()
        try:
            _be_node(address, theirs)
        finally:
            os._exit(1)
    theirs.close()
    _, found, _, _ = ours.recvmsg(1, socket.CMSG_LEN(4))
    if not found:
        raise SystemExit("cannot make a network namespace with a TUN device here")
    device = array.array("i", found[0][2])[0]
    os.set_blocking(device, False)
    return pid, device


def _be_node(address: str, parent: socket.socket) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if libc.unshare(CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "unshare")
    device = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH", DEVICE.encode(), IFF_TUN | IFF_NO_PI))
    for line in (
        "link set lo up",
        f"addr add {address}/24 dev {DEVICE}",
        f"link set {DEVICE} mtu {MTU} txqueuelen 2000 up",
    ):
        subprocess.run(["ip", *line.split()], check=True)
    socket.send_fds(parent, [b"."], [device])
    os.close(device)
    signal.pause()


class Hub:
    """Carries packets by their addresses."""

    def __init__(self) -> None:
        self._devices: dict[bytes, int] = {}
        self._names: dict[int, str] = {}
        self._addresses: dict[bytes, str] = {}
        self._delay_s = 0.0
        self._cuts: set[tuple[str, str]] = set()
        self._rates: dict[str, float] = {}
        self._free_s: dict[str, float] = {}
        self._loss = 0.0
        self._carried = 0
        self._late: list[tuple[float, int, int, bytes]] = []
        self._count = itertools.count()
        self._selector = selectors.DefaultSelector()
        self._line = b""

    def add(self, name: str, address: str, device: int) -> None:
        raw = socket.inet_aton(address)
        self._devices[raw], self._addresses[raw], self._names[device] = device, name, name
        self._selector.register(device, selectors.EVENT_READ)

    def run(self) -> None:
        """Carry packets until standard input ends."""
        self._selector.register(0, selectors.EVENT_READ)
        while True:
            wait_s = None
            if self._late:
                wait_s = max(0.0, self._late[0][0] - time.monotonic())
            for key, _ in self._selector.select(wait_s):
                if key.fd == 0:
                    if not self._command():
                        return
                else:
                    self._carry(key.fd)
            now = time.monotonic()
            while self._late and self._late[0][0] <= now:
                _, _, device, packet = heapq.heappop(self._late)
                _write(device, packet)

    def _command(self) -> bool:
        received = os.read(0, 65_536)
        if not received:
            return False
        self._line += received
        while b"\n" in self._line:
            line, _, self._line = self._line.partition(b"\n")
            state = json.loads(line)
            self._delay_s = state.get("delay_ms", 0) / 1000
            self._cuts = {(from_, to) for from_, to in state.get("cuts", ())}
            self._rates = {node: float(rate) for node, rate in state.get("rates", {}).items()}
            self._loss = float(state.get("loss", 0.0))
            _say({})
        return True

    def _carry(self, source: int) -> None:
        for _ in range(64):
            try:
                packet = os.read(source, MTU + 100)
            except BlockingIOError:
                return
            target = self._devices.get(packet[16:20])
            if target is None or packet[0] >> 4 != 4:
                continue
            if (self._names[source], self._names[target]) in self._cuts:
                continue
            due = self._due(self._names[source], len(packet))
            if due is None:
                continue
            if due <= time.monotonic():
                _write(target, packet)
            elif len(self._late) < MAX_PACKETS:
                heapq.heappush(self._late, (due, next(self._count), target, packet))

    def _due(self, sender: str, size: int) -> float | None:
        """Return when a packet arrives, None when it is lost."""
        self._carried += 1
        if self._loss and zlib.crc32(struct.pack("<Q", self._carried)) < self._loss * 2**32:
            return None
        now = time.monotonic()
        rate = self._rates.get(sender)
        if rate is None:
            return now + self._delay_s
        free_s = max(now, self._free_s.get(sender, now))
        if (free_s - now) * rate > QUEUE_BYTES:
            return None
        self._free_s[sender] = free_s + size / rate
        return self._free_s[sender] + self._delay_s


def _write(device: int, packet: bytes) -> None:
    try:
        os.write(device, packet)
    except OSError:
        return  # a device that is down or full drops packets, as networks do


def _say(value: object) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
