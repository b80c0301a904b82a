"""Unix seconds as text, for envelopes and people. Values in, values out."""

from __future__ import annotations

import datetime
import math

_LAST_S = 253_402_300_799.0


def rfc3339(at_s: float) -> str:
    """Return a Unix time as RFC 3339 in UTC with milliseconds.

    Times outside the years 1970 to 9999, and NaN, become the nearest end, so that a stored time
    of any size can be shown.
    """
    at_s = min(max(at_s, 0.0), _LAST_S) if not math.isnan(at_s) else 0.0
    at = datetime.datetime.fromtimestamp(at_s, datetime.UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def unix_s(text: str) -> float:
    """Return the Unix seconds of an RFC 3339 time; 0 when it is none."""
    try:
        return datetime.datetime.fromisoformat(text).timestamp()
    except ValueError:
        return 0.0


def span(seconds: float) -> str:
    """Return a duration as people say it: `850 ms`, `12.3 s`, `4 min`, `3 h`, `2 d`."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 90:
        return f"{seconds:.1f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    if seconds < 129_600:
        return f"{seconds / 3600:.0f} h"
    return f"{seconds / 86_400:.0f} d"
