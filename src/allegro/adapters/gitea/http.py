"""One request to the forge: time-outs, size, redirects and errors settled in one place."""

from __future__ import annotations

import email.utils
import socket
import struct
import urllib.parse
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import aiohttp
import msgspec

from allegro.core.errors import EdgeError
from allegro.core.untrusted import number_of, whole_number

MAX_ANSWER_BYTES = 24 * 1024 * 1024
MAX_RETRY_AFTER_S = 86_400
_KINDS = {
    301: "redirected", 302: "redirected", 307: "redirected", 308: "redirected",
    401: "unauthorized", 403: "forbidden", 404: "not_found", 405: "not_allowed",
    409: "conflict", 412: "precondition", 413: "too_large", 422: "validation",
    423: "archived", 429: "rate_limited",
}  # fmt: skip

_LINGER_NOT = struct.pack("ii", 1, 0)
_USER_TIMEOUT = getattr(socket, "TCP_USER_TIMEOUT", None)  # Linux has it

T = TypeVar("T")


class Answer(msgspec.Struct, frozen=True):
    """A 2xx answer: `date_s` is the forge's clock (Unix s, 0 unknown), `total` X-Total-Count."""

    status: int
    body: bytes
    date_s: int
    total: int


class GiteaHttp:
    """The forge's HTTP API under one base URL and one token.

    The token is asked for on each request, so that a changed file counts at once. Redirects are
    never followed: a client that does turns a POST into a GET.
    """

    def __init__(self, url: str, token: Callable[[], str], *, timeout_s: float) -> None:
        self._base = url.rstrip("/") + "/api/v1"
        self._token = token
        self._timeout_s = timeout_s
        self._timeout = aiohttp.ClientTimeout(total=timeout_s, connect=min(3.0, timeout_s))
        self._session: aiohttp.ClientSession | None = None
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
        headers = {"Authorization": f"token {token or self._token()}", "Accept": "application/json"}
        raw = None if body is None else msgspec.json.encode(body)
        if raw is not None:
            headers["Content-Type"] = "application/json"
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
                content = await _read(response)
                return _settle(response, content, f"{method} {path}")
        except aiohttp.ClientConnectorError as error:
            raise EdgeError(
                f"{method} {path}: cannot connect: {error.strerror}",
                transient=True,
                sent=False,
                kind="connection",
            ) from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            told = str(error) or type(error).__name__
            raise EdgeError(
                f"{method} {path}: {told}", transient=True, kind="connection"
            ) from error

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

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

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
    try:
        return msgspec.json.decode(answer.body, type=type_)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise EdgeError(
            f"GET {path}: the answer is not what the API promises: {error}",
            transient=True,
            kind="garbage",
        ) from error


def quote(part: str) -> str:
    """Return a path part with everything escaped that is not a plain character."""
    return urllib.parse.quote(part, safe="")


async def _read(response: aiohttp.ClientResponse) -> bytes:
    chunks, size = [], 0
    async for chunk in response.content.iter_chunked(65_536):
        size += len(chunk)
        if size > MAX_ANSWER_BYTES:
            response.close()
            raise EdgeError("the answer is too large", transient=False, kind="too_large")
        chunks.append(chunk)
    return b"".join(chunks)


def _settle(response: aiohttp.ClientResponse, content: bytes, what: str) -> Answer:
    status = response.status
    if 200 <= status < 300:
        return Answer(status, content, _date_s(response), _total(response))
    kind = _KINDS.get(status, "server" if status >= 500 else "refused")
    raise EdgeError(
        f"{what}: {status} {_message(content)}".rstrip(),
        transient=status >= 500 or status == 429,
        status=status,
        kind=kind,
        retry_after_s=retry_after_s(response.headers),
    )


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Return what `Retry-After` asks for, at most a day; None where it is missing or unreadable.

    It holds seconds or a date (RFC 9110, 10.2.3); a date is measured by the answer's own `Date`.
    """
    text = headers.get("Retry-After", "")
    seconds = whole_number(text)
    if seconds is not None:
        return float(min(seconds, MAX_RETRY_AFTER_S))
    until_s, now_s = _unix_s(text), _unix_s(headers.get("Date", ""))
    if not until_s or not now_s:
        return None
    return float(min(max(0, until_s - now_s), MAX_RETRY_AFTER_S))


def _message(content: bytes) -> str:
    try:
        told = msgspec.json.decode(content)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return ""
    text = told.get("message") if isinstance(told, dict) else None
    return text[:500] if isinstance(text, str) else ""


def _date_s(response: aiohttp.ClientResponse) -> int:
    return _unix_s(response.headers.get("Date", ""))


def _unix_s(date: str) -> int:
    """Return the Unix seconds of an HTTP date, 0 for anything else."""
    try:
        return number_of(int(email.utils.parsedate_to_datetime(date).timestamp()))
    except (ValueError, TypeError, OverflowError):
        return 0


def _total(response: aiohttp.ClientResponse) -> int:
    total = whole_number(response.headers.get("X-Total-Count", ""))
    return -1 if total is None else total
