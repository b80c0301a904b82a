"""The house program: wires adapters to duties, starts, and stops cleanly.

It is longer than other modules because every duty of the house is made and joined here, in the
order in which they need each other; what a duty does stands in its own module.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any

import structlog
from aiohttp.web import RouteDef

from allegro.adapters.clock import SystemClock, SystemDice
from allegro.adapters.crypto.signatures import verify
from allegro.adapters.files import hold_folder
from allegro.adapters.sqlite.archive import open_archive
from allegro.adapters.sqlite.ledger import open_ledger
from allegro.adapters.systemd.notify import notify, watchdog_s
from allegro.config import load_zone, read_secret
from allegro.core.authority.actions.agent import AGENT
from allegro.core.authority.freeze import Freeze
from allegro.core.authority.tokens import Thaw
from allegro.core.base.errors import ConfigError, EdgeError, Refusal
from allegro.core.base.store_ties import Fault
from allegro.core.effects.render import one_line
from allegro.core.health import codes
from allegro.core.health.duty_runs import DutyPlan
from allegro.core.health.facts import Fact
from allegro.core.protocol.answers.house import ReloadAnswer, StopAnswer
from allegro.core.requests.decisions import Decision
from allegro.core.settings import HouseSettings
from allegro.house.agent.loans import Loans
from allegro.house.agent.progress import Progress
from allegro.house.agent.sessions import SessionLanes, Sessions
from allegro.house.api.agent import SessionApi
from allegro.house.api.alerts import AlertApi
from allegro.house.api.archive import ArchiveApi, AsideApi
from allegro.house.api.decisions import DecisionApi
from allegro.house.api.fleet import FleetApi
from allegro.house.api.house import Hooks, HouseApi
from allegro.house.api.measures import MeasuresApi
from allegro.house.api.models import Lent
from allegro.house.api.reports import ReportsApi
from allegro.house.api.requests import RequestApi
from allegro.house.api.server import Api
from allegro.house.api.watch.duties import DutyApi
from allegro.house.archive.content import Words
from allegro.house.archive.store_ties import renew_tie, tie_stores
from allegro.house.archive.suspended import Suspended
from allegro.house.documents.build import Documents
from allegro.house.documents.heard import with_questions
from allegro.house.documents.report_issue import ReportIssue
from allegro.house.endpoint import House
from allegro.house.files import (
    bring_fleet_forward,
    files_of,
    load_fleet,
    load_house_key,
    load_sealing,
    socket_of,
)
from allegro.house.fleet.watch import FleetWatch
from allegro.house.freezes import Freezes
from allegro.house.health.build import Calling
from allegro.house.health.doctor import Facts
from allegro.house.health.own_facts import HouseNow, Troubles
from allegro.house.health.set_aside import Asides, Measures
from allegro.house.lanes import Lanes
from allegro.house.orders.arbiter import Orders
from allegro.house.orders.carrying import Hands
from allegro.house.orders.choice import Choice
from allegro.house.orders.giving import Ahead, Giving, Mandate
from allegro.house.orders.pauses import Pauses
from allegro.house.orders.settling import Looks, Witnesses
from allegro.house.ports import Ports, Reactions
from allegro.house.reports.build import Reporting, Speaking
from allegro.house.reports.build import build as build_reports
from allegro.house.requests.follow import FleetView, Follow
from allegro.house.requests.newest_state import ItemPorts
from allegro.house.requests.ordered_effects import Names
from allegro.house.requests.polls import Polls
from allegro.house.requests.requests import Approvals, Pinning, Requests
from allegro.house.schedule.build import Home
from allegro.house.schedule.build import build as build_schedule
from allegro.house.schedule.wing import ScheduleWing
from allegro.runtime.duties import Duties
from allegro.runtime.program import Program, running

_log = structlog.get_logger()
MAX_DAMAGE = 20
REMEMBERED_S = 14 * 86_400


async def run(settings: HouseSettings) -> int:
    """Run the house until SIGTERM or SIGINT; return the exit code.

    Raises ConfigError before anything is started when keys or fleet are missing.
    """
    bring_fleet_forward(files_of(settings))
    app = _House(settings)
    hold = partial(hold_folder, app.folder, "another house")
    async with running(hold, notify) as program:
        program.stack.callback(_log.info, "house.stopped")
        await app.start(program)
        await app.wait(program)
    return 0


class _House:
    def __init__(self, settings: HouseSettings) -> None:
        self._settings = settings
        self._files = files_of(settings)
        self._fleet = load_fleet(self._files)
        self._key = load_house_key(self._files)
        self._sealing = load_sealing(self._files)
        self._clock, self._dice = SystemClock(), SystemDice()
        self._words = Words(lambda id_, sealed: self._sealing.open(self._fleet.id, id_, sealed))
        self._woken = asyncio.Event()
        self._duties = Duties(self._clock, self._dice, self._duty_failed)
        self._fault: Fault | None = None
        self.folder = self._files.folder

    async def start(self, program: Program) -> None:
        """Open archive and ledger, then the socket, then dial."""
        settings = self._settings
        quota = int(settings.archive.quota_gb * 1e9)
        self._archive = open_archive(self._files.archive, quota_bytes=quota, same=self._words.same)
        program.stack.push_async_callback(self._archive.close)
        now_s = self._clock.now_s()
        self._ledger = open_ledger(self._files.ledger, now_s - REMEMBERED_S, now_s)
        program.stack.push_async_callback(self._ledger.close)
        await self._take_up_alerts(program)
        self._suspended = Suspended(self._ledger)
        await self._suspended.resume()
        self._fault = await tie_stores(self._archive, self._ledger, self._dice)
        program.stack.push_async_callback(self._close_books)
        self._freezes = Freezes(
            self._ledger,
            self._clock,
            self._dice,
            self._alert,
            self._stop_lanes,
        )
        await self._freezes.resume(self._fault)
        house = House(
            self._archive,
            self._ledger,
            self._clock,
            self._dice,
            fleet=lambda: self._fleet,
            freezes=lambda: self._freezes.now,
            sign=self._sign,
            verify=verify,
            archived=self._archived,
            lane_froze=self._freezes.join,
            alert=self._alert,
            suspended=self._suspended.__contains__,
        )
        self._lanes = Lanes(house, settings.forge.triage_label)
        program.stack.push_async_callback(self._lanes.stop)
        self._requests = Requests(
            self._ledger,
            self._clock,
            self._dice,
            Approvals(lambda: self._fleet, verify),
            Pinning(self._lanes.ask, settings.requests.expiry_s),
        )
        ports = Ports(self._archive, self._ledger, self._clock, self._dice, self._words.open)
        measures = Measures(self._alert, self._freezes.notice)
        asides = Asides(ports, self._requests, self._suspended, measures)
        reactions = with_questions(
            self._calling.reactions(asides.take), lambda: self._documents.decisions
        )
        item_ports = ItemPorts(self._ledger, self._clock, asides.take)
        self._follow = self._following(ports, reactions)
        session_lanes = SessionLanes(self._lanes.ask_lane, self._lanes.is_home)
        self._sessions = Sessions(ports, self._requests, session_lanes, reactions, self._woken.set)
        self._orders = self._arbiter(house)
        loans = Loans(ports, self._requests, self._lanes.ask_lane)
        shown = await self._documented(ports, item_ports)
        facts = self._calling.watch(ports, self._lanes, self._now(), self._troubles())
        self._reporting = self._reports(program, ports, facts, self._documents.report_issue)
        self._watch, self._schedule = self._watching(ports, reactions)
        self._archive_api = ArchiveApi(self._archive, self._words.open)
        routes = [
            *self._own_routes(facts),
            *SessionApi(self._sessions, loans, self._requests, self._lanes.ask).routes(),
            *Lent(self._lanes.ask_lane).routes(),
            *FleetApi(ports, self._lanes, self._watch, lambda: self._fleet, self._alert).routes(),
            *MeasuresApi(self._reporting.measures).routes(),
            *ReportsApi(self._reporting.reporter).routes(),
            *DutyApi(self._schedule).routes(),
            *AlertApi(self._calling.alerting, self._clock, self._dice).routes(),
            *DecisionApi(self._documents.decisions, self._documents.left).routes(),
        ]
        self._api = Api(routes, facts.warnings, acting=settings.house.acting)
        self._tell_damage()
        await self._check_seat()
        await self._api.start(socket_of(settings))
        program.stack.push_async_callback(self._api.stop)
        program.stack.push_async_callback(self._duties.stop)
        if settings.house.acting:
            self._lanes.refresh()
            self._begin(**shown)
        self._duties.join(*self._calling.duties())
        self._duties.begin("alive", self._alive)
        program.ready()
        _log.info("house.ready", house=settings.house.name, seat=self._fleet.seat)

    async def _take_up_alerts(self, program: Program) -> None:
        """Know the alerts of before; whoever raises one from now on is heard."""
        stores = (self._archive, self._ledger)
        self._calling = Calling(self._settings, *stores, self._clock, self._dice)
        program.stack.push_async_callback(self._calling.close)
        self._alert = self._calling.alerting.raise_alert
        await self._calling.alerting.resume()

    async def _documented(
        self, ports: Ports, items: ItemPorts
    ) -> dict[str, Callable[[], Coroutine[Any, Any, None]]]:
        """Make what shows requests, questions and reports; return the duties that write comments."""
        lanes = (self._lanes.ask, self._woken.set)
        self._documents = made = Documents(ports, items, self._requests, self._settings, lanes)
        await made.decisions.resume()
        progress = Progress(self._sessions, self._requests, made.comments, items, self._ledger)
        return {**made.duties(), "progress": progress.run}

    def _begin(self, **shown: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Begin the duties of a house that acts; `shown` are those that write comments."""
        acting = {
            "follow": self._follow.run,
            "orders": self._orders.run,
            **shown,
            "sessions": self._sessions.run,
            "fleet": self._watch.run,
            "measures": self._reporting.measures.run,
        }
        for name, run in acting.items():
            self._duties.begin(name, run)
        self._duties.join(*self._schedule.duties())
        self._calling.follow(self._requests, self._documents.decisions)

    def _own_routes(self, facts: Facts) -> list[RouteDef]:
        """Return what is asked of the house itself, of its requests and its archive."""
        hooks = Hooks(self._stop_everything, self._thaw, self._reload, self._lanes.bring_all)
        return [
            *HouseApi(facts, hooks, self._lanes.ask).routes(),
            *RequestApi(self._requests).routes(),
            *self._archive_api.routes(),
            *AsideApi(self._ledger, self._suspended, self._woken.set).routes(),
        ]

    def _troubles(self) -> Troubles:
        return Troubles(self._suspended, self._fault)

    def _now(self) -> HouseNow:
        """Return what holds in the house at any moment."""
        return HouseNow(
            fleet=lambda: self._fleet,
            freezes=lambda: self._freezes.now,
            alone_since=lambda: self._watch.local_only_since_s,
            blocked=lambda: self._orders.blocked,
            duties=self._duty_facts,
            plans=self._duty_plans,
            proposed=self._requests.proposed,
            questions=self._open_questions,
        )

    def _duty_facts(self) -> list[Fact]:
        return self._schedule.facts()  # asked when it is shown: it is made after what shows it

    def _open_questions(self) -> list[Decision]:
        return self._documents.decisions.open()

    def _duty_plans(self) -> list[DutyPlan]:
        return self._schedule.plans()

    def _reports(
        self, program: Program, ports: Ports, facts: Facts, issue: ReportIssue
    ) -> Reporting:
        """Return what measures and reports."""
        speaking = Speaking(
            self._lanes, self._calling.alerting, facts, lambda: self._freezes.now, issue
        )
        reporting = build_reports(self._settings, ports, self._requests, speaking)
        program.stack.push_async_callback(reporting.close)
        return reporting

    def _following(self, ports: Ports, reactions: Reactions) -> Follow:
        view = FleetView(
            fleet=lambda: self._fleet,
            freeze=self._freezes.notice,
            report=self._freezes.report,
            save=self._freezes.save,
            is_linked=lambda: bool(self._lanes.linked()),
            is_home=self._lanes.is_home,
            ask_lane=self._lanes.ask_lane,
        )
        names = Names(self._settings.forge.triage_label, self._fleet.secret)
        return Follow(ports, self._requests, view, reactions, names)

    def _arbiter(self, house: House) -> Orders:
        """Return what gives the orders, woken by `self._woken`."""
        settings, requests, clock = self._settings.orders, self._requests, self._clock
        ahead = Ahead()
        mandate = Mandate(
            lambda: self._fleet,
            lambda: self._freezes.now,
            house.sign,
            self._change_token,
            settings.ttl_s,
        )
        witnesses = Witnesses(self._lanes, Polls(self._archive, self._ledger).of)
        hands = Hands(
            choice=Choice(self._lanes, {AGENT.name: self._sessions}),
            pauses=Pauses(clock, self._dice, settings.ttl_s + settings.settle_s),
            giving=Giving(requests, self._ledger, clock, mandate, ahead),
            looks=Looks(requests, witnesses, clock, mandate.fleet, ahead),
        )
        return Orders(requests, clock, hands, parallel=settings.parallel, woken=self._woken)

    def _watching(self, ports: Ports, reactions: Reactions) -> tuple[FleetWatch, ScheduleWing]:
        """Return what expects beats of lanes, and what runs and expects scheduled duties."""
        zone = load_zone(self._settings.owner.timezone)
        home = Home(self._settings, ports, self._lanes, reactions, zone, self._busy)
        duties = self._reporting.scheduled()
        return FleetWatch(ports, self._lanes, reactions), build_schedule(home, duties)

    def _busy(self) -> str:
        """Say why no drill may be done now: a freeze, or work that runs; empty where one may."""
        if not self._freezes.now.is_thawed:
            return "the fleet is frozen"
        orders, lanes = self._orders.carrying, self._lanes.names()
        sessions = sum(self._sessions.busy(lane) for lane in lanes)
        return f"{orders} orders, {sessions} sessions run" if orders or sessions else ""

    async def wait(self, program: Program) -> None:
        """Return at a signal. Raises what must end the program."""
        await self._duties.wait(program.stopping)

    def _tell_damage(self) -> None:
        """Tell what was found wrong with the stores at this start."""
        if self._fault is not None:
            self._alert(codes.STORES, self._fault.value)
        for aside in self._ledger.damaged[:MAX_DAMAGE]:
            self._alert(codes.LEDGER_DAMAGED, aside.item, reason=aside.reason)
        if len(self._ledger.damaged) > MAX_DAMAGE:
            many = f"{len(self._ledger.damaged)} cells"
            self._alert(codes.LEDGER_DAMAGED, many, reason="see the log")

    async def _close_books(self) -> None:
        """Write down what is still in memory, and that both stores were closed together."""
        try:
            await renew_tie(self._archive, self._ledger, self._dice)
        except EdgeError as error:
            _log.error("stores.not_tied", error=str(error))

    def _sign(self, message: bytes) -> bytes:
        return self._key.sign(message)  # the key of now: it may have been rotated

    def _duty_failed(self, name: str, sentence: str) -> None:
        _log.error("duty.failed", duty=name)
        self._alert(codes.TASK_FAILED, name, detail=one_line(sentence))

    async def _alive(self) -> None:
        """Beat for the watchdog, and dial at once after the machine slept."""
        every_s = min(5.0, watchdog_s() or 5.0)
        while True:
            before_s, wall_s = self._clock.boot_s(), self._clock.now_s()
            await self._clock.sleep(every_s)
            notify("WATCHDOG=1")
            self._requests.forget(self._clock.now_s() - REMEMBERED_S)
            slept = self._clock.boot_s() - before_s > every_s + 5
            jumped = abs((self._clock.now_s() - wall_s) - every_s) > 5
            if slept or jumped:
                self._lanes.prod()

    def _change_token(self) -> str | None:
        name = self._settings.forge.change_token_file
        if not name:
            return None
        try:
            return read_secret(Path(name).expanduser())
        except ConfigError as error:
            raise EdgeError(str(error), transient=False, kind="change_token") from error

    def _archived(self) -> None:
        self._follow.kick()
        self._sessions.kick()
        self._watch.kick()
        self._archive_api.archived()

    async def _stop_lanes(self, freeze: Freeze) -> int:
        return await self._lanes.stop_all(freeze)

    async def _stop_everything(self, reason: str, by: str) -> StopAnswer:
        freeze, lanes = await self._freezes.stop(reason, by)
        return StopAnswer(freeze=freeze.id, lanes_told=lanes)

    async def _thaw(self, token: str) -> Refusal | None:
        fleet = self._fleet
        claims = fleet.read(token, Thaw, verify)
        if isinstance(claims, Refusal):
            return claims
        if not self._clock.now_s() < claims.exp:
            return Refusal("thaw_expired", "sign it again")
        await self._freezes.thaw(claims.freezes, token)
        await self._lanes.bring_all(token)
        self._woken.set()
        return None

    async def _reload(self) -> ReloadAnswer:
        """Take over keys, seat and lanes after a command changed them."""
        known = self._fleet.revocations
        self._fleet = load_fleet(self._files)
        self._key = load_house_key(self._files)
        voided = await self._check_seat()
        new = [token for token in self._fleet.revocations if token not in known]
        for token in (
            *self._fleet.rotations[-1:],
            self._fleet.certificate,
            self._fleet.seat_token,
            *new,
            *self._fleet.roster_tokens,
        ):
            await self._lanes.bring_all(token)
        if self._settings.house.acting:
            self._lanes.refresh()
        return ReloadAnswer(seat=self._fleet.seat, lanes=len(self._fleet.lanes), voided=voided)

    async def _check_seat(self) -> int:
        """Void open approvals when seat or sovereign key changed since they were given."""
        now = f"{self._fleet.seat}/{self._fleet.sovereign_number}"
        held = await self._ledger.strings("seat and key")
        if held == (now,):
            return 0
        voided = await self._requests.unseat() if held else 0
        await self._ledger.set_strings("seat and key", (now,))
        return voided
