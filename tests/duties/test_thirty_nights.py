"""Thirty virtual nights with planted faults: no report says falsely that all was well.

None is missing without notice, and each number is what an independent recount of the files gives.
"""

from __future__ import annotations

import datetime
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from allegro.core.authority.freeze import Freeze, FreezeSet
from allegro.core.base.errors import EdgeError
from allegro.core.health.alerts import Alert
from allegro.core.health.codes import Severity
from allegro.core.health.days import day_of
from allegro.core.protocol.payloads.duties import DutyFailed, DutyPlanned, DutyRan
from allegro.core.protocol.payloads.fleet import RoleTaken
from allegro.core.protocol.payloads.lane import LaneBeat
from allegro.core.protocol.payloads.polls import ForgeVanished, SnapshotComment, SnapshotIssue
from allegro.core.protocol.payloads.sessions import ModelResult, SessionEnd
from allegro.core.reports.facts import DeliveryLine, FactLine, LaneLine, Unknown
from allegro.testing.virtual import VirtualClock

from .recount import recounted
from .reported import ReportedHouse, well

NIGHTS = 30
BEGIN_S = datetime.datetime(2027, 3, 10, 6, tzinfo=datetime.UTC).timestamp()
"""The clock is put forward on the 28th: one of these days has 23 hours."""
HOUR = 3_600.0
DAY_S = 86_400.0

HEALTHY = FactLine(
    code="house.disk", title="disk", subject="", lane="", state="bad", detail="0 MB", fix="free it"
)


class Nights:
    """One run. `faults` maps a night to what is wrong in it."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.dice = random.Random(seed)
        self.house = ReportedHouse(folder, VirtualClock(BEGIN_S))
        self.number = 0
        self.false_well: list[int] = []
        self.false_alarm: list[tuple[int, list[str]]] = []
        self.unnoticed: list[int] = []
        self.wrong: list[tuple[int, str, Any, Any]] = []
        self.undelivered = False

    # --- a day's traffic ----------------------------------------------------------------------

    async def day(self, night: int) -> None:
        """Live from now to six in the morning of the owner's next day."""
        house, dice = self.house, self.dice
        house.said.lanes = well("a", "b")
        house.said.alerts, house.said.doctor = [], []
        house.said.freezes, house.said.deliveries = FreezeSet(), None
        house.is_refusing = False
        until_s = self._next_six_s()
        while house.clock.now_s() < until_s - HOUR:
            house.clock.advance(dice.uniform(0.5, 5.0) * HOUR)
            await self._something()
        house.clock.advance(until_s - house.clock.now_s())

    def _next_six_s(self) -> float:
        today = day_of(self.house.clock.now_s(), self.house.zone)
        tomorrow = day_of(today.end_s + HOUR, self.house.zone).date
        six = datetime.datetime.combine(tomorrow, datetime.time(6), self.house.zone)
        return six.timestamp()

    async def _something(self) -> None:
        house, dice = self.house, self.dice
        await house.tell(LaneBeat(done="polled", done_s=0.0, cycles=1), dice.choice("ab"))
        acts: list[Callable[[], Any]] = [
            self._issue, self._issue, self._comment, self._request, self._session, self._close,
        ]  # fmt: skip
        for act in dice.sample(acts, 3):
            await act()

    async def _issue(self) -> None:
        """An issue is opened; at times it comes home only a while later."""
        self.number += 1
        now_s = int(self.house.clock.now_s() - self.dice.choice([0, 0, 3 * HOUR]))
        await self._seen(self.number, "open", now_s, 0, is_pull=self.dice.random() < 0.2)

    async def _close(self) -> None:
        now_s = int(self.house.clock.now_s())
        await self._seen(max(1, self.number), "closed", now_s - 400 * 86_400, now_s)

    async def _seen(
        self, number: int, state: str, created_s: int, closed_s: int, *, is_pull: bool = False
    ) -> None:
        payload = SnapshotIssue(
            repository=7, number=number, state=state, updated_s=created_s, created_s=created_s,
            author_id=5, is_pull=is_pull, comments=0, issue_id=number, closed_s=closed_s,
        )  # fmt: skip
        words = {"title": f"issue <b>{number}</b>", "url": "https://git.example.org/a/b"}
        await self.house.tell(payload, subject=f"forge/7#{number}", words=words)

    async def _comment(self) -> None:
        self.number += 1
        now_s = int(self.house.clock.now_s())
        payload = SnapshotComment(
            repository=7, number=1, comment=self.number, updated_s=now_s, created_s=now_s,
            author_id=5, content="k",
        )  # fmt: skip
        await self.house.tell(payload, subject=f"forge/7/comment/{self.number}")
        if self.dice.random() < 0.1:
            gone = ForgeVanished(repository=7, number=1, vanished=True, updated_s=now_s)
            await self.house.tell(gone, subject=f"forge/7/comment/{self.number}")

    async def _request(self) -> None:
        small = self.house.small
        asked = await small.propose(kind="close_issue", issue=3)
        choice = self.dice.random()
        if choice < 0.4:
            await small.requests.reject(asked.id, "no")
        elif choice < 0.8:
            await small.requests.withdraw(asked.id)
        await small.mirror(asked.id, f"words {asked.id}")

    async def _session(self) -> None:
        self.number += 1
        name = f"s{self.number}"
        prices: list[float | str] = [0.25, 0.5, "unknown"]
        price = self.dice.choice(prices)
        call = ModelResult(
            call=1, provider="p", asked="m", used="m", rung=0, source="session", result="ok",
            tokens_in=5, tokens_out=7, tokens="reported", cost_usd=price, latency_ms=10.0,
            first_ms=None, session=name,
        )  # fmt: skip
        await self.house.tell(call)
        await self.house.tell(SessionEnd(session=name, state="completed"))

    async def backup_duty(self, *, ran: bool = True, failed: bool = False) -> None:
        """A duty of lane a that is due each day."""
        now_s = self.house.clock.now_s()
        kind = DutyFailed if failed else DutyRan
        run = kind(
            duty="health check", role="", due_s=now_s - 60, begun_s=now_s - 60, duration_s=1.0,
            punctuality="on time", next_s=now_s + DAY_S,
        )  # fmt: skip
        if ran:
            await self.house.tell(run, words={"result": "looked"})

    # --- the morning ----------------------------------------------------------------------------

    async def morning(self, night: int, *, is_well: bool) -> None:
        house = self.house
        date = house.reporter.yesterday().date
        had_trouble = self.undelivered
        self.undelivered = False
        try:
            await house.reporter.run()
        except EdgeError:
            self.undelivered = True  # the duty failed: its watchers say so
        text = house.store.read(f"{date.isoformat()}.json")
        if text is None:
            if not self.undelivered:
                self.unnoticed.append(night)
            return
        if not self.undelivered and not (house.brought and house.brought[-1].date == date):
            self.unnoticed.append(night)
        facts = json.loads(text)
        page = house.store.read(f"{date.isoformat()}.md") or ""
        said_well = "\nAll well.\n" in page
        if said_well and not (is_well and not had_trouble):
            self.false_well.append(night)
        if not said_well and is_well and not had_trouble:
            self.false_alarm.append((night, page.splitlines()[:14]))
        self._compare(night, facts)

    def _compare(self, night: int, facts: dict[str, Any]) -> None:
        folder = self.house.folder
        truth = recounted(
            folder / "archive.db", folder / "ledger.db", facts["from_s"], facts["to_s"]
        )
        came, sessions, duties = facts["came_in"], facts["sessions"], facts["duties"]
        overdue = sum(one["ending"] == "left no record" for one in duties["items"])
        shown = {
            "issues": came["issues"], "pulls": came["pulls"], "closed": came["closed"],
            "comments": came["comments"], "vanished": came["vanished"],
            "settled": facts["done"]["states"], "sessions": sessions["ends"],
            "calls": sessions["calls"], "cost_usd": sessions["cost_usd"],
            "duties_ran": duties["ran"], "duties_bad": len(duties["items"]) - overdue,
            "take_overs": len(facts["take_overs"]), "unreadable": facts["unreadable"],
            "gaps": sum(one["count"] for one in facts["gaps"]),
            "waiting": [one["id"] for one in facts["waiting"]],
        }  # fmt: skip
        self.wrong += [
            (night, name, shown[name], truth[name]) for name in shown if shown[name] != truth[name]
        ]


Plant = Callable[[Nights], Any]


async def dead_duty(nights: Nights) -> None:
    """The duty leaves no record at all: `backup_duty` is not called this night."""


async def failed_duty(nights: Nights) -> None:
    await nights.backup_duty(failed=True)


async def dead_lane(nights: Nights) -> None:
    lost = LaneLine(name="b", is_linked=False, is_home=False, heard_s=1.0)
    nights.house.said.lanes = [*well("a"), lost]


async def lane_with_a_backlog(nights: Nights) -> None:
    behind = LaneLine(name="b", is_linked=True, is_home=False, heard_s=1.0)
    nights.house.said.lanes = [*well("a"), behind]


async def failed_delivery(nights: Nights) -> None:
    nights.house.is_refusing = True


async def unproven_delivery(nights: Nights) -> None:
    nights.house.said.deliveries = [DeliveryLine(way="forge", state="failed", detail="refused")]


async def full_disk(nights: Nights) -> None:
    nights.house.said.doctor = [HEALTHY]


async def gap(nights: Nights) -> None:
    await nights.house.shed()
    await nights.house.shed()


async def frozen(nights: Nights) -> None:
    at_s = nights.house.clock.now_s()
    nights.house.said.freezes = FreezeSet((Freeze("f1", at_s, "chat", "stop"),))


async def unknown_freezes(nights: Nights) -> None:
    nights.house.said.freezes = FreezeSet(known=False)


async def silent_doctor(nights: Nights) -> None:
    nights.house.said.doctor = EdgeError("database: disk I/O error", transient=True)


async def silent_alerts(nights: Nights) -> None:
    nights.house.said.alerts = Unknown("the alert store is damaged")


async def loud_alert(nights: Nights) -> None:
    now_s = nights.house.clock.now_s()
    alert = Alert("lane.silent", "", "b", Severity.P1, {"since": "x"}, now_s, now_s)
    nights.house.said.alerts = [alert]


async def unreadable_event(nights: Nights) -> None:
    await nights.house.raw(
        b'{"specversion":"1.0","id":"odd","type":"session.end","source":"s","time":"t",'
        b'"data":{},"sealed":"not base64!"}'
    )


async def lost_session(nights: Nights) -> None:
    await nights.house.tell(SessionEnd(session="gone", state="lost"))


async def take_over(nights: Nights) -> None:
    await nights.house.tell(
        RoleTaken(role="forge", epoch=2, before="a", why="expired", silent_s=5.0, take_s=1.0,
                  act_s=1.0),
        "b",
    )  # fmt: skip


FAULTS: dict[int, Plant] = {
    3: dead_duty, 4: failed_duty, 6: dead_lane, 7: lane_with_a_backlog, 9: failed_delivery,
    11: unproven_delivery, 12: full_disk, 14: gap, 15: frozen, 16: unknown_freezes,
    18: silent_doctor, 19: silent_alerts, 20: loud_alert, 22: unreadable_event, 23: lost_session,
    25: take_over, 26: dead_lane, 28: frozen,
}  # fmt: skip


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.slow)])
async def test_thirty_nights_with_faults_are_told_truly(tmp_path: Path, seed: int) -> None:
    nights = Nights(tmp_path, seed)
    house = nights.house
    await house.open()
    await house.tell(
        DutyPlanned(
            duty="health check", role="", cron="0 5 * * *", grace_s=HOUR, due_s=BEGIN_S + DAY_S
        )
    )
    for night in range(NIGHTS):
        await nights.day(night)
        plant = FAULTS.get(night)
        house.clock.advance(-8 * HOUR)  # before midnight: it is of the day that is reported
        if plant is not None:
            await plant(nights)
        if plant not in {dead_duty, failed_duty}:
            await nights.backup_duty()
        house.clock.advance(8 * HOUR)
        if night % 7 == 5:
            await house.reopen()
        await nights.morning(night, is_well=plant is None)
    assert nights.false_well == []
    assert nights.false_alarm == []
    assert nights.unnoticed == []
    assert nights.wrong == []
    assert len(house.store.names()) >= 4 * (NIGHTS - 1)
    await house.close()


async def test_a_full_disk_is_no_silent_morning(tmp_path: Path) -> None:
    house = ReportedHouse(tmp_path, VirtualClock(BEGIN_S))
    await house.open()
    house.said.lanes = well("a")

    class Full:
        def write(self, name: str, text: str) -> None:
            raise EdgeError("no space left", transient=True, kind="disk_full")

        def read(self, name: str) -> str | None:
            return None

        def names(self) -> list[str]:
            return []

    house.reporter._store = Full()
    with pytest.raises(EdgeError, match="no space"):
        await house.reporter.run()
    assert house.brought == []
    await house.close()
