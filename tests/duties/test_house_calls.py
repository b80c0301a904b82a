"""The house calls its owner: real ledger and archive, a stand-in of Telegram, lanes as told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC
from functools import partial
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from allegro.adapters.sqlite.archive import SqliteArchive, open_archive
from allegro.adapters.sqlite.ledger import SqliteLedger, open_ledger
from allegro.core.base.errors import EdgeError
from allegro.core.base.events import decode_event
from allegro.core.chat.taps import SHOWN, button_data, question_subject, read_press, request_subject
from allegro.core.health import codes
from allegro.core.health.alarm import step
from allegro.core.health.alert_state import AlertState, Inputs, Occurrence, Rules, Told
from allegro.core.health.delivery.notices import Kind
from allegro.core.health.delivery.outbox import Outbox, Sent
from allegro.core.health.facts import Fact, fact_page
from allegro.core.health.kept import KeptAlerts
from allegro.core.protocol.answers.house import LinkedLane
from allegro.core.protocol.payloads.chat import ChatNoted
from allegro.core.protocol.queries import Inform, Params, read_query
from allegro.core.requests.decisions import NewDecision, NewOption
from allegro.core.settings import (
    HouseIdentity,
    HouseSettings,
    OwnerSettings,
    TelegramSettings,
)
from allegro.core.stores import SetAside
from allegro.house.documents.decisions import Decisions
from allegro.house.health.build import SETTLE_S, Calling
from allegro.house.health.own_facts import OwnFacts
from allegro.house.health.producers import EVERY_S, HOLDS_S, Producers
from allegro.house.health.statements import Known, Statements, called_about
from allegro.house.lanes import Lanes
from allegro.testing.telegram.server import TelegramStandIn
from allegro.testing.telegram.world import TOKEN
from allegro.testing.virtual import SeededDice, VirtualClock

from .house import House

DISK = {"what": "disk", "verdict": "bad", "told": "3 % left", "source": "statvfs", "age_s": 0.0,
        "mend": "", "code": "lane.disk", "state": "bad"}  # fmt: skip


class Own:
    """The house's own facts; they fail while `is_broken`."""

    def __init__(self) -> None:
        self.found = [Fact(codes.HOUSE_DISK, "ok", "9 GB", "statvfs")]
        self.is_broken = False

    async def facts(self) -> list[Fact]:
        if self.is_broken:
            raise EdgeError("disk I/O error", transient=True)
        return self.found


class ToldLanes:
    """Lanes whose links and answers are as they are set; `asked` is what was said to them."""

    def __init__(self) -> None:
        self.up = {"vps": True, "other": True}
        self.answers: dict[str, Any] = {"vps": [DISK], "other": []}
        self.asked: list[tuple[str, str, dict[str, Any]]] = []

    def describe(self) -> list[LinkedLane]:
        seen = LinkedLane(name="", trouble="refused", since_s=1.0, home=1, head=1, version="x")
        return [msgspec.structs.replace(seen, name=name, linked=up) for name, up in self.up.items()]

    def linked(self) -> list[tuple[str, str, object]]:
        return [(name, "", None) for name, up in self.up.items() if up]

    async def ask_lane(
        self, lane: str, method: str, params: Params, timeout_s: float | None = None
    ) -> Any:
        self.asked.append((lane, method, dict(params)))
        answer = self.answers[lane]
        if isinstance(answer, EdgeError):
            raise answer
        return answer


class Home:
    """One house; `start` begins it anew on its own ledger."""

    def __init__(self, folder: Path, telegram: TelegramSettings | None = None) -> None:
        self.clock = VirtualClock(1_790_000_000.0)
        self.folder = folder
        self.settings = HouseSettings(
            HouseIdentity("home", str(folder), expected="whenever"),
            owner=OwnerSettings("Europe/Berlin", "22:00-07:00"),
            telegram=telegram or TelegramSettings(),
        )
        self.own, self.lanes = Own(), ToldLanes()
        self.archive: SqliteArchive
        self.ledger: SqliteLedger
        self.calling: Calling
        self._writer: asyncio.Task[None] | None = None

    async def start(self) -> None:
        await self.stop()
        self.archive = open_archive(self.folder / "archive.db", quota_bytes=10**8)
        self.ledger = open_ledger(self.folder / "ledger.db")
        dice = SeededDice(int(self.clock.now_s()))
        self.calling = Calling(self.settings, self.archive, self.ledger, self.clock, dice)
        await self.calling.alerting.resume()
        write = self.calling.alerting.duties()[0].run
        assert write is not None
        self._writer = asyncio.ensure_future(write())
        alerting, lanes = self.calling.alerting, cast(Lanes, self.lanes)
        self.producers = Producers(cast(OwnFacts, self.own), lanes, alerting, self.clock)
        self.stating = partial(Statements, self.settings, lanes, alerting, self.clock)
        self.statements = self.stating()

    async def stop(self) -> None:
        if self._writer is not None:
            self._writer.cancel()
            await asyncio.gather(self._writer, return_exceptions=True)
            await self.calling.close()
            await self.ledger.close()
            await self.archive.close()
            self._writer = None

    async def live(self, seconds: float, tick_s: float = 5.0) -> None:
        for _ in range(int(seconds / tick_s)):
            self.clock.advance(tick_s)
            await self.calling.alerting.step()
            await asyncio.sleep(0.02)

    def states(self) -> dict[tuple[str, str], str]:
        return {(one.code.code, one.lane): one.state for one in self.calling.alerting.facts()}

    def phases(self) -> dict[tuple[str, str, str], str]:
        return {one.key: one.course.phase.value for one in self.calling.alerting.alerts.alerts}


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[Home]:
    made = Home(tmp_path)
    await made.start()
    yield made
    await made.stop()


async def test_lanes_and_house_state_facts_that_expire(home: Home) -> None:
    await home.producers.refresh()
    states = home.states()
    assert (states["house.disk", ""], states["lane.disk", "vps"]) == ("ok", "bad")
    assert states["lane.link", "other"] == "ok"
    await home.live(HOLDS_S + 10)
    await home.start()
    await home.live(5)
    states = home.states()
    assert (states["house.disk", ""], states["lane.disk", "vps"]) == ("unknown", "unknown")


async def test_each_light_of_the_house_is_unknown_once_its_producer_stops(home: Home) -> None:
    await home.producers.refresh()
    before = {key for key, state in home.states().items() if state == "ok"}
    home.own.is_broken = True
    home.lanes.answers = dict.fromkeys(home.lanes.up, EdgeError("no answer", transient=True))
    for _ in range(4):
        await home.live(EVERY_S)
        await home.start()
        await home.producers.refresh()
    states = home.states()
    assert states["house.disk", ""] == "unknown"
    assert states["lane.doctor", "vps"] == "bad"
    still = {key for key in before if states[key] == "ok"}
    assert all(code.startswith(("lane.link", "lane.journal", "channel.", "outbox.", "alerts."))
               for code, _ in still)  # fmt: skip


async def test_what_a_lane_said_grows_old_without_an_alarm_while_it_is_cut_off(home: Home) -> None:
    await home.producers.refresh()
    home.lanes.up["other"] = home.lanes.up["vps"] = False
    for _ in range(20):
        await home.producers.refresh()
        await home.live(30)
    unknown = [key for key, state in home.states().items() if state == "unknown"]
    assert ("lane.disk", "vps") in unknown
    firing = {key[:2] for key, phase in home.phases().items() if phase == "firing"}
    assert ("lane.link", "vps") in firing


async def test_a_lane_that_was_unpaired_leaves_no_alert_behind(home: Home) -> None:
    await home.producers.refresh()
    await home.live(70)
    assert home.phases()["lane.disk", "vps", ""] == "firing"
    del home.lanes.up["vps"]
    await home.producers.refresh()
    await home.live(90)
    assert home.phases()["lane.disk", "vps", ""] == "recovered"


async def test_doctor_shows_the_words_of_a_newer_lane_as_they_came(home: Home) -> None:
    home.lanes.answers["vps"] = [{**DISK, "code": "host.fan", "what": "fan"}]
    pages = await home.producers.refresh()
    assert [one.code for one in pages["vps"]][-1] == "host.fan"
    (kept,) = home.calling.alerting.stated_by("lane vps")
    assert (kept.code, kept.subject) == ("other", "fan")


# --- both together tell once ------------------------------------------------------------------


async def _told(home: Home, kind: Kind, code: str = "lane.disk", lane: str = "vps") -> None:
    react = home.calling.reactions(_set_aside)
    react.lane_called(Told((code, lane, ""), kind, "vps-1", home.clock.now_s()))


async def _set_aside(aside: SetAside, stored: bytes) -> None:
    raise AssertionError(aside)


async def test_a_lane_hushes_what_it_stated_of_itself(home: Home) -> None:
    await home.producers.refresh()
    await _told(home, Kind.ALARM)
    await home.live(10)
    (alert,) = [one for one in home.calling.alerting.alerts.alerts if one.code == "lane.disk"]
    assert alert.course.alarm == "vps-1"


@pytest.mark.parametrize(("code", "lane"), [
    ("lane.link", "vps"), ("archive.clash", "vps"), ("house.stores", ""), ("lane.disk", "other"),
])  # fmt: skip
async def test_a_lane_hushes_nothing_that_the_house_says(home: Home, code: str, lane: str) -> None:
    await home.producers.refresh()
    home.calling.alerting.raise_alert(codes.ARCHIVE_CLASH, "", "vps")
    home.calling.alerting.raise_alert(codes.STORES, "")
    await home.live(5)
    await _told(home, Kind.ALARM, code, lane)
    await home.live(10)
    assert all(one.course.alarm != "vps-1" for one in home.calling.alerting.alerts.alerts)


async def test_no_lane_hushes_a_p0_even_of_its_own(home: Home) -> None:
    attack = {**DISK, "code": "agent.sandbox.attack"}
    home.lanes.answers["vps"] = [attack]
    await home.producers.refresh()
    await home.live(5)
    await _told(home, Kind.ALARM, codes.SANDBOX_ATTACK.code)
    await home.live(10)
    assert all(one.course.alarm != "vps-1" for one in home.calling.alerting.alerts.alerts)


async def test_a_press_that_a_lane_reports_hushes_nothing_about_itself(home: Home) -> None:
    alerting = home.calling.alerting
    state = AlertState("house")
    for lane in ("vps", "other"):
        raised = Occurrence(codes.ARCHIVE_CLASH, lane, lane)
        state = step(state, Inputs(occurrences=[raised]), Rules(UTC), home.clock.now_s()).state
    keys = tuple(one.key for one in state.alerts)
    sent = Sent("house-1", keys, "telegram", "1", home.clock.now_s())
    await home.ledger.keep_alerting(KeptAlerts(state, Outbox(sent=(sent,))))
    await home.start()
    alerting = home.calling.alerting
    shown = (alerting.digest_of("house-1") or "")[:SHOWN]
    react = home.calling.reactions(_set_aside)
    bad = ChatNoted(by="telegram:7", verb="ack", subject="house-1", shown="f" * 16)
    await react.pressed(bad, "vps")
    assert {one.course.phase.value for one in alerting.alerts.alerts} == {"firing"}
    note = ChatNoted(by="telegram:7", verb="ack", subject="house-1", shown=shown)
    await react.pressed(note, "vps")
    phases = {one.lane: one.course.phase.value for one in alerting.alerts.alerts}
    assert phases == {"vps": "firing", "other": "recovered"}


async def test_a_statement_says_when_the_house_may_sleep_and_what_was_told(home: Home) -> None:
    await home.producers.refresh()
    await _told(home, Kind.ALARM)
    await home.live(10)
    statement = home.statements.statement("vps")
    assert (statement.zone, statement.quiet) == ("Europe/Berlin", "22:00-07:00")
    assert (statement.expected, statement.at_s) == ("whenever", home.clock.now_s())
    assert [(one.code, one.kind, one.notice) for one in statement.alerts] == [
        ("lane.disk", "alarm", "vps-1")
    ]
    assert called_about(home.calling.alerting.alerts, "other", home.clock.now_s()) == ()


@pytest.mark.parametrize("content", [False, True])
async def test_a_statement_names_what_waits_with_its_words_only_where_they_may_leave(
    tmp_path: Path, content: bool
) -> None:
    home = Home(tmp_path, TelegramSettings(content=content))
    await home.start()
    (tmp_path / "h").mkdir()
    house = House(tmp_path / "h", home.clock)
    await house.start()
    request = await house.propose(kind="close_issue", issue=3)
    home.statements = home.stating(Known(house.requests.proposed))
    home.statements.look()
    await asyncio.sleep(0.01)
    said = [read_query(one[2], Inform).statement for one in home.lanes.asked][-1]
    assert said.requests is not None
    (one,) = said.requests
    assert (one.id, one.digest, said.waiting) == (request.id, request.digest[:32], 1)
    assert bool(one.title) is bool(one.target) is content
    await house.requests.withdraw(request.id)
    home.statements.look()
    await asyncio.sleep(0.01)
    after = read_query(home.lanes.asked[-1][2], Inform).statement
    assert (after.requests, after.waiting) == ((), 0), "said at once, for it changed"
    await house.ledger.close()
    await home.stop()


async def test_each_linked_lane_hears_it_every_half_minute_and_at_a_change(home: Home) -> None:
    home.lanes.up["other"] = False
    for _ in range(21):
        home.statements.look()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        home.clock.advance(3)
    said = [lane for lane, method, _ in home.lanes.asked if method == "inform"]
    assert said == ["vps"] * 3
    home.lanes.answers["vps"] = EdgeError("unknown question", transient=False)
    await _told(home, Kind.ALARM)
    home.statements.look()


async def test_quiet_hours_and_a_settling_house_come_from_the_settings(home: Home) -> None:
    rules = home.calling._rules()
    assert rules.quiet is not None
    assert not rules.is_teller, "lanes bring first what they told meanwhile"
    home.clock.advance(SETTLE_S)
    assert home.calling._rules().is_teller
    home.clock.advance(3600)
    assert not home.calling._rules().is_teller, "it slept"


async def test_an_alarm_reaches_telegram_and_the_archive(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.touch(0o600)
    token.write_text(TOKEN)
    async with TelegramStandIn() as server:
        server.world.message(77, 77, "/start")
        home = Home(tmp_path, TelegramSettings(token_file=str(token), chat="77", url=server.url))
        await home.start()
        home.calling.alerting.raise_alert(codes.STORES, "restored")
        home.clock.advance(SETTLE_S)
        await home.live(20)
        for _ in range(100):
            if server.world.sent() and await home.archive.last_row():
                break
            await asyncio.sleep(0.02)
            await home.live(5)
        await home.stop()
    (sent,) = server.world.sent()
    assert sent["text"].startswith("P0 alarm: archive and ledger")
    assert "restored" not in sent["text"], "no name leaves unless configured"
    assert len(sent["reply_markup"]["inline_keyboard"]) == 4
    archive = open_archive(tmp_path / "archive.db", quota_bytes=10**8)
    (told,) = await archive.events(0, 10, prefix="alert.")
    await archive.close()
    event = decode_event(told.stored)
    assert event.data["notice"] == "house-1"
    assert event.data["codes"] == ["house.stores"]
    assert "restored" not in str(event.data)


async def test_an_urgent_request_is_told_once_with_buttons_and_without_its_words(
    tmp_path: Path,
) -> None:
    token = tmp_path / "token"
    token.touch(0o600)
    token.write_text(TOKEN)
    async with TelegramStandIn() as server:
        server.world.message(77, 77, "/start")
        home = Home(tmp_path, TelegramSettings(token_file=str(token), chat="77", url=server.url))
        (tmp_path / "h").mkdir()
        house = House(tmp_path / "h", home.clock)
        await house.start()
        urgent = await house.propose(kind="close_issue", issue=3, urgency="critical")
        await house.propose(kind="comment", issue=3, body="later", urgency="low")
        decisions = Decisions(house.ledger, home.clock, SeededDice(8), 600.0)
        for _ in range(2):  # the second is after a restart
            await home.start()
            home.calling.follow(house.requests, decisions)
            for _ in range(40):
                await home.live(5)
        await home.stop()
        await house.ledger.close()
    (sent,) = server.world.sent()
    assert sent["text"].startswith("Critical request: close_issue")
    assert urgent.id[:10] in sent["text"]
    assert "garden" not in sent["text"], "no name leaves unless configured"
    data = [row[0]["callback_data"] for row in sent["reply_markup"]["inline_keyboard"]]
    assert data == [
        button_data("approve", request_subject(urgent.id), urgent.digest),
        button_data("reject", request_subject(urgent.id), urgent.digest),
    ]


async def test_an_urgent_question_is_told_once_with_a_button_for_each_option(
    tmp_path: Path,
) -> None:
    token = tmp_path / "token"
    token.touch(0o600)
    token.write_text(TOKEN)
    async with TelegramStandIn() as server:
        server.world.message(77, 77, "/start")
        home = Home(tmp_path, TelegramSettings(token_file=str(token), chat="77", url=server.url))
        (tmp_path / "h").mkdir()
        house = House(tmp_path / "h", home.clock)
        await house.start()
        options = (NewOption("Monday"), NewOption("Tuesday"), NewOption("never"))
        asked = NewDecision("Which?", options, urgency="critical", key="k")
        first = Decisions(house.ledger, home.clock, SeededDice(8), 9e5)
        await first.ask(NewDecision("Later?", options[:2], urgency="low"))
        ids: set[str] = set()
        for number in range(2):  # the second is after a restart
            await home.start()
            decisions = Decisions(house.ledger, home.clock, SeededDice(9 + number), 9e5)
            await decisions.resume()
            home.calling.follow(house.requests, decisions)
            ids.add((await decisions.ask(asked)).id)
            for _ in range(40):
                await home.live(5)
        await home.stop()
        await house.ledger.close()
    (sent,) = server.world.sent()
    (urgent,) = ids
    assert sent["text"].startswith("Critical question")
    assert urgent[:10] in sent["text"]
    assert "Which" not in sent["text"], "no words leave unless configured"
    presses = [
        read_press(row[0]["callback_data"]) for row in sent["reply_markup"]["inline_keyboard"]
    ]
    assert [(one.option, one.subject) for one in presses if one is not None] == [
        (number, question_subject(urgent)) for number in (1, 2, 3)
    ]


def test_a_page_of_a_fact_keeps_its_lane() -> None:
    assert fact_page(Fact(codes.LANE_DISK, "bad", "x", "y", lane="vps"), 1.0).lane == "vps"


async def test_only_a_person_s_doctor_costs_the_forge_a_request(home: Home) -> None:
    await home.producers.refresh(asks_forge=False)
    await home.producers.refresh()
    asked = [params for _, method, params in home.lanes.asked if method == "doctor"]
    assert [one["asks_forge"] for one in asked] == [False, False, True, True]
