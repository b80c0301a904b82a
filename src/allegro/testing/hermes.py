"""A stand-in for Hermes Agent: `hermes gateway run` in one file, on the standard library alone.

It speaks Hermes' HTTP API as version 0.19 does, asks the model that `config.yaml` names, runs the
shell commands it is told, asks before dangerous ones and calls the plugin's hooks. It imports
nothing of ours: `agents.make_stand_in` copies it into an environment of its own, from where it is
started like the real one, in the same sandbox. HERMES_STAND_IN_WIRE=new makes it speak the newer
wire: runs that are begun once, questions with names, streams that can be read again.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import importlib.metadata
import json
import os
import re
import signal
import sys
import time
import uuid
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

Json = dict[str, Any]
MAX_BODY, MAX_OUTPUT, TRIES = 10 << 20, 50_000, 3
KEEPALIVE_S, COMMAND_S, TRY_AGAIN_S, SUBSCRIBE_S = 30.0, 60.0, 0.2, 1.0
ENDS = {"completed", "failed", "cancelled", "interrupted"}
CHOICES = ["once", "session", "always", "deny"]
FORBIDDEN = (
    (r"\brm\s+(-\S*\s+)*/\*?(\s|$)", "recursive delete of root filesystem"),
    (r"\bmkfs\b", "format filesystem (mkfs)"),
    (r":\(\)\s*\{\s*:\s*\|\s*:\s*&\s*\}\s*;\s*:", "fork bomb"),
)
DANGEROUS = (
    (r"\brm\s+(-\S*\s+)*/", "delete in root path"),
    (r"\brm\s+(-\S*r|--recursive\b)", "recursive delete"),
    (r"\bchmod\s+(-\S*\s+)*(777|666)\b", "world/other-writable permissions"),
    (r"\bdd\s+.*if=", "disk copy"),
)
TOOLSETS = {
    "web": ["web_extract", "web_search"], "terminal": ["process", "terminal"],
    "file": ["patch", "read_file", "search_files", "write_file"], "memory": ["memory"],
}  # fmt: skip
TERMINAL = {
    "name": "terminal", "description": "Execute shell commands.",
    "parameters": {"type": "object", "properties": {"command": {"type": "string"}},
                   "required": ["command"]},
}  # fmt: skip
FEATURES = ("run_submission", "run_status", "run_events_sse", "run_stop", "run_approval_response",
            "tool_progress_events", "approval_events", "session_resources")  # fmt: skip
GO_ON = (
    "[System: The previous response was cut off mid-stream. Continue exactly where you left off.]"
)


class RefusedError(Exception):
    """A no with its HTTP status: ours to the caller, or the model's to us (0: nothing came)."""

    def __init__(self, status: int, message: str, code: str | None = None) -> None:
        super().__init__(message)
        kind = "rate_limit_error" if status == 429 else "invalid_request_error"
        self.status = status
        self.body = {"error": {"message": message, "type": kind, "param": None, "code": code}}


@dataclass
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    def json(self) -> Json:
        try:
            return dict(json.loads(self.body or b"{}"))
        except (ValueError, TypeError) as error:
            raise RefusedError(400, "Invalid JSON") from error


@dataclass
class Run:
    """One run: its status, what its stream tells, and the question it waits for."""

    id: str
    session: str
    status: Json
    events: list[Json | None] = field(default_factory=list)  # None: the stream ends
    taken: int = 0
    news: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None
    question: asyncio.Future[str] | None = None
    question_id: str = ""
    usage: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    after_tool: bool = False

    def emit(self, name: str, **told: Any) -> None:
        stamped = {"event": name, "run_id": self.id, "timestamp": time.time(), **told}  # noqa: TID251
        self.events.append(stamped if name else None)
        self.news.set()
        self.news = asyncio.Event()


class Gateway:
    """Everything behind the port, and what plugins register with."""

    def __init__(self, home: Path) -> None:
        self.home, self.config = home, json.loads((home / "config.yaml").read_text())
        self.version = importlib.metadata.version("hermes-agent")
        self.is_new = os.environ.get("HERMES_STAND_IN_WIRE") == "new"
        self.active: dict[str, Run] = {}
        self.streams: dict[str, Run] = {}  # that nobody has read to the end
        self.statuses: dict[str, Json] = {}
        self.begun: dict[str, list[Any]] = {}  # by Idempotency-Key: the body and the run
        self.sessions: dict[str, Json] = {}
        self.history: dict[str, list[Json]] = {}
        self.allowed: set[str] = set()
        self.hooks: dict[str, list[Callable[..., Any]]] = defaultdict(list)

    def option(self, path: str, default: Any) -> Any:
        at: Any = self.config
        for name in path.split("."):
            at = at.get(name) if isinstance(at, dict) else None
        return default if at is None else at

    def load(self) -> None:
        """Load the plugins and, on the newer wire, what an earlier process left unfinished."""
        for name in self.option("plugins.enabled", []):
            path = self.home / "plugins" / name / "__init__.py"
            module: Json = {"__name__": f"hermes_plugins.{name}"}
            exec(compile(path.read_bytes(), path, "exec"), module)
            module["register"](self)
        if self.is_new and (self.home / "stand-in.json").exists():
            self.begun, self.statuses = json.loads((self.home / "stand-in.json").read_text())
            why = "The gateway restarted before this run settled."
            cut = {"status": "interrupted", "last_event": "run.interrupted", "error": why}
            for status in self.statuses.values():
                status.update(cut if status["status"] not in ENDS else {})

    def register_hook(self, name: str, hook: Callable[..., Any]) -> None:
        self.hooks[name].append(hook)

    def call_hooks(self, name: str, run: Run, **told: Any) -> None:
        for hook in self.hooks[name]:
            with contextlib.suppress(Exception):
                hook(session_id=run.session, task_id=run.session, **told)

    def set_status(self, run: Run, status: str, **told: Any) -> None:
        run.status |= {"status": status, "updated_at": time.time(), **told}  # noqa: TID251
        if self.is_new:
            (self.home / "stand-in.json").write_text(json.dumps([self.begun, self.statuses]))

    # --- HTTP ---

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection; a stream of events is its last."""
        with contextlib.suppress(OSError, ValueError, EOFError):
            while (request := await read_request(reader)) is not None:
                try:
                    status, told = await self.answer(request)
                except RefusedError as refused:
                    status, told = refused.status, refused.body
                if isinstance(told, Run):
                    await self.stream(told, request, reader, writer)
                    break
                body = json.dumps(told).encode()
                extra = {"Retry-After": "1"} if status == 429 else {}
                extra |= {"Idempotency-Replayed": "true"} if told.get("replayed") else {}
                extra |= {"Content-Type": "application/json", "Content-Length": str(len(body))}
                writer.write(head(status, extra) + body)
                await writer.drain()
        writer.close()

    async def answer(self, request: Request) -> tuple[int, Json | Run]:
        if request.path in {"/health", "/v1/health"}:
            return 200, {"status": "ok", "platform": "hermes-agent", "version": self.version}
        given = request.headers.get("authorization", "").encode()
        if not hmac.compare_digest(given, f"Bearer {os.environ['API_SERVER_KEY']}".encode()):
            raise RefusedError(401, "Invalid API key", "invalid_api_key")
        match request.path.strip("/").split("/"):
            case ["v1", "runs"] if request.method == "POST":
                return 202, self.begin(request)
            case ["v1", "runs", run, *what]:
                return 200, await self.of_run(request, run, what[0] if what else "")
            case ["api", "sessions", *name]:
                return 200, self.of_session(request, name[0] if name else "")
        told = self.discovery().get(request.path) if request.method == "GET" else None
        if told is None:
            raise RefusedError(404, "Not Found")
        return 200, told

    def discovery(self) -> dict[str, Json]:
        """Return what Hermes tells about itself."""
        routes = self.option("platforms.api_server.extra.model_routes", {})
        real = {"hermes-agent": "hermes-agent"} | {n: r["model"] for n, r in routes.items()}
        models = [{"id": n, "object": "model", "root": root} for n, root in real.items()]
        on = self.option("platform_toolsets.api_server", [])
        toolsets = [{"name": name, "enabled": name in on, "configured": True, "tools": tools}
                    for name, tools in TOOLSETS.items()]  # fmt: skip
        once = {"supported": True, "durable": True, "retention_seconds": 86_400}
        newer = {"runs_idempotency": once, "reasoning_streaming": True} if self.is_new else {}
        agent = {"platform": "hermes-agent", "auth": {"type": "bearer", "required": True}}
        health = {"gateway_state": "running", "active_agents": len(self.active)}
        return {
            "/v1/capabilities": {**agent, "features": dict.fromkeys(FEATURES, True) | newer},
            "/v1/models": {"object": "list", "data": models},
            "/v1/toolsets": {"object": "list", "platform": "api_server", "data": toolsets},
            "/health/detailed": {"status": "ok", "version": self.version, **health},
        }

    def begin(self, request: Request) -> Json:
        """Begin a run; on the newer wire a key that was used begins nothing."""
        body = request.json()
        key = request.headers.get("idempotency-key", "") if self.is_new else ""
        if key in self.begun:
            known, name = self.begun[key]
            if known != body:
                told = "Idempotency-Key was already used with a different request payload"
                raise RefusedError(409, told, "idempotency_key_conflict")
            return {"run_id": name, "status": self.statuses[name]["status"], "replayed": True}
        most = int(self.option("gateway.api_server.max_concurrent_runs", 10))
        if most and len(self.active) >= most:
            raise RefusedError(429, f"Too many concurrent runs (max {most})", "rate_limit_exceeded")
        if not isinstance(body.get("input"), str) or not body["input"]:
            raise RefusedError(400, "Missing 'input' field")
        name, now = f"run_{uuid.uuid4().hex}", time.time()  # noqa: TID251
        session = str(body.get("session_id") or name)
        self.statuses[name] = {
            "object": "hermes.run", "run_id": name, "created_at": now, "session_id": session,
            "model": body.get("model", "hermes-agent"),
        }  # fmt: skip
        run = self.active[name] = self.streams[name] = Run(name, session, self.statuses[name])
        if key:
            self.begun[key] = [body, name]
        self.set_status(run, "running")
        run.task = asyncio.create_task(self.carry_out(run, body))
        return {"run_id": name, "status": "started"}

    async def of_run(self, request: Request, name: str, what: str) -> Json | Run:
        status, active = self.statuses.get(name), self.active.get(name)
        unknown = RefusedError(404, f"Run not found: {name}", "run_not_found")
        match request.method, what:
            case "GET", "events":
                if name not in self.streams:
                    await asyncio.sleep(SUBSCRIBE_S)
                    raise unknown
                return self.streams[name]
            case "GET", "" if status is not None:
                return status
            case "POST", "approval" if status is not None:
                return self.approve(name, active, request.json())
            case "POST", "stop" if active is not None and active.task is not None:
                self.set_status(active, "stopping", last_event="run.stopping")
                active.task.cancel()
                return {"run_id": name, "status": "stopping"}
            case "POST", "stop" if self.is_new and status is not None:
                return status
        raise unknown

    def approve(self, name: str, run: Run | None, body: Json) -> Json:
        choice, which = body.get("choice"), body.get("request_id") if self.is_new else None
        if choice not in CHOICES:
            raise RefusedError(400, "Invalid approval choice", "invalid_approval_choice")
        if run is None:
            raise RefusedError(409, "Run has no active approval session", "approval_not_active")
        waits = run.question is not None and not run.question.done()
        if run.question is None or not waits or which not in {None, run.question_id}:
            raise RefusedError(409, "Run has no pending approval", "approval_not_pending")
        run.question.set_result(choice)
        told = {"choice": choice, "resolved": 1} | ({"request_id": which} if which else {})
        self.set_status(run, "running", last_event="approval.responded")
        run.emit("approval.responded", **told)
        return {"object": "hermes.run.approval_response", "run_id": name, **told}

    def of_session(self, request: Request, name: str) -> Json:
        if not name:
            return {"object": "list", "data": list(self.sessions.values()), "has_more": False}
        if name not in self.sessions:
            raise RefusedError(404, f"Session not found: {name}", "session_not_found")
        if request.method == "DELETE":
            del self.sessions[name]
            self.history.pop(name, None)
            return {"object": "hermes.session.deleted", "id": name, "deleted": True}
        if request.method == "PATCH":
            reason = request.json().get("end_reason")
            self.sessions[name] |= {"end_reason": reason, "ended_at": time.time()}  # noqa: TID251
        return {"object": "hermes.session", "session": self.sessions[name]}

    async def stream(
        self, run: Run, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Tell a run's events, each to one reader only; on the newer wire to every one."""
        place = int(request.headers.get("last-event-id") or 0)
        sse = {"Content-Type": "text/event-stream", "Transfer-Encoding": "chunked"}
        writer.write(head(200, {**sse, "Connection": "close"}))
        gone = asyncio.create_task(reader.read(1))
        try:
            while not gone.done():
                place = place if self.is_new else run.taken
                if place >= len(run.events):
                    news = asyncio.create_task(run.news.wait())
                    done, _ = await asyncio.wait(
                        {gone, news}, timeout=KEEPALIVE_S, return_when="FIRST_COMPLETED"
                    )
                    news.cancel()
                    writer.write(b"" if done else chunk(": keepalive\n\n"))
                    continue
                event, place = run.events[place], place + 1
                run.taken = place
                if event is None:
                    writer.write(chunk(": stream closed\n\n") + b"0\r\n\r\n")
                    break
                number = f"id: {place}\n" if self.is_new else ""
                writer.write(chunk(f"{number}data: {json.dumps(event)}\n\n"))
                await writer.drain()
        finally:
            gone.cancel()
            if not self.is_new:
                self.streams.pop(run.id, None)

    # --- the agent ---

    async def carry_out(self, run: Run, body: Json) -> None:
        """Do a run from its first word to its end, whatever that is."""
        row = {"source": "api_server", "model": body.get("model"), "ended_at": None}
        self.sessions[run.session] = {"id": run.session, **row, "end_reason": None}
        before = self.history.get(run.session, []) if self.is_new else []
        messages = [*(body.get("conversation_history") or before)]
        messages.append({"role": "user", "content": body["input"]})
        if body.get("instructions"):
            messages.insert(0, {"role": "system", "content": body["instructions"]})
        end: Json = {}
        try:
            output = await self.converse(run, messages, str(body.get("model")))
            name, end = "completed", {"output": output, "usage": dict(run.usage)}
        except asyncio.CancelledError:
            name = "cancelled"
        except Exception as error:  # noqa: BLE001 (the real one tells whatever it was)
            name, end = "failed", {"error": str(error)}
        self.history[run.session] = [one for one in messages if one["role"] != "system"]
        del self.active[run.id]
        self.set_status(run, name, last_event=f"run.{name}", **end)
        run.emit(f"run.{name}", **end)
        run.emit("")

    async def converse(self, run: Run, messages: list[Json], model: str) -> str:
        """Ask the model and use the tools it calls, until it calls none; return its answer."""
        for _ in range(int(self.option("agent.max_turns", 90))):
            said = await self.ask(run, messages, model)
            messages.append(said)
            for call in said.get("tool_calls", []):
                result = await self.use(run, call)
                messages.append({"role": "tool", "tool_call_id": call["id"], "content": result})
            if "tool_calls" not in said:
                run.emit("reasoning.available", text=said["content"].strip())
                return str(said["content"]).strip()
        raise RefusedError(0, "maximum iterations reached")

    async def ask(self, run: Run, messages: list[Json], model: str) -> Json:
        """Call the model; what may pass is tried again. Return its message."""
        routes = self.option("platforms.api_server.extra.model_routes", {})
        default = self.option("model", {})
        route = {**default, "model": default.get("default"), **routes.get(model, {})}
        body: Json = {"model": route["model"], "messages": messages, "stream": True,
                      "stream_options": {"include_usage": True},
                      "max_tokens": default.get("max_tokens", 4096)}  # fmt: skip
        if "terminal" in self.option("platform_toolsets.api_server", []):
            body["tools"] = [{"type": "function", "function": TERMINAL}]
        kept = ""
        for attempt in range(1, TRIES + 1):
            said: Json = {"role": "assistant", "content": ""}
            try:
                async for told in completion(route["base_url"], route["api_key"], body):
                    self.hear(run, said, told)
                if "finish_reason" not in said:
                    raise RefusedError(0, "Connection error.")
            except RefusedError as error:
                again = error.status in {0, 408, 429} or error.status >= 500
                self.call_hooks("api_request_error", run, status_code=error.status,
                                retry_count=attempt - 1, retryable=again)  # fmt: skip
                if not again or attempt == TRIES:
                    raise
                kept += said["content"].strip()
                if kept:
                    cut = {"role": "assistant", "content": kept}
                    body["messages"] = [*messages, cut, {"role": "user", "content": GO_ON}]
                await asyncio.sleep(TRY_AGAIN_S)
                continue
            told = {name: said.pop(name, None) for name in ("usage", "model", "finish_reason")}
            for name, value in (told["usage"] or {}).items():
                run.usage[name] += value
            self.call_hooks("post_api_request", run, **told, provider="custom")
            said["content"] = kept + said["content"]
            return said
        raise AssertionError

    def hear(self, run: Run, said: Json, told: Json) -> None:
        """Take one piece of the model's stream."""
        said["model"] = told.get("model")
        if usage := told.get("usage"):
            names = (("input", "prompt"), ("output", "completion"), ("total", "total"))
            said["usage"] = {f"{n}_tokens": usage.get(f"{its}_tokens", 0) for n, its in names}
        for choice in told.get("choices") or []:
            delta = choice.get("delta") or {}
            if self.is_new and delta.get("reasoning_content"):
                run.emit("reasoning.delta", delta=delta["reasoning_content"])
            if text := delta.get("content"):
                run.emit("message.delta", delta="\n\n" * run.after_tool + text)
                run.after_tool = False
                said["content"] += text
            for piece in delta.get("tool_calls") or []:
                calls = said.setdefault("tool_calls", [])
                if piece["index"] >= len(calls):
                    empty = {"name": "", "arguments": ""}
                    calls.append({"id": piece["id"], "type": "function", "function": empty})
                for name, value in piece.get("function", {}).items():
                    calls[piece["index"]]["function"][name] += value
            if choice.get("finish_reason"):
                said["finish_reason"] = choice["finish_reason"]

    async def use(self, run: Run, call: Json) -> str:
        """Use a tool; return the result as the model reads it."""
        tool, began = call["function"]["name"], time.monotonic()
        if tool != "terminal":
            return f"Tool '{tool}' does not exist. Available tools: terminal"
        args = json.loads(call["function"]["arguments"])
        command = str(args.get("command", ""))
        named = {"tool_name": tool, "args": args, "tool_call_id": call["id"]}
        self.call_hooks("pre_tool_call", run, **named)
        run.emit("tool.started", tool=tool, preview=command[:80])
        result: Json = {"output": "", "exit_code": -1, "error": "BLOCKED", "status": "blocked"}
        try:
            result["error"] = await self.blocked(run, command)
            if not result["error"]:
                result = {"output": "[Command interrupted]", "exit_code": 130, "error": None}
                result = await shell(command)
        finally:
            seconds, why = time.monotonic() - began, result["error"]
            run.after_tool = True
            self.call_hooks("post_tool_call", run, **named, duration_ms=int(seconds * 1000),
                            result=json.dumps(result), status="error" if why else "ok",
                            error_message=why)  # fmt: skip
            failed = bool(why or result["exit_code"])
            run.emit("tool.completed", tool=tool, duration=round(seconds, 3), error=failed)
        return json.dumps(result)

    async def blocked(self, run: Run, command: str) -> str:
        """Say why a command must not run, empty where it may; ask where it is dangerous."""
        name = next((n for p, n in FORBIDDEN if re.search(p, command, re.DOTALL)), "")
        if name:
            return f"BLOCKED (hardline): {name}. This command is on the unconditional blocklist."
        name = next((n for p, n in DANGEROUS if re.search(p, command, re.DOTALL)), "")
        if not name or name in self.allowed:
            return ""
        run.question, run.question_id = asyncio.Future(), uuid.uuid4().hex
        named = {"request_id": run.question_id} if self.is_new else {}
        self.set_status(run, "waiting_for_approval", last_event="approval.request")
        run.emit("approval.request", command=command, description=name, pattern_key=name,
                 pattern_keys=[name], allow_permanent=True, choices=CHOICES, **named)  # fmt: skip
        choice, why = "deny", "denied by user"
        try:
            choice = await asyncio.wait_for(run.question, self.option("approvals.timeout", 60))
        except TimeoutError:
            why = "timed out without user response"
            self.set_status(run, "running")
        if choice in {"session", "always"}:
            self.allowed.add(name)
        told = f"BLOCKED: Command {why}. The user has NOT consented to this action."
        return told if choice == "deny" else ""


async def shell(command: str) -> Json:
    """Run a command in a group of its own, which ends with it or with us."""
    pipe, no = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(
        "/bin/sh", "-c", command, cwd=os.environ.get("HOME", "/"), start_new_session=True,
        stdin=no, stdout=pipe, stderr=asyncio.subprocess.STDOUT,
        env={n: v for n, v in os.environ.items() if not n.startswith("API_SERVER_")},
    )  # fmt: skip
    try:
        output, _ = await asyncio.wait_for(process.communicate(), COMMAND_S)
    except TimeoutError:
        return {"output": "", "exit_code": 124, "error": f"timed out after {COMMAND_S:g} s"}
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    text = output.decode("utf-8", "replace").strip()[-MAX_OUTPUT:]
    return {"output": text, "exit_code": process.returncode, "error": None}


async def completion(base: str, key: str, body: Json) -> AsyncIterator[Json]:
    """Yield the chunks of a streamed chat completion. Raises RefusedError."""
    address, raw, writer = urlsplit(base), json.dumps(body).encode(), None
    fields = {"Host": address.netloc, "Authorization": f"Bearer {key}", "Connection": "close",
              "Content-Type": "application/json", "Content-Length": str(len(raw))}  # fmt: skip
    try:
        reader, writer = await asyncio.open_connection(address.hostname, address.port or 80)
        writer.write(head(f"POST {address.path}/chat/completions HTTP/1.1", fields) + raw)
        status = int((await reader.readline()).split()[1])
        chunked = "chunked" in (await read_headers(reader)).get("transfer-encoding", "")
        if status != 200:
            told = b"".join([line async for line in lines(reader, chunked=chunked)])
            with contextlib.suppress(ValueError, KeyError, TypeError):
                told = json.loads(told)["error"]["message"].encode()
            raise RefusedError(status, f"HTTP {status}: {told[:300].decode('utf-8', 'replace')}")
        async for line in lines(reader, chunked=chunked):
            if line.startswith(b"data:") and line[5:].strip() != b"[DONE]":
                yield json.loads(line[5:])
    except (OSError, EOFError, ValueError, IndexError) as error:
        raise RefusedError(0, "Connection error.") from error
    finally:
        if writer is not None:
            writer.close()


async def lines(reader: asyncio.StreamReader, *, chunked: bool) -> AsyncIterator[bytes]:
    """Yield the lines of a body that ends with its last chunk, or with the connection."""
    piece, rest = b"first", b""
    while piece:
        size = int(await reader.readline(), 16) + 2 if chunked else 0
        piece = (await reader.readexactly(size))[:-2] if chunked else await reader.read(65_536)
        *whole, rest = (rest + piece).split(b"\n")
        for line in whole:
            yield line
    yield rest


async def read_headers(reader: asyncio.StreamReader) -> dict[str, str]:
    headers = {}
    while line := (await reader.readline()).strip():
        name, _, value = line.decode("latin-1").partition(":")
        headers[name.lower()] = value.strip()
    return headers


async def read_request(reader: asyncio.StreamReader) -> Request | None:
    """Read one request, None where the connection ended before it."""
    first = (await reader.readline()).decode("latin-1").split()
    if len(first) != 3:
        return None
    headers = await read_headers(reader)
    size = min(int(headers.get("content-length", "0")), MAX_BODY)
    return Request(first[0], first[1].partition("?")[0], headers, await reader.readexactly(size))


def head(first: int | str, headers: dict[str, str]) -> bytes:
    fields = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    line = first if isinstance(first, str) else f"HTTP/1.1 {first} Told"
    return f"{line}\r\n{fields}\r\n".encode()


def chunk(piece: str) -> bytes:
    raw = piece.encode()
    return f"{len(raw):x}\r\n".encode() + raw + b"\r\n"


async def run_gateway() -> int:
    gateway = Gateway(Path(os.environ["HERMES_HOME"]))
    gateway.load()
    host, port = os.environ.get("API_SERVER_HOST"), os.environ.get("API_SERVER_PORT", "8642")
    server = await asyncio.start_server(gateway.serve, host or "127.0.0.1", int(port))
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await stop.wait()
    server.close()
    tasks = [run.task for run in gateway.active.values() if run.task is not None]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return 0


def main() -> int:
    """`hermes gateway run`, the one command there is."""
    if sys.argv[1:] == ["gateway", "run"]:
        return asyncio.run(run_gateway())
    sys.stderr.write("this stand-in knows `hermes gateway run` only\n")
    return 2


if __name__ == "__main__":
    sys.exit(main())
