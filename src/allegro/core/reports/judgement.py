"""Whether all was well: only where every source spoke, and none of them told of trouble.

Invariant: `is_well` is a positive test. A source that did not speak, a lane whose journal is not
home, a figure that nobody could take where it should have been: each is *unknown* and none of them
is well. What waits for the owner is no trouble, and neither is a figure that is merely small.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from allegro.core.measures.table import BY_NAME, Shown
from allegro.core.reports.facts import (
    AlertsDay,
    DayFacts,
    DeliveryLine,
    Done,
    DutiesDay,
    SessionsDay,
    Unknown,
)

BAD_ENDS = ("failed", "conflict", "unknown", "stale")
LOST_ENDS = ("failed", "lost")
QUIET = "P3"
"""Alerts of this severity are for the report, and no trouble by themselves."""

SOURCES = {
    "waiting": "requests that wait",
    "came_in": "what came in",
    "done": "what was done",
    "sessions": "sessions",
    "measures": "figures",
    "alerts": "alerts",
    "duties": "duties",
    "freezes": "freezes",
    "gaps": "gaps",
    "take_overs": "take-overs",
    "lanes": "lanes",
    "doctor": "doctor",
    "deliveries": "delivery of the last report",
}
"""The fields of DayFacts that are sources, and what they are called."""


class Judgement(msgspec.Struct, frozen=True):
    """What is wrong, and what is not known, as sentences that hold no foreign word."""

    wrong: tuple[str, ...]
    unknown: tuple[str, ...]

    @property
    def is_well(self) -> bool:
        return self.wrong == () and self.unknown == ()

    @property
    def headline(self) -> str:
        """Return the first line of a report."""
        if self.is_well:
            return "All well"
        parts = [f"{len(self.wrong)} wrong"] * bool(self.wrong)
        parts += [f"{len(self.unknown)} not known"] * bool(self.unknown)
        return f"Not all well: {', '.join(parts)}"


def judge(facts: DayFacts) -> Judgement:
    """Return what is wrong or unknown about a day."""
    return Judgement(tuple(_wrong(facts)), tuple(_unknown(facts)))


def _unknown(facts: DayFacts) -> Iterator[str]:
    for field, name in SOURCES.items():
        value = getattr(facts, field)
        if isinstance(value, Unknown):
            yield f"{name}: {value.unknown}"
    if not isinstance(facts.lanes, Unknown):
        for lane in facts.lanes:
            if not lane.is_home:
                yield f"lane {lane.name}: not all that it told is here"
        if not facts.lanes:
            yield "lanes: none is paired"
    if not isinstance(facts.doctor, Unknown):
        count = sum(one.state == "unknown" for one in facts.doctor)
        if count:
            yield f"doctor: {count} facts are unknown"


def _wrong(facts: DayFacts) -> Iterator[str]:
    if not isinstance(facts.lanes, Unknown):
        for lane in facts.lanes:
            if not lane.is_linked:
                yield f"lane {lane.name} is not linked"
    if isinstance(facts.alerts, AlertsDay):
        loud = sum(one.severity != QUIET for one in facts.alerts.items) + facts.alerts.more
        yield from _said(loud, "alert was raised or holds", "alerts were raised or hold")
    if isinstance(facts.duties, DutiesDay):
        count = len(facts.duties.items) + facts.duties.more
        yield from _said(count, "duty failed or was missed", "duties failed or were missed")
    yield from _work(facts)
    yield from _losses(facts)
    if not isinstance(facts.doctor, Unknown):
        bad = sum(one.state == "bad" for one in facts.doctor)
        yield from _said(bad, "line of doctor is bad", "lines of doctor are bad")
    yield from _figures(facts)
    yield from _deliveries(facts)


def _work(facts: DayFacts) -> Iterator[str]:
    if isinstance(facts.done, Done):
        bad = sum(facts.done.states.get(state, 0) for state in BAD_ENDS)
        yield from _said(bad, "request came to nothing", "requests came to nothing")
    if isinstance(facts.sessions, SessionsDay):
        lost = sum(facts.sessions.ends.get(end, 0) for end in LOST_ENDS)
        yield from _said(lost, "session failed or was lost", "sessions failed or were lost")


def _losses(facts: DayFacts) -> Iterator[str]:
    if not isinstance(facts.freezes, Unknown):
        count = len(facts.freezes)
        yield from _said(count, "freeze began or still holds", "freezes began or still hold")
    if not isinstance(facts.gaps, Unknown):
        count = sum(gap.count for gap in facts.gaps)
        yield from _said(
            count, "entry of a lane will never come", "entries of lanes will never come"
        )
    if not isinstance(facts.take_overs, Unknown):
        count = sum(one.why != "offered" and one.before != "" for one in facts.take_overs)
        yield from _said(count, "role was taken over", "roles were taken over")
    yield from _said(facts.unreadable, "event cannot be read", "events cannot be read")


def _figures(facts: DayFacts) -> Iterator[str]:
    """A promise that was missed is trouble; a rate is not: a quiet day is a good day."""
    if isinstance(facts.measures, Unknown):
        return
    for row in facts.measures:
        measure = BY_NAME.get(row.name)
        is_rate = measure is not None and measure.shown is Shown.RATE
        if row.verdict == "missed" and not is_rate:
            yield f"{row.title}: missed"


def _deliveries(facts: DayFacts) -> Iterator[str]:
    if isinstance(facts.deliveries, Unknown):
        return
    for one in facts.deliveries:
        if is_undelivered(one):
            yield f"a report did not arrive: {one.way}"


def is_undelivered(line: DeliveryLine) -> bool:
    """Say whether a way that was to bring a report did not: waiting and failed are no proof."""
    return line.state not in {"shown", "delivered", "off"}


def _said(count: int, one: str, many: str) -> Iterator[str]:
    if count:
        yield f"1 {one}" if count == 1 else f"{count} {many}"
