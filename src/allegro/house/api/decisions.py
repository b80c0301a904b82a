"""The part of the house's API that is about questions with options."""

from __future__ import annotations

from aiohttp import web

from allegro.core.base.errors import Refusal
from allegro.core.protocol.answers.decisions import DecisionsAnswer, decision_answer
from allegro.core.protocol.asked import GiveAnswer
from allegro.core.requests.decisions import Decision, NewDecision
from allegro.house.api.http import MAX_WAIT_S, answer_json, decode_body, refused, seconds_in
from allegro.house.documents.decisions import Decisions

MOST_LISTED = 500
TERMINAL = "terminal"


class DecisionApi:
    """Routes and nothing else."""

    def __init__(self, decisions: Decisions) -> None:
        self._decisions = decisions

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/v1/decisions", self._list),
            web.post("/v1/decisions", self._ask),
            web.get("/v1/decisions/{id}", self._show),
            web.get("/v1/decisions/{id}/wait", self._wait),
            web.post("/v1/decisions/{id}/shown", self._shown),
            web.post("/v1/decisions/{id}/answer", self._answer),
            web.post("/v1/decisions/{id}/withdraw", self._withdraw),
        ]

    async def _list(self, _: web.Request) -> web.Response:
        newest = self._decisions.all()[-MOST_LISTED:]
        return answer_json(DecisionsAnswer(decisions=tuple(map(decision_answer, newest))))

    async def _ask(self, request: web.Request) -> web.Response:
        new = decode_body(await request.read(), NewDecision)
        return answer_json(decision_answer(await self._decisions.ask(new)), 201)

    async def _show(self, request: web.Request) -> web.Response:
        return _answer(await self._decisions.look_up(request.match_info["id"]))

    async def _wait(self, request: web.Request) -> web.Response:
        timeout_s = seconds_in(request, "timeout_s", 30.0, most=MAX_WAIT_S)
        return _answer(await self._decisions.wait(request.match_info["id"], timeout_s))

    async def _shown(self, request: web.Request) -> web.Response:
        return _answer(await self._decisions.shown(request.match_info["id"]))

    async def _answer(self, request: web.Request) -> web.Response:
        """Take an answer. What came over the socket can never pass for a tap in a chat."""
        body = decode_body(await request.read(), GiveAnswer)
        by = TERMINAL if body.by == TERMINAL else f"program {body.by}".strip()
        return _answer(
            await self._decisions.answered(request.match_info["id"], body.option, by, body.digest)
        )

    async def _withdraw(self, request: web.Request) -> web.Response:
        return _answer(await self._decisions.withdraw(request.match_info["id"]))


def _answer(found: Decision | Refusal) -> web.Response:
    return refused(found) if isinstance(found, Refusal) else answer_json(decision_answer(found))
