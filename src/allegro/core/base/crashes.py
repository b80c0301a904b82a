"""When a program that keeps dying of bugs must stop acting (safe mode)."""

from __future__ import annotations

from collections.abc import Sequence

LIMIT = 3
WITHIN_S = 60.0
LASTS_S = 600.0


def is_safe_mode_due(crashes_s: Sequence[float], now_s: float) -> bool:
    """Say whether to start in safe mode: three bug exits within 60 s, the last one recent."""
    newest = sorted(crashes_s)[-LIMIT:]
    return (
        len(newest) == LIMIT
        and newest[-1] - newest[0] <= WITHIN_S
        and 0 <= now_s - newest[-1] < LASTS_S
    )


def remembered(crashes_s: Sequence[float], now_s: float) -> list[float]:
    """Return the crashes worth keeping: those of the last ten minutes, and the one now."""
    return [*(at for at in crashes_s if 0 <= now_s - at < LASTS_S), now_s][-10:]
