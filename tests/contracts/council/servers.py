"""Three real nats-servers on loopback, each as a lane runs it: mutual TLS, nkeys, synced writes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import nats.errors
from nats.aio.client import Client
from tests.patience import patient

from allegro.adapters.crypto.tls import make_certificate
from allegro.adapters.nats.council import STREAM, SUBJECT, Access, NatsCouncil
from allegro.adapters.nats.server import (
    Server,
    ServerFiles,
    access_of,
    find_server,
    make_seed,
    public_of,
    read_running,
    seed_of,
)
from allegro.adapters.nats.settings import Serving, render
from allegro.core.authority.lease import Record
from allegro.core.authority.tokens import Member
from allegro.core.base.errors import EdgeError
from allegro.core.ports import Council

from .council_backends import NAMES
from .steady import ELECTED_S, Steady, answered

FLEET = "f" * 32


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
        self._councils: list[NatsCouncil] = []
        self.keeper = seed_of(bytes(range(32)))

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
        await self.start_as(me, others, number)

    async def start_as(self, me: Member, others: list[Member], number: int = 1) -> None:
        files = self.files[me.name]
        self.write(me, others, number)
        server = Server(files, self.binary)
        self.running[me.name] = server
        await server.start(number)

    def write(self, me: Member, others: list[Member], number: int = 1, revoked: int = 0) -> None:
        """Write one server's settings."""
        files = self.files[me.name]
        serving = Serving(
            fleet=FLEET,
            number=number,
            listen=me.address,
            public=public_of(files.seed.read_text()),
            disk_mb=64,
            keeper=public_of(self.keeper),
            revoked=revoked,
            roles=("*",),  # each test has a register of its own
        )
        files.config.write_text(render(files, me, others, serving))

    async def cut(self, gone: str, name: str) -> bool:
        """Let a running server drop another one, as a lane's council program does."""
        kept = [member for member in self.members.values() if member.name != gone]
        self.files[name].trusted.write_text("".join(member.certificate for member in kept))
        others = [member for member in kept if member.name != name]
        self.write(self.members[name], others, revoked=1)
        return await self.running[name].reload()

    async def stop(self, name: str) -> None:
        await self.running[name].stop()

    async def start_all(self) -> None:
        await asyncio.gather(*(self.start(name) for name in NAMES))

    async def start_missing(self) -> None:
        """Start what a case left stopped, and wait until all three answer again."""
        for name in NAMES:
            if not self.running[name].is_running:
                await self.start(name)
        await self.formed()

    async def stop_all(self) -> None:
        await asyncio.gather(*(server.stop() for server in self.running.values()))

    async def kill_all(self) -> None:
        """End all three at the same moment, as a power cut would."""
        for name in NAMES:
            os.kill(self.pid(name), signal.SIGKILL)
        for name in NAMES:
            await asyncio.wait_for(self.running[name].wait(), 5.0)

    async def formed(self, within_s: float = ELECTED_S) -> None:
        for name in NAMES:
            council = self.council(name)
            try:
                await formed(council, within_s)
            finally:
                await council.close()

    async def close(self) -> None:
        for council in self._councils:
            await council.close()
        await self.stop_all()

    def pid(self, name: str) -> int:
        running = read_running(self.files[name])
        assert running is not None
        return running.pid

    def access(self, name: str) -> Access | None:
        running = read_running(self.files[name])
        return None if running is None else access_of(self.files[name], running)

    def council(self, name: str, timeout_s: float = 2.0) -> NatsCouncil:
        return self._made(lambda: self.access(name), timeout_s)

    def steady(self, name: str) -> Steady:
        """Return the council as a lane sees it that goes on through elections."""
        return Steady(self.council(name))

    def keeper_of(self, name: str, timeout_s: float = 2.0) -> NatsCouncil:
        """Return the council as the program sees it that keeps this lane's server."""
        return self._made(lambda: self.keeper_access(name), timeout_s)

    def keeper_access(self, name: str) -> Access | None:
        running = read_running(self.files[name])
        return None if running is None else Access(running.client, self.keeper)

    def _made(self, access: Callable[[], Access | None], timeout_s: float) -> NatsCouncil:
        made = NatsCouncil(access, timeout_s=timeout_s)
        self._councils.append(made)
        return made

    def copy_stores(self, folder: Path) -> None:
        for name in NAMES:
            shutil.copytree(self.files[name].folder / "store-1", folder / name)

    def restore_stores(self, folder: Path) -> None:
        for name in NAMES:
            store = self.files[name].folder / "store-1"
            shutil.rmtree(store)
            shutil.copytree(folder / name, store)

    def routes(self, name: str) -> set[str]:
        """Return with whom a server says it is connected."""
        running = read_running(self.files[name])
        assert running is not None
        with urlopen(f"{running.monitor}/routez", timeout=2) as answer:
            routes_now: dict[str, Any] = json.load(answer)
        return {route["remote_name"] for route in routes_now.get("routes") or []}

    def group(self, name: str) -> tuple[str, int]:
        """Return whom a server takes for the leader of all servers, and how many it counts."""
        running = read_running(self.files[name])
        assert running is not None
        with urlopen(f"{running.monitor}/jsz", timeout=2) as answer:
            cluster = json.load(answer)["meta_cluster"]
        return str(cluster.get("leader", "")), int(cluster.get("cluster_size", 0))

    async def leader(self) -> str:
        """Return which server leads the bucket's replicas now; waits while none does."""
        until_s = time.monotonic() + patient(ELECTED_S)
        while True:
            found = ""
            with contextlib.suppress(nats.errors.Error, OSError, AssertionError, KeyError):
                found = await self._leader()
            if found:
                return found
            assert time.monotonic() < until_s
            await asyncio.sleep(0.1)

    async def _leader(self) -> str:
        name = next(name for name, server in self.running.items() if server.is_running)
        async with raw_client(self.access(name)) as (client, _):
            reply = await client.request(f"$JS.API.STREAM.INFO.{STREAM}", b"", timeout=2)
            return str(json.loads(reply.data)["cluster"].get("leader", ""))


@contextlib.asynccontextmanager
async def raw_client(access: Access | None) -> AsyncIterator[tuple[Client, list[str]]]:
    """Log in as a lane does, to say what its program would not; with what the server told off."""
    assert access is not None
    messages: list[str] = []

    async def hear(error: Exception) -> None:
        messages.append(str(error))

    client = Client()
    try:
        await client.connect(
            access.url, nkeys_seed_str=access.seed or None, allow_reconnect=False,
            connect_timeout=2, error_cb=hear,
        )  # fmt: skip
        yield client, messages
    finally:
        await client.close()


class NatsHall:
    def __init__(self, servers: Servers) -> None:
        self._servers = servers
        self.lanes: dict[str, Council] = {name: servers.steady(name) for name in NAMES}

    async def scribble(self, lane: str, key: str, value: bytes) -> None:
        await self._publish(lane, key, value, {})

    async def delete(self, lane: str, key: str) -> None:
        await self._publish(lane, key, b"", {"KV-Operation": "DEL"})

    async def _publish(self, lane: str, key: str, value: bytes, headers: dict[str, str]) -> None:
        async def once() -> None:
            try:
                async with raw_client(self._servers.access(lane)) as (client, _):
                    await client.jetstream().publish(SUBJECT + key, value, headers=headers)
            except nats.errors.Error as error:
                raise EdgeError(str(error), transient=True) from error

        await answered(once)


async def formed(council: Council, within_s: float = ELECTED_S) -> None:
    """Wait until the council answers: its servers have to find each other and elect a leader.

    A leader that lost the others still reads for a moment, so a write has to succeed.
    """
    until_s = time.monotonic() + patient(within_s)
    while True:
        try:
            revision = (await council.read("probe")).revision
            if await council.write("probe", Record("probe", "probe", 1), revision):
                return
        except EdgeError:
            if time.monotonic() > until_s:
                raise
        await asyncio.sleep(0.1)
