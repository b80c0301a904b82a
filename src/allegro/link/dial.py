"""The house's end of the link: dials a lane, takes its journal, asks and orders.

A thin shell: what to say and what to believe is the HouseEnd's and `handshake`'s.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Callable
from typing import Any, Protocol

import aiohttp
import structlog

from allegro.core.backoff import LINK
from allegro.core.errors import EdgeError, ProtocolError, Refusal
from allegro.core.messages import (
    MAX_LANE_FRAME,
    Ack,
    Batch,
    Challenge,
    ChallengeWanted,
    FromHouse,
    FromLane,
    GiveOrder,
    Greet,
    Hello,
    HouseBeat,
    LogIn,
    OrderAnswer,
    Query,
    Refused,
    Reply,
    Welcome,
)
from allegro.core.ports import Clock, Dice
from allegro.link.frames import decode_from_lane, encode
from allegro.link.timing import BEAT_S, DEAD_S, HANDSHAKE_S

_log = structlog.get_logger()
CONNECT_S = 4.0
QUEUE_BATCHES = 16


class HouseEnd(Protocol):
    """What the house says to one lane and does with what it hears."""

    name: str
    url: str
    pin: bytes | None

    def hello(self) -> Hello: ...
    async def log_in(self, greeting: Greet, hello: Hello) -> LogIn | Refusal: ...
    async def welcomed(self, welcome: Welcome) -> None: ...
    async def take(self, batches: list[Batch]) -> Ack | Refusal: ...
    async def hear(self, message: FromLane) -> None: ...
    def beat(self) -> HouseBeat: ...


class LaneLink:
    """Keeps one lane linked: `run` dials, and dials again, until cancelled."""

    def __init__(self, end: HouseEnd, clock: Clock, dice: Dice) -> None:
        self._end = end
        self._clock = clock
        self._dice = dice
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._waiting: dict[int, asyncio.Future[FromLane]] = {}
        self._ids = itertools.count(1)
        self.trouble = "not dialled yet"
        self.since_s = 0.0
        self._prodded = asyncio.Event()

    @property
    def is_up(self) -> bool:
        return self._socket is not None

    async def run(self) -> None:
        """Stay linked. Redials within a second once the path is back."""
        failures = 0
        while True:
            began_s = self._clock.boot_s()
            try:
                await self._once()
            except LinkRefused as refusal:
                self._down(str(refusal))
                failures = max(failures, 3)
            except (EdgeError, ProtocolError, aiohttp.ClientError, OSError, TimeoutError) as error:
                self._down(_words(error))
            failures = 0 if self._clock.boot_s() - began_s > DEAD_S else failures + 1
            self._prodded.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(
                    self._prodded.wait(), LINK.delay_s(failures, self._dice.fraction)
                )

    def prod(self) -> None:
        """Dial at once: the machine woke up, or the network changed."""
        self._prodded.set()

    async def ask(self, method: str, params: dict[str, Any], timeout_s: float = 20.0) -> Any:
        """Return the lane's answer to a query. Raises EdgeError; transient when not linked."""
        reply = await self._ask(lambda id_: Query(id_, method, params), timeout_s)
        if not isinstance(reply, Reply):
            raise EdgeError("the lane answered something else", transient=False)
        if reply.error:
            raise EdgeError(reply.error, transient=reply.transient)
        return reply.value

    async def challenge(self) -> str:
        """Return a fresh challenge of the lane's, to be quoted by one order."""
        reply = await self._ask(ChallengeWanted, 10.0)
        if not isinstance(reply, Challenge):
            raise EdgeError("the lane gave no challenge", transient=True)
        return reply.challenge

    async def order(self, make: Callable[[int], GiveOrder]) -> OrderAnswer:
        """Send an order and return whether the lane took it."""
        reply = await self._ask(make, 10.0)
        if not isinstance(reply, OrderAnswer):
            raise EdgeError("the lane answered something else", transient=False)
        return reply

    async def say(self, message: FromHouse) -> None:
        """Send what needs no answer. Raises EdgeError when not linked."""
        if self._socket is None:
            raise EdgeError(f"lane {self._end.name} is not linked", transient=True, sent=False)
        try:
            await self._socket.send_bytes(encode(message))
        except (ConnectionError, aiohttp.ClientError) as error:
            raise EdgeError(f"link lost: {error}", transient=True) from error

    async def _ask(self, make: Callable[[int], FromHouse], timeout_s: float) -> FromLane:
        id_ = next(self._ids)
        future: asyncio.Future[FromLane] = asyncio.get_running_loop().create_future()
        self._waiting[id_] = future
        try:
            await self.say(make(id_))
            return await asyncio.wait_for(future, timeout_s)
        except TimeoutError as error:
            raise EdgeError(f"lane {self._end.name} did not answer", transient=True) from error
        finally:
            self._waiting.pop(id_, None)

    async def _once(self) -> None:
        url, connector = _connector(self._end.url)
        tls: Any = aiohttp.Fingerprint(self._end.pin) if self._end.pin else True
        async with aiohttp.ClientSession(connector=connector) as session:
            socket = await asyncio.wait_for(
                session.ws_connect(url, ssl=tls, max_msg_size=MAX_LANE_FRAME, compress=0),
                CONNECT_S,
            )
            try:
                welcome = await asyncio.wait_for(self._enter(socket), HANDSHAKE_S)
                await self._stay(socket, welcome)
            finally:
                with contextlib.suppress(TimeoutError, ConnectionError):
                    await asyncio.wait_for(socket.close(), 0.5)

    async def _enter(self, socket: aiohttp.ClientWebSocketResponse) -> Welcome:
        hello = self._end.hello()
        await socket.send_bytes(encode(hello))
        greeting = await _receive(socket)
        if isinstance(greeting, Refused):
            raise LinkRefused(greeting.reason, greeting.detail)
        if not isinstance(greeting, Greet):
            raise ProtocolError("a lane must greet first")
        login = await self._end.log_in(greeting, hello)
        if isinstance(login, Refusal):
            raise LinkRefused(login.reason, login.detail)
        await socket.send_bytes(encode(login))
        answer = await _receive(socket)
        if isinstance(answer, Refused):
            raise LinkRefused(answer.reason, answer.detail)
        if not isinstance(answer, Welcome):
            raise ProtocolError("a lane must welcome or refuse")
        await self._end.welcomed(answer)
        return answer

    async def _stay(self, socket: aiohttp.ClientWebSocketResponse, welcome: Welcome) -> None:
        self._socket, self.trouble, self.since_s = socket, "", self._clock.now_s()
        _log.info("link.open", lane=self._end.name, after=welcome.after.seq, head=welcome.head)
        batches: asyncio.Queue[Batch] = asyncio.Queue(maxsize=QUEUE_BATCHES)
        taker = asyncio.create_task(self._take(batches))
        beater = asyncio.create_task(self._beat())
        try:
            await self._listen(socket, batches, taker)
        finally:
            self._socket = None
            for task in (taker, beater):
                task.cancel()
            results = await asyncio.gather(taker, beater, return_exceptions=True)
            for future in self._waiting.values():
                if not future.done():
                    future.set_exception(EdgeError("the link was lost", transient=True))
            for result in results:
                if isinstance(result, Exception):
                    raise result

    async def _listen(
        self,
        socket: aiohttp.ClientWebSocketResponse,
        batches: asyncio.Queue[Batch],
        taker: asyncio.Task[None],
    ) -> None:
        while not taker.done():
            message = await asyncio.wait_for(_receive(socket), DEAD_S)
            if isinstance(message, Batch):
                put = asyncio.create_task(batches.put(message))
                await asyncio.wait({put, taker}, return_when=asyncio.FIRST_COMPLETED)
                put.cancel()
            elif isinstance(message, Reply | Challenge | OrderAnswer):
                future = self._waiting.get(message.id)
                if future is not None and not future.done():
                    future.set_result(message)
            else:
                await self._end.hear(message)

    async def _take(self, batches: asyncio.Queue[Batch]) -> None:
        while True:
            gathered = [await batches.get()]
            while not batches.empty():
                gathered.append(batches.get_nowait())
            answer = await self._end.take(gathered)
            if isinstance(answer, Refusal):
                raise LinkRefused(answer.reason, answer.detail)
            for _ in gathered:
                await self.say(answer)

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(BEAT_S)
            await self.say(self._end.beat())

    def _down(self, why: str) -> None:
        if why != self.trouble:
            _log.warning("link.down", lane=self._end.name, reason=why)
        self.trouble = why


class LinkRefused(EdgeError):
    """One side will not talk to the other."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}", transient=False, kind=reason)


async def _receive(socket: aiohttp.ClientWebSocketResponse) -> FromLane:
    message = await socket.receive()
    if message.type is not aiohttp.WSMsgType.BINARY:
        raise EdgeError("the lane hung up", transient=True)
    return decode_from_lane(message.data)


def _connector(url: str) -> tuple[str, aiohttp.BaseConnector]:
    if url.startswith("ws+unix://"):
        path = url.removeprefix("ws+unix://")
        return "http://lane/link", aiohttp.UnixConnector(path=path)
    return url.rstrip("/") + "/link", aiohttp.TCPConnector()


def _words(error: Exception) -> str:
    """Return why there is no link; aiohttp's own words tell objects of its inside."""
    if isinstance(error, aiohttp.ClientConnectorError) and error.port:
        why = error.os_error.strerror or str(error.os_error) or type(error.os_error).__name__
        return f"cannot connect to {error.host}:{error.port}: {why}"
    return str(error) or type(error).__name__
