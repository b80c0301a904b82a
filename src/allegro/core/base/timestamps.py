"""Unix seconds as text, for envelopes and people. Values in, values out."""

from __future__ import annotations

import datetime

MAX_SPAN_S = 10_000 * 365 * 86_400
UNKNOWN_TIME = "unknown time"


def rfc3339(at_s: float) -> str:
    """Return a Unix time as RFC 3339 in UTC with milliseconds.

    What no calendar holds (NaN, infinity, outside the years 1 to 9999) is `unknown time`.
    """
    try:
        at = datetime.datetime.fromtimestamp(at_s, datetime.UTC)
    except (ValueError, OverflowError, OSError):
        return UNKNOWN_TIME
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def unix_s(text: str) -> float:
    """Return the Unix seconds of an RFC 3339 time; 0 when it is none."""
    try:
        return datetime.datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError):
        return 0.0


def span(seconds: float) -> str:
    """Return a duration as people say it: `850 ms`, `12.3 s`, `4 min`, `3 h`, `2 d`.

    NaN, infinities and more than 10,000 years either way are `unknown`.
    """
    if not abs(seconds) < MAX_SPAN_S:
        return "unknown"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 90:
        return f"{seconds:.1f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    if seconds < 129_600:
        return f"{seconds / 3600:.0f} h"
    return f"{seconds / 86_400:.0f} d"
