"""In which buckets a figure is kept: quarters of an hour and days of UTC, so that a year is cheap."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from allegro.core.measures.figures import Figures, added
from allegro.core.measures.state import Sample
from allegro.core.measures.table import WAIT

QUARTER_S = 900
DAY_S = 86_400

Bucket = tuple[str, int]
"""The name of a figure, and the first second of a quarter of an hour (Unix s)."""


class Spans(msgspec.Struct, frozen=True):
    """What a window is read from: days from `day_s`, before `day_end_s`, and the quarters around.

    `from_s` and `to_s` are the window as it is answered: whole quarters.
    """

    from_s: int
    to_s: int
    day_s: int
    day_end_s: int


def with_samples(samples: Iterable[Sample]) -> dict[Bucket, Figures]:
    """Return the figures of samples by bucket; a wait is a figure of its own."""
    found: dict[Bucket, Figures] = {}
    for one in samples:
        start_s = quarter_of(one.at_s)
        key = (one.measure, start_s)
        found[key] = added(found.get(key, Figures()), one.value, within=one.is_within)
        if one.waited_s > 0:
            key = (one.measure + WAIT, start_s)
            found[key] = added(found.get(key, Figures()), one.waited_s, within=False)
    return found


def quarter_of(at_s: float) -> int:
    return int(at_s // QUARTER_S) * QUARTER_S


def spans_of(from_s: float, to_s: float) -> Spans:
    """Return how a window is read; it begins with the quarter of `from_s` and ends with `to_s`'s."""
    first = quarter_of(from_s)
    last = max(first, -(int(-to_s // QUARTER_S)) * QUARTER_S)
    day = -(-first // DAY_S) * DAY_S
    return Spans(first, last, day, max(day, last // DAY_S * DAY_S))
