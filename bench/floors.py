"""What nothing can beat here: an append with fsync, and a WebSocket that stores nothing."""

from __future__ import annotations

import asyncio
import os
import ssl
import time
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from allegro.adapters.crypto.tls import make_certificate, pin_of, server_context
from bench import measure
from bench.child import Child, obey
from bench.measure import Lag, lag_ms

EVENT = b"x" * 500


def fsync_loop(folder: Path, seconds: float) -> tuple[Lag, float]:
    """Append 500 bytes and fsync, over and over; return the time of one, and how many a second."""
    took_ns: list[int] = []
    handle = os.open(folder / "fsync.bin", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        until_s = time.monotonic() + seconds
        while time.monotonic() < until_s:
            began_ns = time.monotonic_ns()
            os.write(handle, EVENT)
            os.fsync(handle)
            took_ns.append(time.monotonic_ns() - began_ns)
    finally:
        os.close(handle)
    return lag_ms(took_ns), len(took_ns) / (sum(took_ns) / 1e9)


class EchoServer:
    """The other end, as a process: aiohttp over TLS, answers what it hears."""

    async def open(self, folder: str) -> dict[str, Any]:
        certificate, key = Path(folder) / "echo.crt", Path(folder) / "echo.key"
        make_certificate(certificate, key, "echo", time.time())
        app = web.Application()
        app.router.add_get("/", self._serve)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        context: ssl.SSLContext = server_context(certificate, key)
        await web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=context).start()
        return {"port": self._runner.addresses[0][1], "pin": pin_of(certificate).hex()}

    async def _serve(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(compress=False)
        await socket.prepare(request)
        async for message in socket:
            await socket.send_bytes(message.data)
        return socket


async def echo(server: Child, folder: Path, rate: float, seconds: float) -> Lag:
    """Return the round trip of 500 bytes at a rate, from this process to `server` and back."""
    answer = await server.ask("open", folder=str(folder))
    pin = aiohttp.Fingerprint(bytes.fromhex(answer["pin"]))
    url = f"wss://127.0.0.1:{answer['port']}/"
    births: list[int] = []
    lags: list[int] = []
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(url, ssl=pin, compress=0) as socket,
    ):
        outbox: asyncio.Queue[bytes] = asyncio.Queue()

        def born(birth_ns: int) -> None:
            births.append(birth_ns)
            outbox.put_nowait(EVENT)

        async def send() -> None:
            while True:
                await socket.send_bytes(await outbox.get())

        async def hear() -> None:
            for n in range(int(rate * seconds)):
                await socket.receive_bytes()
                lags.append(time.monotonic_ns() - births[n])

        sender, hearer = asyncio.create_task(send()), asyncio.create_task(hear())
        await measure.pace(rate, seconds, born)
        await hearer
        sender.cancel()
    return lag_ms(lags)


if __name__ == "__main__":
    obey(EchoServer)
