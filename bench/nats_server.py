"""A NATS server with JetStream, as a child that ends with its parent's stage."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path


def binary() -> str | None:
    """Return where nats-server is: beside this Python or on PATH; None when it is nowhere."""
    beside = Path(sys.executable).with_name("nats-server")
    return str(beside) if beside.exists() else shutil.which("nats-server")


@contextlib.asynccontextmanager
async def server(folder: Path, *, sync_always: bool) -> AsyncIterator[str]:
    """Run a server on a port of its own choosing; yield its address."""
    found = binary()
    assert found is not None
    folder.mkdir(parents=True)
    sync = "always" if sync_always else "2m"
    config = folder / "nats.conf"
    config.write_text(
        "listen: 127.0.0.1:-1\nmax_payload: 1MB\nmax_pending: 64MB\n"
        f'ports_file_dir: "{folder}"\n'
        f'jetstream {{ store_dir: "{folder / "store"}", sync_interval: {sync} }}\n'
    )
    with (folder / "server.log").open("wb") as log:
        child = await asyncio.create_subprocess_exec(
            found, "-c", str(config), stdout=log, stderr=log, stdin=asyncio.subprocess.DEVNULL
        )
    try:
        yield await _address(folder / f"nats-server_{child.pid}.ports")
    finally:
        child.terminate()
        await child.wait()


async def _address(ports: Path) -> str:
    until_s = time.monotonic() + 10
    while time.monotonic() < until_s:
        with contextlib.suppress(OSError, ValueError):
            return str(json.loads(ports.read_text())["nats"][0])
        await asyncio.sleep(0.02)
    raise RuntimeError("nats-server did not start")
