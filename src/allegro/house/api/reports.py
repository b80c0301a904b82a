"""The reports on the house's API."""

from __future__ import annotations

import datetime

from aiohttp import web

from allegro.house.api.http import BadInput, answer_json
from allegro.house.reports.reporter import FORMS, Form, Reporter


class ReportsApi:
    """One route; the reporter answers."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/v1/report", self._show)]

    async def _show(self, request: web.Request) -> web.Response:
        """`day` as 2026-11-28 (yesterday where it is not given), `form`, and `weekly=1`."""
        weekly = request.query.get("weekly") == "1"
        date, form = _date(request.query.get("day")), _form(request.query.get("form", "md"))
        return answer_json(await self._reporter.answer(date, form, weekly=weekly))


def _date(text: str | None) -> datetime.date | None:
    if text is None:
        return None
    try:
        return datetime.date.fromisoformat(text) if len(text) == 10 else _no_date()
    except ValueError as error:
        raise BadInput("day must be a date, as in 2026-11-28") from error


def _no_date() -> datetime.date:
    raise ValueError("no date")


def _form(text: str) -> Form:
    for form in FORMS:
        if form == text:
            return form
    raise BadInput(f"form must be one of {', '.join(FORMS)}")
