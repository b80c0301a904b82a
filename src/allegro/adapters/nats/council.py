"""The Council port over a JetStream key-value bucket that three lanes keep in agreement.

Reads go to the stream's leader, writes are compare-and-set by the sequence of the subject, so the
bucket behaves as one register a key (ADR-8 of NATS). No time-to-live is used: who holds a role
is decided by the lanes' own clocks. Every call has one time-out as a whole, because a call that a
broken connection swallowed never comes back, and because connecting counts too.

Whatever answers may be another lane's server, and stolen: each answer is read by a type of ours
with its ranges, and every call ends in a value or in an EdgeError.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, TypeVar

import msgspec
import nats.errors
import structlog
from msgspec import Meta
from nats.aio.client import Client
from nats.js.api import DiscardPolicy, RetentionPolicy, StorageType, StreamConfig

from allegro.core.authority.lease import Record, Slot
from allegro.core.base.errors import EdgeError
from allegro.core.base.untrusted import UNREADABLE, Unreadable, read_json
from allegro.core.effects.render import one_line
from allegro.core.protocol.pages import MAX_VALUE, Page, page_bytes, parsed, read_page

_log = structlog.get_logger()
T = TypeVar("T")
BUCKET = "allegro"
STREAM = "KV_" + BUCKET
SUBJECT = f"$KV.{BUCKET}."
REPLICAS = 3
MAX_BYTES = 4_000_000
MOVE_S = 0.1
WRONG_SEQUENCE = frozenset({10071, 10164})
NO_MESSAGE = 10037
NO_BUCKET = 404
EXPECTED = "Nats-Expected-Last-Subject-Sequence"
EXPECTED_STREAM = "Nats-Expected-Stream"
_API = "$JS.API.STREAM."
_WANTED = StreamConfig(
    name=STREAM,
    subjects=[SUBJECT + ">"],
    num_replicas=REPLICAS,
    max_msgs_per_subject=1,
    retention=RetentionPolicy.LIMITS,
    storage=StorageType.FILE,
    discard=DiscardPolicy.NEW,
    max_bytes=MAX_BYTES,
    max_msg_size=MAX_VALUE,
    deny_delete=True,
    deny_purge=True,
    allow_direct=False,
    allow_rollup_hdrs=False,
    duplicate_window=1,
    max_age=0,
).as_dict()
_COMPARED = (
    "subjects",
    "num_replicas",
    "max_msgs_per_subject",
    "retention",
    "storage",
    "discard",
    "max_bytes",
    "max_msg_size",
    "deny_delete",
    "deny_purge",
    "max_age",
)
_FAILURES = (
    TimeoutError,
    OSError,
    nats.errors.Error,
    asyncio.InvalidStateError,
    AssertionError,
    IndexError,
    *UNREADABLE,
)
"""What the client library raises: for a broken connection, and for bytes it did not expect."""

MAX_REVISION = 2**63 - 1
Revision = Annotated[int, Meta(ge=1, le=MAX_REVISION)]


class _Error(msgspec.Struct, frozen=True):
    code: int = 0
    err_code: int = 0
    description: str = ""


class _Message(msgspec.Struct, frozen=True):
    seq: Revision
    data: str = ""


class _Found(msgspec.Struct, frozen=True):
    """The answer to a read: the newest message of a subject, or why there is none."""

    message: _Message | None = None
    error: _Error | None = None


class _Stored(msgspec.Struct, frozen=True):
    """The answer to a write; a refusal has no revision, or revision 0."""

    seq: Annotated[int, Meta(ge=0, le=MAX_REVISION)] = 0
    error: _Error | None = None


class _Bucket(msgspec.Struct, frozen=True):
    """The answer to a question about the bucket, and to making it."""

    config: dict[str, Any] | None = None
    error: _Error | None = None


class _Led(msgspec.Struct, frozen=True):
    leader: str = ""


class _Replicas(msgspec.Struct, frozen=True):
    """The answer to a question about the bucket, as to who leads its replicas."""

    cluster: _Led | None = None


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
        self._has_bucket = False
        self._url = ""
        self._connecting = asyncio.Lock()

    async def read(self, role: str) -> Slot:
        revision, value = await self._in_time(self._get("role." + role))
        return Slot(revision, parsed(value, Record))

    async def write(self, role: str, record: Record, expected: int) -> int | None:
        value = msgspec.json.encode(record)
        return await self._in_time(self._put("role." + role, value, {EXPECTED: str(expected)}))

    async def publish(self, page: Page) -> None:
        await self._in_time(self._put("page." + page.lane, page_bytes(page, MAX_VALUE), {}))

    async def page(self, lane: str) -> tuple[int, Page | None]:
        revision, value = await self._in_time(self._get("page." + lane))
        return revision, read_page(value, lane)

    async def move_leader(self, gone: frozenset[str], to: str) -> None:
        """Have a leader of the bucket that is one of `gone` hand over to `to`; wait until it did.

        Raises EdgeError where it does not in time. Once it is cut off the others elect another by
        themselves, after 4 to 9 s.
        """
        await self._in_time(self._move_leader(gone, to))

    async def _move_leader(self, gone: frozenset[str], to: str) -> None:
        step_down = msgspec.json.encode({"placement": {"preferred": to}})
        while True:
            client = await self._connected()
            found = await self._said(client, f"{_API}INFO.{STREAM}", b"", _Replicas)
            if found.cluster is None or found.cluster.leader not in gone:
                return
            await client.publish(f"{_API}LEADER.STEPDOWN.{STREAM}", step_down)
            await asyncio.sleep(MOVE_S)

    async def close(self) -> None:
        """Leave; what cannot be said in time is not said."""
        client, self._client, self._has_bucket = self._client, None, False
        if client is not None:
            try:
                await asyncio.wait_for(client.close(), self._timeout_s)
            except _FAILURES as error:
                _log.info("council.not_closed", error=one_line(error))

    async def _in_time(self, call: Awaitable[T]) -> T:
        try:
            return await asyncio.wait_for(call, self._timeout_s)
        except EdgeError:
            raise
        except _FAILURES as error:
            raise _unanswered(str(error) or type(error).__name__) from error
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            raise _unanswered("the connection was given up") from error  # by the library alone

    async def _get(self, key: str) -> tuple[int, bytes]:
        question = msgspec.json.encode({"last_by_subj": SUBJECT + key})
        found = await self._ask(f"{_API}MSG.GET.{STREAM}", question, _Found)
        error = found.error
        if error is not None:
            if error.err_code == NO_MESSAGE:
                return 0, b""
            if error.code == NO_BUCKET:
                self._has_bucket = False  # the bucket itself is gone: look for it again
            raise _refused(error)
        if found.message is None:
            raise _unanswered("it names neither a message nor an error")
        try:
            value = base64.b64decode(found.message.data)
        except (binascii.Error, ValueError) as failure:
            raise _unanswered(f"what it stores is no base64: {failure}") from failure
        return found.message.seq, value[: MAX_VALUE + 1]

    async def _put(self, key: str, value: bytes, headers: dict[str, str]) -> int | None:
        headers = {**headers, EXPECTED_STREAM: STREAM}
        stored = await self._ask(SUBJECT + key, value, _Stored, headers)
        error = stored.error
        if error is not None:
            if error.err_code in WRONG_SEQUENCE:
                return None
            raise _refused(error)
        if not stored.seq:
            raise _unanswered("it names neither a revision nor an error")
        return stored.seq

    async def _ask(
        self, subject: str, payload: bytes, type_: type[T], headers: dict[str, str] | None = None
    ) -> T:
        return await self._said(await self._connected(), subject, payload, type_, headers)

    async def _said(
        self,
        client: Client,
        subject: str,
        payload: bytes,
        type_: type[T],
        headers: dict[str, str] | None = None,
    ) -> T:
        """Ask once; return the answer by its type. Raises EdgeError for one of another form."""
        reply = await client.request(subject, payload, timeout=self._timeout_s, headers=headers)
        answer = read_json(reply.data, type_)
        if isinstance(answer, Unreadable):
            raise _unanswered(f"its answer cannot be read: {answer}")
        return answer

    async def _connected(self) -> Client:
        """Return the client, connecting anew where the server is another or the link is broken."""
        async with self._connecting:
            access = self._access()
            if access is None:
                raise EdgeError("the council's server is not running here", transient=True)
            client = self._client
            is_up = client is not None and _reads(client) and access.url == self._url
            if client is not None and is_up and self._has_bucket:
                return client
            await self.close()
            client = await self._connect(access)
            await self._find_bucket(client)
            self._has_bucket, self._url = True, access.url
            return client

    async def _connect(self, access: Access) -> Client:
        async def note(error: Exception) -> None:
            _log.info("council.error", error=one_line(repr(error)))

        # kept before it is connected: an attempt that is given up is closed by the next one
        client = self._client = Client()
        await client.connect(
            access.url,
            nkeys_seed_str=access.seed,
            allow_reconnect=False,
            connect_timeout=max(1, round(self._timeout_s)),
            ping_interval=2,
            max_outstanding_pings=2,
            error_cb=note,
            name="allegro lane",
        )
        return client

    async def _find_bucket(self, client: Client) -> None:
        """Make the bucket where it is not. Raises EdgeError for one that was made otherwise."""
        found = await self._said(client, f"{_API}INFO.{STREAM}", b"", _Bucket)
        if found.error is not None and found.error.code == NO_BUCKET:
            wanted = msgspec.json.encode(_WANTED)
            made = await self._said(client, f"{_API}CREATE.{STREAM}", wanted, _Bucket)
            if made.error is not None:
                raise _refused(made.error)
            _log.warning("council.bucket_made")
            return
        if found.error is not None:
            raise _refused(found.error)
        config = found.config or {}
        wrong = [name for name in _COMPARED if config.get(name) != _WANTED[name]]
        if wrong:
            differs = ", ".join(f"{name} is {one_line(config.get(name), 40)}" for name in wrong)
            raise EdgeError(
                f"the council's bucket was not made by allegro: {differs}; "
                "sign a new roster to get another",
                transient=True,
                kind="foreign_bucket",
            )


def _reads(client: Client) -> bool:
    """Whether a client still takes in what its server says.

    Bytes that the library cannot read end its reader, and it stays connected and deaf.
    """
    reading = client._reading_task  # noqa: SLF001 (it is told in no other way)
    return client.is_connected and not (reading is not None and reading.done())


def _unanswered(why: str) -> EdgeError:
    return EdgeError(
        f"the council does not answer: {one_line(why)}", transient=True, kind="council"
    )


def _refused(error: _Error) -> EdgeError:
    return _unanswered(f"code={error.code} err_code={error.err_code} {error.description}")
