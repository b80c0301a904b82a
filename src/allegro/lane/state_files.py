"""The forms of a lane's state files, and what it means when one of them cannot be read.

A file that is missing, one that is damaged and one that holds less than it must are told apart:
what a lane may have forgotten never makes it act. Files without a schema number are those that
were written before there was one; they hold the same fields.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeVar

import msgspec
import structlog
from msgspec import Meta

from allegro.adapters.files import load_state, write_state
from allegro.core.authority.freeze import UNKNOWN, Freeze, FreezeSet, tidied
from allegro.core.authority.gate import LaneTrust, Trust
from allegro.core.authority.lease import MAX_KEPT_EPOCH, Slot
from allegro.core.authority.pairing import Paired
from allegro.core.authority.tokens import Roster
from allegro.core.base.errors import ConfigError
from allegro.core.base.untrusted import MAX_NUMBER, Number, Unreadable

_log = structlog.get_logger()
T = TypeVar("T")
SCHEMA = 2
KEY_BYTES = 32
Schema = Annotated[int, Meta(ge=1, le=SCHEMA)]
"""A number above ours was written by a newer version: such a file is not read."""


class KeptFreezes(msgspec.Struct, frozen=True, kw_only=True):
    """freezes.json. No field has a default: an object without them is no freeze set."""

    freezes: tuple[Freeze, ...]
    thawed: frozenset[str]
    known: bool
    schema: Schema = 1


class KeptTrust(msgspec.Struct, frozen=True, kw_only=True):
    """trust.json. Without `revoked` or `roster` it would believe lanes that were taken out."""

    trust: Trust
    revoked: frozenset[str]
    roster: Roster | None
    roster_by: Number
    schema: Schema = 1


class KeptEpochs(msgspec.Struct, frozen=True, kw_only=True):
    """epochs.json: the highest epoch seen of each role."""

    epochs: dict[str, Annotated[int, Meta(ge=0, le=MAX_KEPT_EPOCH)]]
    schema: Schema


class KeptWritten(msgspec.Struct, frozen=True, kw_only=True):
    """written.json: what this lane wrote last into each register of the council of this number."""

    council: Number
    slots: dict[str, Slot]
    schema: Schema


def load_freezes(path: Path) -> FreezeSet:
    """Return the freeze set on disk; unknown, which counts as frozen, where it cannot be read."""
    kept = load_state(path, KeptFreezes)
    if isinstance(kept, KeptFreezes):
        return tidied(FreezeSet(kept.freezes, kept.thawed, kept.known))
    if kept is not None:
        _log.error("freezes.damaged", file=path.name, error=kept.reason, until="the house logs in")
    return UNKNOWN


def save_freezes(path: Path, freezes: FreezeSet) -> None:
    """Write the freeze set. Raises EdgeError."""
    write_state(
        path,
        KeptFreezes(
            freezes=freezes.freezes, thawed=freezes.thawed, known=freezes.known, schema=SCHEMA
        ),
    )


def load_trust(path: Path) -> LaneTrust | Unreadable | None:
    """Return whom this lane believes, None before it was paired, Unreadable when it is damaged."""
    kept = load_state(path, KeptTrust)
    if kept is None or isinstance(kept, Unreadable):
        return kept
    against = _against(kept.trust)
    if against:
        return Unreadable(against)
    return LaneTrust(kept.trust, kept.revoked, kept.roster, kept.roster_by)


def _against(trust: Trust) -> str:
    """Return why these keys and numbers are none that a lane ever wrote, or nothing."""
    keys = (trust.sovereign, trust.recovery, trust.house or bytes(KEY_BYTES))
    if any(len(key) != KEY_BYTES for key in keys):
        return "a key in it is not 32 bytes"
    if not all(
        0 <= n < MAX_NUMBER for n in (trust.sovereign_number, trust.house_number, trust.seat)
    ):
        return "a number in it is none"
    return ""


def save_trust(path: Path, held: LaneTrust) -> None:
    """Write whom this lane believes. Raises EdgeError."""
    write_state(
        path,
        KeptTrust(
            trust=held.trust, revoked=held.revoked, roster=held.roster, roster_by=held.roster_by,
            schema=SCHEMA,
        ),
    )  # fmt: skip


def load_pairing(trust: Path, paired: Path) -> tuple[LaneTrust, Paired]:
    """Read whom this lane believes, and its pairing.

    Raises ConfigError when it was not paired, and with other words when a file is damaged: to pair
    anew forgets which lanes and keys were revoked.
    """
    held, known = load_trust(trust), load_state(paired, Paired)
    if isinstance(known, Paired) and len(known.sealing) != KEY_BYTES:
        known = Unreadable("its sealing key is not 32 bytes")
    for path, found in ((trust, held), (paired, known)):
        if isinstance(found, Unreadable):
            raise ConfigError((f"{path.name} is damaged: {found}. {_MEND}",))
    if isinstance(held, LaneTrust) and isinstance(known, Paired):
        return held, known
    if held is None and known is None:
        raise ConfigError(
            ("this lane is not paired: run `allegro pair --config lane.toml` and follow it",)
        )
    gone = trust if held is None else paired
    raise ConfigError((f"{gone.name} is missing beside the other one. {_MEND}",))


_MEND = (
    "This lane acts for nobody until it is whole: put a good copy back. Without one, take the lane "
    "out with `allegro revoke lane NAME` at home, then pair it anew under a new key"
)


def load_epochs(path: Path) -> dict[str, int]:
    """Return the highest epochs on disk; none where they cannot be read.

    A lane then learns them anew from the council.
    """
    kept = load_state(path, KeptEpochs)
    if isinstance(kept, KeptEpochs):
        return kept.epochs
    plain = read_kept(path, dict[str, int]) or {}  # as it was before there was a schema number
    return {role: n for role, n in plain.items() if 0 <= n <= MAX_KEPT_EPOCH}


def save_epochs(path: Path, epochs: dict[str, int]) -> None:
    """Write the highest epochs. Raises EdgeError."""
    write_state(path, KeptEpochs(epochs=epochs, schema=SCHEMA))


def load_written(path: Path, council: int) -> dict[str, Slot]:
    """Return what this lane wrote last into the registers of this council.

    Nothing where that cannot be read, or was another council: the lane then waits for a record in
    its name as for any other.
    """
    kept = read_kept(path, KeptWritten)
    return kept.slots if kept is not None and kept.council == council else {}


def save_written(path: Path, council: int, slots: dict[str, Slot]) -> None:
    """Write what was written last, each second or so: a power cut may lose it. Raises EdgeError."""
    value = KeptWritten(council=council, slots=slots, schema=SCHEMA)
    write_state(path, value, survives_power_cut=False)


def read_kept(path: Path, type_: type[T]) -> T | None:
    """Return the value of a file whose loss costs no safety; None where it is missing or damaged."""
    kept = load_state(path, type_)
    if isinstance(kept, Unreadable):
        _log.error("state.damaged", file=path.name, error=kept.reason)
        return None
    return kept
