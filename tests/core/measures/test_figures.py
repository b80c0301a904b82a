"""Sums of samples: exact where they say so, near where they say so, whatever the order."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from allegro.core.measures.figures import BIN, FLOOR, Figures, added, quantile, summed

SAMPLES = st.lists(st.floats(min_value=FLOOR, max_value=1e8), min_size=1, max_size=60)


def figures_of(samples: list[float], target: float = 10.0) -> Figures:
    figures = Figures()
    for one in samples:
        figures = added(figures, one, within=one <= target)
    return figures


@given(SAMPLES)
def test_count_sum_and_ends_are_exact(samples: list[float]) -> None:
    found = figures_of(samples)
    assert found.count == len(samples)
    assert found.within == sum(one <= 10.0 for one in samples)
    assert math.isclose(found.total, math.fsum(samples))
    assert (found.smallest, found.largest) == (min(samples), max(samples))


@given(SAMPLES, st.sampled_from([0.0, 0.5, 0.9, 0.99, 1.0]))
def test_a_quantile_is_never_below_the_true_one_and_near_it(
    samples: list[float], share: float
) -> None:
    true = sorted(samples)[max(0, math.ceil(share * len(samples)) - 1)]
    found = quantile(figures_of(samples), share)
    assert found is not None
    assert true * 0.999999 <= found <= true * BIN * 1.000001


@given(SAMPLES, st.integers(0, 60))
def test_parts_add_up_to_the_whole_in_any_order(samples: list[float], cut: int) -> None:
    whole = figures_of(samples)
    parts = [figures_of(samples[cut:]), figures_of(samples[:cut])]
    found = summed(parts)
    assert (found.count, found.within, found.bins) == (whole.count, whole.within, whole.bins)
    assert (found.smallest, found.largest) == (whole.smallest, whole.largest)


def test_nothing_measured_has_no_quantile_and_no_mean() -> None:
    assert quantile(Figures(), 0.5) is None
    assert Figures().mean is None


def test_what_is_no_sample_is_not_counted_and_a_negative_one_is_zero() -> None:
    assert added(Figures(), math.nan, within=False) == Figures()
    assert added(Figures(), -3.0, within=True).largest == 0.0
    assert math.isfinite(added(Figures(), math.inf, within=False).total)
    assert quantile(added(Figures(), -3.0, within=True), 0.99) == 0.0
