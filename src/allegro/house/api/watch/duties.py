"""Scheduled duties on the house's API: all of them at a glance, and one run that a person asks for."""

from __future__ import annotations

from aiohttp import web

from allegro.core.protocol.answers.duties import DutiesAnswer, DutyRunAnswer
from allegro.core.protocol.asked import RunDuty
from allegro.house.api.http import answer_json, decode_body
from allegro.house.schedule.wing import ScheduleWing


class DutyApi:
    """Routes only; the wing knows."""

    def __init__(self, wing: ScheduleWing) -> None:
        self._wing = wing

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/v1/duties", self._list), web.post("/v1/duties/run", self._run)]

    async def _list(self, _: web.Request) -> web.Response:
        return answer_json(DutiesAnswer(duties=self._wing.shown()))

    async def _run(self, request: web.Request) -> web.Response:
        body = decode_body(await request.read(), RunDuty)
        return answer_json(DutyRunAnswer(duties=await self._wing.run_now(body.duty)))
