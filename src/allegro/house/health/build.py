"""Wires how the house calls its owner: channels, the alert machine, its place in the ledger."""

from __future__ import annotations

from pathlib import Path

import structlog

from allegro.adapters.channels.build import build_channels
from allegro.config import load_zone, read_private
from allegro.core.base.errors import EdgeError, Refusal
from allegro.core.base.events import encode_event
from allegro.core.base.untrusted import Unreadable
from allegro.core.chat.taps import SHOWN
from allegro.core.health.alert_state import Rules, Told
from allegro.core.health.codes import Severity
from allegro.core.health.days import read_window
from allegro.core.health.delivery.notices import Notice
from allegro.core.health.delivery.outbox import Sent
from allegro.core.health.facts import Fact
from allegro.core.health.kept import KeptAlerts
from allegro.core.ports import Clock, Dice
from allegro.core.protocol.payloads.alerts import AlertTold
from allegro.core.protocol.payloads.base import own_event
from allegro.core.protocol.payloads.chat import ChatNoted
from allegro.core.settings import HouseSettings
from allegro.core.stores import AlertBook, Archive
from allegro.house.documents.decisions import Decisions
from allegro.house.health.doctor import Facts
from allegro.house.health.own_facts import HouseNow, OwnFacts, Troubles
from allegro.house.health.producers import Producers
from allegro.house.health.questions import UrgentQuestions
from allegro.house.health.statements import Known, Statements
from allegro.house.health.urgent import UrgentRequests
from allegro.house.lanes import Lanes
from allegro.house.ports import Ports, Reactions
from allegro.house.requests.book import RequestBook
from allegro.runtime.alerting.node import Node
from allegro.runtime.alerting.shell import Alerting
from allegro.runtime.consumer import OnSetAside
from allegro.runtime.duties import Duty
from allegro.runtime.tasks import Soon

_log = structlog.get_logger()
ALERT_VERBS = frozenset({"ack", "snooze", "useful", "noise"})
SETTLE_S = 5.0
"""So long after its start, or after it woke, the house tells nothing: lanes bring what they told."""
SLEPT_S = 20.0


class LedgerAlerts:
    """The alert store in the ledger."""

    def __init__(self, book: AlertBook) -> None:
        self._book = book

    async def load(self) -> KeptAlerts | Unreadable | None:
        return await self._book.alerting()

    async def save(self, kept: KeptAlerts) -> None:
        await self._book.keep_alerting(kept)


class Calling:
    """Calls the owner from home. `alerting` is what every other part raises and states with."""

    def __init__(
        self, settings: HouseSettings, archive: Archive, book: AlertBook, clock: Clock, dice: Dice
    ) -> None:
        self._settings = settings
        self._archive = archive
        self._clock = clock
        self._dice = dice
        self._zone = load_zone(settings.owner.timezone)
        quiet = read_window(settings.owner.quiet)
        self._quiet = None if isinstance(quiet, Refusal) else quiet
        self._awake_s = self._looked_s = clock.boot_s()
        self._events = Soon("told alerts")
        self._producers: Producers | None = None
        self._statements: Statements | None = None
        self.channels = build_channels(
            settings.telegram,
            settings.apprise,
            lambda name: read_private(Path(name).expanduser()),
            clock,
        )
        node = Node(
            origin="house",
            rules=self._rules,
            is_explained=self._is_explained,
            on_proven=self._on_proven,
        )
        self.alerting = Alerting(LedgerAlerts(book), self.channels.outlets, clock, dice, node)
        self._urgent = UrgentRequests(self.alerting, clock)
        self._questions = UrgentQuestions(self.alerting, clock)

    def reactions(self, on_set_aside: OnSetAside) -> Reactions:
        """Return whom every duty tells."""
        alerting = self.alerting
        return Reactions(
            alerting.raise_alert,
            on_set_aside,
            alerting.state,
            self._heard_from_lane,
            self._pressed,
            alerting.settle,
        )

    def watch(self, ports: Ports, lanes: Lanes, now: HouseNow, troubles: Troubles) -> Facts:
        """Let house and lanes state facts from now on; return what shows them."""
        own = OwnFacts(self._settings, ports, lanes, now, troubles)
        self._producers = Producers(own, lanes, self.alerting, self._clock)
        self._statements = Statements(
            self._settings,
            lanes,
            self.alerting,
            self._clock,
            Known(now.proposed, now.questions, now.plans),
        )
        return Facts(self._settings, ports, lanes, now, troubles.suspended, self._producers)

    def follow(self, requests: RequestBook, decisions: Decisions) -> None:
        """Tell the owner of each urgent request or question from now on, and of those of before once."""
        decisions.on_change(self._questions.changed)
        self._questions.resume(decisions.open())
        requests.on_change(self._urgent.changed)
        self._urgent.resume(requests.proposed())

    def duties(self) -> list[Duty]:
        """Return what runs: the alerts, and once `watch` was called what states facts."""
        found = self.alerting.duties()
        if self._producers is not None:
            found.append(Duty(name="facts", run=self._producers.run))
        if self._statements is not None:
            found.append(Duty(name="statements", run=self._statements.run))
        return found

    async def close(self) -> None:
        await self._urgent.stop()
        await self._questions.stop()
        await self._events.idle()
        await self.channels.close()

    def _heard_from_lane(self, reported: Told) -> None:
        """Note what a lane told the owner of itself while it did not hear this house.

        A lane is foreign: its word hushes only what it stated itself, and never a P0.
        """
        mine = f"lane {reported.key[1]}"
        allowed = {(one.code, one.lane, one.subject) for one in self.alerting.stated_by(mine)}
        is_urgent = any(
            one.key == reported.key and one.severity is Severity.P0
            for one in self.alerting.alerts.alerts
        )
        if reported.key in allowed and not is_urgent:
            self.alerting.called_elsewhere([reported])

    async def _pressed(self, note: ChatNoted, lane: str) -> None:
        """Take a button's press that a lane read: it acknowledges, snoozes or judges alerts.

        The lane is foreign: what is about this very lane, it cannot hush.
        """
        verb, digest = note.verb, self.alerting.digest_of(note.subject)
        if verb not in ALERT_VERBS or digest is None or digest[:SHOWN] != note.shown:
            return
        refusal = await self.alerting.press(verb, note.subject, but=lane)
        if refusal is not None:
            _log.info("alert.press_refused", notice=note.subject, reason=refusal.reason)

    def _rules(self) -> Rules:
        boot_s = self._clock.boot_s()
        if boot_s - self._looked_s > SLEPT_S:
            self._awake_s = boot_s
        self._looked_s = boot_s
        is_teller = self._settings.house.acting and boot_s - self._awake_s >= SETTLE_S
        return Rules(self._zone, self._quiet, is_teller)

    def _is_explained(self, fact: Fact) -> bool:
        """Whether a lane's own facts grew old because it cannot be reached: that is told itself."""
        if not fact.lane or fact.code.code.startswith("lane.link"):
            return False
        return any(one.state == "bad" for one in self.alerting.stated_by(f"link {fact.lane}"))

    def _on_proven(self, notice: Notice | None, sent: Sent) -> None:
        self._events.begin(sent.notice, self._archived(notice, sent))

    async def _archived(self, notice: Notice | None, sent: Sent) -> None:
        """Write down what was told, for everybody who reads the archive."""
        payload = AlertTold(
            notice=sent.notice,
            kind=sent.kind.value,
            severity=notice.severity.value if notice else "",
            channel=sent.channel,
            codes=tuple(sorted({key[0] for key in sent.keys})),
            lanes=tuple(sorted({key[1] for key in sent.keys if key[1]})),
        )
        id_ = f"told-{sent.notice}-{int(sent.at_s)}"
        event = own_event(payload, id_=id_, now_s=sent.at_s)
        try:
            await self._archive.add([encode_event(event)], self._clock.now_s())
        except EdgeError as error:
            _log.error("alert.not_archived", notice=sent.notice, error=str(error))
