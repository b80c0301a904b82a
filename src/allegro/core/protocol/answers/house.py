"""What the house answers about itself, its lanes and its archive.

Every field has a default: a house of another release may send less, and a screen then shows less.
What it sends beside these is ignored. Times are Unix seconds of the house.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from msgspec import UNSET, UnsetType

from allegro.core.authority.freeze import Freeze
from allegro.core.base.untrusted import Unreadable, read_value
from allegro.core.forge.issues import Issue
from allegro.core.health.facts import FactPage
from allegro.core.protocol.answers.lane import LaneStatus, UnknownStatus

# --- status and doctor ---------------------------------------------------------------------------


class LinkedLane(msgspec.Struct, frozen=True, kw_only=True):
    """A lane as its link shows it. `head` is its newest sequence, `home` the newest archived one.

    `trouble` says why it is not linked; `since_s` is when it was linked, None while it is not;
    `heard_s` when its newest word came, None before the first. `down_s` is when a link was lost
    last, 0 for never; `behind` how many events waited when this one was made, `caught_up_s` when
    they were home, 0 before.
    """

    name: str
    url: str = ""
    linked: bool = False
    trouble: str = ""
    since_s: float | None = None
    down_s: float = 0.0
    behind: int = 0
    caught_up_s: float = 0.0
    version: str = ""
    head: int = 0
    home: int = 0
    done: str = ""
    heard_s: float | None = None


class ShownLane(LinkedLane, frozen=True, kw_only=True):
    """A lane in `allegro status`. `detail` is its own word of itself, None while it is not linked."""

    detail: LaneStatus | None = None


class SuspendedLane(msgspec.Struct, frozen=True):
    """A lane that gets no orders until a person lifts that, and why."""

    lane: str
    reason: str


class ShownAlert(msgspec.Struct, frozen=True, kw_only=True):
    """An alert as screens show it. `at_s` is when it was raised or seen last, `first_s` when first.

    `id` is the short name by which a person calls it, `notice` the alarm that was sent of it; it
    holds since `since_s`, and `over_s` is when it was over. `called_s` is when a person was called,
    `reached_s` when a channel brought it; 0 for never. `urgency` and `told` are the names of the
    release before.
    """

    id: str = ""
    code: str
    title: str = ""
    severity: str = ""
    phase: str = "firing"
    subject: str = ""
    values: dict[str, str] = {}
    sentence: str = ""
    source: str = ""
    lane: str = ""
    fix: str = ""
    runbook: str = ""
    at_s: float = 0.0
    first_s: float = 0.0
    since_s: float = 0.0
    over_s: float = 0.0
    notice: str = ""
    called_s: float = 0.0
    reached_s: float = 0.0
    snoozed_until_s: float = 0.0
    count: int = 1
    urgency: str = ""
    old_sentence: str = msgspec.field(name="told", default="")


class ArchiveCounts(msgspec.Struct, frozen=True):
    """How many events are archived, how many repeats were dropped, and what it all takes."""

    events: int = 0
    repeats_dropped: int = 0
    bytes: int = 0


class StatusAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Answers `GET /v1/status`. `lane_freezes` are those that only a lane holds, by its name.

    `open` counts requests by state, `blocked` says what holds orders up, empty for nothing;
    `oldest_waiting_s` is an age, None where no request waits.
    """

    schema: str = "allegro.status/1"
    version: str = ""
    house: str = ""
    acting: bool = False
    seat: int = 0
    frozen: bool = False
    freezes: tuple[Freeze, ...] = ()
    lane_freezes: dict[str, tuple[str, ...]] = {}
    lanes: tuple[ShownLane, ...] = ()
    local_only_since_s: float | None = None
    waiting_for_sovereign: int = 0
    oldest_waiting_s: float | None = None
    open: dict[str, int] = {}
    blocked: str = ""
    archive: ArchiveCounts = ArchiveCounts()
    alerts: tuple[ShownAlert, ...] = ()
    alert_counts: dict[str, int] = {}
    channels: tuple[str, ...] = ()
    suspended: tuple[SuspendedLane, ...] = ()


def read_status_answer(value: object) -> StatusAnswer | Unreadable:
    """Return a house's status. A lane's own word that cannot be read hides nothing beside it."""
    lanes = value.get("lanes") if isinstance(value, dict) else None
    if isinstance(value, dict) and isinstance(lanes, list):
        value = {**value, "lanes": list(_with_details(lanes))}
    return read_value(value, StatusAnswer)


def _with_details(lanes: Iterable[object]) -> Iterable[object]:
    for lane in lanes:
        if not isinstance(lane, dict) or lane.get("detail") is None:
            yield lane
            continue
        detail = read_value(lane["detail"], LaneStatus)
        if isinstance(detail, Unreadable):
            detail = UnknownStatus(error=f"its answer cannot be read: {detail}")
        yield {**lane, "detail": msgspec.to_builtins(detail)}


class DoctorAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Answers `GET /v1/doctor`. `ok` is false where a fact is bad."""

    schema: str = "allegro.doctor/1"
    ok: bool = False
    facts: tuple[FactPage, ...] = ()


# --- stop, thaw, keys ----------------------------------------------------------------------------


class StopAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Answers `POST /v1/stop`: the id of the freeze, and how many lanes took it at once."""

    schema: str = "allegro.stop/1"
    freeze: str = ""
    lanes_told: int = 0


class ThawAnswer(msgspec.Struct, frozen=True):
    """Answers `POST /v1/thaw`."""

    thawed: bool = False


class BringAnswer(msgspec.Struct, frozen=True):
    """Answers `POST /v1/bring`: how many lanes took the signed thing at once."""

    lanes: int = msgspec.field(name="told", default=0)


class ReloadAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Answers `POST /v1/reload`: seat and lanes of now, and how many approvals became void."""

    seat: int = 0
    lanes: int = 0
    voided: int = 0


# --- the archive ---------------------------------------------------------------------------------


class ShownEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One archived event. `row` orders all of them; `words` is what was sealed, None for nothing.

    What the house cannot read has the type `unreadable`, its row, and why as `unreadable`.
    """

    row: int = 0
    lane: str = ""
    archived_s: float = 0.0
    id: str = ""
    type: str = ""
    subject: str = ""
    time: str = ""
    data: dict[str, object] = {}
    words: object = None
    unreadable: str | UnsetType = UNSET


class EventsEnd(msgspec.Struct, frozen=True, omit_defaults=True):
    """The last line of `GET /v1/events`: it came to its `end`, or broke off with an `error`.

    `after` is the row of the last event that was sent.
    """

    after: int
    end: str = ""
    error: str = ""


class Gap(msgspec.Struct, frozen=True, kw_only=True):
    """Events of a journal that never come: from `first` to `last`, `count` of a class (see Shed)."""

    lane: str
    journal: str
    first: int
    last: int
    count: int
    shed: int = msgspec.field(name="class", default=0)
    reason: str = ""
    at_s: float = 0.0


class GapsAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Answers `GET /v1/gaps`."""

    schema: str = "allegro.gaps/1"
    gaps: tuple[Gap, ...] = ()


class IssuesAnswer(msgspec.Struct, frozen=True):
    """Answers `GET /v1/issues`. `unreadable` counts archived ones that cannot be read."""

    issues: tuple[Issue, ...] = ()
    unreadable: int = 0


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
