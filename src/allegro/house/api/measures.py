"""The figures on the house's API: every row of the table over one window."""

from __future__ import annotations

from aiohttp import web

from allegro.house.api.http import answer_json, seconds_in
from allegro.house.measures.wing import MeasuresWing

WEEK_S = 7 * 86_400.0
MOST_S = 10 * 366 * 86_400.0


class MeasuresApi:
    """One route; the figures are the wing's."""

    def __init__(self, wing: MeasuresWing) -> None:
        self._wing = wing

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/v1/measures", self._show)]

    async def _show(self, request: web.Request) -> web.Response:
        """`window_s`: how many seconds before now; a week where it is not given."""
        window_s = seconds_in(request, "window_s", WEEK_S, most=MOST_S)
        return answer_json(await self._wing.answer(window_s))
