"""The hash chain of a journal, and what its reader may believe: resume, gaps, replay."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Annotated

import msgspec
from msgspec import Meta

from allegro.core.base.errors import Refusal

GENESIS = bytes(32)
MAX_SEQ = 2**53
"""What every store and every reader of JSON holds exactly; the other side may not say more."""


class Position(msgspec.Struct, frozen=True):
    """A place in one journal: everything up to and including `seq`, proven by `chain`."""

    journal: str
    seq: Annotated[int, Meta(ge=0, le=MAX_SEQ)]
    chain: Annotated[bytes, Meta(min_length=32, max_length=32)]


class Kept(msgspec.Struct, frozen=True, array_like=True, tag=0):
    """An entry with its stored bytes."""

    body: bytes


class ShedEntry(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """An entry whose body was given up: its hash keeps the chain whole, `reason` says why."""

    hash: bytes
    reason: str
    shed: Annotated[int, Meta(ge=0, le=255)]


Entry = Kept | ShedEntry


def start(journal: str) -> Position:
    return Position(journal, 0, GENESIS)


def entry_hash(body: bytes) -> bytes:
    return hashlib.sha256(body).digest()


def link(chain: bytes, hash_: bytes) -> bytes:
    """Return the next chain value: SHA-256(previous chain ‖ SHA-256(stored bytes))."""
    return hashlib.sha256(chain + hash_).digest()


def extend(
    position: Position, bodies: Iterable[bytes]
) -> tuple[Position, list[tuple[bytes, bytes]]]:
    """Return the new end of the journal, and (hash, chain) for each body in order."""
    chain, seq, links = position.chain, position.seq, []
    for body in bodies:
        hash_ = entry_hash(body)
        chain = link(chain, hash_)
        seq += 1
        links.append((hash_, chain))
    return Position(position.journal, seq, chain), links


def follow_hash(position: Position, hash_: bytes) -> Position:
    """Return the position after one entry of which only the hash is at hand."""
    return Position(position.journal, position.seq + 1, link(position.chain, hash_))


def follow(position: Position, first_seq: int, entries: Sequence[Entry]) -> Position | Refusal:
    """Return the position after these entries, which must start right behind `position`."""
    if first_seq != position.seq + 1:
        return Refusal("sequence_jump", f"expected {position.seq + 1}, got {first_seq}")
    chain = position.chain
    for entry in entries:
        hash_ = entry_hash(entry.body) if isinstance(entry, Kept) else entry.hash
        if len(hash_) != 32:
            return Refusal("bad_hash", "an entry's hash must be 32 bytes")
        chain = link(chain, hash_)
    return Position(position.journal, position.seq + len(entries), chain)


class Continue(msgspec.Struct, frozen=True):
    """Send on from `after`, which both sides agree on."""

    after: Position


class Restart(msgspec.Struct, frozen=True):
    """This lane's disk went back, or forked: take a new journal id, send all unacknowledged."""

    reason: str


class HouseBehind(msgspec.Struct, frozen=True):
    """The house lost what it had acknowledged; only a new seat makes it the house again."""

    acknowledged: Position


Resume = Continue | Restart | HouseBehind


def resume(
    *, head: Position, acked: Position, cursor: Position | None, chain_at_cursor: bytes | None
) -> Resume:
    """Decide how a lane goes on with a house whose cursor for this journal is `cursor`.

    `head` is the newest entry, `acked` the newest acknowledged one, `chain_at_cursor` this
    lane's own chain value at the cursor's sequence where it still knows it. A cursor of None
    means that the house has never seen this journal.
    """
    at = cursor or start(head.journal)
    if at.seq > head.seq:
        return Restart("this journal ends before what the house has")
    if at.seq < acked.seq:
        return HouseBehind(acked)
    own = GENESIS if at.seq == 0 else chain_at_cursor
    if own is None or own != at.chain:
        return Restart("this journal differs from what the house has")
    return Continue(at)
