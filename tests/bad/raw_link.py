"""Both real ends of the link, and raw peers that know the handshake and then send any bytes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from allegro.adapters.clock import SystemClock, SystemDice
from allegro.adapters.crypto.signatures import verify
from allegro.adapters.sqlite.archive import open_archive
from allegro.adapters.sqlite.journal import open_journal
from allegro.adapters.sqlite.ledger import open_ledger
from allegro.core.authority.freeze import Freeze, FreezeSet
from allegro.core.authority.gate import LaneTrust
from allegro.core.authority.tokens import Greeting, Login, b64url, issue_token, read_token
from allegro.core.base.errors import EdgeError, Refusal
from allegro.core.base.events import Event
from allegro.core.base.sequence import GENESIS, Position
from allegro.core.protocol.messages import (
    MAX_LANE_FRAME,
    PROTOCOL,
    FromHouse,
    FromLane,
    Greet,
    Hello,
    LogIn,
    Query,
    Reply,
    Serves,
    Welcome,
)
from allegro.core.protocol.queries import Params
from allegro.core.settings import ForgeSettings
from allegro.house.endpoint import House, LaneEndpoint
from allegro.house.files import Fleet, KnownLane
from allegro.lane.context.recorder import Author, Recorder
from allegro.lane.context.state import KeptState, LaneState
from allegro.lane.uplink.service import Desk
from allegro.link.dial import LaneLink
from allegro.link.frames import decode_from_house, decode_from_lane, encode
from allegro.link.handshake import greet
from allegro.link.listen import LinkListener
from allegro.testing.virtual import PlainSealer
from tests.core.builders import FORGE, HOUSE, LANE, RECOVERY, SOVEREIGN, TRUST
from tests.duties.contexts import Carrying, context_of

QUOTA_BYTES = 10**9


# --- the real lane, and a house that says anything ---------------------------------------------


class RealLane:
    """Desk, journal and listener as a lane has them; `facts` are what its queries answer."""

    def __init__(self, desk: Desk, state: LaneState, address: str) -> None:
        self.desk = desk
        self.state = state
        self.address = address


@contextlib.asynccontextmanager
async def real_lane(folder: Path, facts: dict[str, Callable[[], Any]]) -> AsyncIterator[RealLane]:
    clock, dice = SystemClock(), SystemDice()
    journal = await open_journal(
        folder / "journal.db", cap_bytes=QUOTA_BYTES, reserved_share=0.1, new_id="j",
        now_s=clock.now_s, gap_event=lambda *_: Event("g", "journal.gap", "lane:a", ""),
    )  # fmt: skip
    state = LaneState(
        clock=clock,
        journal=journal,
        kept=KeptState(LaneTrust(TRUST), FreezeSet(), lambda _: None, lambda _: None),
        forge=FORGE,
        safe_mode=False,
    )
    recorder = Recorder(journal, PlainSealer(), clock, dice, by=Author("a", b"s" * 32))

    def asked(fact: Callable[[], Any]) -> Callable[[Params], Any]:
        async def answer(params: Params) -> Any:
            return fact()

        return answer

    answers = {name: asked(fact) for name, fact in facts.items()}
    ctx = context_of(state, recorder, clock, ForgeSettings(), dice=dice)
    desk = Desk(ctx, (LANE.sign, verify), {"forge": Carrying()}, answers.get, Serves())
    listener = LinkListener(desk, desk.blobs)
    await listener.start(f"unix:{folder / 's'}", None)
    try:
        yield RealLane(desk, state, str(folder / "s"))
    finally:
        await listener.stop()
        await journal.close()


class RawHouse:
    """A connection of somebody with the house's key. Use `raw_house`."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket

    async def send(self, frame: bytes) -> None:
        with contextlib.suppress(ConnectionError, aiohttp.ClientError):
            await self._socket.send_bytes(frame)

    async def say(self, *messages: FromHouse) -> None:
        for message in messages:
            await self.send(encode(message))

    async def hear(self, *types: type, within_s: float = 2.0) -> Any:
        """Return the next message of these types, None once the lane ended the connection."""
        async with asyncio.timeout(within_s):
            while True:
                message = await self._socket.receive()
                if message.type is not aiohttp.WSMsgType.BINARY:
                    return None
                heard = decode_from_lane(message.data)
                if isinstance(heard, types):
                    return heard

    async def hello(self) -> Greet:
        await self.say(Hello(PROTOCOL, b64url(bytes(32))))
        greeting = await self.hear(Greet)
        assert isinstance(greeting, Greet)
        return greeting

    async def log_in(self, greeting: Greet) -> None:
        claims = read_token(
            greeting.token, Greeting, kid=f"lane:{TRUST.lane}", key=LANE.public, aud="fleet",
            verify=verify,
        )  # fmt: skip
        assert not isinstance(claims, Refusal)
        login = Login(
            aud="fleet", lane=TRUST.lane, challenge=claims.counter_challenge, seat=1, key_number=1
        )
        token = issue_token(login, "house:1", HOUSE.sign)
        await self.say(LogIn(token, (), (), (), (), (), SystemClock().now_s()))
        assert isinstance(await self.hear(Welcome), Welcome)

    async def is_answered(self) -> bool:
        """Ask something plain; say whether the lane answers on this connection."""
        await self.say(Query(77, "status", {}))
        reply = None
        while reply is None or reply.id != 77:
            reply = await self.hear(Reply)
            if reply is None:
                return False
        return bool(reply.value == {"healthy": True})


@contextlib.asynccontextmanager
async def raw_house(address: str) -> AsyncIterator[RawHouse]:
    connector = aiohttp.UnixConnector(path=address)
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        session.ws_connect("http://lane/link", max_msg_size=MAX_LANE_FRAME, compress=0) as socket,
    ):
        yield RawHouse(socket)


# --- the real house, and a lane that says anything ---------------------------------------------


class RawLane:
    """Serves the link with the right key. `opening` is what it says instead, step by step."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._runner: web.AppRunner | None = None
        self._socket: web.WebSocketResponse | None = None
        self.greeting: bytes | None = None
        self.welcome: bytes | None = None
        self.heard: list[FromHouse] = []
        self.connections = 0

    @property
    def journal(self) -> str:
        return f"stolen{self.connections}"

    async def start(self) -> None:
        app = web.Application()
        app.router.add_get("/link", self._serve)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.UnixSite(self._runner, self._address).start()

    async def stop(self) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    async def drop(self) -> None:
        if self._socket is not None:
            await self._socket.close()

    async def send(self, frame: bytes) -> None:
        if self._socket is not None:
            with contextlib.suppress(ConnectionError):
                await self._socket.send_bytes(frame)

    async def say(self, *messages: FromLane) -> None:
        for message in messages:
            await self.send(encode(message))

    async def _serve(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(max_msg_size=0)
        await socket.prepare(request)
        self.connections += 1
        with contextlib.suppress(ConnectionError):
            await self._talk(socket)
        return socket

    async def _talk(self, socket: web.WebSocketResponse) -> None:
        hello = await self._next(socket)
        assert isinstance(hello, Hello)
        greeting = greet(
            hello, TRUST, counter_challenge=b64url(bytes(32)), version="0", sign=LANE.sign
        )
        assert isinstance(greeting, Greet)
        await socket.send_bytes(self.greeting or encode(greeting))
        self.greeting = None
        assert isinstance(await self._next(socket), LogIn)
        welcome = Welcome(Position(self.journal, 0, GENESIS), 0, ())
        await socket.send_bytes(self.welcome or encode(welcome))
        self.welcome = None
        self._socket = socket
        while True:
            message = await self._next(socket)
            self.heard.append(message)
            if isinstance(message, Query):
                await socket.send_bytes(encode(Reply(message.id, message.params)))

    async def _next(self, socket: web.WebSocketResponse) -> FromHouse:
        message = await socket.receive()
        if message.type is not aiohttp.WSMsgType.BINARY:
            raise ConnectionResetError
        return decode_from_house(message.data)


class RealHouse:
    """Endpoint, archive and link as a house has them."""

    def __init__(self, end: LaneEndpoint, link: LaneLink, running: asyncio.Task[None]) -> None:
        self.end = end
        self.link = link
        self.running = running

    async def is_linked(self) -> None:
        """Wait until the link is up, dialling at once."""
        async with asyncio.timeout(5):
            while not self.link.is_up:
                assert not self.running.done(), self.running
                self.link.prod()
                await asyncio.sleep(0.002)

    async def answers(self) -> bool:
        """Say whether the lane is asked and its answer heard, dialling again where needed."""
        async with asyncio.timeout(5):
            while True:
                await self.is_linked()
                with contextlib.suppress(EdgeError):
                    answer = await self.link.ask("echo", {"a": 1}, 2.0)
                    return answer == {"a": 1} if isinstance(answer, dict) else False


@contextlib.asynccontextmanager
async def real_house(folder: Path) -> AsyncIterator[tuple[RealHouse, RawLane]]:
    clock, dice = SystemClock(), SystemDice()
    archive = open_archive(folder / "archive.db", quota_bytes=QUOTA_BYTES)
    ledger = open_ledger(folder / "ledger.db")
    fleet = Fleet(
        "fleet", 0.0, SOVEREIGN.public, 1, RECOVERY.public, HOUSE.public, 1, "", 1, "",
        b"x" * 32, b"s" * 32, b"m" * 32,
    )  # fmt: skip

    async def lane_froze(freezes: tuple[Freeze, ...]) -> None:
        del freezes

    house = House(
        archive, ledger, clock, dice, fleet=lambda: fleet, freezes=FreezeSet, sign=HOUSE.sign,
        verify=verify, archived=lambda: None, lane_froze=lane_froze,
    )  # fmt: skip
    end = LaneEndpoint(house, KnownLane("a", LANE.public, f"ws+unix://{folder / 's'}", None))
    lane = RawLane(str(folder / "s"))
    await lane.start()
    link = LaneLink(end, clock, dice)
    running = asyncio.create_task(link.run())
    try:
        yield RealHouse(end, link, running), lane
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await lane.stop()
        await archive.close()
        await ledger.close()
