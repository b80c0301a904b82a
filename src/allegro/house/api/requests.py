"""The part of the house's API that is about requests: asked for, shown, waited for, decided."""

from __future__ import annotations

from aiohttp import web

from allegro.core.base.errors import Refusal
from allegro.core.protocol.answers.requests import RequestsAnswer
from allegro.core.protocol.asked import Reason, Signed
from allegro.core.requests.proposals import Proposal
from allegro.core.requests.requests import Request
from allegro.house.api.http import MAX_WAIT_S, answer_json, decode_body, refused, seconds_in
from allegro.house.api.views import brief, whole
from allegro.house.requests.requests import Requests

LISTED = 500


class RequestApi:
    """Routes and nothing else."""

    def __init__(self, requests: Requests) -> None:
        self._requests = requests

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/v1/requests", self._list),
            web.post("/v1/requests", self._propose),
            web.get("/v1/requests/{id}", self._show),
            web.get("/v1/requests/{id}/wait", self._wait),
            web.post("/v1/requests/{id}/shown", self._shown),
            web.post("/v1/requests/{id}/approve", self._approve),
            web.post("/v1/requests/{id}/reject", self._reject),
            web.post("/v1/requests/{id}/withdraw", self._withdraw),
        ]

    async def _list(self, request: web.Request) -> web.Response:
        state, internal = request.query.get("state"), request.query.get("internal") == "1"
        found = [
            brief(one)
            for one in self._requests.all()
            if (internal or not one.internal) and (state is None or one.state.value == state)
        ]
        return answer_json(RequestsAnswer(requests=tuple(found[-LISTED:])))

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
        signed = decode_body(await request.read(), Signed)
        return _answer(await self._requests.approve(request.match_info["id"], signed.token))

    async def _reject(self, request: web.Request) -> web.Response:
        no = decode_body(await request.read(), Reason)
        return _answer(await self._requests.reject(request.match_info["id"], no.reason))

    async def _withdraw(self, request: web.Request) -> web.Response:
        return _answer(await self._requests.withdraw(request.match_info["id"]))


def _answer(found: Request | Refusal) -> web.Response:
    return refused(found) if isinstance(found, Refusal) else answer_json(whole(found))
