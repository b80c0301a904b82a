"""The hash chain of a journal: what its reader may believe, and how both sides resume.

Invariant: chain(n) = SHA-256(chain(n - 1) followed by SHA-256(stored bytes of entry n)), with
chain(0) = 32 zero bytes and sequence numbers from 1 without a gap. So two positions with the same
journal id, sequence and chain value have the same history, and one comparison proves it. An entry
whose body was given up for space keeps its sequence number and its hash, so the chain stays whole
and the loss has a name (`ShedEntry.reason`).

Order: a batch begins at exactly the sequence after the reader's position (`follow`), else nothing
of it is taken. The reader stores entries and position in one commit and acknowledges after it. At
a new connection `resume` decides, in this order: the house has more than this journal holds, then
the lane's disk went back (`Restart`); the house has less than it acknowledged, then the house lost
data (`HouseBehind`); the lane does not know its own chain value at the cursor, or it differs, then
the journals forked (`Restart`); else go on (`Continue`). A restart is a new journal id under which
everything unacknowledged is sent again; the house drops repeats by event id.

Must never happen: an entry is skipped without a name; a position is acknowledged that is not
stored; a sequence number is compared without its journal id and chain value; `Continue` where the
lane no longer knows its chain value at the house's cursor.

Not promised: the chain proves order and completeness of the stored (sealed) bytes, not that they
are true. It carries no signature: a lane that is stolen can append what it likes.

Sources: docs/adr/0002-hash-chain.md, docs/adr/0001-sqlite-journal-and-websocket.md; SHA-256 as in
FIPS 180-4. Sequence numbers end at 2**53: up to there every reader of JSON holds integers
exactly (RFC 8259 section 6).
"""

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
    """Return the position before the first entry of a journal."""
    return Position(journal, 0, GENESIS)


def entry_hash(body: bytes) -> bytes:
    """Return the SHA-256 (32 bytes) of an entry's bytes as they are stored, sealed."""
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
    """Return the position after these entries, which must start right behind `position`.

    Refuses with `sequence_jump` where they do not, and with `bad_hash` where a shed entry's hash
    is not 32 bytes. Whether the new chain value is the sender's is for the caller to compare.
    """
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
