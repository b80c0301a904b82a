"""What a row of the table says of a window: its value, its samples, its method, or why it is silent.

A row never guesses. Without samples, without anybody who looked, or without a part of the program
that could know, its value is None and its reason says which.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from allegro.core.base.timestamps import span
from allegro.core.measures.figures import Figures, quantile
from allegro.core.measures.minutes import Counted
from allegro.core.measures.table import (
    FALSE_ALERTS,
    MEASURES,
    UPTIME,
    WAIT,
    Measure,
    Shown,
    is_met,
)

DAY_S = 86_400.0
SCHEMA = "allegro.measures/1"
Verdict = Literal["met", "missed", "as asked", "not measurable yet"]
"""`as asked`: fewer a day than the target, and each that was asked for was carried."""


class Window(msgspec.Struct, frozen=True):
    """A span in Unix seconds: from `from_s`, before `to_s`."""

    from_s: float
    to_s: float

    @property
    def days(self) -> float:
        """Return how many days it holds, one at least, as a divisor of what is counted a day."""
        return max(1.0, (self.to_s - self.from_s) / DAY_S)


class Judged(msgspec.Struct, frozen=True):
    """Of all alerts of all codes: how many were sent, judged by a person, and found useful."""

    useful: int
    judged: int
    sent: int


class Measured(msgspec.Struct, frozen=True):
    """What is known of a window. `began_s` is since when anything is measured at all (Unix s).

    `judged` is None where no verdicts are kept.
    """

    window: Window
    figures: Mapping[str, Figures]
    minutes: Mapping[str, Counted]
    judged: Judged | None = None
    began_s: float = 0.0


class Part(msgspec.Struct, frozen=True):
    """A value of one node, in the unit of the row, from so many samples."""

    name: str
    value: float
    count: int


class RowAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """One row over one window. Values are in `unit`; `value` is None where it cannot be known.

    `count` samples, of which `within` met the target; `median`, `p99` and `largest` are of them.
    `waited` of them stood before their clock ran, for `waited_s` seconds at most.
    """

    name: str
    title: str
    target: float
    is_least: bool
    unit: str
    shown: str
    verdict: Verdict
    value: float | None
    reason: str
    method: str
    source: str
    count: int = 0
    within: int = 0
    median: float | None = None
    p99: float | None = None
    largest: float | None = None
    waited: int = 0
    waited_s: float = 0.0
    parts: tuple[Part, ...] = ()


class MeasuresAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Every row of the table over one window (Unix s). `unreadable` events were passed over.

    `row` is the last row of the archive that is counted, `behind` how many rows are not yet.
    """

    from_s: float
    to_s: float
    began_s: float
    rows: tuple[RowAnswer, ...]
    row: int = 0
    behind: int = 0
    unreadable: int = 0
    schema: str = SCHEMA


def answered(measured: Measured) -> tuple[RowAnswer, ...]:
    """Return every row of the table, in its order."""
    return tuple(_row(measure, measured) for measure in MEASURES)


def _row(measure: Measure, measured: Measured) -> RowAnswer:
    if measure.reason:
        return _silent(measure, measure.reason)
    if measure is UPTIME:
        return _uptime(measure, measured)
    if measure is FALSE_ALERTS:
        return _false_alerts(measure, measured.judged)
    figures = measured.figures.get(measure.name, Figures())
    if measure.shown is Shown.RATE:
        return _rate(measure, figures, measured)
    waits = measured.figures.get(measure.name + WAIT, Figures())
    if not figures.count:
        return _silent(measure, "nothing of it happened in this window", waits)
    value = _shown(measure, figures)
    is_good = is_met(measure, value)
    if measure.shown is not Shown.P99:
        is_good = is_good and figures.within == figures.count
    return msgspec.structs.replace(
        _silent(measure, "", waits),
        verdict="met" if is_good else "missed",
        value=value,
        count=figures.count,
        within=figures.within,
        median=quantile(figures, 0.5),
        p99=quantile(figures, 0.99),
        largest=figures.largest,
    )


def _shown(measure: Measure, figures: Figures) -> float:
    if measure.shown is Shown.P99:
        return quantile(figures, 0.99) or 0.0
    return figures.smallest if measure.shown is Shown.SMALLEST else figures.largest


def _silent(measure: Measure, reason: str, waits: Figures | None = None) -> RowAnswer:
    waits = waits or Figures()
    return RowAnswer(
        name=measure.name,
        title=measure.title,
        target=measure.target,
        is_least=measure.is_least,
        unit=measure.unit,
        shown=measure.shown.value,
        verdict="not measurable yet",
        value=None,
        reason=reason,
        method=measure.method,
        source=measure.source,
        waited=waits.count,
        waited_s=waits.largest,
    )


def _valued(measure: Measure, value: float, count: int, within: int) -> RowAnswer:
    return msgspec.structs.replace(
        _silent(measure, ""),
        verdict="met" if is_met(measure, value) else "missed",
        value=value,
        count=count,
        within=within,
    )


def _rate(measure: Measure, figures: Figures, measured: Measured) -> RowAnswer:
    window = measured.window
    if not measured.began_s or not measured.began_s < window.to_s:
        return _silent(measure, "nothing is measured in this window")
    since = Window(max(window.from_s, measured.began_s), window.to_s)
    row = _valued(measure, figures.within / since.days, figures.count, figures.within)
    if row.verdict == "missed" and figures.within == figures.count:
        return msgspec.structs.replace(row, verdict="as asked")
    return row


def _uptime(measure: Measure, measured: Measured) -> RowAnswer:
    """Return the uptime of all lanes together; parts are each node, the house as lanes see it."""
    parts = tuple(
        Part(name, minutes.seen / minutes.looked, minutes.looked)
        for name, minutes in sorted(measured.minutes.items())
        if minutes.looked
    )
    lanes = [minutes for name, minutes in measured.minutes.items() if name != "house"]
    looked, seen = sum(one.looked for one in lanes), sum(one.seen for one in lanes)
    if not looked:
        why = "no node looked at a lane in this window: one node alone cannot measure itself"
        return _silent(measure, why)
    answer = _valued(measure, seen / looked, looked, seen)
    return msgspec.structs.replace(answer, parts=parts)


def _false_alerts(measure: Measure, judged: Judged | None) -> RowAnswer:
    if judged is None:
        return _silent(measure, "verdicts on alerts are not kept yet")
    if not judged.judged:
        return _silent(measure, f"none of {judged.sent} alerts sent was judged")
    noise = judged.judged - judged.useful
    return _valued(measure, noise / judged.judged, judged.judged, judged.useful)


# --- for a screen ---------------------------------------------------------------------------


def value_words(value: float | None, unit: str) -> str:
    """Return a value as people say it."""
    if value is None:
        return "–"
    if unit == "share":
        return f"{value * 100:.2f} %"
    if unit == "a day":
        return f"{value:.1f} a day"
    return span(value)


def target_words(row: RowAnswer) -> str:
    return f"{'at least' if row.is_least else 'at most'} {value_words(row.target, row.unit)}"


def prometheus_lines(answer: MeasuresAnswer) -> str:
    """Return the answer in Prometheus' text format. A value that is not known has no line."""
    lines = []
    for suffix, text, get in _SERIES:
        lines += [
            f"# HELP allegro_measure_{suffix} {text}",
            f"# TYPE allegro_measure_{suffix} gauge",
        ]
        for row in answer.rows:
            value = get(row)
            if value is not None:
                lines.append(
                    f'allegro_measure_{suffix}{{measure="{row.name}",unit="{row.unit}"}} {value:.9g}'
                )
    return "\n".join(lines) + "\n"


_SERIES = (
    ("value", "value over the window, in its unit", lambda row: row.value),
    ("target", "what the value is held to", lambda row: row.target),
    ("samples", "samples in the window", lambda row: float(row.count)),
    ("within", "samples that met the target", lambda row: float(row.within)),
    ("known", "1 where it could be measured", lambda row: float(row.value is not None)),
)
