"""What the chat needs of the other wings of its lane, which it does not know."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec

from allegro.core.authority.freeze import Freeze
from allegro.core.chat.answers import LaneState, Waiting
from allegro.core.chat.received import Tap
from allegro.core.chat.taps import Press


class Turn(msgspec.Struct, frozen=True):
    """Whether this lane reads the chat now.

    `epoch` is that of the role which carries the chat, 0 where there is no fleet. `alone_since` is
    the first epoch since which no other lane held it.
    """

    reads: bool
    epoch: int = 0
    alone_since: int = 0


class Asked(msgspec.Struct, frozen=True):
    """What the house said last of the requests that wait, and for how long it has been silent (s)."""

    waiting: tuple[Waiting, ...]
    silent_s: float


def _nobody() -> tuple[LaneState, ...]:
    return ()


def _unknown() -> None:
    return None


def _nothing(subject: str) -> str | None:
    del subject
    return None


async def _unheard(press: Press, tap: Tap) -> str | None:
    del press, tap
    return None


class Links(msgspec.Struct, frozen=True, kw_only=True):
    """The rest of the lane, as functions.

    `turn` says whether to read now. `freeze` freezes this lane and tells it home (it raises
    EdgeError where that cannot be kept; the freeze counts all the same). `is_linked` whether a
    house is. `lanes` are the others as they were seen; `firing` counts the alerts that are open and
    `asked` are the requests, None where that is not known. `digest_of` returns the digest that a
    button's subject has now, None where there is no such thing. `pressed` carries out what a press
    means on this lane itself and returns its words; None where that is the house's.
    """

    turn: Callable[[], Turn]
    freeze: Callable[[Freeze], Awaitable[None]]
    is_linked: Callable[[], bool]
    lanes: Callable[[], tuple[LaneState, ...]] = _nobody
    firing: Callable[[], int | None] = _unknown
    asked: Callable[[], Asked | None] = _unknown
    digest_of: Callable[[str], str | None] = _nothing
    pressed: Callable[[Press, Tap], Awaitable[str | None]] = _unheard
