"""What a person does with alerts over the house's socket: see, acknowledge, snooze, judge."""

from __future__ import annotations

from collections.abc import Sequence

from aiohttp import web

from allegro.core.base.errors import Refusal
from allegro.core.health.alert_acts import (
    Acknowledge,
    Act,
    EndMaintenance,
    Judge,
    Maintain,
    Snooze,
)
from allegro.core.health.alert_state import Maintenance
from allegro.core.health.alerts import Alert
from allegro.core.ports import Clock, Dice
from allegro.core.protocol.answers.alerts import (
    AlertActAnswer,
    AlertsAnswer,
    MaintenanceAnswer,
)
from allegro.core.protocol.asked import NewMaintenance, SnoozeFor
from allegro.house.api.http import answer_json, decode_body, refused
from allegro.house.health.alerts import counts, found_by, listed, precision
from allegro.runtime.alerting.shell import Alerting

MOST = 500


class AlertApi:
    """Routes only; every rule stands in the alert machine."""

    def __init__(self, alerting: Alerting, clock: Clock, dice: Dice) -> None:
        self._alerting = alerting
        self._clock = clock
        self._dice = dice

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/v1/alerts", self._show),
            web.post("/v1/alerts/{id}/ack", self._acknowledge),
            web.post("/v1/alerts/{id}/snooze", self._snooze),
            web.post("/v1/alerts/{id}/useful", self._useful),
            web.post("/v1/alerts/{id}/noise", self._noise),
            web.post("/v1/maintenance", self._maintain),
            web.post("/v1/maintenance/{id}/end", self._end),
        ]

    async def _show(self, _: web.Request) -> web.Response:
        state = self._alerting.alerts
        return answer_json(
            AlertsAnswer(
                alerts=listed(state, MOST),
                counts=counts(state),
                precision=precision(state),
                maintenance=tuple(state.maintenance),
                channels=tuple(self._alerting.channels),
            )
        )

    async def _acknowledge(self, request: web.Request) -> web.Response:
        return await self._each(request, [Acknowledge(one.key) for one in self._found(request)])

    async def _snooze(self, request: web.Request) -> web.Response:
        body = decode_body(await request.read(), SnoozeFor)
        until_s = self._clock.now_s() + body.for_s
        return await self._each(request, [Snooze(one.key, until_s) for one in self._found(request)])

    async def _useful(self, request: web.Request) -> web.Response:
        acts = [Judge(one.course.alarm, "useful", one.code) for one in self._found(request)]
        return await self._each(request, acts)

    async def _noise(self, request: web.Request) -> web.Response:
        acts = [Judge(one.course.alarm, "noise", one.code) for one in self._found(request)]
        return await self._each(request, acts)

    def _found(self, request: web.Request) -> list[Alert]:
        return found_by(self._alerting.alerts, request.match_info["id"])

    async def _each(self, request: web.Request, acts: Sequence[Act]) -> web.Response:
        """Do each act; refused where none could be done."""
        if not acts:
            return refused(Refusal("not_found", "no such alert: see `allegro alerts`"))
        refusals = [await self._alerting.act(act) for act in acts]
        done = sum(one is None for one in refusals)
        if not done and refusals[0] is not None:
            return refused(refusals[0])
        return answer_json(AlertActAnswer(alerts=done))

    async def _maintain(self, request: web.Request) -> web.Response:
        body = decode_body(await request.read(), NewMaintenance)
        now_s, id_ = self._clock.now_s(), self._dice.token(4).hex()
        window = Maintenance(id_, now_s, now_s + body.for_s, body.code, body.lane, body.subject)
        refusal = await self._alerting.act(Maintain(window))
        if refusal is not None:
            return refused(refusal)
        return answer_json(MaintenanceAnswer(id=id_, until_s=window.until_s), 201)

    async def _end(self, request: web.Request) -> web.Response:
        refusal = await self._alerting.act(EndMaintenance(request.match_info["id"]))
        if refusal is not None:
            return refused(refusal)
        return answer_json(MaintenanceAnswer(id=request.match_info["id"]))
