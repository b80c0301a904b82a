"""A lane calls its owner for what it sees itself, while it does not hear its house."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import msgspec
import pytest

from allegro.config import load_zone
from allegro.core.authority.freeze import FreezeSet
from allegro.core.authority.gate import LaneTrust
from allegro.core.authority.lease import Lease
from allegro.core.base.errors import EdgeError
from allegro.core.base.events import decode_event
from allegro.core.base.sequence import Kept
from allegro.core.channels import Channels, Outlet
from allegro.core.chat.taps import read_press
from allegro.core.health import codes
from allegro.core.protocol.queries import Inform
from allegro.core.protocol.statement import HouseStatement, ToldAlert
from allegro.core.settings import ForgeSettings, LaneIdentity, LaneSettings
from allegro.lane.context.recorder import Author, Recorder
from allegro.lane.context.state import KeptState, LaneState
from allegro.lane.folder.alerts import FileAlerts, load_statement, save_statement
from allegro.lane.health.calling import STATE_S, Calling, origin_of
from allegro.lane.health.silent_house import SilentHouse
from allegro.lane.health.status import Sources, Status
from allegro.testing.virtual import PlainSealer, SeededDice, VirtualClock
from tests.core.authority.test_roster import THREE
from tests.core.builders import TRUST

from .calling import START_S, Phone, settled
from .contexts import context_of
from .lane import journal_in

ALWAYS = HouseStatement(at_s=START_S)
DISK = ToldAlert("lane.disk", "", "alarm", "house-7", START_S)


class Vps:
    """One lane with a disk that may fill up; `start` begins it anew on its own folder."""

    def __init__(self, folder: Path) -> None:
        self.clock = VirtualClock(START_S)
        self.folder = folder
        self.phone = Phone()
        self.is_heard = True
        self.trust = LaneTrust(TRUST)
        self.calling: Calling
        self._writer: asyncio.Task[None] | None = None

    async def start(self) -> None:
        await self.kill()
        if not hasattr(self, "journal"):
            self.journal = await journal_in(self.folder, self.clock)
        self.state = LaneState(
            clock=self.clock, journal=self.journal,
            kept=KeptState(self.trust, FreezeSet(), lambda _: None, lambda _: None),
            forge="f", safe_mode=False,
        )  # fmt: skip
        self.state.forge_offset_s = 0.0
        recorder = Recorder(
            self.journal, PlainSealer(), self.clock, SeededDice(int(self.clock.now_s())),
            by=Author("vps", b"s" * 32),
        )  # fmt: skip
        settings = LaneSettings(LaneIdentity("vps", str(self.folder)), ForgeSettings())
        ctx = context_of(self.state, recorder, self.clock, settings)
        files = ctx.files
        word = SilentHouse(
            self.state, self.clock, load_zone, load_statement(files.statement),
            partial(save_statement, files.statement),
        )  # fmt: skip
        status = Status(self.state, settings, self.clock, Sources())
        channels = Channels((Outlet(self.phone, content=True),))
        self.calling = Calling(ctx, status, channels, word, FileAlerts(files.alerts))
        write = self.calling.alerting.duties()[0].run
        assert write is not None
        self._writer = asyncio.ensure_future(write())
        await self.calling.alerting.resume()

    async def kill(self) -> None:
        if self._writer is not None:
            self._writer.cancel()
            await asyncio.gather(self._writer, return_exceptions=True)
            self._writer = None

    async def live(self, seconds: float, tick_s: float = 5.0) -> None:
        for n in range(int(seconds / tick_s)):
            self.clock.advance(tick_s)
            if self.is_heard:
                self.state.heard_house(self.clock.now_s())
            if n % max(1, int(STATE_S / tick_s)) == 0:
                await self.calling.state()
            await self.calling.alerting.step()
            await settled()

    async def hears(self, statement: HouseStatement) -> bool:
        return await self.state.house_word.hear(Inform(statement=statement).params())

    async def told(self) -> list[dict[str, object]]:
        entries = await self.journal.read(self.journal.acked.seq, 10**9)
        events = [decode_event(one.body) for one in entries if isinstance(one, Kept)]
        return [
            {**one.data, "words": msgspec.json.decode(one.sealed)}
            for one in events
            if one.type == "alert.told"
        ]


@pytest.fixture
async def vps(tmp_path: Path) -> AsyncIterator[Vps]:
    made = Vps(tmp_path)
    await made.start()
    yield made
    await made.kill()
    await made.journal.close()


async def test_a_lane_that_hears_its_house_calls_nobody(vps: Vps) -> None:
    vps.state.disk_seen(is_ok=False)
    await vps.live(600)
    assert vps.phone.messages == []
    assert vps.calling.firing() == 1


async def test_a_lane_speaks_for_itself_once_the_house_was_silent_for_a_minute(vps: Vps) -> None:
    vps.state.disk_seen(is_ok=False)
    await vps.live(120)
    vps.is_heard = False
    await vps.live(55)
    assert vps.phone.messages == []
    await vps.live(10)
    assert vps.phone.titles == ["P1 alarm: disk of a lane"]


async def test_what_a_lane_told_comes_home_as_an_event_with_sealed_keys(vps: Vps) -> None:
    vps.state.disk_seen(is_ok=False)
    vps.is_heard = False
    await vps.live(200)
    await asyncio.sleep(0.1)
    (event,) = await vps.told()
    assert (event["notice"], event["kind"]) == ("vps-1", "alarm")
    assert event["codes"] == ["lane.disk"]
    assert event["words"] == {"keys": [["lane.disk", "", ""]]}


async def test_a_lane_begun_anew_waits_a_minute_for_its_house(vps: Vps) -> None:
    vps.state.disk_seen(is_ok=False)
    await vps.live(120)
    vps.is_heard = False
    await vps.start()
    vps.state.disk_seen(is_ok=False)
    await vps.live(50)
    assert vps.phone.messages == []
    await vps.live(20)
    assert len(vps.phone.messages) == 1


async def test_both_together_tell_once(vps: Vps) -> None:
    vps.state.disk_seen(is_ok=False)
    await vps.live(90)
    sleeps = msgspec.structs.replace(ALWAYS, alerts=(DISK,), expected="whenever")
    assert await vps.hears(sleeps)
    await vps.live(10)
    vps.is_heard = False
    await vps.live(250)
    assert vps.phone.messages == []
    vps.state.disk_seen(is_ok=True)
    await vps.live(120)
    assert vps.phone.titles == ["P1 recovery: disk of a lane"]


async def test_the_house_never_hushes_a_p0_of_a_lane(vps: Vps) -> None:
    vps.is_heard = False
    await vps.live(100)
    told = ToldAlert("house.stores", "lost", "alarm", "house-7", START_S)
    vps.calling.alerting.raise_alert(codes.STORES, "lost")
    await vps.hears(msgspec.structs.replace(ALWAYS, alerts=(told,)))
    await vps.live(10)
    assert vps.phone.titles == ["P0 alarm: archive and ledger"]


# --- the silence of the house -----------------------------------------------------------------


async def test_a_house_that_should_be_awake_and_is_silent_is_told(vps: Vps) -> None:
    await vps.hears(ALWAYS)
    await vps.live(30)
    vps.is_heard = False
    await vps.live(280)
    assert vps.phone.messages == []
    await vps.live(120)
    assert vps.phone.titles == ["P1 alarm: silent house"]
    vps.is_heard = True
    await vps.live(120)
    assert vps.phone.titles[1:] == ["P1 recovery: silent house"]
    vps.is_heard = False
    await vps.live(200)
    assert len(vps.phone.messages) == 2


@pytest.mark.parametrize("statement", [
    msgspec.structs.replace(ALWAYS, expected="whenever"),
    msgspec.structs.replace(ALWAYS, expected="hours", hours="03:00-03:01"),
])  # fmt: skip
async def test_a_house_that_may_sleep_alarms_nobody(vps: Vps, statement: HouseStatement) -> None:
    await vps.hears(statement)
    await vps.live(30)
    vps.is_heard = False
    for _ in range(4):
        await vps.live(1800, 30)
        await vps.start()
    assert vps.phone.messages == []


async def test_what_the_house_said_is_known_after_a_restart(vps: Vps) -> None:
    await vps.hears(msgspec.structs.replace(ALWAYS, zone="Europe/Berlin", quiet="22:00-07:00"))
    vps.is_heard = False
    await vps.start()
    rules = vps.calling._house.rules()
    assert (str(rules.zone), rules.quiet is not None) == ("Europe/Berlin", True)
    await vps.live(600)
    assert vps.phone.titles == ["P1 alarm: silent house"]


async def test_of_several_lanes_the_one_with_the_role_tells_of_the_house(vps: Vps) -> None:
    vps.trust = msgspec.structs.replace(vps.trust, roster=THREE)
    await vps.start()
    await vps.hears(ALWAYS)
    vps.is_heard = False
    await vps.live(600)
    assert vps.phone.messages == []
    vps.state.lease_written("forge", Lease("forge", "vps", 3, vps.clock.boot_s() + 9e9))
    await vps.live(120)
    assert vps.phone.titles == ["P1 alarm: silent house"]


async def test_a_house_of_the_release_before_is_taken_for_silent_by_nobody(vps: Vps) -> None:
    vps.is_heard = False
    await vps.live(900)
    assert vps.phone.messages == []


@pytest.mark.parametrize("params", [
    {}, {"statement": 5}, {"statement": {}}, {"statement": {"at_s": "x"}},
    {"statement": {"at_s": float("nan")}}, {"statement": {"at_s": 1.0, "expected": "never"}},
    {"statement": {"at_s": 1.0, "alerts": [{"code": "x" * 999}]}},
    {"statement": {"at_s": 1.0, "zone": "z" * 999}},
])  # fmt: skip
async def test_a_statement_that_cannot_be_read_changes_nothing(
    vps: Vps, params: dict[str, object]
) -> None:
    await vps.hears(msgspec.structs.replace(ALWAYS, expected="whenever"))
    with pytest.raises(EdgeError):
        await vps.state.house_word.hear(params)
    vps.is_heard = False
    await vps.live(900)
    assert vps.phone.messages == []


@pytest.mark.parametrize("zone", ["Mars/Olympus", "../../etc/passwd", ""])
async def test_a_zone_that_is_none_is_utc_and_ends_nothing(vps: Vps, zone: str) -> None:
    assert await vps.hears(msgspec.structs.replace(ALWAYS, zone=zone, quiet="25:00-x"))
    assert vps.calling._house.rules().quiet is None


# --- buttons, disk, doctor --------------------------------------------------------------------


async def test_a_button_below_a_notice_of_the_lane_counts_at_once(vps: Vps) -> None:
    vps.state.disk_seen(is_ok=False)
    vps.is_heard = False
    await vps.live(200)
    press = read_press(vps.phone.messages[0].buttons[0].data)
    assert press is not None
    assert (vps.calling.alerting.digest_of(press.subject) or "").startswith(press.shown)
    assert await vps.calling.alerting.press(press.verb, press.subject) is None
    assert vps.calling.firing() == 0


async def test_alerts_that_cannot_be_read_are_told_and_end_no_start(vps: Vps) -> None:
    await vps.kill()
    (vps.folder / "alerts.json").write_bytes(b"{]")
    await vps.start()
    states = {one.code.code: one.state for one in vps.calling._facts()}
    assert states["alerts.damaged"] == "bad"
    await vps.live(60)
    assert load_statement(vps.folder / "statement.json") is None


async def test_each_light_of_a_lane_is_unknown_once_nobody_states_it(vps: Vps) -> None:
    await vps.live(30)
    before = {one.code.code for one in vps.calling.alerting.facts() if one.state == "ok"}
    assert {"lane.clock", "lane.journal"} <= before
    for _ in range(3):
        vps.clock.advance(25)
        await vps.calling.alerting.step()
        await settled()
        await vps.start()
    states = {one.code.code: one.state for one in vps.calling.alerting.facts()}
    assert {states[one] for one in before if one.startswith(("lane.", "program."))} == {"unknown"}


async def test_a_lane_without_a_channel_warns(vps: Vps) -> None:
    vps.phone.name = "x"
    vps.calling.alerting._senders._outlets.clear()
    await vps.live(10)
    calling = Calling(
        vps.calling._ctx, vps.calling._status, Channels(), vps.calling._house,
        FileAlerts(vps.folder / "alerts.json"),
    )  # fmt: skip
    (fact,) = [one for one in calling._facts() if one.code is codes.NO_CHANNEL]
    assert fact.state == "warn"


def test_the_ids_of_notices_fit_a_button_whatever_the_lane_is_called() -> None:
    assert origin_of("vps") == "vps"
    long = {origin_of("a" * 31 + one) for one in "bc"}
    assert len(long) == 2
    assert max(map(len, long)) <= 22
