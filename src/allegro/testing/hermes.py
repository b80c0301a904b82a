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
import hashlib
import hmac
import importlib.metadata
import importlib.util
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
MAX_BODY, MAX_OUTPUT = 10 << 20, 50_000
KEEPALIVE_S, COMMAND_S, TRY_AGAIN_S, SUBSCRIBE_S = 30.0, 60.0, 0.2, 1.0
TRIES = 3
ENDS = {"completed", "failed", "cancelled", "interrupted"}
CHOICES = ["once", "session", "always", "deny"]
FORBIDDEN = (
    (r"\brm\s+(-\S*\s+)*/\*?(\s|$)", "recursive delete of root filesystem"),
    (r"\bmkfs\b", "format filesystem (mkfs)"),
    (r"\bdd\b.*of=/dev/(sd|nvme|vd)", "dd to raw block device"),
    (r":\(\)\s*\{\s*:\s*\|\s*:\s*&\s*\}\s*;\s*:", "fork bomb"),
)
DANGEROUS = (
    (r"\brm\s+(-\S*\s+)*/", "delete in root path"),
    (r"\brm\s+-\S*r", "recursive delete"),
    (r"\brm\s+--recursive\b", "recursive delete (long flag)"),
    (r"\bchmod\s+(-\S*\s+)*(777|666)\b", "world/other-writable permissions"),
    (r"\bdd\s+.*if=", "disk copy"),
)
TOOLSETS = {
    "web": ["web_extract", "web_search"], "terminal": ["process", "terminal"],
    "file": ["patch", "read_file", "search_files", "write_file"], "memory": ["memory"],
    "skills": ["skill_manage", "skill_view", "skills_list"], "cronjob": ["cronjob"],
}  # fmt: skip
COMMAND = {"type": "string", "description": "The command to execute"}
TERMINAL = {
    "name": "terminal", "description": "Execute shell commands.",
    "parameters": {"type": "object", "properties": {"command": COMMAND}, "required": ["command"]},
}  # fmt: skip
TOLD = ("run_submission", "run_status", "run_events_sse", "run_stop", "run_approval_response",
        "tool_progress_events", "approval_events", "session_resources")  # fmt: skip


class RefusedError(Exception):
    """An answer that is no: HTTP status, OpenAI's error object and headers."""

    def __init__(
        self, status: int, message: str, code: str | None = None, *, again: bool = False
    ) -> None:
        super().__init__(message)
        kind = "rate_limit_error" if status == 429 else "invalid_request_error"
        self.status, self.headers = status, {"Retry-After": "1"} if again else {}
        self.body = {"error": {"message": message, "type": kind, "param": None, "code": code}}


class ModelError(Exception):
    """The model did not answer. `status` is 0 where nothing came."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


@dataclass
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    def json(self) -> Json:
        try:
            told = json.loads(self.body or b"{}")
        except ValueError as error:
            raise RefusedError(400, "Invalid JSON") from error
        return told if isinstance(told, dict) else {}


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

    def put(self, event: Json | None) -> None:
        self.events.append(event)
        self.news.set()
        self.news = asyncio.Event()

    def emit(self, name: str, **told: Any) -> None:
        self.put({"event": name, "run_id": self.id, "timestamp": time.time(), **told})  # noqa: TID251


class Gateway:
    """Everything behind the port."""

    def __init__(self, home: Path) -> None:
        self.home, self.config = home, json.loads((home / "config.yaml").read_text())
        self.is_new = os.environ.get("HERMES_STAND_IN_WIRE", "0.19") == "new"
        self.key = os.environ["API_SERVER_KEY"]
        self.active: dict[str, Run] = {}
        self.streams: dict[str, Run] = {}  # that nobody has read to the end
        self.statuses: dict[str, Json] = {}
        self.begun: dict[str, list[str]] = {}  # Idempotency-Key: digest of the body, run
        self.sessions: dict[str, Json] = {}
        self.history: dict[str, list[Json]] = {}
        self.allowed: set[str] = set()
        self.hooks: dict[str, list[Callable[..., Any]]] = defaultdict(list)
        self.state = home / "stand-in.json"
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            self.version = importlib.metadata.version("hermes-agent")

    version = "0.19.0"

    # --- what it is made of ---------------------------------------------------------------------

    def option(self, path: str, default: Any) -> Any:
        at: Any = self.config
        for name in path.split("."):
            at = at.get(name) if isinstance(at, dict) else None
        return default if at is None else at

    def load(self) -> None:
        """Load the plugins and, on the newer wire, what an earlier process left unfinished."""
        for name in self.option("plugins.enabled", []):
            path = self.home / "plugins" / name / "__init__.py"
            spec = importlib.util.spec_from_file_location(f"hermes_plugins_{name}", path)
            assert spec is not None
            assert spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            module.register(self)
        if self.is_new and self.state.exists():
            told = json.loads(self.state.read_text())
            self.begun, self.statuses = told["begun"], told["statuses"]
            for status in self.statuses.values():
                if status["status"] not in ENDS:
                    why = "The gateway restarted before this run settled."
                    status |= {"status": "interrupted", "last_event": "run.interrupted"}
                    status["error"] = why

    def register_hook(self, name: str, hook: Callable[..., Any]) -> None:
        self.hooks[name].append(hook)

    def call_hooks(self, name: str, run: Run, **told: Any) -> None:
        for hook in self.hooks[name]:
            with contextlib.suppress(Exception):
                hook(session_id=run.session, task_id=run.session, **told)

    def set_status(self, run: Run, status: str, **told: Any) -> None:
        run.status |= {"status": status, "updated_at": time.time(), **told}  # noqa: TID251
        if self.is_new:
            kept = {"begun": self.begun, "statuses": self.statuses}
            self.state.write_text(json.dumps(kept))

    # --- HTTP -----------------------------------------------------------------------------------

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection; a stream of events is its last."""
        with contextlib.suppress(OSError, ValueError, EOFError, asyncio.LimitOverrunError):
            while (request := await read_request(reader)) is not None:
                extra: dict[str, str] = {}
                try:
                    status, told, extra = await self.answer(request)
                except RefusedError as refused:
                    status, told, extra = refused.status, refused.body, refused.headers
                if isinstance(told, Run):
                    await self.stream(told, request, reader, writer)
                    break
                body = json.dumps(told).encode()
                extra |= {"Content-Type": "application/json", "Content-Length": str(len(body))}
                writer.write(head(status, extra) + body)
                await writer.drain()
        writer.close()

    async def answer(self, request: Request) -> tuple[int, Json | Run, dict[str, str]]:
        path = request.path.strip("/").split("/")
        if path in (["health"], ["v1", "health"]):
            hello = {"status": "ok", "platform": "hermes-agent", "version": self.version}
            return 200, hello, {}
        given = request.headers.get("authorization", "").encode()
        if not hmac.compare_digest(given, f"Bearer {self.key}".encode()):
            raise RefusedError(401, "Invalid API key", "invalid_api_key")
        match path:
            case ["v1", "runs"] if request.method == "POST":
                return await self.begin(request)
            case ["v1", "runs", run, *what]:
                return await self.of_run(request, run, what[0] if what else "")
            case ["api", "sessions", *name]:
                return self.of_session(request, name[0] if name else "")
        told = self.discovery().get(request.path) if request.method == "GET" else None
        if told is None:
            raise RefusedError(404, "Not Found")
        return 200, told, {}

    def discovery(self) -> dict[str, Json]:
        """Return what Hermes tells about itself."""
        routes = self.option("platforms.api_server.extra.model_routes", {})
        names = {"hermes-agent": "hermes-agent", **{n: r["model"] for n, r in routes.items()}}
        models = [{"id": n, "object": "model", "owned_by": "hermes", "root": r}
                  for n, r in names.items()]  # fmt: skip
        on = self.option("platform_toolsets.api_server", [])
        toolsets = [{"name": name, "enabled": name in on, "configured": True, "tools": tools}
                    for name, tools in TOOLSETS.items()]  # fmt: skip
        features: Json = dict.fromkeys(TOLD, True) | {"admin_config_rw": False}
        if self.is_new:
            kept = {"supported": True, "durable": True, "retention_seconds": 86_400}
            features |= {"runs_idempotency": kept, "reasoning_streaming": True}
        return {
            "/v1/capabilities": {
                "object": "hermes.api_server.capabilities", "platform": "hermes-agent",
                "model": "hermes-agent", "auth": {"type": "bearer", "required": True},
                "features": features,
            },
            "/v1/models": {"object": "list", "data": models},
            "/v1/toolsets": {"object": "list", "platform": "api_server", "data": toolsets},
            "/health/detailed": {
                "status": "ok", "platform": "hermes-agent", "version": self.version,
                "gateway_state": "running", "active_agents": len(self.active),
                "pid": os.getpid(),
            },
        }  # fmt: skip

    async def begin(self, request: Request) -> tuple[int, Json, dict[str, str]]:
        """Begin a run; on the newer wire a key that was used begins nothing."""
        body = request.json()
        key = request.headers.get("idempotency-key", "") if self.is_new else ""
        digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
        if key in self.begun:
            known, name = self.begun[key]
            if known != digest:
                told = "Idempotency-Key was already used with a different request payload"
                raise RefusedError(409, told, "idempotency_key_conflict")
            told_run = {"run_id": name, "status": self.statuses[name]["status"], "replayed": True}
            return 202, told_run, {"Idempotency-Replayed": "true"}
        most = int(self.option("gateway.api_server.max_concurrent_runs", 10))
        if most and len(self.active) >= most:
            told = f"Too many concurrent runs (max {most})"
            raise RefusedError(429, told, "rate_limit_exceeded", again=True)
        text = body.get("input")
        if not text or not isinstance(text, str):
            raise RefusedError(400, "Missing 'input' field")
        name = f"run_{uuid.uuid4().hex}"
        now = time.time()  # noqa: TID251
        session = str(body.get("session_id") or name)
        status = {
            "object": "hermes.run", "run_id": name, "status": "queued", "created_at": now,
            "updated_at": now, "session_id": session, "model": body.get("model", "hermes-agent"),
        }  # fmt: skip
        run = self.active[name] = self.streams[name] = Run(name, session, status)
        self.statuses[name] = status
        if key:
            self.begun[key] = [digest, name]
        self.set_status(run, "running")
        run.task = asyncio.create_task(self.carry_out(run, body, text))
        return 202, {"run_id": name, "status": "started"}, {}

    async def of_run(
        self, request: Request, name: str, what: str
    ) -> tuple[int, Json | Run, dict[str, str]]:
        status, active = self.statuses.get(name), self.active.get(name)
        unknown = RefusedError(404, f"Run not found: {name}", "run_not_found")
        if request.method == "GET" and what == "events":
            if name not in self.streams:
                await asyncio.sleep(SUBSCRIBE_S)
                raise unknown
            return 200, self.streams[name], {}
        if status is None:
            raise unknown
        if request.method == "POST" and what == "approval":
            return 200, self.approve(name, active, request.json()), {}
        if request.method == "POST" and what == "stop":
            if active is None or active.task is None:
                raise unknown
            self.set_status(active, "stopping", last_event="run.stopping")
            active.task.cancel()
            return 200, {"run_id": name, "status": "stopping"}, {}
        return 200, status, {}

    def approve(self, name: str, run: Run | None, body: Json) -> Json:
        choice, which = body.get("choice"), body.get("request_id")
        if choice not in CHOICES:
            told = "Invalid approval choice; expected one of: once, session, always, deny"
            raise RefusedError(400, told, "invalid_approval_choice")
        if run is None:
            told = f"Run has no active approval session: {name}"
            raise RefusedError(409, told, "approval_not_active")
        named_other = self.is_new and which is not None and which != run.question_id
        if run.question is None or run.question.done() or named_other:
            told = f"Run has no pending approval: {name}"
            raise RefusedError(409, told, "approval_not_pending")
        run.question.set_result(choice)
        named = {"request_id": which} if self.is_new and which else {}
        self.set_status(run, "running", last_event="approval.responded")
        run.emit("approval.responded", choice=choice, resolved=1, **named)
        shape = {"object": "hermes.run.approval_response", "run_id": name, "choice": choice}
        return {**shape, **named, "resolved": 1}

    def of_session(self, request: Request, name: str) -> tuple[int, Json, dict[str, str]]:
        if not name:
            rows = list(self.sessions.values())
            page = {"limit": 50, "offset": 0, "has_more": False}
            return 200, {"object": "list", "data": rows, **page}, {}
        if name not in self.sessions:
            raise RefusedError(404, f"Session not found: {name}", "session_not_found")
        if request.method == "DELETE":
            del self.sessions[name]
            self.history.pop(name, None)
            return 200, {"object": "hermes.session.deleted", "id": name, "deleted": True}, {}
        if request.method == "PATCH":
            reason = request.json().get("end_reason")
            self.sessions[name] |= {"end_reason": reason, "ended_at": time.time()}  # noqa: TID251
        return 200, {"object": "hermes.session", "session": self.sessions[name]}, {}

    async def stream(
        self, run: Run, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Tell a run's events. Each is told to one reader; on the newer wire to every one."""
        at = int(request.headers.get("last-event-id") or 0)
        sse = {"Content-Type": "text/event-stream", "Transfer-Encoding": "chunked"}
        writer.write(head(200, {**sse, "Connection": "close"}))
        gone = asyncio.create_task(reader.read(1))
        try:
            while not gone.done():
                place = at if self.is_new else run.taken
                if place >= len(run.events):
                    news = asyncio.create_task(run.news.wait())
                    await asyncio.wait(
                        {gone, news}, timeout=KEEPALIVE_S, return_when="FIRST_COMPLETED"
                    )
                    news.cancel()
                    if not news.done():
                        writer.write(chunk(b": keepalive\n\n"))
                    continue
                event, at, run.taken = run.events[place], place + 1, place + 1
                if event is None:
                    writer.write(chunk(b": stream closed\n\n") + b"0\r\n\r\n")
                    break
                number = f"id: {at}\n" if self.is_new else ""
                writer.write(chunk(f"{number}data: {json.dumps(event)}\n\n".encode()))
                await writer.drain()
        finally:
            gone.cancel()
            if not self.is_new:
                self.streams.pop(run.id, None)

    # --- the agent ------------------------------------------------------------------------------

    async def carry_out(self, run: Run, body: Json, text: str) -> None:
        """Do a run from its first word to its end, whatever that is."""
        session = {"id": run.session, "source": "api_server", "ended_at": None, "end_reason": None}
        self.sessions[run.session] = {**session, "started_at": run.status["created_at"]}
        history = list(body.get("conversation_history") or [])
        if self.is_new and not history:
            history = self.history.get(run.session, [])
        system = (
            [{"role": "system", "content": body["instructions"]}]
            if body.get("instructions")
            else []
        )
        messages = [*system, *history, {"role": "user", "content": text}]
        end: Json = {}
        try:
            output = await self.converse(run, messages, str(body.get("model")))
            name, end = "completed", {"output": output, "usage": dict(run.usage)}
        except ModelError as error:
            name, end = "failed", {"error": str(error)}
        except asyncio.CancelledError:
            name = "cancelled"
        except Exception as error:  # noqa: BLE001 (the real one tells whatever it was)
            name, end = "failed", {"error": repr(error)}
        self.history[run.session] = messages[len(system) :]
        del self.active[run.id]
        self.set_status(run, name, last_event=f"run.{name}", **end)
        run.emit(f"run.{name}", **end)
        run.put(None)

    async def converse(self, run: Run, messages: list[Json], model: str) -> str:
        """Ask the model and use the tools it calls, until it calls none; return its answer."""
        for _ in range(int(self.option("agent.max_turns", 90))):
            said = await self.ask(run, messages, model)
            messages.append(said)
            if not said.get("tool_calls"):
                text = str(said["content"]).strip()
                run.emit("reasoning.available", text=text)
                return text
            for call in said["tool_calls"]:
                result = await self.use(run, call)
                messages.append({"role": "tool", "tool_call_id": call["id"], "content": result})
        raise ModelError("maximum iterations reached")

    async def ask(self, run: Run, messages: list[Json], model: str) -> Json:
        """Call the model; what may pass is tried again. Return its message."""
        routes = self.option("platforms.api_server.extra.model_routes", {})
        default = self.option("model", {})
        route = {**default, "model": default.get("default"), **routes.get(model, {})}
        body: Json = {"model": route["model"], "messages": messages, "stream": True,
                      "stream_options": {"include_usage": True}}  # fmt: skip
        if "terminal" in self.option("platform_toolsets.api_server", []):
            body["tools"] = [{"type": "function", "function": TERMINAL}]
        if default.get("max_tokens"):
            body["max_tokens"] = default["max_tokens"]
        for attempt in range(TRIES):
            said: Json = {"role": "assistant", "content": ""}
            try:
                async for told in completion(route["base_url"], route["api_key"], body):
                    self.hear(run, said, told)
                if "finish_reason" not in said:
                    raise ModelError("Connection error.")
            except ModelError as error:
                again = error.status in {0, 408, 429} or error.status >= 500
                self.call_hooks("api_request_error", run, status_code=error.status,
                                retry_count=attempt, retryable=again, reason=str(error))  # fmt: skip
                if not again or attempt == TRIES - 1:
                    raise
                await asyncio.sleep(TRY_AGAIN_S)
                continue
            usage, finish = said.pop("usage", {}), said.pop("finish_reason")
            for name, value in usage.items():
                run.usage[name] += value
            self.call_hooks("post_api_request", run, model=route["model"], provider="custom",
                            response_model=said.pop("model", None), finish_reason=finish,
                            usage=usage)  # fmt: skip
            return said
        raise AssertionError

    def hear(self, run: Run, said: Json, told: Json) -> None:
        """Take one piece of the model's stream."""
        said["model"] = told.get("model")
        if isinstance(usage := told.get("usage"), dict):
            pairs = (("input", "prompt"), ("output", "completion"), ("total", "total"))
            said["usage"] = {
                f"{ours}_tokens": int(usage.get(f"{its}_tokens", 0)) for ours, its in pairs
            }
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
                    new = {"id": piece["id"], "type": "function"}
                    calls.append({**new, "function": {"name": "", "arguments": ""}})
                for name, value in piece.get("function", {}).items():
                    calls[piece["index"]]["function"][name] += value
            if choice.get("finish_reason"):
                said["finish_reason"] = choice["finish_reason"]

    async def use(self, run: Run, call: Json) -> str:
        """Use a tool; return the result as the model reads it."""
        tool, began = call["function"]["name"], time.monotonic()
        with contextlib.suppress(ValueError):
            args = json.loads(call["function"]["arguments"])
        if tool != "terminal":
            return f"Tool '{tool}' does not exist. Available tools: terminal"
        command = str(args.get("command", ""))
        run.emit("tool.started", tool=tool, preview=command[:80])
        named = {"tool_name": tool, "args": args, "tool_call_id": call["id"]}
        self.call_hooks("pre_tool_call", run, **named)
        result: Json = {"output": "", "exit_code": -1, "error": "interrupted"}
        try:
            blocked = await self.question(run, command)
            if blocked:
                result |= {"error": blocked, "status": "blocked"}
            else:
                result |= await shell(command)
        finally:
            seconds, failed = time.monotonic() - began, bool(result["error"] or result["exit_code"])
            text, run.after_tool = json.dumps(result), True
            self.call_hooks(
                "post_tool_call", run, **named, result=text, duration_ms=int(seconds * 1000),
                status="error" if failed else "ok", error_message=result["error"],
            )  # fmt: skip
            run.emit("tool.completed", tool=tool, duration=round(seconds, 3), error=failed)
        return text

    async def question(self, run: Run, command: str) -> str:
        """Ask where a command is dangerous; return why it is blocked, empty when it is not."""
        for pattern, name in FORBIDDEN:
            if re.search(pattern, command, re.DOTALL):
                return (
                    f"BLOCKED (hardline): {name}. This command is on the unconditional blocklist."
                )
        name = next((n for p, n in DANGEROUS if re.search(p, command, re.DOTALL)), "")
        if not name or name in self.allowed:
            return ""
        run.question = asyncio.get_running_loop().create_future()
        run.question_id = uuid.uuid4().hex
        named = {"request_id": run.question_id} if self.is_new else {}
        self.set_status(run, "waiting_for_approval", last_event="approval.request")
        run.emit("approval.request", command=command, description=name, pattern_key=name,
                 pattern_keys=[name], allow_permanent=True, choices=CHOICES, **named)  # fmt: skip
        why = "denied by user"
        try:
            choice = await asyncio.wait_for(run.question, self.option("approvals.timeout", 60))
        except TimeoutError:
            choice, why = "deny", "timed out without user response"
            self.set_status(run, "running")
        if choice in {"session", "always"}:
            self.allowed.add(name)
        told = f"BLOCKED: Action {why}. The user has NOT consented to this action."
        return told if choice == "deny" else ""


# --- bytes ---------------------------------------------------------------------------------------


async def shell(command: str) -> Json:
    """Run a command in a group of its own, which ends with it or with us."""
    secret = ("API_SERVER_", "ALLEGRO_")
    process = await asyncio.create_subprocess_exec(
        "/bin/sh", "-c", command, cwd=os.environ.get("HOME", "/"), stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, start_new_session=True,
        env={n: v for n, v in os.environ.items() if not n.startswith(secret)},
    )  # fmt: skip
    try:
        output, _ = await asyncio.wait_for(process.communicate(), COMMAND_S)
    except TimeoutError:
        told = f"Command timed out after {COMMAND_S:g} s"
        return {"output": "", "exit_code": 124, "error": told}
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    text = output.decode("utf-8", "replace").strip()[-MAX_OUTPUT:]
    return {"output": text, "exit_code": process.returncode, "error": None}


async def completion(base: str, key: str, body: Json) -> AsyncIterator[Json]:
    """Yield the chunks of a streamed chat completion. Raises ModelError."""
    address, raw = urlsplit(base), json.dumps(body).encode()
    headers = {"Host": address.netloc, "Authorization": f"Bearer {key}", "Connection": "close",
               "Content-Type": "application/json", "Content-Length": str(len(raw))}  # fmt: skip
    fields = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    writer = None
    try:
        reader, writer = await asyncio.open_connection(address.hostname, address.port or 80)
        first = f"POST {address.path}/chat/completions HTTP/1.1\r\n{fields}\r\n"
        writer.write(first.encode() + raw)
        status = int((await reader.readline()).split()[1])
        chunked = "chunked" in (await read_headers(reader)).get("transfer-encoding", "")
        if status != 200:
            told = b"".join([line async for line in lines(reader, chunked=chunked)])
            raise ModelError(f"HTTP {status}: {words_of(told)}", status)
        async for line in lines(reader, chunked=chunked):
            if line.startswith(b"data:") and line[5:].strip() != b"[DONE]":
                yield json.loads(line[5:])
    except (OSError, EOFError, ValueError, IndexError) as error:
        raise ModelError("Connection error.") from error
    finally:
        if writer is not None:
            writer.close()


def words_of(raw: bytes) -> str:
    try:
        return str(json.loads(raw)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return raw.decode("utf-8", "replace")[:300]


async def lines(reader: asyncio.StreamReader, *, chunked: bool) -> AsyncIterator[bytes]:
    """Yield the lines of a body that ends with its last chunk, or with the connection."""
    rest = b""
    while True:
        if chunked:
            size = int(await reader.readline(), 16)
            piece = (await reader.readexactly(size + 2))[:-2]
        else:
            piece = await reader.read(65_536)
        *whole, rest = (rest + piece).split(b"\n")
        for line in whole:
            yield line
        if not piece:
            yield rest
            return


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
    size = int(headers.get("content-length", "0"))
    if size > MAX_BODY:
        raise ValueError("too large")
    return Request(first[0], first[1].partition("?")[0], headers, await reader.readexactly(size))


def head(status: int, headers: dict[str, str]) -> bytes:
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status} Told\r\n{lines}\r\n".encode()


def chunk(piece: bytes) -> bytes:
    return f"{len(piece):x}\r\n".encode() + piece + b"\r\n"


async def run_gateway() -> int:
    gateway = Gateway(Path(os.environ["HERMES_HOME"]))
    gateway.load()
    host = os.environ.get("API_SERVER_HOST", "127.0.0.1")
    port = int(os.environ.get("API_SERVER_PORT", "8642"))
    server = await asyncio.start_server(gateway.serve, host, port)
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
    if sys.argv[1:] != ["gateway", "run"]:
        sys.stderr.write("this stand-in knows `hermes gateway run` only\n")
        return 2
    return asyncio.run(run_gateway())


if __name__ == "__main__":
    sys.exit(main())
