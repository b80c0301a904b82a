"""The house's API: HTTP on a Unix socket of the owner. It can ask and deny; it cannot sign."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web

from allegro.core.base.errors import EdgeError, Refusal
from allegro.core.base.events import Event, decode_event
from allegro.core.base.untrusted import (
    MAX_NAME,
    MAX_NUMBER,
    UNREADABLE,
    Name,
    Unreadable,
    number_of,
    plain,
    read_json,
    read_value,
    text_of,
    unreadable,
)
from allegro.core.forge.issues import Issue
from allegro.core.health.facts import WARNING_HEADER
from allegro.core.protocol.event_types import EventType
from allegro.core.requests.proposals import Proposal
from allegro.core.stores import Archive, Archived
from allegro.house.api.http import (
    MAX_WAIT_S,
    answer_json,
    decode_body,
    number_in,
    plain_in,
    refused,
    seconds_in,
    sentence,
)
from allegro.house.api.views import brief, whole
from allegro.house.health.doctor import Facts
from allegro.house.lanes import Lanes
from allegro.house.requests.requests import Requests
from allegro.runtime.tasks import Soon

MAX_BODY = 16 * 1024 * 1024
UNREADABLE_INPUT = (msgspec.MsgspecError, ValueError, KeyError, OverflowError, RecursionError)
"""What may come of a caller's words somewhere behind a route: an answer of 400, never of 500."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Hooks(msgspec.Struct, frozen=True):
    """What the API lets the app do: stop, thaw, reload after a key change."""

    stop: Callable[[str, str], Awaitable[dict[str, Any]]]
    thaw: Callable[[str], Awaitable[Refusal | None]]
    reload: Callable[[], Awaitable[dict[str, Any]]]
    bring: Callable[[str], Awaitable[int]]


class AskBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    method: Name
    params: dict[str, Any] = {}


class _Wanted(msgspec.Struct, frozen=True):
    """Which events a caller wants."""

    limit: int
    prefix: str
    subject: str | None
    follow: bool


class Api:
    """Routes and nothing else: every answer comes from a duty."""

    def __init__(
        self, requests: Requests, archive: Archive, lanes: Lanes, facts: Facts,
        hooks: Hooks, open_words: Callable[[Event], Any], more: list[web.RouteDef], *,
        acting: bool,
    ) -> None:  # fmt: skip
        self._acting = acting
        self._requests = requests
        self._archive = archive
        self._lanes = lanes
        self._facts = facts
        self._hooks = hooks
        self._open_words = open_words
        self._more = more
        self._grew = asyncio.Condition()
        self._runner: web.AppRunner | None = None
        self._wakes = Soon("followers")

    def app(self) -> web.Application:
        """Return the application with every route there is."""
        middlewares = [_errors] if self._acting else [_errors, _read_only]
        app = web.Application(client_max_size=MAX_BODY, middlewares=middlewares)
        app.on_response_prepare.append(self._warn)
        app.add_routes(
            [
                web.get("/v1/status", self._status),
                web.get("/v1/doctor", self._doctor),
                web.get("/v1/requests", self._list),
                web.post("/v1/requests", self._propose),
                web.get("/v1/requests/{id}", self._show),
                web.get("/v1/requests/{id}/wait", self._wait),
                web.post("/v1/requests/{id}/shown", self._shown),
                web.post("/v1/requests/{id}/approve", self._approve),
                web.post("/v1/requests/{id}/reject", self._reject),
                web.post("/v1/requests/{id}/withdraw", self._withdraw),
                web.post("/v1/stop", self._stop),
                web.post("/v1/thaw", self._thaw),
                web.post("/v1/bring", self._bring),
                web.post("/v1/reload", self._reload),
                web.get("/v1/events", self._events),
                web.get("/v1/gaps", self._gaps),
                web.get("/v1/issues", self._issues),
                web.post("/v1/ask", self._ask),
                *self._more,
            ]
        )
        return app

    async def start(self, socket: Path) -> None:
        self._runner = web.AppRunner(self.app(), access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        socket.unlink(missing_ok=True)  # noqa: ASYNC240 (once, at start)
        await web.UnixSite(self._runner, str(socket)).start()
        socket.chmod(0o600)  # noqa: ASYNC240

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    def archived(self) -> None:
        """Wake whoever follows events."""
        self._wakes.begin("news", self._wake())

    async def _warn(self, _: web.Request, response: web.StreamResponse) -> None:
        """Name in every answer what its reader must know whatever he asked."""
        if warnings := self._facts.warnings():
            response.headers[WARNING_HEADER] = ",".join(warnings)

    async def _wake(self) -> None:
        async with self._grew:
            self._grew.notify_all()

    async def _status(self, _: web.Request) -> web.Response:
        return answer_json(await self._facts.status())

    async def _doctor(self, _: web.Request) -> web.Response:
        return answer_json(await self._facts.doctor())

    async def _list(self, request: web.Request) -> web.Response:
        state, internal = request.query.get("state"), request.query.get("internal") == "1"
        found = [
            brief(one)
            for one in self._requests.all()
            if (internal or not one.internal) and (state is None or one.state.value == state)
        ]
        return answer_json({"schema": "allegro.requests/1", "requests": found[-500:]})

    async def _propose(self, request: web.Request) -> web.Response:
        proposal = decode_body(await request.read(), Proposal)
        return answer_json(whole(await self._requests.propose(proposal)), 201)

    async def _show(self, request: web.Request) -> web.Response:
        return _answer(await self._requests.look_up(request.match_info["id"]))

    async def _shown(self, request: web.Request) -> web.Response:
        return _answer(await self._requests.shown(request.match_info["id"]))

    async def _wait(self, request: web.Request) -> web.Response:
        timeout_s = seconds_in(request, "timeout_s", 30.0, most=MAX_WAIT_S)
        return _answer(await self._requests.wait(request.match_info["id"], timeout_s))

    async def _approve(self, request: web.Request) -> web.Response:
        body = decode_body(await request.read(), dict[str, str])
        return _answer(
            await self._requests.approve(request.match_info["id"], body.get("token", ""))
        )

    async def _reject(self, request: web.Request) -> web.Response:
        body = decode_body(await request.read(), dict[str, str])
        return _answer(
            await self._requests.reject(request.match_info["id"], body.get("reason", ""))
        )

    async def _withdraw(self, request: web.Request) -> web.Response:
        return _answer(await self._requests.withdraw(request.match_info["id"]))

    async def _stop(self, request: web.Request) -> web.Response:
        """A stop is never refused for its words: what cannot be read is left out."""
        body = read_json(await request.read() or b"{}", dict[str, Any])
        words = {} if isinstance(body, Unreadable) else body
        reason, by = text_of(words.get("reason")), text_of(words.get("by"), MAX_NAME)
        return answer_json(await self._hooks.stop(reason, by or "socket"))

    async def _thaw(self, request: web.Request) -> web.Response:
        body = decode_body(await request.read(), dict[str, str])
        refusal = await self._hooks.thaw(body.get("token", ""))
        return answer_json({"thawed": True}) if refusal is None else refused(refusal)

    async def _bring(self, request: web.Request) -> web.Response:
        body = decode_body(await request.read(), dict[str, str])
        return answer_json({"told": await self._hooks.bring(body.get("token", ""))})

    async def _reload(self, _: web.Request) -> web.Response:
        return answer_json(await self._hooks.reload())

    async def _ask(self, request: web.Request) -> web.Response:
        body: AskBody = decode_body(await request.read(), AskBody)
        answer = plain(await self._lanes.ask(body.method, plain_in(body.params, "params")))
        if isinstance(answer, Unreadable):
            why = f"the lane's answer to {body.method} cannot be read: {answer}"
            raise EdgeError(why, transient=False, kind="unreadable")
        return answer_json(answer)

    async def _gaps(self, _: web.Request) -> web.Response:
        names = ("lane", "journal", "first", "last", "count", "class", "reason", "at_s")
        gaps = [dict(zip(names, gap, strict=True)) for gap in await self._archive.gaps()]
        return answer_json({"schema": "allegro.gaps/1", "gaps": gaps})

    async def _issues(self, request: web.Request) -> web.Response:
        """The newest version of each issue of a repository, as archived.

        One that cannot be read hides no other: `unreadable` counts them.
        """
        name = request.query.get("repository", "")
        since_s = int(seconds_in(request, "since_s", 0.0, most=MAX_NUMBER - 1))
        repository = await self._repository_id(name)
        stored = await self._archive.objects(repository, since_s, EventType.FORGE_SNAPSHOT_ISSUE)
        read = [_issue(self._words_of(raw)) for raw in stored]
        issues = [issue for issue in read if isinstance(issue, Issue)]
        unreadable = sum(isinstance(issue, Unreadable) for issue in read)
        return answer_json({"issues": issues, "unreadable": unreadable})

    async def _repository_id(self, name: str) -> int:
        for raw in await self._archive.newest_of_type(EventType.FORGE_SNAPSHOT_REPOSITORY):
            words = self._words_of(raw)
            if isinstance(words, dict) and words.get("name") == name:
                return number_of(decode_event(raw).data.get("repository"))
        raise EdgeError(
            f"{name[:MAX_NAME]} is not known here: is it in forge.watch of a lane, and has a poll"
            " come home?",
            transient=False,
            kind="not_found",
        )  # fmt: skip

    def _words_of(self, raw: bytes) -> Any:
        """Return the words of a stored event, None when it has none, or Unreadable."""
        try:
            event = decode_event(raw)
            words = self._open_words(event)
        except UNREADABLE as error:  # a lane's bytes
            return unreadable(error)
        return Unreadable("cannot be opened") if event.sealed and words is None else words

    async def _events(self, request: web.Request) -> web.StreamResponse:
        """Events as JSON lines, oldest first; `follow=1` goes on until the caller hangs up.

        The last line says that it is the last: `{"end": …}` or `{"error": …}`, each with `after`.
        """
        after = number_in(request, "after", 0)
        if "last" in request.query:
            after = max(0, await self._archive.last_row() - number_in(request, "last", 0))
        wanted = _Wanted(
            number_in(request, "limit", MAX_NUMBER - 1), request.query.get("prefix", ""),
            request.query.get("subject"), request.query.get("follow") == "1",
        )  # fmt: skip
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        await response.prepare(request)
        last: dict[str, Any] = {}
        try:
            async for archived in self._stream(after, wanted):
                after = archived.row
                await response.write(self._line(archived) + b"\n")
            last = {"end": "limit" if wanted.limit < MAX_NUMBER - 1 else "all"}
        except EdgeError as error:
            last = {"error": sentence(error)}
        await response.write(msgspec.json.encode({**last, "after": after}) + b"\n")
        await response.write_eof()
        return response

    async def _stream(self, after: int, wanted: _Wanted) -> AsyncIterator[Archived]:
        left = wanted.limit
        while left > 0:
            batch = await self._archive.events(
                after, min(500, left), prefix=wanted.prefix, subject=wanted.subject
            )
            for archived in batch:
                after = archived.row
                yield archived
            left -= len(batch)
            if not batch:
                if not wanted.follow:
                    return
                async with self._grew:
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self._grew.wait(), 15.0)

    def _line(self, archived: Archived) -> bytes:
        """Return one event as a line; a lane's bytes that are none are shown as such."""
        try:
            return msgspec.json.encode(self.opened(archived))
        except UNREADABLE as error:
            return msgspec.json.encode(_unreadable_event(archived, unreadable(error)))

    def opened(self, archived: Archived) -> dict[str, Any]:
        """Return an archived event with its words opened. Raises ValueError where it is none."""
        event = decode_event(archived.stored)
        return {
            "row": archived.row, "lane": archived.lane, "archived_s": archived.at_s,
            "id": event.id, "type": event.type, "subject": event.subject, "time": event.time,
            "data": event.data, "words": self._open_words(event),
        }  # fmt: skip


def _unreadable_event(archived: Archived, why: Unreadable) -> dict[str, Any]:
    return {
        "row": archived.row, "lane": archived.lane, "archived_s": archived.at_s, "id": "",
        "type": "unreadable", "subject": "", "time": "", "data": {}, "words": None,
        "unreadable": why.reason,
    }  # fmt: skip


def _issue(words: Any) -> Issue | Unreadable | None:
    """Return an archived issue, None where its lane sealed none."""
    return words if isinstance(words, Unreadable | None) else read_value(words, Issue)


@web.middleware
async def _read_only(request: web.Request, handler: Handler) -> web.StreamResponse:
    if request.method != "GET" and request.path not in {"/v1/reload", "/v1/stop"}:
        refusal = Refusal(
            "not_acting", "this house follows read-only: set house.acting = true, then take-seat"
        )
        return refused(refusal)
    return await handler(request)


@web.middleware
async def _errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except EdgeError as error:
        status = 503 if error.transient else 422
        return answer_json(
            {"error": sentence(error), "kind": error.kind, "transient": error.transient}, status
        )
    except web.HTTPRequestEntityTooLarge:
        return _bad(f"the body is longer than {MAX_BODY} bytes")
    except web.HTTPException as error:
        if error.status < 400:
            raise
        return answer_json({"error": error.reason, "kind": "bad_request"}, error.status)
    except UNREADABLE_INPUT as error:
        return _bad(str(error))


def _bad(why: str) -> web.Response:
    return answer_json({"error": sentence(f"bad request: {why}"), "kind": "bad_request"}, 400)


def _answer(found: Any) -> web.Response:
    return refused(found) if isinstance(found, Refusal) else answer_json(whole(found))
