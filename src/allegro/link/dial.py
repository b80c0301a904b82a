"""The house's end of the link: dials a lane, takes its journal, asks and orders.

A thin shell: what to say and what to believe is the HouseEnd's and `handshake`'s.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import math
from collections.abc import Callable
from typing import Any, get_args

import aiohttp
import msgspec
import structlog

from allegro.core.base.backoff import LINK
from allegro.core.base.errors import EdgeError, ProtocolError, Refusal
from allegro.core.ports import Clock, Dice
from allegro.core.protocol.messages import (
    MAX_LANE_FRAME,
    OLDEST_PROTOCOL,
    PROTOCOL,
    WHOLE_BYTES,
    Batch,
    Bulk,
    Challenge,
    ChallengeWanted,
    FromHouse,
    FromLane,
    GiveOrder,
    Greet,
    OrderAnswer,
    Query,
    Refused,
    Reply,
    Welcome,
)
from allegro.core.protocol.queries import Params
from allegro.link.asks import Asks
from allegro.link.blobs import HOUSE_BYTES, Blobs
from allegro.link.ends import HouseEnd, LinkRefused
from allegro.link.entry import Entering, Newcomer
from allegro.link.frames import decode_from_lane, encode
from allegro.link.timing import BEAT_S, DEAD_S, WINDOW_BATCHES
from allegro.link.traffic import Arrived, Traffic, lost
from allegro.link.websocket import LinkSocket, connector_of, words_of

_log = structlog.get_logger()
CONNECT_S = 4.0
HELD_S = 0.5
"""After a link that held so long the house dials again at once: a cut is no failure."""
AT_ONCE = 4_000
"""So many entries of a lane go into one commit, then another lane has its turn."""
ASK_S = 20.0
ANSWER_S = 10.0
_BULK = get_args(Bulk)
_LOST = (
    EdgeError,
    ProtocolError,
    aiohttp.ClientError,
    OSError,
    TimeoutError,
    UnicodeError,  # of an address whose host is no name
)


class LaneLink:
    """Keeps one lane linked: `run` dials, and dials again, until cancelled."""

    def __init__(self, end: HouseEnd, clock: Clock, dice: Dice) -> None:
        self._end = end
        self._clock = clock
        self._dice = dice
        self._traffic: Traffic | None = None
        self._blobs = Blobs(HOUSE_BYTES)
        self._asks = Asks(end.name)
        self._protocol = PROTOCOL
        self.trouble = "not dialled yet"
        self.since_s = 0.0
        self.down_s = 0.0
        self._prodded = asyncio.Event()
        self._up = asyncio.Event()
        self._up_s = math.inf

    @property
    def is_up(self) -> bool:
        return self._traffic is not None

    @property
    def held_bytes(self) -> int:
        """The bytes of this lane's long messages that are here or were announced."""
        return self._blobs.reserved

    async def run(self) -> None:
        """Stay linked. Redials within a second once the path is back."""
        failures = 0
        while True:
            self._up_s = math.inf
            try:
                await self._once()
            except LinkRefused as refusal:
                if self._can_speak_older(refusal):
                    continue
                self._down(str(refusal))
                failures = max(failures, 3)
            except _LOST as error:
                self._down(words_of(error))
            self._protocol = PROTOCOL
            failures = 0 if self._clock.boot_s() - self._up_s > HELD_S else failures + 1
            self._prodded.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(
                    self._prodded.wait(), LINK.delay_s(failures, self._dice.fraction)
                )

    def _can_speak_older(self, refusal: LinkRefused) -> bool:
        """Say whether to dial at once with an older protocol number, and take it."""
        if refusal.kind != "wrong_protocol" or self._protocol <= OLDEST_PROTOCOL:
            return False
        self._protocol -= 1
        return True

    async def is_up_within(self, seconds: float) -> bool:
        """Wait for the link; say whether it is up."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._up.wait(), seconds)
        return self.is_up

    def prod(self) -> None:
        """Dial at once: the machine woke up, or the network changed."""
        self._prodded.set()

    async def ask(self, method: str, params: Params, timeout_s: float = ASK_S) -> Any:
        """Return the lane's answer to a query. Raises EdgeError; transient when not linked.

        `timeout_s` counts from when the whole question has left, and anew with each piece of a
        long answer.
        """
        with self._asks.begin() as ask:
            query = encode(Query(0, method, dict(params)))
            if self._in_pieces(query):
                await self._linked().send_whole(ask.id, query)
            else:
                await self.say(Query(ask.id, method, dict(params)))
            reply = await ask.answer(Reply, timeout_s)
        if reply.error:
            raise EdgeError(reply.error, transient=reply.transient)
        return reply.value

    async def send_ahead(self, content: bytes) -> str | None:
        """Bring an order's content to the lane; return the digest the order may name it by.

        Takes as long as the line needs; a next try goes on where this one stopped. None where the
        content is short, or the lane too old: it travels in the order itself.
        """
        if not self._in_pieces(content):
            return None
        await self._linked().send_whole(0, content, keep=True)
        return hashlib.sha256(content).hexdigest()

    async def challenge(self) -> str:
        """Return a fresh challenge of the lane's, to be quoted by one order."""
        with self._asks.begin() as ask:
            await self.say(ChallengeWanted(ask.id))
            return (await ask.answer(Challenge, ANSWER_S)).challenge

    async def order(self, make: Callable[[int], GiveOrder]) -> OrderAnswer:
        """Send an order and return whether the lane took it."""
        with self._asks.begin() as ask:
            await self.say(make(ask.id))
            return await ask.answer(OrderAnswer, ANSWER_S)

    async def say(self, message: FromHouse) -> None:
        """Send what needs no answer, at once. Raises EdgeError when not linked."""
        await self._linked().say(message)

    def _linked(self) -> Traffic:
        if self._traffic is None:
            raise EdgeError(f"lane {self._end.name} is not linked", transient=True, sent=False)
        return self._traffic

    def _in_pieces(self, raw: bytes) -> bool:
        return len(raw) > WHOLE_BYTES and self._linked().has_receipts

    async def _once(self) -> None:
        url, connector = connector_of(self._end.url)
        tls: Any = aiohttp.Fingerprint(self._end.pin) if self._end.pin else True
        async with aiohttp.ClientSession(
            connector=connector, ws_response_class=LinkSocket
        ) as session:
            dialled = session.ws_connect(url, ssl=tls, max_msg_size=MAX_LANE_FRAME, compress=0)
            socket = await asyncio.wait_for(dialled, CONNECT_S)
            assert isinstance(socket, LinkSocket)
            try:
                welcome = await Newcomer(socket.tap, Entering()).within(self._enter(socket))
                await self._stay(socket, welcome)
            finally:
                socket.tap.unwatch()
                with contextlib.suppress(TimeoutError, ConnectionError):
                    await asyncio.wait_for(socket.close(), 0.5)
                socket.tap.abort()  # a lane that reads nothing would keep it for ever

    async def _enter(self, socket: LinkSocket) -> Welcome:
        hello = msgspec.structs.replace(self._end.hello(), protocol=self._protocol)
        await socket.send_bytes(encode(hello))
        greeting = decode_from_lane(await socket.frame())
        if isinstance(greeting, Refused):
            raise LinkRefused(greeting.reason, greeting.detail)
        if not isinstance(greeting, Greet):
            raise ProtocolError("a lane must greet first")
        login = await self._end.log_in(greeting, hello)
        if isinstance(login, Refusal):
            raise LinkRefused(login.reason, login.detail)
        await socket.send_bytes(encode(login))
        answer = decode_from_lane(await socket.frame())
        if isinstance(answer, Refused):
            raise LinkRefused(answer.reason, answer.detail)
        if not isinstance(answer, Welcome):
            raise ProtocolError("a lane must welcome or refuse")
        await self._end.welcomed(answer)
        return answer

    async def _stay(self, socket: LinkSocket, welcome: Welcome) -> None:
        traffic = Traffic(
            socket.write,
            socket.tap,
            self._blobs,
            receipts=self._protocol > 1,
            moved=self._asks.moved,
        )
        self._traffic, self.trouble, self.since_s = traffic, "", self._clock.now_s()
        self._up_s = self._clock.boot_s()
        self._up.set()
        _log.info("link.open", lane=self._end.name, after=welcome.after.seq, head=welcome.head)
        batches: asyncio.Queue[Batch] = asyncio.Queue(maxsize=WINDOW_BATCHES + 2)
        taker = asyncio.create_task(self._take(batches))
        beater = asyncio.create_task(self._beat())
        socket.tap.watch(DEAD_S)
        try:
            while not taker.done():
                frame = await socket.frame()
                await self._handle(decode_from_lane(frame), len(frame), batches, socket, taker)
        finally:
            self._traffic, self.down_s = None, self._clock.now_s()
            self._up.clear()
            traffic.close()
            for task in (taker, beater):
                task.cancel()
            results = await asyncio.gather(taker, beater, return_exceptions=True)
            self._asks.lost(lost())
            for result in results:
                if isinstance(result, Exception):
                    raise result

    async def _handle(
        self,
        message: FromLane,
        size: int,
        batches: asyncio.Queue[Batch],
        socket: LinkSocket,
        taker: asyncio.Task[None],
    ) -> None:
        traffic = self._linked()
        if isinstance(message, _BULK):
            arrived = await traffic.hear(message, size)
            if arrived is None:
                return
            message = _whole(arrived)
        elif isinstance(message, Batch):
            await traffic.got_bulk(size)
        if isinstance(message, Reply | Challenge | OrderAnswer):
            self._asks.answered(message)
        elif not isinstance(message, Batch):
            await self._end.hear(message)
        elif batches.full():
            with socket.tap.unjudged():
                put = asyncio.create_task(batches.put(message))
                await asyncio.wait({put, taker}, return_when=asyncio.FIRST_COMPLETED)
                put.cancel()
        else:
            batches.put_nowait(message)

    async def _take(self, batches: asyncio.Queue[Batch]) -> None:
        while True:
            gathered = [await batches.get()]
            while not batches.empty() and sum(len(one.entries) for one in gathered) < AT_ONCE:
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


def _whole(arrived: Arrived) -> FromLane:
    """Read a message that came in pieces."""
    message = decode_from_lane(arrived.raw)
    if isinstance(message, Reply):
        return msgspec.structs.replace(message, id=arrived.id)
    if isinstance(message, Batch):
        return message
    raise ProtocolError("only replies and batches of a lane travel in pieces")
