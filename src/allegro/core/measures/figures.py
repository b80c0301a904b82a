"""Sums of samples that cost the same for a day as for a year.

A figure never keeps its samples. What it says exactly: how many there were, how many were within the
target, their sum, the smallest and the largest. What it says within BIN: any quantile, never below
the true one. Two figures of the same measure add up, in any order, to the figure of both.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import msgspec

BIN = 1.02
"""The upper end of a bin over its lower end: a quantile is at most 2 % above the true one."""
FLOOR = 1e-4
"""Samples up to this share the lowest bin: 0.1 ms for a measure in seconds."""
CEILING = 1e9
"""Samples are counted as this where they are larger: 31 years for a measure in seconds."""
_STEP = math.log(BIN)


class Figures(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is left of many samples of one measure, in the unit of the measure.

    `within` counts those that met the target. `bins` maps the number of a bin to its samples.
    """

    count: int = 0
    within: int = 0
    total: float = 0.0
    smallest: float = math.inf
    largest: float = 0.0
    bins: dict[int, int] = {}

    @property
    def mean(self) -> float | None:
        """Return the mean, None without samples."""
        return self.total / self.count if self.count else None


def added(figures: Figures, value: float, *, within: bool) -> Figures:
    """Return the figures with one more sample.

    A sample below 0 counts as 0: two clocks disagree. One that is no number is not counted.
    """
    if math.isnan(value):
        return figures
    held = min(max(value, 0.0), CEILING)
    at = _bin_of(held)
    return Figures(
        count=figures.count + 1,
        within=figures.within + within,
        total=figures.total + held,
        smallest=min(figures.smallest, held),
        largest=max(figures.largest, held),
        bins={**figures.bins, at: figures.bins.get(at, 0) + 1},
    )


def summed(parts: Iterable[Figures]) -> Figures:
    """Return the figures of all samples of all parts."""
    count = within = 0
    total, smallest, largest = 0.0, math.inf, 0.0
    bins: dict[int, int] = {}
    for one in parts:
        count, within, total = count + one.count, within + one.within, total + one.total
        smallest, largest = min(smallest, one.smallest), max(largest, one.largest)
        for at, held in one.bins.items():
            bins[at] = bins.get(at, 0) + held
    return Figures(count, within, total, smallest, largest, bins)


def quantile(figures: Figures, share: float) -> float | None:
    """Return a value that at least `share` (0 to 1) of the samples do not pass; None without any.

    It is at most BIN times the smallest such sample, and never above the largest one.
    """
    if not figures.count:
        return None
    wanted = max(1, math.ceil(min(max(share, 0.0), 1.0) * figures.count))
    seen = 0
    for at in sorted(figures.bins):
        seen += figures.bins[at]
        if seen >= wanted:
            return min(FLOOR * BIN**at, figures.largest)
    return figures.largest


def _bin_of(value: float) -> int:
    """Return the lowest bin whose upper end is not below the value."""
    if value <= FLOOR:
        return 0
    at = math.ceil(math.log(value / FLOOR) / _STEP)
    return at + 1 if FLOOR * BIN**at < value else at
