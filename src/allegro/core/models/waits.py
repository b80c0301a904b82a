"""How long a provider wants to be left alone: told in a header, in fields of its answer, or in words."""

from __future__ import annotations

import datetime
import email.utils
import re
from collections.abc import Iterator, Mapping
from typing import Any

from allegro.core.base.untrusted import Unreadable, read_json, real_of
from allegro.core.models.ladder import Trouble

WAIT_HEADERS = ("retry-after-ms", "retry-after")
RESET_HEADERS = (
    "x-ratelimit-reset", "x-ratelimit-reset-requests", "x-ratelimit-reset-tokens",
)  # fmt: skip
_LONGEST_S = {Trouble.QUOTA: 86_400.0, Trouble.OVERLOAD: 300.0}
_SECONDS = re.compile(
    r"\s*(?:([0-9]{1,5})h)?(?:([0-9]{1,7})m(?!s))?(?:([0-9]{1,15}(?:\.[0-9]{1,9})?)s?)?\s*"
)
_MILLISECONDS = re.compile(r"\s*([0-9]{1,15}(?:\.[0-9]{1,9})?)ms\s*")
_FIELDS = frozenset({
    "retrydelay", "retryafter", "retryafterseconds", "retryafters", "retryin", "waitseconds",
})  # fmt: skip
_MS_FIELDS = frozenset({"retryafterms", "retryaftermilliseconds", "retrydelayms"})
_WORDS = re.compile(
    r"(?:(?:try|retry|wait|again|available|resets?|reset)(?: [A-Za-z]+\b){0,3}?"
    r"|retry[ _-]?after|retry[ _-]?delay)[\"':= ]*(?:in |after |for |at least |about |~)*"
    r"(?P<amount>(?:[0-9]{1,7}(?:\.[0-9]{1,9})?\s*"
    r"(?:milliseconds?|ms|seconds?|secs?|s|minutes?|mins?|m|hours?|hrs?|h|days?|d)"
    r"(?![A-Za-z])(?:,| and)?\s*|[0-9]{1,5}h|[0-9]{1,7}m(?=[0-9])){1,4})",
    re.IGNORECASE,
)
_PART = re.compile(r"([0-9]{1,7}(?:\.[0-9]{1,9})?)\s*([a-z]+)")
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_DATE = re.compile(
    r"(?:until|after|at|on|resets?)\s+"
    r"([0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9:.]{5,15}(?:Z|[+-][0-9]{2}:?[0-9]{2})?"
    r"|[A-Z][a-z]{2}, [0-9]{1,2} [A-Z][a-z]{2} [0-9]{4} [0-9:]{8} GMT)"
)


def retry_after_s(
    trouble: Trouble, headers: Mapping[str, str], now_s: float, text: str = ""
) -> float | None:
    """Return the seconds until a provider says it may be asked again; None where it says none.

    `Retry-After` and the body count for a quota and for overload, `X-RateLimit-Reset` for a quota
    alone: many send it with every answer. Understands seconds, `1m30s`, `120ms`, an HTTP date,
    Unix seconds and Unix milliseconds; never more than a day, for overload five minutes. A moment
    is measured by the answer's own `Date` where it has one, and `now_s` (Unix s) is our clock.
    """
    longest_s = _LONGEST_S.get(trouble)
    if longest_s is None:
        return None
    now_s = _their_now_s(headers, now_s)
    seconds = _in_headers(headers, now_s, WAIT_HEADERS)
    if seconds is None:
        seconds = _in_body(text, now_s)
    if seconds is None and trouble is Trouble.QUOTA:
        seconds = _in_headers(headers, now_s, RESET_HEADERS)
    return None if seconds is None else min(max(0.0, seconds), longest_s)


def _their_now_s(headers: Mapping[str, str], now_s: float) -> float:
    date = next((value for key, value in headers.items() if key.lower() == "date"), "")
    age_s = _date_s(date[:100], 0.0)
    return age_s if age_s is not None and age_s > 0 else now_s


def _in_headers(headers: Mapping[str, str], now_s: float, names: tuple[str, ...]) -> float | None:
    for name in names:
        text = next((value for key, value in headers.items() if key.lower() == name), "")
        seconds = _seconds(f"{text}ms" if name.endswith("-ms") else text, now_s)
        if seconds is not None:
            return seconds
    return None


def _in_body(text: str, now_s: float) -> float | None:
    body = read_json(text, Any)
    if not isinstance(body, Unreadable):
        for name, value in _fields(body):
            seconds = _field_s(name, value, now_s)
            if seconds is not None:
                return seconds
    for found in _WORDS.finditer(text):
        parts = _PART.findall(found["amount"].lower())
        return sum(float(number) * _unit_s(unit) for number, unit in parts)
    for found in _DATE.finditer(text):
        return _date_s(found[1], now_s)
    return None


def _unit_s(unit: str) -> float:
    return 0.001 if unit.startswith(("ms", "mil")) else _UNITS[unit[0]]


def _fields(body: object, depth: int = 6) -> Iterator[tuple[str, object]]:
    """Yield each named value of a body, without its nesting, at most a few levels deep."""
    if depth < 0:
        return
    if isinstance(body, dict):
        for name, value in body.items():
            yield name.replace("_", "").replace("-", "").lower(), value
            yield from _fields(value, depth - 1)
    elif isinstance(body, list):
        for value in body[:16]:
            yield from _fields(value, depth - 1)


def _field_s(name: str, value: object, now_s: float) -> float | None:
    if name not in _FIELDS | _MS_FIELDS:
        return None
    if isinstance(value, dict):
        value = value.get("seconds")
    number = real_of(value)
    if number is not None:
        return number / 1000.0 if name in _MS_FIELDS else _since(number, now_s)
    if not isinstance(value, str) or len(value) > 100:
        return None
    return _seconds(f"{value}ms" if name in _MS_FIELDS else value, now_s)


def _seconds(text: str, now_s: float) -> float | None:
    if match := _MILLISECONDS.fullmatch(text):
        return float(match[1]) / 1000.0
    match = _SECONDS.fullmatch(text)
    if match is None or not any(match.groups()):
        return _date_s(text, now_s)
    hours, minutes, plain = (float(group or 0) for group in match.groups())
    return hours * 3600 + minutes * 60 + _since(plain, now_s)


def _since(number: float, now_s: float) -> float:
    """Return a number of seconds; a moment in Unix seconds or milliseconds counts from now."""
    seconds = number / 1000.0 if number > 1e11 else number
    return seconds - now_s if seconds > 1e9 else seconds


def _date_s(text: str, now_s: float) -> float | None:
    try:
        date = (
            datetime.datetime.fromisoformat(text) if text[:4].isdecimal()
            else email.utils.parsedate_to_datetime(text)
        )  # fmt: skip
        if date.tzinfo is None:  # HTTP's dates are GMT
            date = date.replace(tzinfo=datetime.UTC)
        return (date - _EPOCH).total_seconds() - now_s
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
