"""What a drill showed: each trial, and the verdict over all of them."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import msgspec

TARGET_S = 30.0


class DrillTrial(msgspec.Struct, frozen=True, kw_only=True):
    """One trial; times in seconds from the fault. What was not measured is None.

    `take_over_s` is until another lane polled, `silence_s` the longest time in which none did.
    `late` counts labels written by a lane that had lost the role; `faults` are sentences.
    """

    fault: str
    victim: str = ""
    holder: str = ""
    take_over_s: float
    silence_s: float | None = None
    detected_s: float | None = None
    taken_s: float | None = None
    act_s: float | None = None
    duplicates: int | None = None
    lost: int | None = None
    late: int | None = None
    faults: tuple[str, ...] = ()
    delay_ms: float = 0.0
    led: bool = False


class DrillReport(msgspec.Struct, frozen=True, kw_only=True):
    """All trials of one drill. `max_s` and `median_s` are seconds until another lane polled.

    `duplicates` and `lost` are None where no trial could measure them.
    """

    schema: str = "allegro.drill/1"
    kind: str
    ok: bool
    max_s: float
    median_s: float
    duplicates: int | None
    lost: int | None
    trials: tuple[DrillTrial, ...]


def summary(trials: Sequence[DrillTrial], kind: str) -> DrillReport:
    """Return the report of a drill of at least one trial."""
    times = [max(one.take_over_s, one.silence_s or 0.0) for one in trials]
    duplicates, lost = (
        _sum([one.duplicates for one in trials]),
        _sum([one.lost for one in trials]),
    )
    sound = not any(one.faults for one in trials) and not duplicates and not lost
    return DrillReport(
        kind=kind,
        ok=sound and max(times) < TARGET_S,
        max_s=max(times),
        median_s=statistics.median(times),
        duplicates=duplicates,
        lost=lost,
        trials=tuple(trials),
    )


def unfinished(fault: str, victim: str, after_s: float, why: str) -> DrillTrial:
    """Return a trial that came to no end, as one that did."""
    return DrillTrial(
        fault=fault, victim=victim, take_over_s=after_s, silence_s=after_s, faults=(why,)
    )


def _sum(counts: Sequence[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if known else None
