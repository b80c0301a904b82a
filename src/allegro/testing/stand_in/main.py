"""`hermes gateway run`: the API of the agent, on a port."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
import os
import signal
import sys
import time
import uuid
from pathlib import Path

from .agent import CHOICES, FEATURES, KEEPALIVE_S, KEPT, SUBSCRIBE_S, TOOLSETS, Agent, Run
from .http import Json, RefusedError, Request, chunk, head, read_request


class Gateway(Agent):
    """Everything behind the port."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection; a stream of events is its last."""
        with contextlib.suppress(OSError, ValueError, EOFError):
            while (request := await read_request(reader)) is not None:
                try:
                    status, answer = await self.answer(request)
                except RefusedError as refused:
                    status, answer = refused.status, refused.body
                if isinstance(answer, Run):
                    await self.stream(answer, request, reader, writer)
                    break
                body = json.dumps(answer).encode()
                extra = {"Retry-After": "1"} if status == 429 else {}
                extra |= {"Idempotency-Replayed": "true"} if answer.get("replayed") else {}
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
        answer = self.discovery().get(request.path) if request.method == "GET" else None
        if answer is None:
            raise RefusedError(404, "Not Found")
        return 200, answer

    def discovery(self) -> dict[str, Json]:
        """Return what Hermes tells about itself."""
        routes = self.option("platforms.api_server.extra.model_routes", {})
        real = {"hermes-agent": "hermes-agent"} | {n: r["model"] for n, r in routes.items()}
        models = [{"id": n, "object": "model", "root": root} for n, root in real.items()]
        on = self.option("platform_toolsets.api_server", [])
        toolsets = [
            {"name": name, "enabled": name in on, "configured": True, "tools": tools}
            for name, tools in TOOLSETS.items()
        ]
        once = {"supported": True, "durable": True, "retention_seconds": 86_400}
        newer = {"runs_idempotency": once, "run_steer": True} if self.is_new else {}
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
                message = "Idempotency-Key was already used with a different request payload"
                raise RefusedError(409, message, "idempotency_key_conflict")
            return {"run_id": name, "status": self.statuses[name]["status"], "replayed": True}
        most = int(self.option("gateway.api_server.max_concurrent_runs", 10))
        if most and len(self.active) >= most:
            raise RefusedError(429, f"Too many concurrent runs (max {most})", "rate_limit_exceeded")
        if not isinstance(body.get("input"), str) or not body["input"]:
            raise RefusedError(400, "Missing 'input' field")
        name, now = f"run_{uuid.uuid4().hex}", time.time()  # noqa: TID251
        session = str(body.get("session_id") or name)
        self.statuses[name] = {
            "object": "hermes.run",
            "run_id": name,
            "created_at": now,
            "session_id": session,
            "model": body.get("model", "hermes-agent"),
        }
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
        response = {"choice": choice, "resolved": 1} | ({"request_id": which} if which else {})
        self.set_status(run, "running", last_event="approval.responded")
        run.emit("approval.responded", **response)
        return {"object": "hermes.run.approval_response", "run_id": name, **response}

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
        """Tell a run's events, each to one reader only; on the newer wire to every one.

        Where one of several readers goes away, those who stay are told no more, and not that.
        """
        place, lost = self.replay(run, request) if self.is_new else (0, b"")
        sse = {"Content-Type": "text/event-stream", "Transfer-Encoding": "chunked"}
        writer.write(head(200, {**sse, "Connection": "close"}) + lost)
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
                event, number, place = run.events[place], place, place + 1
                run.taken = place
                if event is None:
                    writer.write(chunk(": stream closed\n\n") + b"0\r\n\r\n")
                    break
                frame = event | {"seq": number} if self.is_new else event
                name = f"id: {number}\n" if self.is_new else ""
                writer.write(chunk(f"{name}data: {json.dumps(frame)}\n\n"))
                await writer.drain()
                await asyncio.sleep(0)  # the next event is for who waits longest
        finally:
            gone.cancel()
            if not self.is_new:
                self.streams.pop(run.id, None)
                run.dropped = True

    def replay(self, run: Run, request: Request) -> tuple[int, bytes]:
        """Return where a reader goes on, and what it is told of events that are kept no more."""
        named = request.headers.get("last-event-id", "")
        place = int(named) + 1 if named.isdecimal() else 0
        oldest = max(0, len(run.events) - KEPT)
        if place >= oldest:
            return place, chunk(": open\n\n")
        cut = {"event": "replay.truncated", "run_id": run.id, "oldest_retained_seq": oldest}
        return oldest, chunk(f": open\n\ndata: {json.dumps(cut)}\n\n")


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
