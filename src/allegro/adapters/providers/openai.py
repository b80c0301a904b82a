"""Calls model providers that speak OpenAI's chat API. Holds no key longer than a call."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import aiohttp

from allegro.adapters.bodies import read_whole
from allegro.core.base.errors import ConfigError, EdgeError
from allegro.core.ports import Upstream
from allegro.core.settings import ModelSettings, Rung

CHUNK = 65_536


class HttpProviders:
    """`read_key` returns the secret in a file, as configured; it is read anew for each call."""

    def __init__(self, settings: ModelSettings, read_key: Callable[[str], str]) -> None:
        self._settings = settings
        self._read_key = read_key
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def call(self, rung: Rung, body: bytes) -> Upstream:
        """Send a chat completion and return the answer once it began."""
        response = await self._send("POST", rung, "/chat/completions", body)
        return HttpUpstream(response)

    async def probe(self, rung: Rung) -> tuple[int, str]:
        """Ask a provider for its models: costs nothing, and tells a dead key from a wrong model."""
        response = await self._send("GET", rung, "/models", None)
        upstream = HttpUpstream(response)
        try:
            body = (await read_whole(response, 4 << 20)).decode("utf-8", "replace")
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise _edge(error) from error
        finally:
            await upstream.close()
        return response.status, body

    async def _send(
        self, method: str, rung: Rung, path: str, body: bytes | None
    ) -> aiohttp.ClientResponse:
        if self._session is None:
            self._session = aiohttp.ClientSession(read_bufsize=1 << 20, auto_decompress=True)
        headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
        if rung.key_file:
            try:
                headers["Authorization"] = f"Bearer {self._read_key(rung.key_file)}"
            except ConfigError as error:
                raise EdgeError(str(error), transient=True, kind="secret") from error
        timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=self._settings.connect_s, sock_read=self._settings.stall_s
        )
        try:
            return await self._session.request(
                method,
                rung.base_url.rstrip("/") + path,
                data=body,
                headers=headers,
                timeout=timeout,
                allow_redirects=False,
            )
        except (aiohttp.ClientError, OSError, TimeoutError, UnicodeError) as error:
            raise _edge(error) from error


class HttpUpstream:
    """One answer of a provider."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response

    @property
    def status(self) -> int:
        return self._response.status

    @property
    def headers(self) -> Mapping[str, str]:
        return self._response.headers

    async def read(self) -> bytes:
        """Return the next bytes, empty at the end. Raises EdgeError; kind `stalled` for silence."""
        try:
            return await self._response.content.readany()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise _edge(error) from error

    async def close(self) -> None:
        self._response.close()


def _edge(error: Exception) -> EdgeError:
    stalled = isinstance(error, aiohttp.SocketTimeoutError) and not isinstance(
        error, aiohttp.ConnectionTimeoutError
    )
    never_left = isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError)
    detail = type(error).__name__
    if isinstance(error, aiohttp.ClientConnectorError):
        detail = f"cannot connect: {error.os_error.strerror or type(error.os_error).__name__}"
    return EdgeError(
        detail,
        transient=True,
        kind="stalled" if stalled else "unreachable",
        sent=not never_left,
    )
