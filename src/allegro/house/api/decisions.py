"""The part of the house's API about questions with options, and about reports that programs leave."""

from __future__ import annotations

from aiohttp import web

from allegro.core.base.errors import Refusal
from allegro.core.protocol.answers.decisions import DecisionsAnswer, decision_answer
from allegro.core.protocol.asked import GiveAnswer, LeaveReport
from allegro.core.requests.decisions import Decision, NewDecision
from allegro.house.api.http import MAX_WAIT_S, answer_json, decode_body, refused, seconds_in
from allegro.house.documents.decisions import Decisions
from allegro.house.documents.left_reports import LeftReports

MOST_LISTED = 500
TERMINAL = "terminal"


class DecisionApi:
    """Routes and nothing else."""

    def __init__(self, decisions: Decisions, left: LeftReports) -> None:
        self._decisions = decisions
        self._left = left

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/v1/decisions", self._list),
            web.post("/v1/decisions", self._ask),
            web.get("/v1/decisions/{id}", self._show),
            web.get("/v1/decisions/{id}/wait", self._wait),
            web.post("/v1/decisions/{id}/shown", self._shown),
            web.post("/v1/decisions/{id}/answer", self._answer),
            web.post("/v1/decisions/{id}/withdraw", self._withdraw),
            web.post("/v1/reports", self._leave),
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

    async def _leave(self, request: web.Request) -> web.Response:
        report = decode_body(await request.read(), LeaveReport)
        return answer_json(await self._left.leave(report), 201)

    async def _withdraw(self, request: web.Request) -> web.Response:
        return _answer(await self._decisions.withdraw(request.match_info["id"]))


def _answer(found: Decision | Refusal) -> web.Response:
    return refused(found) if isinstance(found, Refusal) else answer_json(decision_answer(found))
