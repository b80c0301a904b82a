"""What a fold of the archive takes in, gives out, and remembers in between."""

from __future__ import annotations

import msgspec

from allegro.core.measures.linked import Linked
from allegro.core.measures.minutes import Look
from allegro.core.protocol.payloads.base import OtherEvent, Payload


class Archived(msgspec.Struct, frozen=True):
    """An event as a figure sees it: times in Unix s, `born_s` by its writer's clock, 0 for none.

    `lane` is whose it is; `is_own` where the house itself wrote it. `payload` is None where the
    time alone counts.
    """

    type: str
    lane: str
    at_s: float
    born_s: float
    is_own: bool = False
    payload: Payload | OtherEvent | None = None


class Sample(msgspec.Struct, frozen=True):
    """One sample of a row, counted at `at_s` (Unix s). `waited_s` stood before it, unlinked."""

    measure: str
    at_s: float
    value: float
    is_within: bool
    waited_s: float = 0.0


class Due(msgspec.Struct, frozen=True):
    """When a scheduled duty is due next, and how much later it may begin (Unix s, s)."""

    duty: str
    owner: str
    due_s: float
    grace_s: float


class Filling(msgspec.Struct, frozen=True):
    """A journal without a link: since when, by its lane's clock (Unix s), and what it kept then."""

    from_s: float
    kept_bytes: int


class State(msgspec.Struct, frozen=True):
    """What a fold remembers of the events before: little, and stored with the figures.

    `due` holds each scheduled duty by its owner: a role, or the lane that runs it for itself.
    """

    links: dict[str, Linked] = {}
    repositories: dict[int, float] = {}
    ahead: dict[str, tuple[float, ...]] = {}
    ended: tuple[str, ...] = ()
    due: dict[str, Due] = {}
    filling: dict[str, Filling] = {}


class Step(msgspec.Struct, frozen=True):
    """The state after one event, the samples it gave, and who was looked at."""

    state: State
    samples: tuple[Sample, ...] = ()
    looks: tuple[Look, ...] = ()
