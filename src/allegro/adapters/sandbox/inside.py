"""Runs inside the sandbox, on Hermes' own Python: starts the gateway and carries bytes.

Standard library only, and nothing of ours: this file is handed in through a descriptor. The
network of the sandbox is its own, so two doors lead out, both Unix sockets that the lane owns:
the lane reaches Hermes through an inherited listening socket, Hermes reaches the model proxy
(and, where destinations are configured, a CONNECT proxy) through a socket at a fixed path.

The first line of standard input is a JSON object: `argv`, `api_fd`, `api_port`, `doors` (pairs of
loopback port and socket path), `environment` (secrets: they never stand in /proc/*/environ),
`limits` (name of an rlimit, value).
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import os
import resource
import signal
import socket
import sys
from typing import Any

PR_SET_PDEATHSIG, PR_SET_DUMPABLE = 1, 4
CHUNK = 65_536
DIAL_S = 10.0
END_S = 5


def main() -> int:
    plan = json.loads(sys.stdin.readline())
    prctl(PR_SET_DUMPABLE, 0)
    child = os.fork()
    if child == 0:
        os.close(plan["api_fd"])
        become_agent(plan)
    signal.signal(signal.SIGTERM, lambda *_: end(child))
    signal.signal(signal.SIGALRM, lambda *_: kill(child))
    return asyncio.run(serve(plan, child))


def prctl(option: int, value: int) -> None:
    """Set a process attribute where the system has it (Linux)."""
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def become_agent(plan: dict[str, Any]) -> None:
    """Turn this process into the agent; what tools could read of it is closed first."""
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    prctl(PR_SET_DUMPABLE, 0)
    for name, value in plan["limits"]:
        limit = getattr(resource, name)
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(limit, (value, value))
    descriptor = os.open(os.devnull, os.O_RDONLY)
    os.dup2(descriptor, 0)
    os.environ.update(plan["environment"])
    sys.argv = plan["argv"]
    from hermes_cli.main import main as agent  # type: ignore[import-not-found]  # noqa: PLC0415

    sys.exit(agent())


async def serve(plan: dict[str, Any], child: int) -> int:
    """Carry bytes until the agent ends or the lane closes our standard input."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[int] = loop.create_future()
    api = socket.socket(fileno=plan["api_fd"])
    api.setblocking(False)
    port = plan["api_port"]
    servers = [await asyncio.start_unix_server(lambda r, w: relay(r, w, dial_port(port)), sock=api)]
    for door, path in plan["doors"]:
        servers.append(await asyncio.start_server(door_to(path), "127.0.0.1", door))
    waiting = loop.run_in_executor(None, os.waitpid, child, 0)
    waiting.add_done_callback(lambda done: ended.set_result(done.result()[1]))
    closed = loop.run_in_executor(None, sys.stdin.read)
    closed.add_done_callback(lambda _: kill(child))
    status = await ended
    for server in servers:
        server.close()
    os._exit(os.waitstatus_to_exitcode(status) & 0xFF)


def door_to(path: str) -> Any:
    """Return what answers a connection of the agent: a way to one of the lane's sockets."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await relay(reader, writer, asyncio.open_unix_connection(path))

    return answer


def end(child: int) -> None:
    """Ask the agent to end, and make it: a newer one goes on to the end of its run first."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, signal.SIGTERM)
    signal.alarm(END_S)


def kill(child: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)


async def dial_port(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect to the agent; it may still be starting."""
    until_s = asyncio.get_running_loop().time() + DIAL_S
    while True:
        try:
            return await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            if asyncio.get_running_loop().time() > until_s:
                raise
            await asyncio.sleep(0.05)


async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, dial: Any) -> None:
    """Join two streams until both ends are done.

    Where one of them breaks, the other is broken off as well: whoever waits at its end for an
    answer would wait until a limit of his own, and that of an agent's model call is half an hour.
    """
    try:
        far_reader, far_writer = await dial
    except OSError:
        writer.close()
        return
    try:
        await asyncio.gather(pump(reader, far_writer), pump(far_reader, writer))
    except OSError:
        far_writer.transport.abort()
        writer.transport.abort()
    finally:
        far_writer.close()
        writer.close()


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Carry one direction to its end. Raises OSError when either stream breaks."""
    while chunk := await reader.read(CHUNK):
        writer.write(chunk)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()


if __name__ == "__main__":
    sys.exit(main())
