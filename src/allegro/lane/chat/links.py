"""What the chat needs of the other wings of its lane, which it does not know."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

import msgspec

from allegro.core.authority.freeze import Freeze
from allegro.core.base.errors import Refusal
from allegro.core.chat.answers import LaneState, Waiting


class Turn(msgspec.Struct, frozen=True):
    """Whether this lane reads the chat now.

    `epoch` is that of the role which carries the chat, 0 where there is no fleet. `alone_since` is
    the first epoch since which no other lane held it.
    """

    reads: bool
    epoch: int = 0
    alone_since: int = 0


class Asked(msgspec.Struct, frozen=True):
    """What the house said last of the requests that wait, `count` in all.

    `silent_s` is for how long it has been silent (s), 0 while it is linked.
    """

    waiting: tuple[Waiting, ...]
    silent_s: float
    count: int = 0


class Notices(Protocol):
    """The alerts that this lane told itself, and what a press below one of them does."""

    def digest_of(self, notice: str) -> str | None:
        """Return what the buttons below a notice are bound to, None where it is not known here."""
        ...

    async def press(self, verb: str, notice: str) -> Refusal | None: ...


def _nobody() -> tuple[LaneState, ...]:
    return ()


def _unknown() -> None:
    return None


def _nothing(subject: str) -> str | None:
    del subject
    return None


class _None:
    def digest_of(self, notice: str) -> str | None:
        del notice
        return None

    async def press(self, verb: str, notice: str) -> Refusal | None:
        del verb, notice
        return Refusal("unknown", "no such alert; it may be over")


class Links(msgspec.Struct, frozen=True, kw_only=True):
    """The rest of the lane, as functions.

    `turn` says whether to read now. `freeze` freezes this lane and tells it home (it raises
    EdgeError where that cannot be kept; the freeze counts all the same). `is_linked` whether a
    house is. `lanes` are the others as they were seen; `firing` counts the alerts that are open and
    `asked` are the requests, None where that is not known. `digest_of` returns the digest that a
    request has now by a button's subject, None where none waits under it. `notices` are the alerts
    that this lane told.
    """

    turn: Callable[[], Turn]
    freeze: Callable[[Freeze], Awaitable[None]]
    is_linked: Callable[[], bool]
    lanes: Callable[[], tuple[LaneState, ...]] = _nobody
    firing: Callable[[], int | None] = _unknown
    asked: Callable[[], Asked | None] = _unknown
    digest_of: Callable[[str], str | None] = _nothing
    notices: Notices = _None()
