"""Whether a channel still hears: a reader that has gone deaf looks just like a quiet chat.

Three signs: no reading has succeeded for a minute; updates pile up at the service while readings fail;
readings succeed, and bring nothing although updates wait. Time is the boot clock's, in seconds.
"""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec.structs import replace

DEAF_AFTER_S = 60.0
LOOK_EVERY_S = 30.0
"""How often to ask the service what waits."""


class Hearing(msgspec.Struct, frozen=True):
    """What is known of a reader.

    `good_s` is when a reading last succeeded, or when it began to try. `waiting` is what waited at
    the last look, None before one. `empty_looks` counts looks in a row that found updates waiting,
    and as many or more than before, while the reading before had succeeded and brought nothing.
    """

    good_s: float
    failing: bool = False
    brought: int = 0
    waiting: int | None = None
    grew: bool = False
    empty_looks: int = 0


Deaf = Literal["no reading", "piling up", "brings nothing"]


def began(now_s: float) -> Hearing:
    return Hearing(now_s)


def after_reading(hearing: Hearing, now_s: float, brought: int | None) -> Hearing:
    """Note one reading: how many updates it brought, None where it failed."""
    if brought is None:
        return replace(hearing, failing=True, brought=0)
    empty_looks = 0 if brought else hearing.empty_looks
    return replace(
        hearing, good_s=now_s, failing=False, brought=brought, grew=False, empty_looks=empty_looks
    )


def after_look(hearing: Hearing, waiting: int) -> Hearing:
    """Note how many updates the service says are waiting."""
    before = hearing.waiting
    grew = hearing.failing and before is not None and waiting > before
    stuck = not hearing.failing and not hearing.brought and waiting > 0 and waiting >= (before or 0)
    return replace(
        hearing,
        waiting=waiting,
        grew=grew or (hearing.grew and hearing.failing),
        empty_looks=hearing.empty_looks + 1 if stuck else 0,
    )


def deaf(hearing: Hearing, now_s: float) -> Deaf | None:
    """Say how the reader is deaf, None where it hears. A clock that is no number counts as deaf."""
    if not now_s - hearing.good_s < DEAF_AFTER_S:
        return "no reading"
    if hearing.failing and hearing.grew:
        return "piling up"
    return "brings nothing" if hearing.empty_looks >= 2 else None
