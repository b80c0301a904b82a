"""How a lane calls its owner: it speaks for itself while it does not hear its house."""

from __future__ import annotations

import hashlib

import msgspec
import structlog

from allegro.core.base.errors import EdgeError
from allegro.core.channels import Channels
from allegro.core.health import codes
from allegro.core.health.alert_state import Rules
from allegro.core.health.alerts import Phase
from allegro.core.health.delivery.notices import Notice
from allegro.core.health.delivery.outbox import Sent
from allegro.core.health.facts import Fact
from allegro.core.health.kept import AlertStore
from allegro.core.protocol.payloads.alerts import AlertTold
from allegro.core.protocol.statement import HouseStatement
from allegro.lane.context import Context
from allegro.lane.health.silent_house import SilentHouse
from allegro.lane.health.status import Status
from allegro.runtime.alerting.node import Node
from allegro.runtime.alerting.shell import Alerting
from allegro.runtime.duties import Duty
from allegro.runtime.tasks import Soon

_log = structlog.get_logger()
STATE_S = 15.0
HOLDS_S = 60.0
MAX_ORIGIN = 22
"""So long the beginning of a notice's id may be, so that a button can carry it."""


class Calling:
    """`alerting` is the same machine as the house's; `house` decides when it may speak."""

    def __init__(
        self,
        ctx: Context,
        status: Status,
        channels: Channels,
        house: SilentHouse,
        store: AlertStore,
    ) -> None:
        self._ctx = ctx
        self._status = status
        self._channels = channels
        self._house = house
        self._events = Soon("told alerts")
        ports = ctx.ports
        node = Node(
            origin=origin_of(ctx.settings.lane.name),
            rules=self._rules,
            facts=house.facts,
            on_proven=self._on_proven,
        )
        self.alerting = Alerting(store, channels.outlets, ports.clock, ports.dice, node)
        ctx.state.house_word.on_statement(self._hear)

    def duties(self) -> list[Duty]:
        """Return what runs, what is answered, and doctor's facts about calling a person."""
        return [
            Duty(name="channels", stop=self._channels.close),
            Duty(name="told alerts", stop=self._events.stop),
            *self.alerting.duties(),
            Duty(
                name="lane facts",
                run=self._state_on,
                facts=self._facts,
            ),
        ]

    # --- the chat's side --------------------------------------------------------------------------

    def for_chat(self) -> dict[str, object]:
        """Return what the chat asks of alerts, by the names of its links."""
        return {"firing": self.firing, "notices": self.alerting}

    def firing(self) -> int:
        """Return how many alerts of this lane hold and are not acknowledged."""
        return sum(one.course.phase is Phase.FIRING for one in self.alerting.alerts.alerts)

    def _rules(self) -> Rules:
        """Return the rules of a step: who told that the house was silent, tells that it is back."""
        rules, alerts = self._house.rules(), self.alerting.alerts.alerts
        owes = any(
            one.code == codes.HOUSE_SILENT.code
            and one.course.phase is Phase.RECOVERED
            and one.course.reached_s
            and not one.course.recovery
            for one in alerts
        )
        return msgspec.structs.replace(rules, is_teller=True) if owes else rules

    # --- facts ------------------------------------------------------------------------------------

    async def _state_on(self) -> None:
        """State what this lane knows of itself, each with the time by which it is stated again."""
        while True:
            await self.state()
            await self._ctx.ports.clock.sleep(STATE_S)

    async def state(self) -> None:
        """State all facts once."""
        now_s = self._ctx.ports.clock.now_s()
        own = {one.code.code for one in self.alerting.own_facts()}
        facts = await self._status.facts(asks_forge=False)
        self.alerting.state(
            [
                msgspec.structs.replace(one, at_s=one.at_s or now_s, until_s=now_s + HOLDS_S)
                for one in facts
                if one.code.code not in own
            ],
            "lane",
        )

    def _facts(self) -> list[Fact]:
        """Return doctor's facts; a lane without a channel says what that means."""
        return [
            msgspec.structs.replace(
                one, state="warn", detail="this lane calls nobody while its house is silent"
            )
            if one.code is codes.NO_CHANNEL and one.state != "ok"
            else one
            for one in self.alerting.own_facts()
        ]

    def _hear(self, statement: HouseStatement) -> None:
        """Take what the house told: it is told once. (`house` has taken the same statement.)"""
        del statement
        self.alerting.called_elsewhere(self._house.reported(self.alerting.alerts))

    # --- what was told ----------------------------------------------------------------------------

    def _on_proven(self, notice: Notice | None, sent: Sent) -> None:
        self._events.begin(sent.notice, self._recorded(notice, sent))

    async def _recorded(self, notice: Notice | None, sent: Sent) -> None:
        """Tell home what was told; the keys of alerts are sealed, for a subject may be a name."""
        payload = AlertTold(
            notice=sent.notice,
            kind=sent.kind.value,
            severity=notice.severity.value if notice else "",
            channel=sent.channel,
            codes=tuple(sorted({key[0] for key in sent.keys})),
        )
        recorder = self._ctx.recorder
        id_ = recorder.content(f"told {sent.notice} {int(sent.at_s)}")[:40]
        event = recorder.event(payload, words={"keys": sent.keys}, id_=id_)
        try:
            await recorder.append([event])
        except EdgeError as error:
            _log.error("alert.not_recorded", notice=sent.notice, error=str(error))


def origin_of(lane: str) -> str:
    """Return how the ids of a lane's notices begin: its name, or what is left of a long one."""
    if len(lane) <= MAX_ORIGIN:
        return lane
    return f"{lane[: MAX_ORIGIN - 7]}-{hashlib.sha256(lane.encode()).hexdigest()[:6]}"
