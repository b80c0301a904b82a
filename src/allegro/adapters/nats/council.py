"""The Council port over a JetStream key-value bucket that three lanes keep in agreement.

Reads go to the stream's leader, writes are compare-and-set by the sequence of the subject, so the
bucket behaves as one register a key (ADR-8 of NATS). No time-to-live is used: who holds a role
is decided by the lanes' own clocks. Every call has one time-out as a whole, because a call that a
broken connection swallowed never comes back, and because connecting counts too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import msgspec
import nats.errors
import structlog
from nats.aio.client import Client
from nats.js.api import DiscardPolicy, RetentionPolicy, StorageType, StreamConfig
from nats.js.client import JetStreamContext
from nats.js.errors import APIError, NotFoundError

from allegro.core.council import Page, parsed
from allegro.core.errors import EdgeError
from allegro.core.lease import Record, Slot

_log = structlog.get_logger()
T = TypeVar("T")
BUCKET = "allegro"
STREAM = "KV_" + BUCKET
SUBJECT = f"$KV.{BUCKET}."
REPLICAS = 3
MAX_VALUE = 32_768
MAX_BYTES = 4_000_000
WRONG_SEQUENCE = frozenset({10071, 10164})
NO_MESSAGE = 10037
EXPECTED = "Nats-Expected-Last-Subject-Sequence"
_WANTED = StreamConfig(
    name=STREAM, subjects=[SUBJECT + ">"], num_replicas=REPLICAS, max_msgs_per_subject=1,
    retention=RetentionPolicy.LIMITS, storage=StorageType.FILE, discard=DiscardPolicy.NEW,
    max_bytes=MAX_BYTES, max_msg_size=MAX_VALUE, deny_delete=True, deny_purge=True,
    allow_direct=False, allow_rollup_hdrs=False, duplicate_window=1, max_age=0,
)  # fmt: skip
_COMPARED = (
    "subjects", "num_replicas", "max_msgs_per_subject", "retention", "storage", "discard",
    "max_bytes", "max_msg_size", "deny_delete", "deny_purge", "max_age",
)  # fmt: skip


class Access(msgspec.Struct, frozen=True):
    """How the own server is reached: a loopback address, and the seed of the lane's nkey."""

    url: str
    seed: str


class NatsCouncil:
    """`access` says where the own server is now, None while it is not running."""

    def __init__(self, access: Callable[[], Access | None], *, timeout_s: float) -> None:
        self._access = access
        self._timeout_s = timeout_s
        self._client: Client | None = None
        self._stream: JetStreamContext | None = None
        self._url = ""
        self._connecting = asyncio.Lock()

    async def read(self, role: str) -> Slot:
        revision, value = await self._in_time(self._get("role." + role))
        return Slot(revision, parsed(value, Record))

    async def write(self, role: str, record: Record, expected: int) -> int | None:
        value = msgspec.json.encode(record)
        return await self._in_time(self._put("role." + role, value, {EXPECTED: str(expected)}))

    async def publish(self, page: Page) -> None:
        await self._in_time(self._put("page." + page.lane, msgspec.json.encode(page), {}))

    async def page(self, lane: str) -> tuple[int, Page | None]:
        revision, value = await self._in_time(self._get("page." + lane))
        return revision, parsed(value, Page)

    async def close(self) -> None:
        """Leave; what cannot be said in time is not said."""
        client, self._client, self._stream = self._client, None, None
        if client is not None:
            try:
                await asyncio.wait_for(client.close(), self._timeout_s)
            except (TimeoutError, OSError, nats.errors.Error) as error:
                _log.info("council.not_closed", error=repr(error))

    async def _in_time(self, call: Awaitable[T]) -> T:
        try:
            return await asyncio.wait_for(call, self._timeout_s)
        except (TimeoutError, OSError, nats.errors.Error) as error:
            text = str(error) or type(error).__name__
            raise EdgeError(
                f"the council does not answer: {text}", transient=True, kind="council"
            ) from error

    async def _get(self, key: str) -> tuple[int, bytes]:
        stream = await self._connected()
        try:
            found = await stream.get_last_msg(STREAM, SUBJECT + key)
        except NotFoundError as error:
            if error.err_code == NO_MESSAGE:
                return 0, b""
            self._stream = None  # the bucket itself is gone: look for it again
            raise
        if found.seq is None:
            raise EdgeError("the council's answer has no revision", transient=True)
        return found.seq, (found.data or b"")[: MAX_VALUE + 1]

    async def _put(self, key: str, value: bytes, headers: dict[str, str]) -> int | None:
        stream = await self._connected()
        try:
            done = await stream.publish(
                SUBJECT + key, value, timeout=self._timeout_s, headers=headers, stream=STREAM
            )
        except APIError as error:
            if error.err_code in WRONG_SEQUENCE:
                return None
            raise
        return int(done.seq)

    async def _connected(self) -> JetStreamContext:
        """Return the bucket, connecting anew where the server is another or the link is broken."""
        async with self._connecting:
            access = self._access()
            if access is None:
                raise EdgeError("the council's server is not running here", transient=True)
            client = self._client
            is_up = client is not None and client.is_connected and access.url == self._url
            if self._stream is not None and is_up:
                return self._stream
            await self.close()
            client = await self._connect(access)
            stream = client.jetstream(timeout=self._timeout_s)
            await _make_bucket(stream)
            self._stream, self._url = stream, access.url
            return stream

    async def _connect(self, access: Access) -> Client:
        async def told(error: Exception) -> None:
            _log.info("council.error", error=repr(error))

        # kept before it is connected: an attempt that is given up is closed by the next one
        client = self._client = Client()
        await client.connect(
            access.url, nkeys_seed_str=access.seed, allow_reconnect=False,
            connect_timeout=max(1, round(self._timeout_s)), ping_interval=2,
            max_outstanding_pings=2, error_cb=told, name="allegro lane",
        )  # fmt: skip
        return client


async def _make_bucket(stream: JetStreamContext) -> None:
    """Make the bucket where it is not. Raises EdgeError for one that was made otherwise."""
    try:
        found = (await stream.stream_info(STREAM)).config
    except NotFoundError:
        await stream.add_stream(_WANTED)
        _log.warning("council.bucket_made")
        return
    wrong = [name for name in _COMPARED if getattr(found, name) != getattr(_WANTED, name)]
    if wrong:
        told = ", ".join(f"{name} is {getattr(found, name)}" for name in wrong)
        raise EdgeError(
            f"the council's bucket was not made by allegro: {told}; sign a new roster to get another",
            transient=True, kind="foreign_bucket",
        )  # fmt: skip
