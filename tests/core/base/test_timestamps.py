from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allegro.core.base.timestamps import rfc3339, span, unix_s


def test_a_time_is_told_in_utc_with_milliseconds() -> None:
    assert rfc3339(0.0) == "1970-01-01T00:00:00.000Z"
    assert rfc3339(1_700_000_000.5) == "2023-11-14T22:13:20.500Z"


@pytest.mark.parametrize(("text", "at_s"), [
    ("2023-11-14T22:13:20Z", 1_700_000_000.0), ("2023-11-15T00:13:20+02:00", 1_700_000_000.0),
    ("0001-01-01T00:00:00Z", -62_135_596_800.0),
])  # fmt: skip
def test_a_forge_s_time_is_read_whatever_its_zone(text: str, at_s: float) -> None:
    assert unix_s(text) == at_s


@pytest.mark.parametrize("text", ["", "now", "2023-13-01T00:00:00Z", "１"])
def test_what_is_no_time_is_the_beginning_of_all_time(text: str) -> None:
    assert unix_s(text) == 0.0


@given(st.integers(0, 250_000_000_000_000))
def test_a_time_survives_its_text_to_the_millisecond(ms: int) -> None:
    assert abs(unix_s(rfc3339(ms / 1000)) - ms / 1000) < 0.002


@pytest.mark.parametrize(("seconds", "told"), [
    (0.85, "850 ms"), (12.3, "12.3 s"), (89.0, "89.0 s"), (240.0, "4 min"), (5399.0, "90 min"),
    (10_800.0, "3 h"), (172_800.0, "2 d"),
])  # fmt: skip
def test_a_duration_is_told_as_people_say_it(seconds: float, told: str) -> None:
    assert span(seconds) == told
