"""Who holds a role: a pure state machine over one compare-and-set register for each role.

Invariant: at any moment at most one lane has a lease on a role (`holds` is true for it), as long
as two lanes' clocks do not run at rates more than 15 % apart. A holder counts its lease from just
before its last successful write was sent, and stops at `HELD` (85 %) of it. Another lane takes the
role only after it has seen the same revision, unchanged, for a whole lease on its own clock; or at
once, where the holder offered it (it has stood down), where the record is the last one of this
lane's own previous process, or where the holder's key was revoked. All times here are boot-time
seconds that include suspend: no wall clock and no server's clock or time-to-live takes part.
`epoch` is the fencing token: it grows with each take-over and never falls.

Order of one step: read the register, `seen`, `decide`; then `sending` is noted before the write is
sent, because its answer may be lost and the write not; then one compare-and-set write at the
revision that was read; then `wrote`, with the time from before it was sent. A new epoch is on the
lane's disk before the role is used. To hand over: stand down first, let what is under way end, and
only then write the offer.

Must never happen: a lease that begins at the answer of a write instead of before its sending; a
lease because a record bears our name (only a record that this very process sent counts, see
`_is_own`); a take-over from a record that changed meanwhile; an epoch from a forged record far
ahead of all others (`MAX_EPOCH_JUMP`).

What a stolen lane can still do: a forged offer, and the revocation of a lane that still believes
in its lease, let two lanes hold a role until that lease ends. So what is done under a lease is
harmless when done twice: polling, and one label. Orders need no lease.

Sources: docs/adr/0021-leases-without-a-shared-clock.md,
docs/adr/0024-peer-pages-can-only-restrict.md.
The rule *watch the record, trust no timestamp in it* is that of leader election in Kubernetes'
client-go (package `tools/leaderelection`). The register is a key of a NATS JetStream key-value
store, written with the expected last revision (docs/adr/0023-the-council-server.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import msgspec
from msgspec import Meta

ROLES = ("forge", "hermes")
ANYBODY = "*"
WHYS = ("expired", "offered", "revoked", "restarted", "vacant")
HELD = 0.85
STAGGER = 0.1
MAX_EPOCH = 2**53 - 1
MAX_EPOCH_JUMP = 2**20
MAX_KEPT_EPOCH = 2**52
"""A higher epoch on a lane's own disk is damage: the room above it could never be used up."""

MAX_LEASE_S = 60
MAX_WRITTEN = 32


class Lease(msgspec.Struct, frozen=True):
    """`until_boot_s` counts on a clock that includes suspend. `epoch` is the fencing token.

    It grows with each take-over and is the highest its holder ever saw, plus one.
    """

    role: str
    holder: str
    epoch: int
    until_boot_s: float


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a role's register holds. `process` is random for each start of a lane's program.

    `offered` hands the role over: a lane's name, `ANYBODY`, or empty. Who offers has stood down.
    `beat` is the holder's boot-time clock in ms: a register that was set back to an older copy
    counts its revisions anew, so a revision alone does not name what was written. `lease_s` is the
    lease its holder counts on: who waits, waits that long at least, whatever its own settings say.
    """

    holder: Annotated[str, Meta(min_length=1, max_length=64)]
    process: Annotated[str, Meta(min_length=1, max_length=64)]
    epoch: Annotated[int, Meta(ge=1, le=MAX_EPOCH)]
    offered: Annotated[str, Meta(max_length=64)] = ""
    beat: Annotated[int, Meta(ge=0, le=2**53 - 1)] = 0
    lease_s: Annotated[float, Meta(ge=0, le=MAX_LEASE_S)] = 0.0


class Slot(msgspec.Struct, frozen=True):
    """A register as read: `revision` changes with every write. `record` None: nothing readable.

    That is: never written, deleted, or written by somebody who does not keep to the form.
    """

    revision: int
    record: Record | None


class View(msgspec.Struct, frozen=True):
    """What a lane knows of one role. `since_s`: boot-time s when it first saw this revision.

    `epoch` is the highest ever seen, kept on disk; `is_first` while nothing else was seen since
    this process began. `written` are the records this process sent to be written, the last one
    that was acknowledged and all since: what else bears its name is somebody's forgery. `left` is
    what an earlier process of this lane wrote last, as the lane's disk has it; None: not known.
    """

    role: str
    epoch: int = 0
    slot: Slot | None = None
    since_s: float = float("nan")
    is_first: bool = True
    lease: Lease | None = None
    written: tuple[Record, ...] = ()
    left: Slot | None = None


class Me(msgspec.Struct, frozen=True):
    """This lane's name in the council, and the random id of this start of its program."""

    lane: str
    process: str


class Around(msgspec.Struct, frozen=True):
    """What else bears on a role now.

    `ready`: this lane could do the role's work. `rank`: how many lanes that are to be preferred
    are ready too. `heir`: whom a holder hands the role to (a name or empty), `ANYBODY` where this
    lane leaves.
    `banned`: lanes whose key was revoked. `members`: the lanes of the council, this one among
    them; empty where they are not known.
    """

    ready: bool
    rank: int = 0
    heir: str = ""
    banned: frozenset[str] = frozenset()
    members: frozenset[str] = frozenset()


class Keep(msgspec.Struct, frozen=True):
    """Renew: write the own record again."""

    record: Record
    expected: int


class Take(msgspec.Struct, frozen=True):
    """Take the role: it is free. `why` is one of WHYS."""

    record: Record
    expected: int
    why: str


class Offer(msgspec.Struct, frozen=True):
    """Hand over: stand down first, let what is under way end, then write."""

    record: Record
    expected: int


class Wait(msgspec.Struct, frozen=True):
    """Nothing to write now. `until_s`: when the role would be free (boot-time s), if it stays so."""

    until_s: float = float("inf")


Step = Keep | Take | Offer | Wait


def holds(lease: Lease | None, boot_s: float) -> bool:
    """Say whether the role is held now: false for None, for the past and for NaN."""
    return lease is not None and boot_s < lease.until_boot_s


def seen(view: View, slot: Slot, me: Me, boot_s: float) -> View:
    """Return the view after a read.

    An offer, and a record that this process did not write, ends the own lease at once, whatever
    name it bears.
    """
    if view.slot == slot:
        return view
    view = msgspec.structs.replace(
        view, slot=slot, since_s=boot_s, epoch=_higher(view.epoch, slot.record),
        is_first=view.slot is None,
    )  # fmt: skip
    if _is_own(view):
        return view
    return msgspec.structs.replace(view, lease=None, written=())


def decide(view: View, me: Me, around: Around, *, lease_s: float, boot_s: float) -> Step:
    """Return what to write now, if anything. The caller has just read the register.

    `lease_s` is the configured lease (seconds, at most `MAX_LEASE_S`), `boot_s` the boot-time clock.
    A `Wait` says when the role would be free; infinity where that cannot be told.
    """
    slot = view.slot
    if slot is None:
        return Wait()
    if slot.record is not None and _is_own(view):
        if around.heir:
            return Offer(_again(slot.record, boot_s, around.heir), slot.revision)
        return Keep(_again(slot.record, boot_s), slot.revision)
    if not around.ready or around.heir == ANYBODY or view.epoch >= MAX_EPOCH:
        return Wait()
    free_s, why = _free_from(view, slot, me, around, lease_s)
    if boot_s >= free_s:
        first = _first(me, view.epoch + 1, boot_s, lease_s)
        return Take(first, slot.revision, why)
    return Wait(free_s)


def sending(view: View, record: Record) -> View:
    """Return the view before a write is sent: its answer may be lost, and the write not."""
    return msgspec.structs.replace(view, written=(*view.written, record)[-MAX_WRITTEN:])


def wrote(view: View, record: Record, revision: int, *, lease_s: float, sent_s: float) -> View:
    """Return the view after a write that succeeded. `sent_s`: boot-time s before it was sent."""
    lease = Lease(view.role, record.holder, record.epoch, sent_s + lease_s * HELD)
    return msgspec.structs.replace(
        view, slot=Slot(revision, record), since_s=sent_s, is_first=False,
        epoch=_higher(view.epoch, record), lease=None if record.offered else lease,
        written=(record,),
    )  # fmt: skip


def stood_down(view: View) -> View:
    """Return the view of a lane that acts no more under this role, whatever the register says."""
    return msgspec.structs.replace(view, lease=None)


def _is_own(view: View) -> bool:
    """Say whether the register holds what this process wrote, and no offer: names prove nothing."""
    record = view.slot.record if view.slot is not None else None
    return record is not None and not record.offered and record in view.written


def _again(record: Record, boot_s: float, offered: str = "") -> Record:
    return msgspec.structs.replace(record, offered=offered, beat=_beat(boot_s))


def _first(me: Me, epoch: int, boot_s: float, lease_s: float) -> Record:
    return Record(me.lane, me.process, epoch, beat=_beat(boot_s), lease_s=lease_s)


def _beat(boot_s: float) -> int:
    return int(boot_s * 1000)


def _free_from(view: View, slot: Slot, me: Me, around: Around, lease_s: float) -> tuple[float, str]:
    """Return from when (boot-time s) this lane may take the role, and why it is free then."""
    stagger_s = around.rank * lease_s * STAGGER
    record = slot.record
    if record is not None and _may_hold(record.holder, me, around):
        lease_s = max(lease_s, record.lease_s)
    if record is None:
        return view.since_s + lease_s + stagger_s, "vacant"
    if record.holder in around.banned:
        return view.since_s + stagger_s, "revoked"
    if record.epoch < view.epoch:
        # the register went back to an older copy: what it says of offers is long past
        return view.since_s + lease_s + stagger_s, "expired"
    if record.offered == me.lane:
        return view.since_s, "offered"
    if record.offered == ANYBODY:
        return view.since_s + stagger_s, "offered"
    if record.holder == me.lane and view.is_first and slot == view.left:
        # our own last process, unchanged: the lock on its folder says that it is gone. Any other
        # record in our name may hide that another lane still counts on its lease
        return view.since_s, "restarted"
    return view.since_s + lease_s + stagger_s, "expired"


def _may_hold(name: str, me: Me, around: Around) -> bool:
    """Say whether a lane of this name may hold the role now, so that its own lease counts.

    One in our own name is no lease that we gave: a forgery, or another program under our key.
    """
    return name not in {me.lane, *around.banned} and (not around.members or name in around.members)


def _higher(epoch: int, record: Record | None) -> int:
    """Return the highest epoch known; one far ahead of all others is somebody's lie."""
    if record is None or record.epoch > epoch + MAX_EPOCH_JUMP:
        return epoch
    return max(epoch, record.epoch)


# --- whom to prefer --------------------------------------------------------------------------


class Sibling(msgspec.Struct, frozen=True):
    """Another lane as the council shows it. `ready_s`: for how long without a break, 0 for not."""

    name: str
    ready_s: float = 0.0


def rank_of(me: str, order: Sequence[str], siblings: Sequence[Sibling]) -> int:
    """Return how many lanes before this one in the order are ready. Not listed comes last."""
    place = _place(me, order)
    return sum(s.ready_s > 0 and _place(s.name, order) < place for s in siblings)


def heir_of(
    me: str,
    order: Sequence[str],
    siblings: Sequence[Sibling],
    *,
    ready: bool,
    return_after_s: float,
) -> str:
    """Return to whom this holder should hand the role, or empty to keep it.

    Not ready: to the first that is. Ready: back to a preferred lane, once that has been ready for
    `return_after_s` without a break. Nobody to take it: kept.
    """
    able = sorted((s for s in siblings if s.ready_s > 0), key=lambda s: _place(s.name, order))
    if not ready:
        return able[0].name if able else ""
    place = _place(me, order)
    for sibling in able:
        if _place(sibling.name, order) < place and sibling.ready_s >= return_after_s:
            return sibling.name
    return ""


def _place(name: str, order: Sequence[str]) -> int:
    return order.index(name) if name in order else len(order)
