"""What the house answers about itself, its lanes and its archive."""

from __future__ import annotations

import msgspec


class SuspendedLane(msgspec.Struct, frozen=True):
    """A lane that gets no orders until a person lifts that, and why."""

    lane: str
    reason: str


class ShownAside(msgspec.Struct, frozen=True):
    """An item that could not be handled: what a duty met, from which lane, why, when (Unix s)."""

    duty: str
    item: str
    lane: str
    reason: str
    at_s: float


class AsideAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Answers `GET /v1/aside`: the newest items of `count` in all."""

    schema: str = "allegro.aside/1"
    count: int = 0
    items: tuple[ShownAside, ...] = ()
    suspended: tuple[SuspendedLane, ...] = ()


class ResumeAnswer(msgspec.Struct, frozen=True):
    """Answers `POST /v1/lanes/LANE/resume`: orders go to this lane again."""

    lane: str
    suspended: bool = False
