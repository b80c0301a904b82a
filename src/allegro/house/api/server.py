"""The house's API: HTTP on a Unix socket of the owner. It can ask and deny; it cannot sign."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import msgspec
from aiohttp import web

from allegro.core.base.errors import EdgeError, Refusal
from allegro.core.health.facts import WARNING_HEADER
from allegro.house.api.http import Failed, answer_json, refused, sentence

MAX_BODY = 16 * 1024 * 1024
UNREADABLE_INPUT = (msgspec.MsgspecError, ValueError, KeyError, OverflowError, RecursionError)
"""What may come of a caller's words somewhere behind a route: an answer of 400, never of 500."""
WITHOUT_SEAT = frozenset({"/v1/reload", "/v1/stop"})
"""What may be asked of a house that follows read-only."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Api:
    """Serves the routes of all parts. `acting` false: nothing may be asked for but to stop.

    `warnings` are the health codes that every answer names, whatever was asked.
    """

    def __init__(
        self,
        routes: Sequence[web.RouteDef],
        warnings: Callable[[], Sequence[str]],
        *,
        acting: bool,
    ) -> None:
        self._routes = routes
        self._warnings = warnings
        self._acting = acting
        self._runner: web.AppRunner | None = None

    def app(self) -> web.Application:
        """Return the application with every route there is."""
        middlewares = [_errors] if self._acting else [_errors, _read_only]
        app = web.Application(client_max_size=MAX_BODY, middlewares=middlewares)
        app.on_response_prepare.append(self._warn)
        app.add_routes(self._routes)
        return app

    async def _warn(self, _: web.Request, response: web.StreamResponse) -> None:
        if warnings := self._warnings():
            response.headers[WARNING_HEADER] = ",".join(warnings)

    async def start(self, socket: Path) -> None:
        self._runner = web.AppRunner(self.app(), access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        socket.unlink(missing_ok=True)  # noqa: ASYNC240 (once, at start)
        await web.UnixSite(self._runner, str(socket)).start()
        socket.chmod(0o600)  # noqa: ASYNC240

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()


@web.middleware
async def _read_only(request: web.Request, handler: Handler) -> web.StreamResponse:
    if request.method != "GET" and request.path not in WITHOUT_SEAT:
        why = "this house follows read-only: set house.acting = true, then take-seat"
        return refused(Refusal("not_acting", why))
    return await handler(request)


@web.middleware
async def _errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except EdgeError as error:
        failed = Failed(sentence(error), error.kind, error.transient)
        return answer_json(failed, 503 if error.transient else 422)
    except web.HTTPRequestEntityTooLarge:
        return _bad(f"the body is longer than {MAX_BODY} bytes")
    except web.HTTPException as error:
        if error.status < 400:
            raise
        return answer_json(Failed(error.reason, "bad_request"), error.status)
    except UNREADABLE_INPUT as error:
        return _bad(str(error))


def _bad(why: str) -> web.Response:
    return answer_json(Failed(sentence(f"bad request: {why}"), "bad_request"), 400)
