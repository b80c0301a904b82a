"""Serves an HTTP application of a lane on an address of its configuration."""

from __future__ import annotations

from aiohttp import web

from allegro.core.base.errors import ConfigError


class Page:
    """An application that is served from `start` to `stop`."""

    def __init__(self, app: web.Application, listen: str) -> None:
        """`listen` is `host:port`; an IPv6 address stands in brackets."""
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        self._listen = listen
        self._is_served = False

    async def start(self) -> None:
        """Listen. Raises ConfigError where the address cannot be had."""
        self._is_served = True
        await self._runner.setup()
        host, _, port = self._listen.rpartition(":")
        try:
            await web.TCPSite(self._runner, host.strip("[]"), int(port)).start()
        except OSError as error:
            raise ConfigError((f"cannot listen on {self._listen}: {error}",)) from error

    async def stop(self) -> None:
        if self._is_served:
            await self._runner.cleanup()
