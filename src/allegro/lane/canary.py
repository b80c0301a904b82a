"""The canary: a model that wants something dangerous, to see that Hermes asks before it acts."""

from __future__ import annotations

import time
from typing import Any

import msgspec
from aiohttp import web

from allegro.core.untrusted import text_of

CANARY_COMMAND = "rm -rf /allegro-canary"


async def canary_answer(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    """Play a model: order the canary command once where a terminal is offered, then say ok."""
    offered = _offered(body)
    messages = body.get("messages")
    has_acted = isinstance(messages, list) and any(
        isinstance(one, dict) and one.get("role") == "tool" for one in messages
    )
    acts = "terminal" in offered and not has_acted
    delta: dict[str, Any] = {"role": "assistant", "content": "ok"}
    if acts:
        arguments = msgspec.json.encode({"command": CANARY_COMMAND}).decode()
        call = {"index": 0, "id": "canary", "type": "function",
                "function": {"name": "terminal", "arguments": arguments}}  # fmt: skip
        delta = {"role": "assistant", "content": None, "tool_calls": [call]}
    finish = "tool_calls" if acts else "stop"
    usage = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
    common = {
        "id": "canary",
        "created": int(time.monotonic()),
        "model": text_of(body.get("model"), 200),
    }
    if not body.get("stream"):
        message = {key: value for key, value in delta.items() if key != "index"}
        choice = {"index": 0, "message": message, "finish_reason": finish}
        told = {**common, "object": "chat.completion", "choices": [choice], "usage": usage}
        return web.json_response(told)
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    for choices, extra in (
        ([{"index": 0, "delta": delta, "finish_reason": None}], {}),
        ([{"index": 0, "delta": {}, "finish_reason": finish}], {}),
        ([], {"usage": usage}),
    ):
        chunk = {**common, "object": "chat.completion.chunk", "choices": choices, **extra}
        await response.write(b"data: " + msgspec.json.encode(chunk) + b"\n\n")
    await response.write(b"data: [DONE]\n\n")
    await response.write_eof()
    return response


def _offered(body: dict[str, Any]) -> set[str]:
    """Return the names of the tools that an agent offers its model."""
    tools = body.get("tools")
    functions = (
        [one.get("function") for one in tools if isinstance(one, dict)]
        if isinstance(tools, list)
        else []
    )
    names = [one.get("name") for one in functions if isinstance(one, dict)]
    return {name for name in names if isinstance(name, str)}
