"""The stand-in as a running HTTP server: token in the path, bodies of every form, polls, faults.

A poll that finds nothing ends the one that is held, with 409, as the real server does; that answer is
itself put off by 3 s when there was another conflict within 3 s.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from aiohttp import web

from .methods import METHODS, ApiError, number, structure
from .world import TOKEN, Json, World

TERMINATED = "Conflict: terminated by other getUpdates request; make sure that only one bot instance is running"
WEBHOOK = (
    "Conflict: can't use getUpdates method while webhook is active; "
    "use deleteWebhook to delete the webhook first"
)
LONGEST_POLL_S = 50
APART_S = 3.0


def wall_clock() -> float:
    """The clock of the machine this server plays; tests hand in their own."""
    return time.time()  # noqa: TID251  another machine's clock: not one the product reads


@dataclass(slots=True)
class Fault:
    """The next `count` calls of a method (`*`: any) go wrong.

    `status` is answered as the Bot API words it, 429 with `retry_after`; `slow` waits `seconds`
    first; `hang_up` closes without an answer, after the effect where `after_effect`; `garbage`
    answers 200 with something that is no JSON.
    """

    kind: Literal["status", "slow", "hang_up", "garbage"]
    method: str = "*"
    count: int = 1
    status: int = 500
    retry_after: int = 1
    seconds: float = 0.0
    after_effect: bool = False

    def strikes(self, method: str) -> bool:
        if self.count <= 0 or self.method.lower() not in {"*", method}:
            return False
        self.count -= 1
        return True

    def error(self) -> ApiError:
        words = {400: "Bad Request: refused by script", 401: "Unauthorized", 409: TERMINATED,
                 403: "Forbidden: bot was kicked from the supergroup chat",
                 429: f"Too Many Requests: retry after {self.retry_after}"}  # fmt: skip
        more = {"retry_after": self.retry_after} if self.status == 429 else {}
        return ApiError(self.status, words.get(self.status, "Internal Server Error"), **more)


class TelegramStandIn:
    """One bot's API. `url` is its address once started; `world` is where people act.

    `dead_reader(seconds)`: a reader died, and its poll is held so long yet: others get 409.
    `good_polls` are the steady times (s) at which polls were answered with updates or with none.
    """

    def __init__(
        self, *, clock: Callable[[], float] = wall_clock, host: str = "127.0.0.1", port: int = 0
    ) -> None:
        self.world = World(clock)
        self.faults: list[Fault] = []
        self.calls: list[str] = []
        self.good_polls: list[float] = []
        self.url = ""
        self._address = (host, port)
        self._runner: web.AppRunner | None = None
        self._held: asyncio.Future[None] | None = None
        self._dead_until_s = self._conflict_s = 0.0

    async def __aenter__(self) -> TelegramStandIn:
        app = web.Application(client_max_size=50 << 20)
        app.router.add_route("*", "/bot{token}/{method}", self._serve)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, *self._address)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    def fail(self, kind: Literal["status", "slow", "hang_up", "garbage"], **options: Any) -> Fault:
        """Add a fault (see `Fault`) behind those already there."""
        fault = Fault(kind, **options)
        self.faults.append(fault)
        return fault

    def dead_reader(self, seconds: float = 30.0) -> None:
        self._dead_until_s = time.monotonic() + seconds

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        method = request.match_info["method"].lower()
        self.calls.append(method)
        if request.match_info["token"] != TOKEN:
            return _answer(ApiError(401, "Unauthorized: invalid token specified"))
        fault = next((one for one in self.faults if one.strikes(method)), None)
        if fault and fault.kind == "slow":
            await asyncio.sleep(fault.seconds)
        if fault and fault.kind == "hang_up" and not fault.after_effect:
            return _hang_up(request)
        if fault and fault.kind == "garbage":
            return web.Response(text="<html>garbage", content_type="text/html")
        try:
            if fault and fault.kind == "status":
                raise fault.error()
            fields = await _fields(request)
            result = await self._carry_out(method, fields)
        except ApiError as error:
            return _answer(error)
        if fault and fault.kind == "hang_up":
            return _hang_up(request)
        return web.json_response({"ok": True, "result": result})

    async def _carry_out(self, method: str, fields: Json) -> Any:
        if method == "getupdates":
            return await self._poll(fields)
        if method not in METHODS:
            raise ApiError(404, "Not Found: method not found")
        return METHODS[method](self.world, fields)

    async def _poll(self, fields: Json) -> list[Json]:
        world = self.world
        if world.webhook:
            raise ApiError(409, WEBHOOK)
        if time.monotonic() < self._dead_until_s:
            raise ApiError(409, TERMINATED)
        if isinstance(kinds := structure(fields, "allowed_updates"), list):
            world.allowed = [str(one) for one in kinds]
        limit = min(max(number(fields, "limit", 100), 1), 100)
        wait_s = min(max(number(fields, "timeout"), 0), LONGEST_POLL_S)
        self._confirm(number(fields, "offset"))
        if not world.updates and wait_s:
            await self._hold(wait_s)
        self.good_polls.append(time.monotonic())
        return world.updates[:limit]

    def _confirm(self, offset: int) -> None:
        """Forget what an offset confirms; one far beyond the end confirms nothing."""
        world = self.world
        if offset < 0:
            world.updates = world.updates[offset:]
        elif offset and offset <= world.next_update + 10:
            world.updates = [one for one in world.updates if one["update_id"] >= offset]

    async def _hold(self, wait_s: int) -> None:
        """Hold a poll until an update comes, its time is over, or another poll ends it."""
        if self._held is not None and not self._held.done():
            self._held.set_exception(ApiError(409, TERMINATED))
        mine = self._held = asyncio.get_running_loop().create_future()
        self.world.arrived.clear()
        arrived = asyncio.ensure_future(self.world.arrived.wait())
        try:
            await asyncio.wait({arrived, mine}, timeout=wait_s, return_when="FIRST_COMPLETED")
            if mine.done():
                await self._put_off()
                mine.result()
        finally:
            arrived.cancel()
            if not mine.done():
                mine.cancel()

    async def _put_off(self) -> None:
        now_s = time.monotonic()
        if now_s < self._conflict_s:
            await asyncio.sleep(APART_S)
        else:
            self._conflict_s = now_s + APART_S


async def _fields(request: web.Request) -> Json:
    fields: Json = dict(request.query)
    if request.content_type == "application/json":
        try:
            body = json.loads(await request.read() or b"{}")
        except ValueError as error:
            raise ApiError(400, "Bad Request: can't parse request JSON object") from error
        return fields | (body if isinstance(body, dict) else {})
    for name, value in (await request.post()).items():
        if isinstance(value, web.FileField):
            fields[name] = (value.filename, value.file.read())
        else:
            fields[name] = value
    return fields


def _answer(error: ApiError) -> web.Response:
    body: Json = {"ok": False, "error_code": error.code, "description": error.description}
    if error.parameters:
        body["parameters"] = error.parameters
    return web.json_response(body, status=error.code)


def _hang_up(request: web.Request) -> web.Response:
    if request.transport is not None:
        request.transport.abort()
    return web.Response()
