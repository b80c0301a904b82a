"""One HTTP call to a Unix socket of this same machine, read piece by piece."""

from __future__ import annotations

from pathlib import Path

import aiohttp

from allegro.core.base.errors import EdgeError

PIECE = 256 * 1024


class LocalAnswer:
    """An answer that has begun. `read` gives what is there, at least one byte; empty is the end."""

    def __init__(self, session: aiohttp.ClientSession, response: aiohttp.ClientResponse) -> None:
        self._session = session
        self._response = response
        self.status = response.status
        self.retry_after = response.headers.get("Retry-After", "")
        self.content_type = response.headers.get("Content-Type", "application/octet-stream")

    async def read(self) -> bytes:
        """Raises EdgeError when the answer broke off."""
        try:
            return await self._response.content.read(PIECE)
        except (aiohttp.ClientError, OSError) as error:
            raise EdgeError(f"the answer broke off: {error!r}", transient=True) from error

    async def close(self) -> None:
        self._response.close()
        await self._session.close()


async def call_local(
    socket: Path, method: str, path: str, authorization: str, body: bytes
) -> LocalAnswer:
    """Begin a call. Raises EdgeError when nobody answers there."""
    session = aiohttp.ClientSession(connector=aiohttp.UnixConnector(path=str(socket)))
    try:
        response = await session.request(
            method,
            f"http://local{path}",
            data=body or None,
            headers={"Authorization": authorization, "Content-Type": "application/json"},
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=5),
        )
    except BaseException as error:
        await session.close()
        if isinstance(error, aiohttp.ClientError | OSError | ValueError):
            text = f"the model proxy does not answer: {error!r}"
            raise EdgeError(text, transient=not isinstance(error, ValueError)) from error
        raise
    return LocalAnswer(session, response)
