"""A stolen lane: the right key, a correct handshake, and then whatever a thief would send."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from allegro.adapters.crypto.signatures import HpkeSealer, load_signing_key
from allegro.adapters.files import read_state
from allegro.core.authority.freeze import Freeze
from allegro.core.authority.gate import LaneTrust
from allegro.core.authority.tokens import b64url
from allegro.core.base.sequence import GENESIS, Entry, Kept, Position
from allegro.core.protocol.messages import (
    Batch,
    Challenge,
    ChallengeWanted,
    FromHouse,
    FromLane,
    GiveOrder,
    Greet,
    Hello,
    LogIn,
    OrderAnswer,
    Query,
    Reply,
    Welcome,
)
from allegro.lane.folder.files import LaneFiles
from allegro.link.frames import decode_from_house, encode
from allegro.link.handshake import greet
from tests.patience import patient

from .fleet_fixture import Theatre

STATUS = {"healthy": True, "journal_waiting": 0}


class FakeLane:
    """Serves the link in a paired lane's place, the theatre's own where none is named.

    `frames` are sent after each log-in.
    """

    def __init__(self, theatre: Theatre, folder: Path | None = None, port: int = 0) -> None:
        files = LaneFiles(folder or theatre.lane_folder)
        held = read_state(files.trust, LaneTrust)
        assert held is not None
        self._trust = held.trust
        self._key = load_signing_key(files.key)
        self._port = port or theatre.stage.link_port
        self._runner: web.AppRunner | None = None
        self._sealer = HpkeSealer(theatre.fleet.id, theatre.fleet.sealing)
        self._count = 0
        self.frames: Sequence[bytes] = ()
        self.reply: Callable[[Query], Any] = lambda query: STATUS
        self.orders: list[GiveOrder] = []
        self.heard: list[str] = []
        self.freezes: tuple[Freeze, ...] = ()
        self.after: Position | None = None
        self.head = 0
        self.sent = asyncio.Event()
        self.ended = asyncio.Event()

    async def start(self) -> None:
        app = web.Application()
        app.router.add_get("/link", self._serve)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port).start()

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    @property
    def journal(self) -> str:
        return f"stolen{self._count}"

    def sealed(self, id_: str, words: Any) -> bytes:
        return self._sealer.seal(id_, json.dumps(words).encode())

    def sealed_raw(self, id_: str, words: bytes) -> str:
        """Return any bytes sealed for an event of this id, as its JSON holds them."""
        return base64.b64encode(self.sealed_bytes(id_, words)).decode()

    def sealed_bytes(self, id_: str, words: bytes) -> bytes:
        return self._sealer.seal(id_, words)

    async def _serve(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(max_msg_size=0)
        await socket.prepare(request)
        try:
            await self._talk(socket)
        except (ConnectionError, aiohttp.ClientError, asyncio.CancelledError, RuntimeError):
            pass
        finally:
            self.ended.set()
        return socket

    async def _talk(self, socket: web.WebSocketResponse) -> None:
        hello = await self._hear(socket)
        assert isinstance(hello, Hello)
        challenge = b64url(bytes(32))
        greeting = greet(
            hello,
            self._trust,
            counter_challenge=challenge,
            version="\x1b[31m9",
            sign=self._key.sign,
        )
        assert isinstance(greeting, Greet)
        await socket.send_bytes(encode(greeting))
        assert isinstance(await self._hear(socket), LogIn)
        after = self.after or Position(self.journal, 0, GENESIS)
        await socket.send_bytes(encode(Welcome(after, self.head, self.freezes)))
        for frame in self.frames:
            await socket.send_bytes(frame)
        self.sent.set()
        while True:
            answer = self._answer(await self._hear(socket))
            if answer is not None:
                await socket.send_bytes(answer)

    def _answer(self, message: FromHouse) -> bytes | None:
        self.heard.append(type(message).__name__)
        match message:
            case ChallengeWanted():
                return encode(Challenge(message.id, b64url(bytes(32))))
            case GiveOrder():
                self.orders.append(message)
                return encode(OrderAnswer(message.id, "", ""))
            case Query():
                value = self.reply(message)
                return value if isinstance(value, bytes) else encode(Reply(message.id, value))
            case _:
                return None

    async def _hear(self, socket: web.WebSocketResponse) -> FromHouse:
        message = await socket.receive()
        if message.type is not aiohttp.WSMsgType.BINARY:
            raise ConnectionResetError("the house hung up")
        return decode_from_house(message.data)

    async def strike(self, *messages: FromLane | bytes, wait_s: float = 0.4) -> None:
        """Send these after a fresh log-in, and give the house time to choke on them."""
        self.frames = [one if isinstance(one, bytes) else encode(one) for one in messages]
        self.sent.clear()
        self.ended.clear()
        await self.drop()
        await asyncio.wait_for(self.sent.wait(), patient(15))
        await asyncio.sleep(wait_s)

    async def drop(self) -> None:
        """Hang up, so that the house dials again."""
        await self.stop()
        await self.start()

    def batch(self, *bodies: bytes | Entry, journal: str = "") -> Batch:
        """Return a batch of a new journal, which every log-in names from now on."""
        self._count += 1
        entries = tuple(Kept(body) if isinstance(body, bytes) else body for body in bodies)
        return Batch(journal or self.journal, 1, entries, len(entries))


def event(id_: str, type_: str, data: Any, subject: str = "f/11#1", sealed: str = "") -> bytes:
    """Return an event's bytes as a thief would write them: any JSON, any type."""
    return json.dumps(
        {"specversion": "1.0", "id": id_, "type": type_, "source": "lane:x",
         "time": "2030-01-01T00:00:00Z", "subject": subject, "data": data, "sealed": sealed}
    ).encode()  # fmt: skip
