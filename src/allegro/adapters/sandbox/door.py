"""An HTTP application at a Unix socket that a stranger may reach, with a limit on connections."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from aiohttp import web

BACKLOG = 16


class _Refused(asyncio.Protocol):
    """A connection too many: ended at once."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.abort()


async def open_door(
    app: web.Application, path: Path, *, most: int, mode: int
) -> Callable[[], Awaitable[None]]:
    """Serve `app` at `path` to at most `most` connections; return what closes it.

    `most` is passed by a burst of BACKLOG at the worst.
    """
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5, handler_cancellation=True)
    await runner.setup()
    server = runner.server
    assert server is not None

    def accept() -> asyncio.Protocol:
        return server() if len(server.connections) < most else _Refused()

    listening = await asyncio.get_running_loop().create_unix_server(
        accept, str(path), backlog=BACKLOG
    )
    path.chmod(mode)  # noqa: ASYNC240 (once, at start)

    async def close() -> None:
        listening.close()
        await runner.cleanup()

    return close
