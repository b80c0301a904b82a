"""Says to each linked lane when the house may be silent, and which of its alerts were told.

A lane of the release before does not understand it: that is no trouble.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import structlog

from allegro.core.base.errors import EdgeError
from allegro.core.base.untrusted import text_of
from allegro.core.health.alert_state import AlertState
from allegro.core.health.delivery.notices import Kind
from allegro.core.health.duty_runs import DutyPlan
from allegro.core.ports import Clock
from allegro.core.protocol.queries import Inform
from allegro.core.protocol.statement import (
    MAX_PLANS,
    MAX_TOLD,
    MAX_WAITING,
    QUESTION,
    HouseStatement,
    ToldAlert,
    WaitingRequest,
)
from allegro.core.requests.decisions import Decision
from allegro.core.requests.requests import Request
from allegro.core.settings import HouseSettings
from allegro.house.lanes import Lanes
from allegro.runtime.alerting.shell import Alerting
from allegro.runtime.tasks import OneEach

_log = structlog.get_logger()
EVERY_S = 30.0
LOOK_S = 10.0
RECENT_S = 2 * 86_400.0


class Known(msgspec.Struct, frozen=True):
    """What other parts of the house know of now.

    `proposed` and `questions` wait for their owner's decision, oldest first; `plans` are the
    scheduled duties that lanes are to expect.
    """

    proposed: Callable[[], list[Request]] = list
    questions: Callable[[], list[Decision]] = list
    plans: Callable[[], list[DutyPlan]] = list


class Statements:
    """Makes a statement for each lane, every EVERY_S and when it changed."""

    def __init__(
        self,
        settings: HouseSettings,
        lanes: Lanes,
        alerting: Alerting,
        clock: Clock,
        known: Known | None = None,
    ) -> None:
        self._settings = settings
        self._lanes = lanes
        self._alerting = alerting
        self._clock = clock
        self._known = known or Known()
        self._said: dict[str, HouseStatement] = {}
        self._tasks = OneEach("statement", lambda _: None)

    async def run(self) -> None:
        while True:
            self.look()
            await self._clock.sleep(LOOK_S)

    def look(self) -> None:
        """Begin to say what is due; a lane that does not answer holds up no other."""
        linked = {name for name, _, _ in self._lanes.linked()}
        self._said = {name: one for name, one in self._said.items() if name in linked}
        for name in linked:
            statement = self.statement(name)
            before = self._said.get(name)
            is_due = before is None or statement.at_s - before.at_s >= EVERY_S
            if is_due or (before is not None and _is_other(before, statement)):
                self._begin(name, statement)

    def _begin(self, lane: str, statement: HouseStatement) -> None:
        async def say() -> None:
            try:
                await self._lanes.ask_lane(lane, Inform.name, Inform(statement=statement).params())
            except EdgeError as error:
                _log.info("statement.not_said", lane=lane, error=str(error))

        if self._tasks.begin(lane, say):
            self._said[lane] = statement

    def statement(self, lane: str) -> HouseStatement:
        """Return what is true now, for this lane."""
        house, owner, now_s = self._settings.house, self._settings.owner, self._clock.now_s()
        waiting = self._waiting()
        return HouseStatement(
            at_s=now_s,
            zone=owner.timezone,
            quiet=owner.quiet,
            expected=house.expected,
            hours=house.hours,
            alerts=called_about(self._alerting.alerts, lane, now_s),
            requests=tuple(self._shown(one) for one in waiting[:MAX_WAITING]),
            waiting=len(waiting),
            duties=tuple(self._known.plans()[:MAX_PLANS]),
        )

    def _waiting(self) -> list[Request | Decision]:
        """Return all that waits for its owner, oldest first."""
        found: list[Request | Decision] = [*self._known.proposed(), *self._known.questions()]
        return sorted(found, key=lambda one: one.document.created_s)

    def _shown(self, one: Request | Decision) -> WaitingRequest:
        """Return what waits as a lane may know it: its words only where they may leave by chat."""
        document, content = one.document, self._settings.telegram.content
        kind, target = QUESTION, document.context
        if isinstance(one, Request):
            kind, target = one.kind, one.target
        return WaitingRequest(
            one.id[:40],
            one.digest[:32],
            kind,
            document.urgency[:20],
            max(0.0, document.created_s),
            text_of(document.question, 200) if content else "",
            text_of(target, 200) if content else "",
        )


def _is_other(before: HouseStatement, now: HouseStatement) -> bool:
    return _without_time(before) != _without_time(now)


def _without_time(statement: HouseStatement) -> HouseStatement:
    return msgspec.structs.replace(statement, at_s=0.0)


def called_about(state: AlertState, lane: str, now_s: float) -> tuple[ToldAlert, ...]:
    """Return what a channel has taken lately about a lane's own facts: the alarm or its end."""
    found = []
    for one in state.alerts:
        course = one.course
        if one.lane != lane or not one.is_condition or not course.reached_s:
            continue
        is_over = bool(course.recovery)
        at_s = course.recovery_s if is_over else course.told_s
        if now_s - at_s < RECENT_S:
            kind = Kind.RECOVERY if is_over else Kind.ALARM
            notice = course.recovery if is_over else course.alarm
            found.append(
                ToldAlert(
                    one.code, one.subject, "recovery" if kind is Kind.RECOVERY else "alarm",
                    notice, max(0.0, at_s),
                )
            )  # fmt: skip
    found.sort(key=lambda one: -one.at_s)
    return tuple(found[:MAX_TOLD])
