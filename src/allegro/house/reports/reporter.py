"""Builds reports, keeps them in the house's folder, and brings them to the owner.

A report that is kept is never built again: what was delivered is what is shown. Order rule of one
run: the files are on disk before anything is sent, so that a report that was told of can be read;
who took it is written down after that. What was not brought stands in that very report, and in the
one after it.
"""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import Awaitable, Callable, Sequence
from typing import Literal, Protocol
from zoneinfo import ZoneInfo

import msgspec
import structlog

from allegro.core.base.errors import EdgeError
from allegro.core.base.untrusted import Unreadable, read_json
from allegro.core.health.days import Day, day_of
from allegro.core.ports import Clock
from allegro.core.reports.answers import ReportAnswer
from allegro.core.reports.day import day_page
from allegro.core.reports.facts import DayFacts, DeliveryLine, Unknown
from allegro.core.reports.judgement import judge
from allegro.core.reports.short import short_form
from allegro.core.reports.text import Page, html_page, markdown, plain
from allegro.core.reports.week import WeekFacts, week_page
from allegro.house.measures.wing import MeasuresWing
from allegro.house.reports.collect import Collector

_log = structlog.get_logger()
DAYS = 7
FOLDER, DELIVERED, FAILED = "folder", "delivered", "failed"
Form = Literal["md", "txt", "html", "json"]
FORMS: tuple[Form, ...] = ("md", "txt", "html", "json")
OLDEST_DAYS = 3_660


class ReportStore(Protocol):
    """Where reports are kept. `names` are sorted; all raise EdgeError where the disk refuses."""

    def write(self, name: str, text: str) -> None: ...
    def read(self, name: str) -> str | None: ...
    def names(self) -> list[str]: ...


class Delivery(msgspec.Struct, frozen=True):
    """What is to be brought: the whole report as Markdown, and a few sentences for a chat."""

    date: datetime.date
    whole: str
    short: str
    is_well: bool


Deliver = Callable[[Delivery], Awaitable[None]]
"""Takes a report for one way; durable when it returns. Raises EdgeError where it cannot."""


class Reporter:
    """`run` is the duty: yesterday's report, and on Mondays that of the week before."""

    def __init__(
        self,
        collector: Collector,
        measures: MeasuresWing,
        store: ReportStore,
        clock: Clock,
        zone: ZoneInfo,
    ) -> None:
        self._collector = collector
        self._measures = measures
        self._store = store
        self._clock = clock
        self.zone = zone
        self._ways: dict[str, Deliver] = {}
        self._turn = asyncio.Lock()

    def add_way(self, name: str, deliver: Deliver) -> None:
        """Bring reports by this way too."""
        self._ways[name] = deliver

    async def run(self, late_s: float = 0.0) -> str:
        """Build, keep and bring yesterday's report; return a sentence about it.

        Raises EdgeError where it cannot be kept, or where not one of the ways takes it.
        """
        async with self._turn:
            day = self.yesterday()
            facts = await self._collector.facts(day, late_s)
            page = day_page(facts, self.zone)
            await self._keep(day.date.isoformat(), page, facts)
            if day.date.isoweekday() == DAYS:
                await self._keep_week(day, facts)
            whole, short = markdown(page), short_form(facts)
            judgement = judge(facts)
            lines = await self._bring(Delivery(day.date, whole, short, judgement.is_well))
            refused = [one for one in lines if one.state == FAILED]
            if refused:
                await self._keep_undelivered(facts, refused)
            await self._keep_sent(day.date, lines)
        missing = ", ".join(f"{one.way} ({one.detail})" for one in refused)
        if refused and len(refused) == len(self._ways):
            raise EdgeError(f"no way took the report: {missing}", transient=True)
        about = f"{day.date.isoformat()}: {judgement.headline.lower()}"
        return f"{about}; not by {missing}" if missing else about

    def yesterday(self) -> Day:
        today = day_of(self._clock.now_s(), self.zone)
        return day_of(today.start_s - 1, self.zone)

    async def _bring(self, delivery: Delivery) -> list[DeliveryLine]:
        lines = []
        for way, deliver in self._ways.items():
            try:
                await deliver(delivery)
            except EdgeError as error:
                _log.error("report.not_brought", way=way, error=str(error))
                lines.append(DeliveryLine(way=way, state=FAILED, detail=str(error)))
            else:
                lines.append(DeliveryLine(way=way, state=DELIVERED))
        return lines

    async def _keep_undelivered(self, facts: DayFacts, refused: Sequence[DeliveryLine]) -> None:
        """Write the report anew with what did not take it: kept, it is never called all well."""
        mine = [msgspec.structs.replace(one, way=f"{one.way} (this report)") for one in refused]
        before = () if isinstance(facts.deliveries, Unknown) else facts.deliveries
        facts = msgspec.structs.replace(facts, deliveries=(*before, *mine))
        await self._keep(facts.date.isoformat(), day_page(facts, self.zone), facts)

    async def _keep_sent(self, date: datetime.date, lines: Sequence[DeliveryLine]) -> None:
        text = msgspec.json.encode(lines).decode()
        await asyncio.to_thread(self._store.write, f"{date.isoformat()}.sent", text)

    async def _keep(self, name: str, page: Page, value: DayFacts | WeekFacts) -> None:
        texts = written(page, value)
        for form in FORMS:
            await asyncio.to_thread(self._store.write, f"{name}.{form}", texts[form])
        if page.image:
            await asyncio.to_thread(self._store.write, f"{name}.svg", page.image)

    async def _keep_week(self, last: Day, facts: DayFacts) -> None:
        week = await self.week(last, facts)
        year, number, _ = last.date.isocalendar()
        await self._keep(f"{year}-W{number:02}", week_page(week), week)

    async def week(self, last: Day, facts: DayFacts | None = None) -> WeekFacts:
        """Return the facts of the seven days that end with this one."""
        days = [facts or await self._facts_of(last)]
        for _ in range(DAYS - 1):
            days.insert(0, await self._facts_of(day_of(days[0].from_s - 1, self.zone)))
        span_s = days[-1].to_s - days[0].from_s
        try:
            rows = (await self._measures.answer(span_s, to_s=days[-1].to_s)).rows
        except EdgeError:
            return WeekFacts(days=tuple(days), measures=Unknown("figures could not be read"))
        return WeekFacts(days=tuple(days), measures=rows)

    async def _facts_of(self, day: Day) -> DayFacts:
        """Return the facts of a day as they were reported, else as they are known now."""
        text = await asyncio.to_thread(self._store.read, f"{day.date.isoformat()}.json")
        kept = Unreadable("none") if text is None else read_json(text, DayFacts)
        if isinstance(kept, Unreadable):
            return await self._collector.facts(day)
        return kept

    async def answer(self, date: datetime.date | None, form: Form, *, weekly: bool) -> ReportAnswer:
        """Return a report: the one that was kept, else as it is known now.

        None stands for yesterday. Raises EdgeError for a day that is not over, or long gone.
        """
        day = self.yesterday() if date is None else self._day(date)
        name = _week_name(day.date) if weekly else day.date.isoformat()
        kept = await asyncio.to_thread(self._store.read, f"{name}.{form}")
        if kept is not None:
            return ReportAnswer(name=name, form=form, text=kept, is_kept=True)
        if weekly:
            week = await self.week(day)
            text = written(week_page(week), week)[form]
        else:
            facts = await self._collector.facts(day)
            text = written(day_page(facts, self.zone), facts)[form]
        return ReportAnswer(name=name, form=form, text=text, is_kept=False)

    def _day(self, date: datetime.date) -> Day:
        noon = datetime.datetime.combine(date, datetime.time(12), self.zone)
        yesterday = self.yesterday()
        oldest = yesterday.date - datetime.timedelta(OLDEST_DAYS)
        if not oldest <= date <= yesterday.date:
            why = f"a report is of a day that is over, as {yesterday.date.isoformat()}"
            raise EdgeError(why, transient=False, kind="bad_request")
        return day_of(noon.timestamp(), self.zone)

    async def is_sent(self) -> bool:
        """Say whether yesterday's report went out before. Raises EdgeError of the disk."""
        name = f"{self.yesterday().date.isoformat()}.sent"
        return await asyncio.to_thread(self._store.read, name) is not None

    async def sent(self, date: datetime.date) -> tuple[DeliveryLine, ...]:
        """Return who took the report of a day; nothing where there was no report before it.

        A way that took it may still be on its way: it has its own proof. Raises EdgeError of the
        disk.
        """
        names = await asyncio.to_thread(self._store.names)
        if f"{date.isoformat()}.md" not in names:
            if not any(one < date.isoformat() for one in names):
                return ()
            return (DeliveryLine(way=FOLDER, state="none", detail="no report was built"),)
        kept = DeliveryLine(way=FOLDER, state=DELIVERED)
        text = await asyncio.to_thread(self._store.read, f"{date.isoformat()}.sent")
        lines = Unreadable("none") if text is None else read_json(text, tuple[DeliveryLine, ...])
        if isinstance(lines, Unreadable):
            why = "it was written, and the program ended before it was sent"
            return (kept, DeliveryLine(way="all ways", state="none", detail=why))
        return (kept, *lines)


def written(page: Page, value: DayFacts | WeekFacts) -> dict[Form, str]:
    """Return a report in every form."""
    raw = msgspec.json.format(msgspec.json.encode(value, order="deterministic"), indent=1)
    return {"md": markdown(page), "txt": plain(page), "html": html_page(page), "json": raw.decode()}


def _week_name(last: datetime.date) -> str:
    """Return what a week is named: by its number where it ends on a Sunday, else by its days."""
    year, number, day = last.isocalendar()
    first = last - datetime.timedelta(DAYS - 1)
    if day == DAYS:
        return f"{year}-W{number:02}"
    return f"{first.isoformat()}-{last.isoformat()}"
