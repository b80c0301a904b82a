"""The part of the house's API that is about what was set aside, and lanes that get no orders."""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web

from allegro.core.base.errors import Refusal
from allegro.core.effects.render import one_line
from allegro.core.protocol.answers.house import AsideAnswer, ResumeAnswer, ShownAside
from allegro.core.stores import WorkBook
from allegro.house.api.http import answer_json, refused
from allegro.house.archive.suspended import Suspended

SHOWN = 200


class AsideApi:
    """Routes and nothing else. `kick` lets orders be looked at again."""

    def __init__(self, book: WorkBook, suspended: Suspended, kick: Callable[[], None]) -> None:
        self._book = book
        self._suspended = suspended
        self._kick = kick

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/v1/aside", self._show),
            web.post("/v1/lanes/{lane}/resume", self._resume),
        ]

    async def _show(self, _: web.Request) -> web.Response:
        aside = await self._book.all_set_aside()
        items = tuple(
            ShownAside(one.duty, one.item, one.lane, one.reason, one.at_s) for one in aside[-SHOWN:]
        )
        suspended = self._suspended.described()
        return answer_json(AsideAnswer(count=len(aside), items=items, suspended=suspended))

    async def _resume(self, request: web.Request) -> web.Response:
        lane = request.match_info["lane"]
        if not await self._suspended.lift(lane):
            why = f"no lane {one_line(lane, 64)} is suspended: no orders wait for it"
            return refused(Refusal("not_found", why))
        self._kick()
        return answer_json(ResumeAnswer(lane))
