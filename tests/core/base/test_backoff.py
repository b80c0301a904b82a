from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from allegro.core.base.backoff import FORGE, GATEWAY, LINK, ORDER, Backoff


def test_delays_double_until_the_cap() -> None:
    backoff = Backoff(first_s=1.0, cap_s=60.0)
    assert [backoff.delay_s(n, lambda: 1.0) for n in range(8)] == [1, 2, 4, 8, 16, 32, 60, 60]


def test_jitter_takes_away_at_most_half() -> None:
    assert Backoff(1.0, 60.0).delay_s(2, lambda: 0.0) == 2.0


def test_a_link_is_dialled_again_within_a_second_however_often_it_failed() -> None:
    assert LINK.delay_s(1_000_000, lambda: 1.0) < 1.0


@given(st.integers(0, 10**9), st.floats(0, 1))
def test_a_delay_is_never_zero_and_never_beyond_the_cap(failures: int, dice: float) -> None:
    for backoff in (LINK, FORGE, GATEWAY, ORDER):
        delay_s = backoff.delay_s(failures, lambda: dice)
        assert backoff.first_s / 2 <= delay_s <= backoff.cap_s
