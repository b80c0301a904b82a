"""The daily check of polling: how old the newest good poll of each watch is, and what is left out."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from allegro.core.base.timestamps import span
from allegro.runtime.scheduled_duty import DutyResult

TARGET_S = 300.0
"""An event on the forge is home within this: a poll that is older is none."""

SHOWN = 5


class PollHealth(msgspec.Struct, frozen=True):
    """How polling goes. `ages_s` are by watch, None for one that was never read to its end.

    `failing` are the watches and repositories that cannot be read now; `unread` counts what on the
    forge could not be read.
    """

    ages_s: Mapping[str, float | None]
    failing: tuple[str, ...] = ()
    unread: int = 0


def judged(health: PollHealth, poll_s: float) -> DutyResult:
    """Return the result of the check. `poll_s` is the pause between two polls."""
    limit_s = max(TARGET_S, 3 * poll_s)
    known = {name: age_s for name, age_s in health.ages_s.items() if age_s is not None}
    never = [name for name, age_s in health.ages_s.items() if age_s is None]
    old = [name for name, age_s in known.items() if not age_s <= limit_s]
    oldest_s = max(known.values(), default=0.0)
    words = [f"{len(health.ages_s)} watches, the oldest good poll is {span(oldest_s)} old"]
    for what, names in (("never read", never), ("too old", old), ("failing", health.failing)):
        if names:
            words.append(f"{what}: {', '.join(names[:SHOWN])}")
    if health.unread:
        words.append(f"{health.unread} things on the forge could not be read")
    figures = {
        "watches": len(health.ages_s),
        "oldest_s": oldest_s,
        "never_read": len(never),
        "too_old": len(old),
        "failing": len(health.failing),
        "unread": health.unread,
    }
    return DutyResult("; ".join(words), figures, is_good=not (never or old or health.failing))
