"""Reads the headers of a forge's answers. An odd header counts as none; nothing here raises."""

from __future__ import annotations

import email.utils
import re
from collections.abc import Mapping

from allegro.core.base.untrusted import whole_number

MAX_RETRY_AFTER_S = 86_400
UNMEASURED_S = 60.0
END_S = 2**34
"""Times from here on (the year 2514) are no times: neither a forge's clock nor a change."""

_NEXT = re.compile(r"""rel\s*=\s*["']?[^"',;]*\bnext\b""", re.IGNORECASE)
_MAX_HEADER = 8_192
_ODD = (ValueError, TypeError, OverflowError, IndexError, KeyError, AttributeError, OSError)


def date_s(text: str | None) -> int:
    """Return the Unix second of an HTTP date, 0 for none."""
    try:
        at_s = email.utils.parsedate_to_datetime((text or "")[:100]).timestamp()
    except _ODD:
        return 0
    return int(at_s) if 0 < at_s < END_S else 0


def total(text: str | None) -> int:
    """Return X-Total-Count, -1 for none."""
    number = whole_number(text)
    return -1 if number is None else number


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Return what `Retry-After` asks for, at most a day; None where it is missing or unreadable.

    It holds seconds or a date (RFC 9110, 10.2.3); a date is measured by the answer's own `Date`,
    and without one counts as `UNMEASURED_S`: two clocks would be compared.
    """
    text = headers.get("Retry-After", "").strip()
    seconds = whole_number(text)
    if seconds is not None:
        return float(min(seconds, MAX_RETRY_AFTER_S))
    until_s, now_s = date_s(text), date_s(headers.get("Date"))
    if not until_s:
        return None
    if not now_s:
        return UNMEASURED_S
    return float(min(max(0, until_s - now_s), MAX_RETRY_AFTER_S))


def has_next(link: str | None) -> bool | None:
    """Return whether a Link header names a next page, None without the header."""
    return None if not link else _NEXT.search(link[:_MAX_HEADER]) is not None
