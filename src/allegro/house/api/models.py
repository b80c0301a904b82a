"""A lent model at the house: OpenAI's API on the house's socket, carried to its lane (H10)."""

from __future__ import annotations

import contextlib
import re
from typing import Any

from aiohttp import web

from allegro.core.base.errors import EdgeError
from allegro.core.base.untrusted import number_of, text_of, whole_number
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
        path = request.path.removeprefix(f"/v1/models/{lane}")
        query = ModelBegin(
            path=path,
            authorization=request.headers.get("Authorization", ""),
            body=await request.read(),
        )
        begun = await self._ask_lane(lane, query.name, query.params())
        answer = begun if isinstance(begun, dict) else {}
        call = text_of(answer.get("call"), 100)
        for _ in range(MAX_ROUNDS):  # a provider may take its time for the first word
            if answer.get("status") is not None or answer.get("done") is not False:
                break
            raw = await self._next(lane, call)
            answer = raw if isinstance(raw, dict) else {}
        status = number_of(answer.get("status"))
        type_ = text_of(answer.get("type"), 100)
        if not 200 <= status < 600:
            raise EdgeError(f"lane {lane} gave no answer that can be read", transient=True)
        response = web.StreamResponse(
            status=status,
            headers={"Content-Type": type_ if _TYPE.fullmatch(type_) else "application/json"},
        )
        wait_s = whole_number(answer.get("retry_after"), limit=86_401)
        if wait_s is not None:
            response.headers["Retry-After"] = str(wait_s)
        await response.prepare(request)
        await self._pieces(request, response, lane, call)
        return response

    async def _next(self, lane: str, call: str) -> Any:
        query = ModelNext(call=call)
        return await self._ask_lane(lane, query.name, query.params())

    async def _pieces(
        self, request: web.Request, response: web.StreamResponse, lane: str, call: str
    ) -> None:
        """Write pieces as they come; an answer that broke off must not look whole."""
        try:
            empty = 0
            while empty < MAX_ROUNDS:
                answer: Any = await self._next(lane, call)
                piece = answer.get("piece") if isinstance(answer, dict) else None
                if isinstance(piece, bytes) and piece:
                    await response.write(piece)
                empty = 0 if piece else empty + 1
                if not isinstance(answer, dict) or answer.get("done") is not False:
                    await response.write_eof()
                    return
            raise EdgeError(f"lane {lane} says nothing more", transient=True)
        except (EdgeError, ConnectionError):
            with contextlib.suppress(AttributeError):
                request.transport.abort()  # type: ignore[union-attr]
