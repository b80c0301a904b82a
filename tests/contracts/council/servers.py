"""Three real nats-servers on loopback, each as a lane runs it: mutual TLS, nkeys, synced writes."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from pathlib import Path

from allegro.adapters.nats.council import NatsCouncil
from allegro.adapters.nats.server import (
    Server,
    ServerFiles,
    access_of,
    find_server,
    make_seed,
    public_of,
    read_running,
    render,
)
from allegro.adapters.tls import make_certificate
from allegro.core.approvals import Member
from allegro.core.errors import EdgeError

FLEET = "f" * 32
NAMES = ("a", "b", "c")


def free_ports(count: int) -> list[int]:
    held = [socket.socket() for _ in range(count)]
    for one in held:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return ports


class Servers:
    """The servers of a fleet by name, and a council client for each."""

    def __init__(self, folder: Path) -> None:
        self.binary = find_server("")
        self.files = {name: ServerFiles(folder / name) for name in NAMES}
        self.members: dict[str, Member] = {}
        for name, port in zip(NAMES, free_ports(len(NAMES)), strict=True):
            self.members[name] = self.make_member(name, port)
        self.running: dict[str, Server] = {}

    def make_member(self, name: str, port: int) -> Member:
        files = self.files.setdefault(name, ServerFiles(self.files["a"].folder.parent / name))
        make_seed(files.seed, os.urandom(32))
        make_certificate(files.certificate, files.key, name, time.time(), "127.0.0.1")
        pem = files.certificate.read_text()
        return Member("0" * 31 + name, name, f"127.0.0.1:{port}", pem, "")

    async def start(self, name: str, number: int = 1) -> None:
        files, me = self.files[name], self.members[name]
        others = [member for member in self.members.values() if member is not me]
        files.trusted.write_text("".join(m.certificate for m in self.members.values()))
        files.config.write_text(
            render(
                files, me, others, fleet=FLEET, number=number, listen=me.address,
                public=public_of(files.seed.read_text()), disk_mb=64,
            )
        )  # fmt: skip
        server = Server(files, self.binary)
        self.running[name] = server
        await server.start(number)

    async def stop(self, name: str) -> None:
        await self.running[name].stop()

    async def start_all(self) -> None:
        await asyncio.gather(*(self.start(name) for name in NAMES))

    async def stop_all(self) -> None:
        await asyncio.gather(*(server.stop() for server in self.running.values()))

    def council(self, name: str, timeout_s: float = 2.0) -> NatsCouncil:
        files = self.files[name]

        def access() -> object:
            running = read_running(files)
            return None if running is None else access_of(files, running)

        return NatsCouncil(access, timeout_s=timeout_s)  # type: ignore[arg-type]


async def formed(council: NatsCouncil, within_s: float = 30.0) -> None:
    """Wait until the council answers: its servers have to find each other and elect a leader."""
    until_s = time.monotonic() + within_s
    while True:
        try:
            await council.read("forge")
            return
        except EdgeError:
            if time.monotonic() > until_s:
                raise
            await asyncio.sleep(0.1)
