"""The freeze set: grows by union, shrinks only by the sovereign's signature on an id (S6)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from typing import Annotated

import msgspec
from msgspec import Meta

from allegro.core.base.untrusted import MAX_NUMBER, text_of

MAX_ACTIVE = 200
"""So many active freezes at most are taken over from lanes: frozen is frozen."""
MAX_LIFTED = 200

_MAX_BY = 64
_MAX_REASON = 300
_ID = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]{0,47}")


class Freeze(msgspec.Struct, frozen=True):
    """One stop. `id` is random; `at_s` Unix seconds; `by` names the channel it came through.

    A time that is no number is refused where it is read: it could not be stored again.
    """

    id: str
    at_s: Annotated[float, Meta(ge=0)]
    by: str
    reason: str


def is_sound(freeze: Freeze) -> bool:
    """Say whether every lane and the house keep this freeze exactly as it is."""
    return sound(freeze) == freeze


def sound(freeze: Freeze) -> Freeze:
    """Return the freeze as lanes and house keep it: words cut, an id that cannot be used replaced.

    A stop is never refused for its form, and all who read the same freeze keep the same id.
    """
    at_s = freeze.at_s if 0 <= freeze.at_s < MAX_NUMBER else 0.0
    by, reason = text_of(freeze.by, _MAX_BY), text_of(freeze.reason, _MAX_REASON)
    return Freeze(sound_id(freeze.id), at_s, by, reason)


def sound_id(freeze_id: str) -> str:
    """Return an id of at most 48 plain characters: this one, or a digest in its place."""
    if _ID.fullmatch(freeze_id):
        return freeze_id
    return hashlib.sha256(freeze_id.encode("utf-8", "surrogatepass")).hexdigest()[:32]


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
    by_id = {freeze.id: freeze for freeze in map(sound, (*theirs.freezes, *mine.freezes))}
    return FreezeSet(_ordered(by_id.values()), mine.thawed, mine.known or theirs.known)


def _ordered(freezes: Iterable[Freeze]) -> tuple[Freeze, ...]:
    return tuple(sorted(freezes, key=lambda freeze: (freeze.at_s, freeze.id)))


def add(mine: FreezeSet, freeze: Freeze) -> FreezeSet:
    new = sound(freeze)
    if contains(mine, new.id):
        return mine
    return FreezeSet(_ordered((*mine.freezes, new)), mine.thawed, mine.known)


def thaw(mine: FreezeSet, freeze_ids: tuple[str, ...]) -> FreezeSet:
    """Lift the freezes of a thaw whose signature the caller has verified.

    Of those that were lifted the newest MAX_LIFTED are kept, and the ids of all: a set that is
    frozen and thawed again and again costs no more each time.
    """
    thawed = mine.thawed | set(map(sound_id, freeze_ids))
    lifted = [freeze.id for freeze in mine.freezes if freeze.id in thawed]
    gone = set(lifted[:-MAX_LIFTED])
    kept = tuple(freeze for freeze in mine.freezes if freeze.id not in gone)
    return FreezeSet(kept, thawed, mine.known)


def tidied(kept: FreezeSet) -> FreezeSet:
    """Return a set that was read from disk with each of its freezes and ids sound."""
    lifted = FreezeSet(thawed=frozenset(map(sound_id, kept.thawed)), known=kept.known)
    return merge(lifted, FreezeSet(kept.freezes, known=False))


def contains(mine: FreezeSet, freeze_id: str) -> bool:
    return any(freeze.id == sound_id(freeze_id) for freeze in mine.freezes)
