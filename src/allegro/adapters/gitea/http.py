"""One request to the forge: time-outs, size, redirects, waits and errors settled in one place."""

from __future__ import annotations

import asyncio
import socket
import struct
import urllib.parse
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import aiohttp
import msgspec

from allegro.adapters.gitea import headers as response_headers
from allegro.adapters.gitea.redaction import BLOT, blotted
from allegro.core.base.errors import EdgeError
from allegro.core.base.untrusted import Unreadable, read_json, text_of

MAX_ANSWER_BYTES = 24 * 1024 * 1024
HEAD_BYTES = 8 * 1024
MAX_WORDS = 500
SECRETS_KEPT = 8
LONGEST_WAIT_S = 3600.0
_SURE = 16
_KINDS = {
    301: "redirected",
    302: "redirected",
    307: "redirected",
    308: "redirected",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "not_allowed",
    409: "conflict",
    412: "precondition",
    413: "too_large",
    422: "validation",
    423: "archived",
    429: "rate_limited",
}
_WHOLE_FORGE_WAITS = {403, 429, 503}

_LINGER_NOT = struct.pack("ii", 1, 0)
_USER_TIMEOUT = getattr(socket, "TCP_USER_TIMEOUT", None)  # Linux has it

T = TypeVar("T")


class Answer(msgspec.Struct, frozen=True):
    """A 2xx answer: `date_s` is the forge's clock (Unix s, 0 unknown), `total` X-Total-Count.

    `total` is -1 where it is not told; `more` says whether the Link header names a next page,
    None without one.
    """

    status: int
    body: bytes
    date_s: int
    total: int
    more: bool | None = None


class TooLarge(EdgeError):
    """An answer over `MAX_ANSWER_BYTES`; `head` are its first bytes."""

    def __init__(self, message: str, head: bytes) -> None:
        super().__init__(message, transient=False, kind="too_large")
        self.head = head


class _ErrorBody(msgspec.Struct):
    message: Any = None


class GiteaHttp:
    """The forge's HTTP API under one base URL and one token.

    The token is asked for on each request, so that a changed file counts at once. Redirects are
    never followed: a client that does turns a POST into a GET. Once the forge asked us to wait
    (Retry-After with 403, 429 or 503), nothing is sent to it before that time, for an hour at
    most. No error carries a token that was sent.
    `boot_s` is a clock that never jumps, the event loop's own by default.
    """

    def __init__(
        self,
        url: str,
        token: Callable[[], str],
        *,
        timeout_s: float,
        boot_s: Callable[[], float] | None = None,
        max_answer_bytes: int = MAX_ANSWER_BYTES,
    ) -> None:
        self._base = url.rstrip("/") + "/api/v1"
        self._token = token
        self._timeout_s = timeout_s
        self._boot_s = boot_s
        self._max_answer_bytes = max_answer_bytes
        self._timeout = aiohttp.ClientTimeout(total=timeout_s, connect=min(3.0, timeout_s))
        self._session: aiohttp.ClientSession | None = None
        self._secrets: deque[str] = deque(maxlen=SECRETS_KEPT)
        self._not_before_s = float("-inf")
        self.requests = 0

    async def call(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str | int] | None = None,
        body: Any = None,
        token: str | None = None,
        follow: bool = False,
    ) -> Answer:
        """Send one request. Raises EdgeError for every answer but 2xx and for none at all.

        `follow` follows redirects, for a GET that asks where a renamed repository went.
        """
        what = f"{method} {path}"
        headers = self._headers(token, what)
        raw = None if body is None else msgspec.json.encode(body)
        if raw is not None:
            headers["Content-Type"] = "application/json"
        self._keep_waiting(what)
        self.requests += 1
        try:
            async with self._open().request(
                method,
                self._base + path,
                params=params,
                data=raw,
                headers=headers,
                allow_redirects=follow and method == "GET",
            ) as response:
                content = await _read(response, what, self._max_answer_bytes)
        except aiohttp.ClientConnectorError as error:
            raise self._failed(f"{what}: cannot connect: {error.strerror}", sent=False) from None
        except (aiohttp.ClientError, TimeoutError, OSError, UnicodeError) as error:
            # UnicodeError: a redirect to a host that is no name
            raise self._failed(f"{what}: {str(error) or type(error).__name__}") from None
        return self._settle(response, content, what)

    async def get(self, path: str, type_: type[T], **params: str | int) -> T:
        """Read one value. Raises EdgeError, also for JSON that is not of this shape."""
        return decode(await self.call("GET", path, params=params), type_, path)

    async def find(self, path: str, type_: type[T], **params: str | int) -> T | None:
        """Read one value, None when the forge says 404."""
        try:
            return await self.get(path, type_, **params)
        except EdgeError as error:
            if error.kind == "not_found":
                return None
            raise

    def clean(self, text: str) -> str:
        """Return a forge's words without the tokens that were sent to it."""
        return blotted(text, self._secrets)

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    def _headers(self, token: str | None, what: str) -> dict[str, str]:
        secret = token or self._token()
        if not (secret.isascii() and secret.isprintable()):
            raise EdgeError(
                f"{what}: the token holds what no token holds: spaces, line ends or odd signs",
                transient=True,
                sent=False,
                kind="secret",
            )
        if secret not in self._secrets:
            self._secrets.append(secret)
        return {"Authorization": f"token {secret}", "Accept": "application/json"}

    def _now_s(self) -> float:
        return self._boot_s() if self._boot_s else asyncio.get_running_loop().time()

    def _keep_waiting(self, what: str) -> None:
        left_s = self._not_before_s - self._now_s()
        if left_s > 0:
            raise EdgeError(
                f"{what}: not sent: the forge asked us to wait {left_s:.0f} s more",
                transient=True,
                sent=False,
                kind="waiting",
                retry_after_s=left_s,
            )

    def _failed(self, message: str, *, sent: bool = True) -> EdgeError:
        return EdgeError(self.clean(message), transient=True, sent=sent, kind="connection")

    def _settle(self, response: aiohttp.ClientResponse, content: bytes, what: str) -> Answer:
        status, headers = response.status, response.headers
        date_s = response_headers.date_s(headers.get("Date"))
        if 200 <= status < 300:
            total, more = (
                response_headers.total(headers.get("X-Total-Count")),
                response_headers.has_next(headers.get("Link")),
            )
            return Answer(status, self._without_secrets(content), date_s, total, more)
        wait_s = response_headers.retry_after_s(headers)
        if wait_s and status in _WHOLE_FORGE_WAITS:
            until_s = self._now_s() + min(wait_s, LONGEST_WAIT_S)
            self._not_before_s = max(self._not_before_s, until_s)
        raise EdgeError(
            self.clean(f"{what}: {status} {_message(content)}".rstrip()),
            transient=status >= 500 or status == 429 or bool(wait_s),
            status=status,
            kind=_KINDS.get(status, "server" if status >= 500 else "refused"),
            retry_after_s=wait_s,
        )

    def _without_secrets(self, content: bytes) -> bytes:
        """Take whole tokens out of an answer: its words are kept, shown and sealed."""
        for secret in self._secrets:
            if len(secret) >= _SURE:
                content = content.replace(secret.encode(), BLOT.encode())
        return content

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None or self._session.closed:
            connector = aiohttp.TCPConnector(
                socket_factory=lambda place: abortive_socket(place[0], place[1], self._timeout_s)
            )
            self._session = aiohttp.ClientSession(
                connector=connector, timeout=self._timeout, cookie_jar=aiohttp.DummyCookieJar()
            )
        return self._session


def abortive_socket(family: int, kind: int, timeout_s: float) -> socket.socket:
    """Return a TCP socket whose unsent words die with it, and after `timeout_s` at the latest.

    A kernel goes on sending what a program wrote before it closed, or was stopped: over a line that
    was cut, a write that was given up would arrive when it is mended, minutes later (G10).
    """
    made = socket.socket(family, kind)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
    if _USER_TIMEOUT is not None:
        made.setsockopt(socket.IPPROTO_TCP, _USER_TIMEOUT, int(timeout_s * 1000))
    return made


def decode(answer: Answer, type_: type[T], path: str) -> T:
    """Read an answer's JSON. Raises EdgeError (`garbage`) when it is not of this shape."""
    value = read_json(answer.body, type_)
    if isinstance(value, Unreadable):
        raise EdgeError(
            f"GET {path}: the answer is not what the API promises: {value}",
            transient=True,
            kind="garbage",
        )
    return value


def quote(part: str) -> str:
    """Return a path part with everything escaped that is not a plain character."""
    return urllib.parse.quote(part, safe="", errors="replace")


async def _read(response: aiohttp.ClientResponse, what: str, max_bytes: int) -> bytes:
    chunks, size = [], 0
    async for chunk in response.content.iter_chunked(65_536):
        size += len(chunk)
        chunks.append(chunk)
        if size > max_bytes:
            response.close()
            limit = f"more than {max_bytes // 1024} KiB"
            head = chunks[0][:HEAD_BYTES]
            raise TooLarge(f"{what}: the answer is too large: {limit}", head)
    return b"".join(chunks)


def _message(content: bytes) -> str:
    body = read_json(content, _ErrorBody)
    return "" if isinstance(body, Unreadable) else text_of(body.message, MAX_WORDS)
