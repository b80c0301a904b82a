"""The agent itself: asks the model, uses the terminal, asks before what is dangerous."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
import json
import os
import re
import signal
import time
import uuid
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .http import Json, RefusedError, completion, counts_of

MAX_OUTPUT, TRIES, KEPT = 50_000, 3, 1_000
KEEPALIVE_S, COMMAND_S, TRY_AGAIN_S, SUBSCRIBE_S = 30.0, 60.0, 0.2, 1.0
ENDS = {"completed", "failed", "cancelled", "interrupted"}
CHOICES = ["once", "session", "always", "deny"]
FORBIDDEN = (
    (r"\brm\s+(-\S*\s+)*/\*?(\s|$)", "recursive delete of root filesystem"),
    (r"\bmkfs\b", "format filesystem (mkfs)"),
    (r":\(\)\s*\{\s*:\s*\|\s*:\s*&\s*\}\s*;\s*:", "fork bomb"),
)
SECRET = re.compile(r"([A-Z_]*(?:TOKEN|SECRET|PASSWORD)=)\S+")
DANGEROUS = (
    (r"\brm\s+(-\S*\s+)*/", "delete in root path"),
    (r"\brm\s+(-\S*r|--recursive\b)", "recursive delete"),
    (r"\bchmod\s+(-\S*\s+)*(777|666)\b", "world/other-writable permissions"),
    (r"\bdd\s+.*if=", "disk copy"),
)
TOOLSETS = {
    "web": ["web_extract", "web_search"],
    "terminal": ["process", "terminal"],
    "file": ["patch", "read_file", "search_files", "write_file"],
    "memory": ["memory"],
}
TERMINAL = {
    "name": "terminal",
    "description": "Execute shell commands.",
    "parameters": {
        "type": "object",
        "properties": {"command": {"type": "string"}},
        "required": ["command"],
    },
}
FEATURES = (
    "run_submission",
    "run_status",
    "run_events_sse",
    "run_stop",
    "run_approval_response",
    "tool_progress_events",
    "approval_events",
    "session_resources",
)
GO_ON = (
    "[System: The previous response was cut off mid-stream. Continue exactly where you left off.]"
)


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
    dropped: bool = False  # a reader went: only questions are still told

    def emit(self, name: str, **fields: Any) -> None:
        if self.dropped and name != "approval.request":
            return
        stamped = {"event": name, "run_id": self.id, "timestamp": time.time(), **fields}  # noqa: TID251
        self.events.append(stamped if name else None)
        self.news.set()
        self.news = asyncio.Event()


class Agent:
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

    def call_hooks(self, name: str, run: Run, **fields: Any) -> None:
        for hook in self.hooks[name]:
            with contextlib.suppress(Exception):
                hook(session_id=run.session, task_id=run.session, **fields)

    def set_status(self, run: Run, status: str, **fields: Any) -> None:
        run.status |= {"status": status, "updated_at": time.time(), **fields}  # noqa: TID251
        if self.is_new:
            (self.home / "stand-in.json").write_text(json.dumps([self.begun, self.statuses]))

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
        if self.is_new:
            cut = {"interrupted": name == "cancelled", "partial": False}
            end |= {"completed": name == "completed", **cut}
            if name == "completed":
                end["runtime"] = {"provider": "custom", "model": body.get("model")}
        self.sessions.get(run.session, {}).update(counts_of(messages, run.usage))
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
        body: Json = {
            "model": route["model"],
            "messages": messages,
            "stream": True,
            "stream_options": {"include_usage": True},
            "max_tokens": default.get("max_tokens", 4096),
        }
        if "terminal" in self.option("platform_toolsets.api_server", []):
            body["tools"] = [{"type": "function", "function": TERMINAL}]
        kept = ""
        for attempt in range(1, TRIES + 1):
            said: Json = {"role": "assistant", "content": ""}
            try:
                async for chunk in completion(route["base_url"], route["api_key"], body):
                    self.hear(run, said, chunk)
                if "finish_reason" not in said:
                    raise RefusedError(0, "Connection error.")
            except RefusedError as error:
                again = error.status in {0, 408, 429} or error.status >= 500
                self.call_hooks(
                    "api_request_error",
                    run,
                    status_code=error.status,
                    retry_count=attempt - 1,
                    retryable=again,
                )
                if not again or attempt == TRIES:
                    raise
                kept += said["content"].strip()
                if kept:
                    cut = {"role": "assistant", "content": kept}
                    body["messages"] = [*messages, cut, {"role": "user", "content": GO_ON}]
                await asyncio.sleep(TRY_AGAIN_S)
                continue
            facts = {name: said.pop(name, None) for name in ("usage", "model", "finish_reason")}
            for name, value in (facts["usage"] or {}).items():
                run.usage[name] += value
            self.call_hooks("post_api_request", run, **facts, provider="custom")
            said["content"] = kept + said["content"]
            return said
        raise AssertionError

    def hear(self, run: Run, said: Json, chunk: Json) -> None:
        """Take one piece of the model's stream."""
        said["model"] = chunk.get("model")
        if usage := chunk.get("usage"):
            names = (("input", "prompt"), ("output", "completion"), ("total", "total"))
            said["usage"] = {f"{n}_tokens": usage.get(f"{its}_tokens", 0) for n, its in names}
        for choice in chunk.get("choices") or []:
            delta = choice.get("delta") or {}
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
            self.call_hooks(
                "post_tool_call",
                run,
                **named,
                duration_ms=int(seconds * 1000),
                result=json.dumps(result),
                status="error" if why else "ok",
                error_message=why,
            )
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
        shown = SECRET.sub(r"\1***", command)  # as Hermes shows it, though it runs it whole
        run.emit(
            "approval.request",
            command=shown,
            description=name,
            pattern_key=name,
            pattern_keys=[name],
            allow_permanent=True,
            choices=CHOICES,
            **named,
        )
        choice, why = "deny", "denied by user"
        try:
            choice = await asyncio.wait_for(run.question, self.option("approvals.timeout", 60))
        except TimeoutError:
            why = "timed out without user response"
            self.set_status(run, "running")
        if choice in {"session", "always"}:
            self.allowed.add(name)
        message = f"BLOCKED: Command {why}. The user has NOT consented to this action."
        return message if choice == "deny" else ""


async def shell(command: str) -> Json:
    """Run a command in a group of its own, which ends with it or with us."""
    pipe, no = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(
        "/bin/sh",
        "-c",
        command,
        cwd=os.environ.get("HOME", "/"),
        start_new_session=True,
        stdin=no,
        stdout=pipe,
        stderr=asyncio.subprocess.STDOUT,
        env={n: v for n, v in os.environ.items() if not n.startswith("API_SERVER_")},
    )
    try:
        output, _ = await asyncio.wait_for(process.communicate(), COMMAND_S)
    except TimeoutError:
        return {"output": "", "exit_code": 124, "error": f"timed out after {COMMAND_S:g} s"}
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    text = output.decode("utf-8", "replace").strip()[-MAX_OUTPUT:]
    return {"output": text, "exit_code": process.returncode, "error": None}
