"""The report of a week: each figure of its days as a line of blocks, and as an SVG."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence

import msgspec

from allegro.core.measures.answers import RowAnswer
from allegro.core.reports.day import measure_words
from allegro.core.reports.facts import (
    AlertsDay,
    CameIn,
    DayFacts,
    Done,
    DutiesDay,
    SessionsDay,
    Unknown,
)
from allegro.core.reports.judgement import judge
from allegro.core.reports.text import Line, Page, Section, line

BLOCKS = "▁▂▃▄▅▆▇█"
NO_BLOCK = "·"
"""Stands for a day of which a figure is not known."""

WIDTH, ROW, LEFT = 640, 44, 200


class WeekFacts(msgspec.Struct, frozen=True, kw_only=True):
    """The days of a week, oldest first, and the figures over all of it."""

    days: tuple[DayFacts, ...]
    measures: tuple[RowAnswer, ...] | Unknown
    schema: str = "allegro.report.week/1"

    @property
    def first(self) -> datetime.date:
        return self.days[0].date

    @property
    def last(self) -> datetime.date:
        return self.days[-1].date


Value = float | None
Read = Callable[[DayFacts], Value]


def _row(name: str) -> Read:
    def read(facts: DayFacts) -> Value:
        if isinstance(facts.measures, Unknown):
            return None
        return next((row.value for row in facts.measures if row.name == name), None)

    return read


def _opened(facts: DayFacts) -> Value:
    came = facts.came_in
    return float(came.issues + came.pulls) if isinstance(came, CameIn) else None


def _done(facts: DayFacts) -> Value:
    return float(facts.done.states.get("done", 0)) if isinstance(facts.done, Done) else None


def _sessions(facts: DayFacts) -> Value:
    found = facts.sessions
    return float(sum(found.ends.values())) if isinstance(found, SessionsDay) else None


def _spend(facts: DayFacts) -> Value:
    return facts.sessions.cost_usd if isinstance(facts.sessions, SessionsDay) else None


def _alerts(facts: DayFacts) -> Value:
    found = facts.alerts
    return float(len(found.items) + found.more) if isinstance(found, AlertsDay) else None


def _duties(facts: DayFacts) -> Value:
    found = facts.duties
    return float(len(found.items) + found.more) if isinstance(found, DutiesDay) else None


TRENDS: tuple[tuple[str, Read], ...] = (
    ("opened on the forge", _opened),
    ("requests done", _done),
    ("sessions ended", _sessions),
    ("spend (USD)", _spend),
    ("alerts", _alerts),
    ("duties that did not run well", _duties),
    ("slowest event to home (s)", _row("poll.latency")),
    ("p99 of telemetry lag (s)", _row("telemetry.lag")),
    ("uptime of lanes (share)", _row("uptime")),
)


def sparkline(values: Sequence[Value]) -> str:
    """Return one block for each value, from the smallest to the largest; `·` for an unknown one."""
    known = [one for one in values if one is not None]
    if not known:
        return NO_BLOCK * len(values)
    low, high = min(known), max(known)
    return "".join(NO_BLOCK if one is None else BLOCKS[_step(one, low, high)] for one in values)


def _step(value: float, low: float, high: float) -> int:
    if high == low:
        return 0 if high == 0 else len(BLOCKS) // 2
    return min(len(BLOCKS) - 1, int((value - low) / (high - low) * len(BLOCKS)))


def week_page(week: WeekFacts) -> Page:
    """Return the page of a week."""
    well = sum(judge(day).is_well for day in week.days)
    headline = f"{well} of {len(week.days)} days were all well."
    return Page(
        title=f"Weekly report {week.first.isoformat()} to {week.last.isoformat()}",
        summary=(line(headline),),
        sections=(
            Section("Trends", tuple(_trend(name, read, week.days) for name, read in TRENDS)),
            Section("Days", tuple(_day(day) for day in week.days)),
            _measures(week),
        ),
        image=trend_svg(week),
    )


def _trend(name: str, read: Read, days: Sequence[DayFacts]) -> Line:
    values = [read(day) for day in days]
    return line(f"{sparkline(values)} {name}: {_shown(values[0])} to {_shown(values[-1])}")


def _shown(value: Value) -> str:
    return "not known" if value is None else f"{value:.4g}"


def _day(facts: DayFacts) -> Line:
    return line(f"{facts.date.isoformat()}: {judge(facts).headline.lower()}")


def _measures(week: WeekFacts) -> Section:
    title = "Promised and measured, over the week"
    if isinstance(week.measures, Unknown):
        return Section(title, (line(f"not known: {week.measures.unknown}"),))
    return Section(title, tuple(line(measure_words(row)) for row in week.measures))


def trend_svg(week: WeekFacts) -> str:
    """Return the trends as one SVG: a row for each, a point for each day that is known."""
    height = ROW * len(TRENDS) + 20
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img"'
        ' font-family="sans-serif" font-size="12"><title>Trends of the week</title>'
    )
    parts = [head]
    for at, (name, read) in enumerate(TRENDS):
        parts += _svg_row(name, [read(day) for day in week.days], at * ROW)
    return "".join([*parts, "</svg>"])


def _svg_row(name: str, values: Sequence[Value], top: int) -> list[str]:
    known = [one for one in values if one is not None]
    low, high = (min(known), max(known)) if known else (0.0, 0.0)
    step = (WIDTH - LEFT - 90) / max(1, len(values) - 1)
    points = [
        (LEFT + at * step, top + 34 - (0.5 if high == low else (one - low) / (high - low)) * 24)
        for at, one in enumerate(values)
        if one is not None
    ]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    found = [f'<text x="0" y="{top + 26}">{name}</text>']
    if points:
        found.append(f'<polyline fill="none" stroke="#36c" stroke-width="2" points="{path}"/>')
        found += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" fill="#36c"/>' for x, y in points]
    found.append(f'<text x="{WIDTH - 80}" y="{top + 26}">{_shown(values[-1])}</text>')
    return found
