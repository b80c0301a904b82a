"""The house's API in process: real routes, requests, orders, archive; one lane that answers as told."""

from __future__ import annotations

import asyncio
import datetime
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import aiohttp
import msgspec
from aiohttp import web

from allegro.adapters.crypto.signatures import verify
from allegro.adapters.report_files import ReportFiles
from allegro.adapters.sqlite.archive import SqliteArchive, open_archive
from allegro.config import load_zone
from allegro.core.authority.freeze import Freeze
from allegro.core.base.errors import EdgeError, Refusal
from allegro.core.base.events import Event
from allegro.core.health.duty_runs import DutyPlan
from allegro.core.health.duty_watch import WatchedDuty
from allegro.core.protocol.answers.house import LinkedLane, ReloadAnswer, StopAnswer
from allegro.core.protocol.queries import Params
from allegro.core.stores import SetAside
from allegro.house.agent.loans import Loans
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
from allegro.house.archive.suspended import Suspended
from allegro.house.documents.comments import Comments
from allegro.house.documents.decisions import Decisions
from allegro.house.documents.left_reports import LeftReports
from allegro.house.endpoint import House as Shared
from allegro.house.files import Fleet, HouseFiles, KnownLane
from allegro.house.fleet.watch import FleetWatch
from allegro.house.health.build import Calling
from allegro.house.health.doctor import Facts
from allegro.house.health.own_facts import HouseNow, Troubles
from allegro.house.lanes import Lanes
from allegro.house.measures.build import build as build_measures
from allegro.house.measures.wing import MeasuresWing
from allegro.house.ports import Ports, Reactions
from allegro.house.reports.collect import Collector
from allegro.house.reports.reporter import Reporter
from allegro.house.reports.sources import Sources
from allegro.house.schedule.build import Home
from allegro.house.schedule.build import build as build_duties
from allegro.house.schedule.wing import ScheduleWing
from allegro.link.dial import LaneLink
from allegro.testing.virtual import SeededDice, VirtualClock
from tests.core.builders import HOUSE, SOVEREIGN
from tests.duties.alerts import noted
from tests.duties.house import FLEET, LANE, FakeLane, House

Case = tuple[str, str, str, dict[str, Any]]
"""(name of the case, method, path with query, keywords of the request)."""


class TellingLane(FakeLane):
    """A lane that refuses each order for good and answers every query, well until told otherwise."""

    def __init__(self) -> None:
        super().__init__()
        self.answers = deque(["malformed_action"] * 100_000)
        self.world |= GOOD
        self.asked_for: set[str] = set()

    async def ask(self, method: str, params: Params, timeout_s: float = 0.0) -> Any:
        self.asked_for.add(method)
        return await super().ask(method, params)


GOOD: dict[str, Any] = {
    "pin_change": {
        "forge": "forge.example.org", "repository": {"id": 7, "name": "home/garden"},
        "base": "main", "base_commit": "a" * 40,
        "files": {"a.txt": {"mode": "100644", "sha": "b" * 40, "content": "aGk="}},
    },
    "pin_pull": {
        "forge": "forge.example.org", "repository": {"id": 7, "name": "home/garden"},
        "base": "main", "base_commit": "a" * 40, "head_commit": "b" * 40, "ci_paths": ["x.yml"],
    },
    "issue_details": {
        "title": "Roses", "body": "water", "author": "timmy",
        "comments": [{"id": 1, "author": "timmy", "body": "now"}],
    },
    "status": {
        "healthy": True, "frozen": False, "freezes": ["f1"], "safe_mode": False, "done": "polled",
        "forge_trouble": "", "journal_waiting": 0,
        "sessions": {
            "ready": 1, "gateways": 1, "local": False, "trouble": "",
            "running": [{"session": "s", "runs_s": 1.5, "waits_for_answer": 0}],
        },
    },
    "doctor": [
        {"what": "clock", "verdict": "ok", "told": "0 s off", "source": "forge", "age_s": 1.0,
         "mend": ""}
    ],
    "offer": {"address": "10.0.0.1:4222", "certificate": "PEM", "domain": "d"},
    "fleet": {
        "held": {"forge": 3}, "held_for_s": {"forge": 1.5}, "holders": {"forge": ["a"]},
        "roster": 1, "council": "agrees", "quorum": True, "ready": ["forge"], "domain": "d",
        "siblings": [{"lane": "b", "heard": True}], "freezes": ["f1"],
    },
    "run_duty": {
        "plan": {"duty": "sweep", "role": "", "cron": "0 3 * * *", "grace_s": 60.0, "due_s": 5.0,
                 "served_s": 4.0},
        "is_running": False, "off": "",
        "last": {"duty": "sweep", "ending": "ran", "due_s": 4.0, "begun_s": 4.0, "duration_s": 1.0,
                 "punctuality": "on time", "skipped": 0, "result": "done", "figures": {"n": 1.0}},
    },
    "tallies": [
        {"session": "s1", "ended_s": 5.0, "calls": 2, "tokens": 7,
         "agent": {"calls": 2, "tools": 1, "tokens_in": 3, "tokens_out": 4}},
    ],
    "look_at": {"host": True, "heard": True, "ready": ["forge"]},
    "rest": True, "stop_session": True, "deny": True, "revoke_loan": True, "sessions": ["s1"],
    "listing": {"issues": [1], "comments": [2]},
    "model_begin": {"call": "c1", "status": 200, "type": "application/json", "done": False},
    "model_next": {"piece": b"{}", "done": True},
}  # fmt: skip


class KnownLanes(Lanes):
    """The lanes as the API sees them, over links that answer as told."""

    def __init__(self, house: House, archive: SqliteArchive) -> None:
        async def froze(_: tuple[Freeze, ...]) -> None:
            return

        super().__init__(
            Shared(
                archive, house.ledger, house.clock, SeededDice(6), fleet=lambda: FLEET,
                freezes=lambda: house.frozen, sign=HOUSE.sign, verify=verify,
                archived=lambda: None, lane_froze=froze,
            )
        )  # fmt: skip
        self._told = house

    def linked(self) -> list[tuple[str, str, LaneLink]]:
        return self._told.linked()

    def serving_forge(self) -> list[tuple[str, str, LaneLink]]:
        return self.linked()

    def serves(self, lane: str) -> list[str]:
        return ["forge", "hermes"]

    def roles_of(self, lane: str) -> dict[str, int]:
        return {"forge": 3}

    def is_home(self, lane: str) -> bool:
        return True

    async def ask_lane(
        self, lane: str, method: str, params: Params, timeout_s: float | None = None
    ) -> Any:
        return await self._told.ask_lane(lane, method, params)

    async def ask(self, method: str, params: Params) -> Any:
        return await self._told.ask(method, params)

    def describe(self) -> list[LinkedLane]:
        return [
            LinkedLane(name=name, url="ws://127.0.0.1:1", linked=True, since_s=1.0, heard_s=1.0)
            for name in self._told.lanes
        ]


class ApiHouse:
    def __init__(self, house: House, socket: Path, session: aiohttp.ClientSession) -> None:
        self.house = house
        self.socket = socket
        self.session = session
        self.lane = cast(TellingLane, house.lane)
        self.frozen: list[str] = []
        self.decisions = Decisions(house.ledger, house.clock, SeededDice(7), 600.0)
        comments = Comments(house.requests, house.ask, house.orders.wake)
        self.left = LeftReports(comments, house.clock, SeededDice(8))
        self.app: web.Application

    async def send(self, method: str, path: str, **more: Any) -> tuple[int, bytes]:
        """Send one request; return status and body. Time is bounded."""
        timeout = aiohttp.ClientTimeout(total=60)
        async with self.session.request(
            method, "http://house" + path, timeout=timeout, **more
        ) as answer:
            return answer.status, await answer.read()

    async def faults(self, cases: list[Case]) -> list[str]:
        """Return the cases that were not answered as a border must answer."""
        found = []
        for name, method, path, more in cases:
            try:
                status, body = await self.send(method, path, **more)
            except (aiohttp.ClientError, TimeoutError) as error:
                found.append(f"{method} {path[:60]} [{name}]: {error!r}"[:300])
                continue
            if why := against(status, body):
                found.append(f"{method} {path[:60]} [{name}]: {why}"[:300])
        status, _ = await self.send("GET", "/v1/status")
        return found if status == 200 else [*found, f"status answers {status} afterwards"]


def against(status: int, body: bytes) -> str:
    """Return what is wrong with an answer, empty when nothing is."""
    if status < 400:
        return ""
    if status >= 500 and status not in {502, 503}:
        return f"answered {status}: {body[:80]!r}"
    try:
        told = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return f"no JSON with status {status}: {body[:80]!r}"
    if not isinstance(told, dict) or not isinstance(told.get("error"), str):
        return f"no sentence with status {status}"
    return "a sentence of many lines" if "\n" in told["error"] else ""


@asynccontextmanager
async def api_house(folder: Path) -> AsyncIterator[ApiHouse]:
    """Start the API over a Unix socket in process, with its arbiter running."""
    house = House(folder, VirtualClock())
    house.lane = TellingLane()
    house.lanes = {LANE: house.lane}
    await house.start()
    archive = open_archive(folder / "archive.db", quota_bytes=10**8)
    lanes = KnownLanes(house, archive)
    fleet = msgspec.structs.replace(
        FLEET, lanes=(KnownLane(LANE, SOVEREIGN.public, "ws://127.0.0.1:1", None),)
    )
    alerts: list[tuple[str, str]] = []

    async def set_aside(aside: SetAside, stored: bytes) -> None:
        alerts.append(("high", aside.reason))

    ports = Ports(archive, house.ledger, house.clock, SeededDice(4), _words)
    reactions = Reactions(noted(alerts), set_aside)
    session_lanes = SessionLanes(lanes.ask_lane, lambda _: True)
    sessions = Sessions(ports, house.requests, session_lanes, reactions, house.orders.wake)
    house.followers["agent"] = sessions
    loans = Loans(ports, house.requests, lanes.ask_lane)
    watch = FleetWatch(ports, lanes, reactions)
    suspended = Suspended(house.ledger)
    figures = build_measures(ports, house.requests, HouseFiles(folder))
    calling = Calling(house.settings, archive, house.ledger, house.clock, SeededDice(7))
    made = ApiHouse(house, folder / "house.sock", _session(folder / "house.sock"))
    facts = _facts(house, calling, ports, lanes, fleet, suspended)
    api = Api(
        [
            *HouseApi(facts, _hooks(made), lanes.ask).routes(),
            *RequestApi(house.requests).routes(),
            *ArchiveApi(archive, _words).routes(),
            *DecisionApi(made.decisions, made.left).routes(),
            *SessionApi(sessions, loans, house.requests, lanes.ask).routes(),
            *Lent(lanes.ask_lane).routes(),
            *FleetApi(ports, lanes, watch, lambda: fleet, noted(alerts)).routes(),
            *AsideApi(house.ledger, suspended, house.orders.wake).routes(),
            *MeasuresApi(figures).routes(),
            *DutyApi(await _duties(house, ports, lanes, reactions)).routes(),
            *ReportsApi(_reporter(house, ports, figures)).routes(),
            *AlertApi(calling.alerting, house.clock, SeededDice(8)).routes(),
        ],
        facts.warnings,
        acting=True,
    )
    made.app = api.app()
    await api.start(made.socket)
    orders = asyncio.create_task(house.orders.run())
    writer = asyncio.create_task(calling.alerting.duties()[0].run())  # type: ignore[misc,arg-type]
    try:
        yield made
    finally:
        orders.cancel()
        writer.cancel()
        await asyncio.gather(orders, writer, return_exceptions=True)
        await made.session.close()
        await api.stop()
        await figures.close()
        await archive.close()
        await house.ledger.close()


async def _duties(house: House, ports: Ports, lanes: Lanes, reactions: Reactions) -> ScheduleWing:
    """Return scheduled duties of which a lane has one; the house's own stand still."""
    plan = DutyPlan(duty="sweep", cron="0 3 * * *", grace_s=60.0, due_s=9e9)
    await house.ledger.duties.keep_watched(WatchedDuty(plan=plan, lane=LANE))
    wing = build_duties(Home(house.settings, ports, lanes, reactions, datetime.UTC, str))
    await wing.watch.step()
    return wing


def _session(socket: Path) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(connector=aiohttp.UnixConnector(path=str(socket)))


def _words(event: Event) -> Any:
    return msgspec.json.decode(event.sealed) if event.sealed else None


def _reporter(house: House, ports: Ports, figures: MeasuresWing) -> Reporter:
    zone = load_zone("Europe/Berlin")
    sources = Sources(freezes=lambda: house.frozen, lanes=tuple)
    collector = Collector("home", ports, figures, sources, zone)
    store = ReportFiles(house.folder / "reports")
    return Reporter(collector, figures, store, house.clock, zone)


def _facts(
    house: House, calling: Calling, ports: Ports, lanes: Lanes, fleet: Fleet, suspended: Suspended
) -> Facts:
    now = HouseNow(
        fleet=lambda: fleet,
        freezes=lambda: house.frozen,
        alone_since=lambda: None,
        blocked=lambda: house.orders.blocked,
    )
    return calling.watch(ports, lanes, now, Troubles(suspended, None))


def _hooks(made: ApiHouse) -> Hooks:
    async def stop(reason: str, by: str) -> StopAnswer:
        made.frozen.append(reason)
        return StopAnswer(freeze="f1")

    async def thaw(token: str) -> Refusal | None:
        return Refusal("malformed_token", "not three parts")

    async def reload() -> ReloadAnswer:
        return ReloadAnswer()

    async def bring(token: str) -> int:
        if not token:
            raise EdgeError("no token", transient=False)
        return 1

    return Hooks(stop, thaw, reload, bring)
