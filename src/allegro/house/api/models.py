"""A lent model at the house: OpenAI's API on the house's socket, carried to its lane (H10)."""

from __future__ import annotations

import contextlib
import re
from typing import NoReturn

from aiohttp import web

from allegro.core.base.errors import EdgeError
from allegro.core.base.untrusted import Unreadable, read_value, whole_number
from allegro.core.protocol.answers.models import ModelAnswer
from allegro.core.protocol.queries import ModelBegin, ModelNext
from allegro.house.ports import AskLane

MAX_ROUNDS = 60
_TYPE = re.compile(r"[a-z]+/[!-~]+(?:; ?[!-~]+)*")


class Lent:
    """Routes only: the token is the lane's, and the lane decides what it is good for."""

    def __init__(self, ask_lane: AskLane) -> None:
        self._ask_lane = ask_lane

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/v1/models/{lane}/v1/models", self._carry),
            web.post("/v1/models/{lane}/v1/chat/completions", self._carry),
        ]

    async def _carry(self, request: web.Request) -> web.StreamResponse:
        lane = request.match_info["lane"]
        answer = await self._ask(lane, await _begin(request, lane))
        query = ModelNext(call=answer.call)
        for _ in range(MAX_ROUNDS):  # a provider may take its time for the first word
            if answer.status is not None or answer.done:
                break
            answer = await self._ask(lane, query)
        response = _response(answer, lane)
        await response.prepare(request)
        await self._pieces(request, response, lane, query)
        return response

    async def _ask(self, lane: str, query: ModelBegin | ModelNext) -> ModelAnswer:
        answer = read_value(await self._ask_lane(lane, query.name, query.params()), ModelAnswer)
        if isinstance(answer, Unreadable):
            _unread(lane)
        return answer

    async def _pieces(
        self, request: web.Request, response: web.StreamResponse, lane: str, query: ModelNext
    ) -> None:
        """Write pieces as they come; an answer that broke off must not look whole."""
        try:
            empty = 0
            while empty < MAX_ROUNDS:
                answer = await self._ask(lane, query)
                if answer.piece:
                    await response.write(answer.piece)
                empty = 0 if answer.piece else empty + 1
                if answer.done:
                    await response.write_eof()
                    return
            raise EdgeError(f"lane {lane} says nothing more", transient=True)
        except (EdgeError, ConnectionError):
            with contextlib.suppress(AttributeError):
                request.transport.abort()  # type: ignore[union-attr]


async def _begin(request: web.Request, lane: str) -> ModelBegin:
    return ModelBegin(
        path=request.path.removeprefix(f"/v1/models/{lane}"),
        authorization=request.headers.get("Authorization", ""),
        body=await request.read(),
    )


def _response(answer: ModelAnswer, lane: str) -> web.StreamResponse:
    if answer.status is None:
        _unread(lane)
    type_ = answer.type if _TYPE.fullmatch(answer.type) else "application/json"
    response = web.StreamResponse(status=answer.status, headers={"Content-Type": type_})
    wait_s = whole_number(answer.retry_after, limit=86_401)
    if wait_s is not None:
        response.headers["Retry-After"] = str(wait_s)
    return response


def _unread(lane: str) -> NoReturn:
    raise EdgeError(f"lane {lane} gave no answer that can be read", transient=True)
