"""Values as a lane tells them: taken only in the form they must have, and never longer than read."""

from __future__ import annotations

MAX_TEXT = 2_000
MAX_NUMBER = 2**53


def told_text(value: object, limit: int = MAX_TEXT) -> str:
    """Return words, empty when they are none."""
    return value[:limit] if isinstance(value, str) else ""


def told_names(value: object) -> tuple[str, ...]:
    """Return a short list of short names, empty when it is none."""
    return tuple(told_text(one, 64) for one in value[:64]) if isinstance(value, list) else ()


def told_number(value: object) -> int:
    """Return a whole number, 0 when it is none that anything could have."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < MAX_NUMBER:
        return value
    return 0


def told_real(value: object) -> float | None:
    """Return a number, None when it is none that anything could have."""
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < MAX_NUMBER:
        return float(value)
    return None
