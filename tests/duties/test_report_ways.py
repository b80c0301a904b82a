"""How a report is brought: nothing counts as arrived that is not proven."""

from __future__ import annotations

import datetime
from typing import Any, cast

import pytest

from allegro.core.base.errors import EdgeError
from allegro.core.health.alert_state import AlertState
from allegro.core.health.alerts import Alert, Course
from allegro.core.health.codes import Severity
from allegro.core.health.delivery.notices import Kind, Notice
from allegro.core.health.delivery.outbox import Sent
from allegro.core.reports.facts import DeliveryLine
from allegro.house.documents.report_issue import Delivery as Shown
from allegro.house.reports.reporter import Delivery, Reporter
from allegro.house.reports.ways import Ways, notice_id
from allegro.testing.virtual import VirtualClock

DAY = datetime.date(2027, 1, 15)
REPORT = Delivery(DAY, "# whole", "Morning report 2027-01-15: all well.", True)


class Issue:
    """The report issue, as far as ways use it."""

    def __init__(self) -> None:
        self.published: list[tuple[datetime.date, str]] = []
        self.state = Shown("waiting", detail="not asked for yet")

    async def publish(self, day: datetime.date, markdown: str) -> None:
        self.published.append((day, markdown))

    async def delivery(self, day: datetime.date) -> Shown:
        return self.state


class Calling:
    """The alerting, as far as ways use it."""

    def __init__(self) -> None:
        self.channels: tuple[str, ...] = ("telegram",)
        owed = Alert("lane.back", "", "secret name", Severity.P3, {}, 1.0, 1.0,
                     course=Course(is_owed=True))  # fmt: skip
        told = Alert("lane.silent", "", "b", Severity.P1, {}, 1.0, 1.0)
        self.alerts = AlertState("house", (owed, told))
        self.sent: tuple[Sent, ...] = ()
        self.posted: list[Notice] = []
        self.is_stored = True

    async def post(self, notice: Notice) -> bool:
        self.posted.append(notice)
        return self.is_stored


class Joined:
    """A reporter that notes the ways it is given, and says what it sent."""

    def __init__(self, issue: Issue, calling: Calling, *, to_forge: bool = True) -> None:
        self.found: dict[str, Any] = {}
        self.lines: tuple[DeliveryLine, ...] = ()
        self.ways = Ways(cast(Any, issue), cast(Any, calling), VirtualClock())
        self.ways.join(cast(Reporter, self), to_forge=to_forge)

    def add_way(self, name: str, deliver: Any) -> None:
        self.found[name] = deliver

    async def sent(self, date: datetime.date) -> tuple[DeliveryLine, ...]:
        return self.lines


def test_only_ways_that_are_configured_are_used() -> None:
    calling = Calling()
    assert set(Joined(Issue(), calling).found) == {"forge", "chat"}
    calling.channels = ()
    assert set(Joined(Issue(), calling, to_forge=False).found) == set()


async def test_the_whole_goes_to_the_forge_and_the_short_form_to_the_chat() -> None:
    issue, calling = Issue(), Calling()
    joined = Joined(issue, calling)
    for deliver in joined.found.values():
        await deliver(REPORT)
    assert issue.published == [(DAY, "# whole")]
    notice = calling.posted[0]
    assert (notice.id, notice.kind) == (notice_id(DAY), Kind.REPORT)
    assert notice.said[0].words == REPORT.short
    assert notice.keys == (("lane.back", "", "secret name"),)
    assert "1 × lane that is back" in notice.said[1].words
    assert "secret name" not in "".join(one.words for one in notice.said)


async def test_a_message_that_is_not_on_disk_was_not_taken() -> None:
    calling = Calling()
    calling.is_stored = False
    with pytest.raises(EdgeError, match="could not be stored"):
        await Joined(Issue(), calling).found["chat"](REPORT)


async def test_what_no_channel_proved_and_the_forge_does_not_show_did_not_arrive() -> None:
    issue, calling = Issue(), Calling()
    joined = Joined(issue, calling)
    joined.lines = tuple(
        DeliveryLine(way=way, state="delivered") for way in ("folder", "forge", "chat")
    )
    before = {one.way: one.state for one in await joined.ways.lines(DAY)}
    assert before == {"folder": "delivered", "forge": "waiting", "chat": "waiting"}
    issue.state = Shown("shown", "https://git.example.org/a/b")
    calling.sent = (Sent(notice_id(DAY), (), "telegram", "77", 5.0, Kind.REPORT),)
    after = {one.way: (one.state, one.url, one.detail) for one in await joined.ways.lines(DAY)}
    assert after["forge"] == ("shown", "https://git.example.org/a/b", "")
    assert after["chat"] == ("delivered", "", "telegram 77")


async def test_what_was_refused_stays_refused() -> None:
    joined = Joined(Issue(), Calling())
    joined.lines = (DeliveryLine(way="forge", state="failed", detail="no lane"),)
    assert await joined.ways.lines(DAY) == [joined.lines[0]]
