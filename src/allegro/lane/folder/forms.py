"""The forms of a lane's state files, and what it means when one of them cannot be read.

A file that is missing, one that is damaged and one that holds less than it must are told apart:
what a lane may have forgotten never makes it act. Number 1 of each form is that of commit a8b1bd5,
whose files hold no number; the steps from one number to the next stand in FORMS.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec
import structlog
from msgspec import Meta

from allegro.adapters.files import hold_folder
from allegro.adapters.state_form import Form, Newer, bring_forward, load, numbered, save
from allegro.core.authority.freeze import UNKNOWN, Freeze, FreezeSet, tidied
from allegro.core.authority.gate import LaneTrust, Trust
from allegro.core.authority.lease import MAX_KEPT_EPOCH, Slot
from allegro.core.authority.pairing import Paired
from allegro.core.authority.tokens import Roster
from allegro.core.base.errors import ConfigError
from allegro.core.base.untrusted import MAX_NUMBER, Number, Unreadable, read_value
from allegro.lane.folder.files import LaneFiles

_log = structlog.get_logger()
T = TypeVar("T")
KEY_BYTES = 32
Epoch = Annotated[int, Meta(ge=0, le=MAX_KEPT_EPOCH)]


class KeptFreezes(msgspec.Struct, frozen=True, kw_only=True):
    """freezes.json. No field has a default: an object without them is no freeze set."""

    freezes: tuple[Freeze, ...]
    thawed: frozenset[str]
    known: bool


class KeptTrust(msgspec.Struct, frozen=True, kw_only=True):
    """trust.json. Without `revoked` or `roster` it would believe lanes that were taken out."""

    trust: Trust
    revoked: frozenset[str]
    roster: Roster | None
    roster_by: Number


class KeptEpochs(msgspec.Struct, frozen=True, kw_only=True):
    """epochs.json: the highest epoch seen of each role."""

    epochs: dict[str, Epoch]


class KeptWritten(msgspec.Struct, frozen=True, kw_only=True):
    """written.json: what this lane wrote last into each register of the council of this number."""

    council: Number
    slots: dict[str, Slot]


class KeptSpend(msgspec.Struct, frozen=True):
    usd: Annotated[float, Meta(ge=0, lt=MAX_NUMBER)]
    tokens: Number
    unpriced_tokens: Number


class KeptDay(msgspec.Struct, frozen=True):
    """spend.json: without these fields it is no record of what a day has used."""

    day: Annotated[str, Meta(max_length=10)]
    spend: KeptSpend


class KeptCrashes(msgspec.Struct, frozen=True):
    """crashes.json: when this lane died of a bug, Unix seconds."""

    crashes: list[float]


def _named(name: str, type_: Any) -> Any:
    """Return the step that puts a whole value of this type under a name, beside the number."""

    def step(value: Any) -> dict[str, Any]:
        read = read_value(value, type_)
        if isinstance(read, Unreadable):
            raise ValueError(read.reason)
        return {name: value}

    return step


FREEZES = Form((numbered(KeptFreezes),))
TRUST = Form((numbered(KeptTrust),))
PAIRED = Form((numbered(Paired),))
EPOCHS = Form((_named("epochs", dict[str, Epoch]),))
WRITTEN = Form((numbered(KeptWritten),))
SPEND = Form((numbered(KeptDay),))
SESSIONS = Form((_named("sessions", dict[str, dict[str, Any]]),))
CRASHES = Form((_named("crashes", list[float]),))
DUTIES, TALLIES, CHAT, MUTED, ALERTS, STATEMENT = (Form(()) for _ in range(6))
"""Files that commit a8b1bd5 did not have: their first number is 1."""


def forms_of(files: LaneFiles) -> dict[Path, Form]:
    """Return the form of each state file of a lane."""
    return {
        files.freezes: FREEZES,
        files.trust: TRUST,
        files.paired: PAIRED,
        files.epochs: EPOCHS,
        files.written: WRITTEN,
        files.spend: SPEND,
        files.sessions: SESSIONS,
        files.crashes: CRASHES,
        files.duties: DUTIES,
        files.tallies: TALLIES,
        files.chat: CHAT,
        files.muted: MUTED,
        files.alerts: ALERTS,
        files.statement: STATEMENT,
    }


def bring_all_forward(files: LaneFiles) -> None:
    """Step every state file to the number that this program writes, each after a copy.

    Holds the folder meanwhile. Raises ConfigError when it is held, for a file of a newer program
    and where a copy cannot be made; EdgeError when the disk refuses. The journal steps itself when
    it is opened.
    """
    with hold_folder(files.folder, "another lane"):
        for path, form in forms_of(files).items():
            bring_forward(path, form)


def load_freezes(path: Path) -> FreezeSet:
    """Return the freeze set on disk; unknown, which counts as frozen, where it cannot be read."""
    kept = load(path, FREEZES, KeptFreezes)
    if isinstance(kept, KeptFreezes):
        return tidied(FreezeSet(kept.freezes, kept.thawed, kept.known))
    if kept is not None:
        _log.error("freezes.damaged", file=path.name, error=kept.reason, until="the house logs in")
    return UNKNOWN


def save_freezes(path: Path, freezes: FreezeSet) -> None:
    """Write the freeze set. Raises EdgeError."""
    kept = KeptFreezes(freezes=freezes.freezes, thawed=freezes.thawed, known=freezes.known)
    save(path, FREEZES, kept)


def load_trust(path: Path) -> LaneTrust | Unreadable | None:
    """Return whom this lane believes, None before it was paired, Unreadable when it is damaged."""
    kept = load(path, TRUST, KeptTrust)
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
    kept = KeptTrust(
        trust=held.trust, revoked=held.revoked, roster=held.roster, roster_by=held.roster_by
    )
    save(path, TRUST, kept)


def save_paired(path: Path, paired: Paired) -> None:
    """Write a pairing. Raises EdgeError."""
    save(path, PAIRED, paired)


def load_pairing(trust: Path, paired: Path) -> tuple[LaneTrust, Paired]:
    """Read whom this lane believes, and its pairing.

    Raises ConfigError when it was not paired, and with other words when a file is damaged: to pair
    anew forgets which lanes and keys were revoked.
    """
    held, known = load_trust(trust), load(paired, PAIRED, Paired)
    if isinstance(known, Paired) and len(known.sealing) != KEY_BYTES:
        known = Unreadable("its sealing key is not 32 bytes")
    for path, found in ((trust, held), (paired, known)):
        if isinstance(found, Newer):
            raise ConfigError((found.reason,))
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
    kept = read_kept(path, EPOCHS, KeptEpochs)
    return kept.epochs if kept is not None else {}


def save_epochs(path: Path, epochs: dict[str, int]) -> None:
    """Write the highest epochs. Raises EdgeError."""
    save(path, EPOCHS, KeptEpochs(epochs=epochs))


def load_written(path: Path, council: int) -> dict[str, Slot]:
    """Return what this lane wrote last into the registers of this council.

    Nothing where that cannot be read, or was another council: the lane then waits for a record in
    its name as for any other.
    """
    kept = read_kept(path, WRITTEN, KeptWritten)
    return kept.slots if kept is not None and kept.council == council else {}


def save_written(path: Path, council: int, slots: dict[str, Slot]) -> None:
    """Write what was written last, each second or so: a power cut may lose it. Raises EdgeError."""
    value = KeptWritten(council=council, slots=slots)
    save(path, WRITTEN, value, survives_power_cut=False)


def load_crashes(path: Path) -> list[float]:
    """Return when this lane died of a bug (Unix seconds); nothing where that cannot be read."""
    kept = read_kept(path, CRASHES, KeptCrashes)
    return kept.crashes if kept is not None else []


def save_crashes(path: Path, crashes_s: list[float]) -> None:
    """Write when this lane died of a bug. Raises EdgeError."""
    save(path, CRASHES, KeptCrashes(crashes_s))


def load_day(path: Path) -> KeptDay | Unreadable | None:
    """Return what a day has used, None for no file, Unreadable where it is no such record."""
    return load(path, SPEND, KeptDay)


def save_day(path: Path, day: msgspec.Struct) -> None:
    """Write what a day has used, in the fields of KeptDay. Raises EdgeError."""
    save(path, SPEND, day)


def read_kept(path: Path, form: Form, type_: type[T]) -> T | None:
    """Return the value of a file whose loss costs no safety; None where it is missing or damaged."""
    kept = load(path, form, type_)
    if isinstance(kept, Unreadable):
        _log.error("state.damaged", file=path.name, error=kept.reason)
        return None
    return kept


def write_kept(path: Path, form: Form, value: object) -> None:
    """Write a file that `read_kept` reads. Raises EdgeError."""
    save(path, form, value)
