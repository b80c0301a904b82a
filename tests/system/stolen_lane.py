"""The link of a lane whose keys are stolen: it keeps one journal and says whatever a thief likes."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Sequence
from pathlib import Path

from aiohttp import web

from allegro.core.authority.tokens import b64url
from allegro.core.base.sequence import GENESIS, Kept, Position
from allegro.core.protocol.messages import (
    BATCH_BYTES,
    BATCH_ENTRIES,
    Ack,
    Batch,
    FromHouse,
    FromLane,
    GiveOrder,
    Greet,
    Hello,
    LaneBeat,
    LogIn,
    OrderAnswer,
    Welcome,
)
from allegro.link.frames import encode
from allegro.link.handshake import greet
from allegro.scratch.processes import free_port, override
from tests.patience import patient

from .fake_lane import STATUS, FakeLane
from .fleet_fixture import BOT, CODE_BOT, REPOSITORY, Theatre

THIEF = "ezra"
FORGED = "FORGED"
"""Stands in every text of the thief's, at the start of a line as well."""
LIE = f"no\n{FORGED}\x1b[2K\n  receipt   7 {FORGED}"
ACKED_S = 8.0
BEAT_S = 0.5


class StolenLane(FakeLane):
    """Keeps one journal and one connection. `answers` takes what the house asks of its forge.

    `roles` are those it claims with their epochs; `ahead` is by how much it says that its journal
    is longer than it is. While `listens` is not set it reads nothing of what the house says.
    """

    def __init__(self, theatre: Theatre, folder: Path, port: int) -> None:
        super().__init__(theatre, folder, port)
        self._socket: web.WebSocketResponse | None = None
        self._seq = 0
        self.journal_name = "stolen"
        self.acked = 0
        self.ahead = 0
        self.roles: dict[str, int] = {}
        self.listens = asyncio.Event()
        self.listens.set()
        self._beating: asyncio.Task[None] | None = None

    async def start(self) -> None:
        await super().start()
        self._beating = asyncio.create_task(self._beat())

    async def stop(self) -> None:
        if self._beating is not None:
            self._beating.cancel()
        await super().stop()

    async def _beat(self) -> None:
        while True:
            await self.beat()
            await asyncio.sleep(BEAT_S)

    async def beat(self) -> None:
        """Say that this lane lives, and which roles it holds."""
        await self.say(LaneBeat(self.acked + self.ahead, "polled", self.roles))

    def is_honest(self) -> None:
        """Serve like an honest lane again."""
        self.listens.set()
        self.reply = lambda query: STATUS
        self.roles, self.ahead = {}, 0

    async def _talk(self, socket: web.WebSocketResponse) -> None:
        hello = await self._hear(socket)
        assert isinstance(hello, Hello)
        counter = b64url(bytes(32))
        greeting = greet(
            hello, self._trust, counter_challenge=counter, version=LIE[:60], sign=self._key.sign
        )
        assert isinstance(greeting, Greet)
        await socket.send_bytes(encode(greeting))
        login = await self._hear(socket)
        assert isinstance(login, LogIn)
        held = [one for one in login.cursors if one.journal == self.journal_name]
        after = held[0] if held else Position(self.journal_name, 0, GENESIS)
        self._seq = self.acked = after.seq
        await socket.send_bytes(encode(Welcome(after, after.seq + self.ahead, self.freezes)))
        self._socket = socket
        self.sent.set()
        while True:
            await self.listens.wait()
            message = await self._hear(socket)
            if isinstance(message, Ack):
                self.acked = message.position.seq
            answer = self._answer(message)
            if answer is not None:
                await socket.send_bytes(answer)

    async def say(self, *messages: FromLane | bytes) -> None:
        """Send what is no part of the journal; nothing where the house has hung up."""
        for message in messages:
            if self._socket is not None:
                raw = message if isinstance(message, bytes) else encode(message)
                with contextlib.suppress(ConnectionError, RuntimeError):
                    await self._socket.send_bytes(raw)

    async def hang_up(self) -> None:
        """End the connection, so that the house dials again."""
        if self._socket is not None:
            with contextlib.suppress(ConnectionError, RuntimeError, TimeoutError):
                await asyncio.wait_for(self._socket.close(), 1.0)

    async def linked(self) -> None:
        """Wait until the house has dialled this lane, and nothing is left of an older link."""
        async with asyncio.timeout(patient(15)):
            while self._socket is None or self._socket.closed:
                await asyncio.sleep(0.02)

    async def tell(self, bodies: Sequence[bytes], *, wait: bool = True) -> None:
        """Journal these and bring them home; give up where the house does not take them."""
        await self.linked()
        at = 0
        while at < len(bodies):
            some, size = list[Kept](), 0
            while at < len(bodies) and len(some) < BATCH_ENTRIES and size < BATCH_BYTES // 2:
                some.append(Kept(bodies[at][: BATCH_BYTES // 2]))
                size += len(some[-1].body)
                at += 1
            first = self._seq + 1
            self._seq += len(some)
            await self.say(Batch(self.journal_name, first, tuple(some), self._seq))
        wanted = self._seq
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patient(ACKED_S) if wait else 0.0):
                while self.acked < wanted and self._seq >= wanted:
                    await asyncio.sleep(0.01)

    def _answer(self, message: FromHouse) -> bytes | None:
        if isinstance(message, GiveOrder):
            self.orders.append(message)
            return encode(OrderAnswer(message.id, "", ""))
        return super()._answer(message)


async def paired(theatre: Theatre) -> StolenLane:
    """Pair one more lane, as its owner did before it was stolen."""
    stage, port = theatre.stage, free_port()
    config, folder = stage.folder / "thief.toml", stage.folder / "thief"
    await stage.command(
        "init", "lane", "--config", str(config), "--name", THIEF, "--state-dir", str(folder),
        "--forge", theatre.url, "--token-file", str(stage.folder / "daily.token"), "--watch",
        REPOSITORY, "--bot", BOT, "--bot", CODE_BOT, "--listen", f"127.0.0.1:{port}",
    )  # fmt: skip
    override(config, {"link.tls": "none", "link.public_url": f"ws://127.0.0.1:{port}"})
    offer = json.loads(await stage.command("pair", "--config", str(config), "--json"))
    answer = json.loads(
        await stage.command("pair", "--config", str(stage.house_config), offer["line"], "--json")
    )
    await stage.command("pair", "--config", str(config), answer["line"], "--json")
    return StolenLane(theatre, folder, port)
