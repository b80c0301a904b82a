"""The telemetry plugin that Hermes loads: facts of tools and models as datagrams.

Handed into the sandbox as `plugins/allegro/__init__.py`; standard library only. A datagram that
cannot be sent at once is dropped: telemetry never holds the agent up. The kernel stamps each with
our process id, which is how the lane tells them from what a tool might send.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import socket
import time
from typing import Any

MAX_TEXT = 24_000
HOOKS = {
    "pre_tool_call": ("tool_name", "tool_call_id", "args"),
    "post_tool_call": (
        "tool_name",
        "tool_call_id",
        "duration_ms",
        "status",
        "error_message",
        "result",
    ),
    "post_api_request": ("model", "response_model", "provider", "finish_reason", "usage"),
    "api_request_error": ("status_code", "retry_count", "retryable", "reason"),
}


def register(ctx: Any) -> None:
    """Called once by Hermes at its start, before any tool can run."""
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)  # PR_SET_DUMPABLE: no tool reads our memory
    path = os.environ.get("ALLEGRO_TELEMETRY", "")
    if not path:
        return
    door = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    door.setblocking(False)
    door.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    with contextlib.suppress(OSError):
        door.connect(path)
    send(door, {"hook": "hello"})
    for name, fields in HOOKS.items():
        ctx.register_hook(name, teller(door, name, fields))


def teller(door: socket.socket, hook: str, fields: tuple[str, ...]) -> Any:
    """Return the function that Hermes calls at this hook."""

    def tell(**facts: Any) -> None:
        session, task = facts.get("session_id"), facts.get("task_id")
        if task is not None and session is not None and str(task) != str(session):
            return  # an agent within the agent, such as a background review
        fact = {name: short(facts.get(name)) for name in fields}
        if "result" in fields:
            fact["exit_code"] = exit_code(facts.get("result"))
        send(door, {"hook": hook, "session": str(session or ""), "at_s": time.time(), **fact})  # noqa: TID251 (in Hermes)

    return tell


def exit_code(result: Any) -> int | None:
    """Return the exit code in a result (Hermes tells a command that failed as ok), None without."""
    try:
        answer = json.loads(result)
    except (TypeError, ValueError, RecursionError):
        return None
    code = answer.get("exit_code") if isinstance(answer, dict) else None
    return code if isinstance(code, int) else None


def short(value: Any) -> Any:
    """Return a value as JSON can carry it, long text cut."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return value if len(value) <= MAX_TEXT else value[:MAX_TEXT] + " [cut]"
    try:
        text = json.dumps(value, default=str)
    except (TypeError, ValueError, RecursionError):
        return short(str(value))
    return json.loads(text) if len(text) <= MAX_TEXT else text[:MAX_TEXT] + " [cut]"


def send(door: socket.socket, fact: dict[str, Any]) -> None:
    with contextlib.suppress(OSError, TypeError, ValueError):
        door.send(json.dumps(fact, default=str).encode())
