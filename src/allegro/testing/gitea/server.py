"""The simulator as a running HTTP server."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from email.utils import formatdate
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qsl

from aiohttp import web

from allegro.testing.gitea.model import Json

from .api import accounts, admin, branches, comments, contents, git, hooks, issues, labels, pulls
from .api.routes import find, run, sign_in
from .control import control_routes
from .faults import Faults, Rule
from .git import GitError
from .http import API, ApiError, Call, Reply, Request, answer
from .quirks import Flavour, quirks_of
from .webhooks import HookSender
from .world import STATE_FILE, World

ROUTES = [
    route
    for module in (
        issues,
        comments,
        labels,
        accounts,
        admin,
        branches,
        contents,
        pulls,
        git,
        hooks,
    )
    for route in module.table.routes
]

Observer = Callable[[Call, Reply], None]


def wall_clock() -> float:
    """The clock of the machine this server plays; tests hand in their own."""
    return time.time()  # noqa: TID251  another machine's clock: not one the product reads


class Listen(NamedTuple):
    """Where the simulator listens; `controller` is the address that may use the control routes."""

    host: str = "127.0.0.1"
    port: int = 0
    controller: str = ""


class GiteaSimulator:
    """A Gitea or Forgejo that keeps its tables in memory and its code in real git repositories.

    `directory` gets the repositories (and, on `world.save()`, the tables; they are read again when
    a simulator starts on the same directory). `observer` is called with every API call the forge
    carried out or refused, and with its full answer, before a fault can spoil it.
    """

    def __init__(
        self,
        directory: Path,
        *,
        flavour: Flavour = "gitea",
        version: str | None = None,
        clock: Callable[[], float] = wall_clock,
        observer: Observer | None = None,
        listen: Listen = Listen(),  # noqa: B008 (a tuple, never changed)
    ) -> None:
        quirks = quirks_of(flavour, version)
        if (directory / STATE_FILE).exists():
            self.world = World.load(directory, clock)
            self.world.quirks = quirks
        else:
            self.world = World(directory, quirks, clock)
        self.faults = Faults()
        self.log: list[Call] = []
        self.observer = observer
        self.controller = listen.controller
        self.hooks = HookSender(self.world, self.faults)
        self.url = ""
        self._host, self._port = listen.host, listen.port
        self._runner: web.AppRunner | None = None
        self._stopping = asyncio.Event()

    # life

    async def start(self) -> str:
        """Listen, and return the base URL (without `/api/v1`)."""
        self._stopping = asyncio.Event()
        app = web.Application(client_max_size=256 * 1024 * 1024)
        app.router.add_route("*", f"{API}/{{tail:.*}}", self._serve)
        app.router.add_route("*", "/api/forgejo/v1/version", self._forgejo_version)
        app.add_routes(control_routes(self))
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.05)
        await runner.setup()
        site = web.TCPSite(runner, self._host, self._port, reuse_address=True)
        await site.start()
        self._port = runner.addresses[0][1]
        self._runner = runner
        self.url = self.world.url = f"http://{self._host}:{self._port}"
        self.hooks.start()
        return self.url

    async def stop(self) -> None:
        """Stop listening and drop all connections; the state stays."""
        self._stopping.set()
        await self.hooks.stop()
        if self._runner is not None:
            self.drop_connections()
            await self._runner.cleanup()
            self._runner = None

    async def restart(self) -> None:
        """Drop connections and come back on the same port with the same state."""
        await self.stop()
        await self.start()

    def drop_connections(self, besides: object = None) -> None:
        """Reset every open connection but one (a transport)."""
        if self._runner is None or self._runner.server is None:
            return
        for protocol in list(self._runner.server.connections):
            transport = protocol.transport
            if transport is not None and transport is not besides:
                transport.abort()

    # calls

    async def _forgejo_version(self, _: web.Request) -> web.Response:
        if not self.world.quirks.forgejo:
            return web.json_response({"message": "not found"}, status=404)
        return web.json_response({"version": self.world.quirks.version})

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        at_s = self.world.clock()
        path = request.rel_url.raw_path
        query = tuple(parse_qsl(request.rel_url.raw_query_string, keep_blank_values=True))
        self.world.clock_offset_s = self.faults.clock_offset_s
        call = Call(at_s, request.method, path, query, "", body, peer=request.remote or "")
        rule = self.faults.strike(request.method, path)
        if rule is not None and not _effect_first(rule):
            return await self._refuse(request, call, rule)
        if self.faults.commit_delay_s and request.method not in ("GET", "HEAD"):
            await asyncio.sleep(self.faults.commit_delay_s)
        with self.world.late(self.world.clock() - at_s if self.faults.commit_delay_s else 0.0):
            call, reply = self._carry_out(call, request.headers)
        if self.observer is not None:
            self.observer(call, reply)
        if rule is None:
            self.log.append(call)
            return self._send(request, reply)
        return await self._spoil(request, call, reply, rule)

    def _carry_out(self, call: Call, headers: Mapping[str, str]) -> tuple[Call, Reply]:
        """Do what the forge does; never raises for what a client can cause."""
        query = dict(reversed(call.query))
        r = Request(self.world, call.method, call.path, query, None, None, {})
        try:
            authorization = headers.get("Authorization", "")
            if authorization or {"token", "access_token"} & query.keys():
                r.user, r.token = sign_in(self.world, authorization, query)
            route = find(ROUTES, r)
            r.body = _json_body(call) if call.method not in ("GET", "HEAD") else {}
            reply = run(route, r)
        except ApiError as refused:
            reply = _error(self.world, refused)
        except GitError as failed:
            reply = _error(self.world, ApiError(500, r.internal(str(failed))))
        login = r.user.login if r.user is not None else ""
        effect = reply.status < 400
        return replace(call, user=login, status=reply.status, effect=effect), reply

    def _send(self, request: web.Request, reply: Reply) -> web.Response:
        headers = {**reply.headers, "Date": self._date(), "Cache-Control": "max-age=0, private"}
        if reply.content_type:
            headers["Content-Type"] = reply.content_type
        body = b"" if request.method == "HEAD" else reply.body
        return web.Response(status=reply.status, body=body or None, headers=headers)

    def _date(self) -> str:
        if self.faults.date_header is not None:
            return self.faults.date_header
        offset_s = self.faults.clock_offset_s + self.faults.date_offset_s
        return formatdate(int(self.world.clock() + offset_s), usegmt=True)

    # faults

    async def _refuse(self, request: web.Request, call: Call, rule: Rule) -> web.StreamResponse:
        """Let a call fail before it has any effect."""
        status = rule.status if rule.kind == "status" else 0
        self.log.append(replace(call, status=status, fault=rule.kind))
        if rule.kind == "status":
            return self._proxy_page(rule)
        if rule.kind == "hang":
            await self._stopping.wait()
        return _reset(request)

    async def _spoil(
        self, request: web.Request, call: Call, reply: Reply, rule: Rule
    ) -> web.StreamResponse:
        """Let the answer of a call that was carried out be late, lost or broken."""
        self.log.append(replace(call, fault=rule.kind))
        if rule.kind == "slow":
            await asyncio.sleep(rule.seconds)
            return self._send(request, reply)
        if rule.kind == "status":
            return self._proxy_page(rule)
        if rule.kind == "garbage":
            return web.Response(body=b'{"id": 1, "titl', content_type="application/json")
        if rule.kind == "truncated":
            response = web.StreamResponse(status=reply.status, headers=reply.headers)
            response.content_type = "application/json"
            response.content_length = len(reply.body)
            await response.prepare(request)
            await response.write(reply.body[: len(reply.body) // 2])
            await asyncio.sleep(0.02)
            return _reset(request, response)
        return _reset(request)

    def _proxy_page(self, rule: Rule) -> web.Response:
        headers = {"Content-Type": "text/html", "Date": self._date(), **rule.headers}
        return web.Response(status=rule.status, body=rule.page.encode(), headers=headers)


def _effect_first(rule: Rule) -> bool:
    if rule.kind == "status":
        return rule.after_effect
    return rule.kind in ("answer_lost", "slow", "garbage", "truncated")


def _reset(request: web.Request, response: web.StreamResponse | None = None) -> web.StreamResponse:
    """Reset the connection; the response returned can no longer reach anybody."""
    if request.transport is not None:
        request.transport.abort()
    return response or web.Response(status=500)


def _json_body(call: Call) -> Json:
    """Return the body's object; an empty body is an empty object, anything else is 422."""
    if not call.body.strip():
        return {}
    try:
        value = json.loads(call.body)
    except ValueError as wrong:
        raise ApiError(422, f"invalid JSON: {wrong}") from None
    if not isinstance(value, dict):
        raise ApiError(422, "json: cannot unmarshal into Go value")
    return value


def _error(world: World, refused: ApiError) -> Reply:
    """Write an error body as this server does. 405 and redirects have none."""
    if refused.status in (301, 307):
        return Reply(refused.status, content_type="text/html", headers=refused.headers)
    if refused.status == 405 and not refused.message:
        return Reply(405, content_type="")
    body: Json = {"message": refused.message, "url": f"{world.url}/api/swagger"}
    if refused.status == 404 and world.quirks.errors_on_404:
        body = {"errors": [] if world.quirks.forgejo else None, **body}
    return answer(body, refused.status, refused.headers)
