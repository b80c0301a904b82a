"""`Retry-After` is obeyed where it can be read, and is never more than a day."""

from __future__ import annotations

import pytest

from allegro.adapters.gitea.headers import MAX_RETRY_AFTER_S, UNMEASURED_S, retry_after_s
from tests.bad.values import HEADERS

NOW = "Sat, 28 Nov 2026 12:00:00 GMT"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        ("120", 120.0),
        ("9007199254740991", float(MAX_RETRY_AFTER_S)),
        ("Sat, 28 Nov 2026 12:02:00 GMT", 120.0),
        ("Sat, 28 Nov 2026 11:00:00 GMT", 0.0),
        ("", None),
        ("soon", None),
    ],
)
def test_seconds_and_dates_are_read(text: str, seconds: float | None) -> None:
    assert retry_after_s({"Retry-After": text, "Date": NOW}) == seconds


def test_a_date_without_the_answers_own_date_is_a_minute_by_no_clock() -> None:
    assert retry_after_s({"Retry-After": NOW}) == UNMEASURED_S
    assert retry_after_s({"Retry-After": "soon"}) is None


def test_no_header_value_raises_or_asks_for_more_than_a_day() -> None:
    for bad in HEADERS:
        for headers in (
            {"Retry-After": bad.value, "Date": NOW},
            {"Retry-After": NOW, "Date": bad.value},
        ):
            seconds = retry_after_s(headers)
            assert seconds is None or 0 <= seconds <= MAX_RETRY_AFTER_S, bad.name
