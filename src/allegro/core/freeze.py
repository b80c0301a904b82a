"""The freeze set: grows by union, shrinks only by the sovereign's signature on an id (S6)."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta


class Freeze(msgspec.Struct, frozen=True):
    """One stop. `id` is random; `at_s` Unix seconds; `by` names the channel it came through.

    A time that is no number is refused where it is read: it could not be stored again.
    """

    id: str
    at_s: Annotated[float, Meta(ge=0)]
    by: str
    reason: str


class FreezeSet(msgspec.Struct, frozen=True):
    """Freezes seen and ids thawed. A thaw outlives every older copy of its freeze.

    `known` is false while this copy has not been told the set since it went missing: unknown
    counts as frozen.
    """

    freezes: tuple[Freeze, ...] = ()
    thawed: frozenset[str] = frozenset()
    known: bool = True

    @property
    def is_thawed(self) -> bool:
        """Whether effects may happen: a positive test, true only for a known, empty set."""
        return self.known and not self.active

    @property
    def active(self) -> tuple[Freeze, ...]:
        return tuple(freeze for freeze in self.freezes if freeze.id not in self.thawed)


UNKNOWN = FreezeSet(known=False)


def merge(mine: FreezeSet, theirs: FreezeSet) -> FreezeSet:
    """Return the union. Only freezes travel unsigned: thaws of theirs are not taken over.

    A set that was told counts as known from then on.
    """
    by_id = {freeze.id: freeze for freeze in (*theirs.freezes, *mine.freezes)}
    ordered = tuple(sorted(by_id.values(), key=lambda freeze: (freeze.at_s, freeze.id)))
    return FreezeSet(ordered, mine.thawed, mine.known or theirs.known)


def add(mine: FreezeSet, freeze: Freeze) -> FreezeSet:
    return merge(mine, FreezeSet((freeze,), known=mine.known))


def thaw(mine: FreezeSet, freeze_ids: tuple[str, ...]) -> FreezeSet:
    """Lift the freezes of a thaw whose signature the caller has verified."""
    return FreezeSet(mine.freezes, mine.thawed | frozenset(freeze_ids), mine.known)


def contains(mine: FreezeSet, freeze_id: str) -> bool:
    return any(freeze.id == freeze_id for freeze in mine.freezes)
