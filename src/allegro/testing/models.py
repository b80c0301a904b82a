"""A model provider that plays what the prompt says: OpenAI's chat API, with tool calls and faults.

    python -m allegro.testing.models --port 8901

The newest user message that holds `play: [...]` is the play; its steps are turns of the model, one
a call. A step is an object with one of:

- `squares`: text that repeats nothing, so many square numbers in each of its `pieces`
- `say`: text; `pieces` and `gap_ms` make it a stream of that many pieces, `by_word` of its words;
  `think` is told before
- `tool`: a tool's name with `arguments`
- `status`: refuse with this HTTP status, `times` times (default: always), with `body`, `headers`
- `hang`: say nothing for so many seconds
- `half`: begin to answer, then close the connection
- `garbage`: answer 200 with something that is no answer

Without a play the model says `ok`. `{sent}` in a text becomes the time it was sent (monotonic s).
Requests are kept, whole, for tests: `GET /_sim/requests`; `GET /_sim/sent` tells each piece of
text with its time (Unix s).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web

Json = dict[str, Any]
"""What OpenAI's API holds: requests, answers, and the steps of a play."""
KEPT = 2_000


class ModelStub:
    """`keys` maps an API key to what it may do: "" everything, else the status it gets."""

    def __init__(self, models: tuple[str, ...] = ("stub",), key: str = "") -> None:
        self.models = models
        self.key = key
        self.requests: list[Json] = []
        self.sent: list[tuple[str, float]] = []
        self.called: list[tuple[str, float]] = []
        self.port = 0
        self._refused: Counter[str] = Counter()
        self._runners: list[web.AppRunner] = []

    async def start(self, port: int = 0) -> int:
        """Listen on loopback; return the port."""
        runner = await self._open()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        self.port = int(runner.addresses[0][1])
        return self.port

    async def start_unix(self, path: Path) -> None:
        """Listen on a Unix socket that everybody on this machine may reach."""
        await web.UnixSite(await self._open(), str(path)).start()
        path.chmod(0o666)  # noqa: ASYNC240

    async def _open(self) -> web.AppRunner:
        app = web.Application(client_max_size=64 << 20)
        app.add_routes(
            [
                web.post("/v1/chat/completions", self._complete),
                web.get("/v1/models", self._models),
                web.get("/_sim/requests", self._list_requests),
                web.get("/_sim/sent", self._list_sent),
            ]
        )
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
        self._runners.append(runner)
        await runner.setup()
        return runner

    async def stop(self) -> None:
        for runner in self._runners:
            await runner.cleanup()

    def _allowed(self, request: web.Request) -> bool:
        return not self.key or request.headers.get("Authorization") == f"Bearer {self.key}"

    async def _models(self, request: web.Request) -> web.Response:
        if not self._allowed(request):
            return _error(401, "bad key", {})
        rows = [{"id": model, "object": "model"} for model in self.models]
        return web.json_response({"object": "list", "data": rows})

    async def _list_requests(self, _: web.Request) -> web.Response:
        return web.json_response(self.requests)

    async def _list_sent(self, _: web.Request) -> web.Response:
        return web.json_response(self.sent)

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        body = msgspec.json.decode(await request.read())
        self.requests = [*self.requests[-KEPT:], body]
        if not self._allowed(request):
            return _error(401, "bad key", {})
        if body.get("model") not in self.models:
            return _error(404, f"model {body.get('model')} not found", {})
        step, place = next_step(body.get("messages") or [])
        if "status" in step:
            self._refused[place] += 1
            if self._refused[place] <= int(step.get("times", 1 << 30)):
                message = str(step.get("body", f"status {step['status']}"))
                return _error(int(step["status"]), message, dict(step.get("headers", {})))
            step = dict(step.get("then", {"say": "ok"}))
        if "hang" in step:
            await asyncio.sleep(float(step["hang"]))
            step = {"say": "late"}
        if "garbage" in step:
            return web.Response(text="<html>it works</html>", content_type="text/html")
        with contextlib.suppress(ConnectionResetError):  # the agent was stopped
            return await self._answer(request, body, step)
        return web.Response()

    async def _answer(self, request: web.Request, body: Json, step: Json) -> web.StreamResponse:
        size = sum(len(json.dumps(one)) for one in body.get("messages") or []) // 4
        usage = {"prompt_tokens": size, "completion_tokens": 10, "total_tokens": size + 10}
        common = {"id": "stub", "created": int(time.monotonic()), "model": body["model"]}
        finish = "tool_calls" if "tool" in step else "stop"
        if not body.get("stream"):
            message: Json = {"role": "assistant", "content": _text(step)}
            if "tool" in step:
                message |= {"content": None, "tool_calls": [_call(step)]}
            choice = {"index": 0, "message": message, "finish_reason": finish}
            completion = {
                **common,
                "object": "chat.completion",
                "choices": [choice],
                "usage": usage,
            }
            return web.json_response(completion)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)

        async def send(choices: list[Any], **extra: Any) -> None:
            chunk = {**common, "object": "chat.completion.chunk", "choices": choices, **extra}
            await response.write(b"data: " + msgspec.json.encode(chunk) + b"\n\n")

        delta: Json
        if "think" in step:
            delta = {"role": "assistant", "reasoning_content": step["think"]}
            await send([{"index": 0, "delta": delta, "finish_reason": None}])
        for number, piece in enumerate(_pieces(step)):
            if number:
                await asyncio.sleep(float(step.get("gap_ms", 0)) / 1000)
            delta = {"role": "assistant", "content": piece.replace("{sent}", f"{time.time():.6f}")}  # noqa: TID251 (a stamp)
            self.sent.append((piece, time.time()))  # noqa: TID251 (a stamp)
            await send([{"index": 0, "delta": delta, "finish_reason": None}])
            if "half" in step:
                assert request.transport is not None
                request.transport.abort()
                return response
        if "tool" in step:
            tag = _tag(body.get("messages") or [])
            self.called.append((tag, time.time()))  # noqa: TID251 (a stamp)
            delta = {"role": "assistant", "tool_calls": [{"index": 0, **_call(step)}]}
            await send([{"index": 0, "delta": delta, "finish_reason": None}])
        await send([{"index": 0, "delta": {}, "finish_reason": finish}])
        await send([], usage=usage)
        await response.write(b"data: [DONE]\n\n")
        await response.write_eof()
        return response


def next_step(messages: list[Json]) -> tuple[Json, str]:
    """Return the turn that is due, and a name of its place in the play."""
    for at in range(len(messages) - 1, -1, -1):
        text = _content(messages[at])
        start = text.find("play: [")
        if messages[at].get("role") == "user" and start >= 0:
            steps, _ = json.JSONDecoder().raw_decode(text[start + len("play: ") :])
            turn = sum(one.get("role") == "assistant" for one in messages[at + 1 :])
            step = steps[turn] if turn < len(steps) else {"say": "ok"}
            return step, f"{turn} of {text}"
    return {"say": "ok"}, ""


def _tag(messages: list[Json]) -> str:
    """Return the words before the newest play."""
    texts = [_content(one) for one in messages if one.get("role") == "user"]
    found = next((text for text in reversed(texts) if "play: [" in text), "")
    return found.partition("play: [")[0].strip()


def play(*steps: Json, tag: str = "") -> str:
    """Return a prompt that makes the stub do these turns."""
    return f"{tag} play: {json.dumps(list(steps))}".strip()


def _content(message: Json) -> str:
    content = message.get("content")
    if isinstance(content, list):
        return " ".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""


def _text(step: Json) -> str:
    return str(step.get("say", "")).replace("{sent}", f"{time.time():.6f}")  # noqa: TID251


def _pieces(step: Json) -> list[str]:
    if "tool" in step and "say" not in step:
        return []
    if "squares" in step:
        each, most = int(step["squares"]), int(step.get("pieces", 1))
        return [
            "".join(f"{n * n} " for n in range(at * each, (at + 1) * each)) for at in range(most)
        ]
    text, pieces = str(step.get("say", "ok")), int(step.get("pieces", 1))
    if step.get("by_word"):
        return [word + " " for word in text.split()]
    return [text] if pieces == 1 else [f"{text}{number} " for number in range(pieces)]


def _call(step: Json) -> Json:
    arguments = json.dumps(step.get("arguments", {}))
    return {
        "id": f"call_{time.monotonic_ns():x}",
        "type": "function",
        "function": {"name": step["tool"], "arguments": arguments},
    }


def _error(status: int, message: str, headers: dict[str, str]) -> web.Response:
    body = {"error": {"message": message, "type": "stub", "code": None}}
    return web.json_response(body, status=status, headers=headers)


async def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m allegro.testing.models", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--models", default="stub")
    parser.add_argument("--key-file", default="")
    arguments = parser.parse_args()
    key = ""
    if arguments.key_file:
        with open(arguments.key_file, encoding="utf-8") as file:  # noqa: ASYNC230, PTH123
            key = file.read().strip()
    stub = ModelStub(tuple(arguments.models.split(",")), key)
    await stub.start(arguments.port)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await stop.wait()
    await stub.stop()


if __name__ == "__main__":
    asyncio.run(main())
