"""What the outbox knows about its channels, as facts: one that fails is told by another.

Invariant: each failing channel is a fact of its own, as long as it fails. Where all fail, no notice
can say so: then `is_deaf` is true, and the program stops its call of the dead-man switch, so that a
watcher outside raises its alarm. With no channel at all that call goes on (the program is well, and
its owner has chosen), and the fact says that nobody is called.
"""

from __future__ import annotations

from allegro.core.base.timestamps import rfc3339
from allegro.core.health import codes
from allegro.core.health.delivery.outbox import Outbox
from allegro.core.health.facts import Fact

DEAF_S = 60.0


def channel_facts(outbox: Outbox, now_s: float) -> list[Fact]:
    """Return the facts of all channels, of the outbox, and of what was given up for room."""
    facts: list[Fact] = []
    for route in outbox.routes:
        detail = "delivers"
        if route.since_s:
            detail = f"down since {rfc3339(route.since_s)}: {route.reason}"
        state = "bad" if route.since_s else "ok"
        facts.append(_fact(codes.CHANNEL, state == "ok", detail, now_s, route.channel))
    is_well = not outbox.routes or any(not one.since_s for one in outbox.routes)
    facts.append(_fact(codes.CHANNELS, is_well, f"{len(outbox.entries)} messages wait", now_s))
    facts.append(_configured(len(outbox.routes), now_s))
    count = sum(outbox.dropped.values())
    by = ", ".join(f"{n} of {severity}" for severity, n in sorted(outbox.dropped.items()))
    facts.append(_fact(codes.OUTBOX, not count, by or "none", now_s))
    return facts


def _configured(count: int, now_s: float) -> Fact:
    """Warn where there is no channel: what runs is well, and nobody hears when it is not."""
    detail = f"{count} channels" if count else "no channel is configured"
    return Fact(codes.NO_CHANNEL, "ok" if count else "warn", detail, "outbox", at_s=now_s)


def _fact(code: codes.Code, is_ok: bool, detail: str, now_s: float, subject: str = "") -> Fact:
    return Fact(code, "ok" if is_ok else "bad", detail, "outbox", subject, now_s)


def is_deaf(outbox: Outbox, now_s: float) -> bool:
    """Whether every channel has failed for DEAF_S: stop the call of the dead-man switch."""
    return bool(outbox.routes) and all(
        one.since_s and now_s - one.since_s >= DEAF_S for one in outbox.routes
    )
