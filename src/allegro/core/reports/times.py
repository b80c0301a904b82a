"""Moments as the owner's clock on the wall shows them."""

from __future__ import annotations

import datetime
from zoneinfo import ZoneInfo

from allegro.core.base.timestamps import UNKNOWN_TIME


def moment(at_s: float, zone: ZoneInfo) -> str:
    """Return `2026-11-28 07:00`; `unknown time` for what no calendar holds."""
    return _shown(at_s, zone, "%Y-%m-%d %H:%M")


def at_words(at_s: float, zone: ZoneInfo) -> str:
    """Return the time of day, `07:00`."""
    return _shown(at_s, zone, "%H:%M")


def _shown(at_s: float, zone: ZoneInfo, form: str) -> str:
    try:
        return datetime.datetime.fromtimestamp(at_s, zone).strftime(form)
    except (ValueError, OverflowError, OSError):
        return UNKNOWN_TIME
