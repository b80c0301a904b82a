"""What a house may ask a lane: the name, the parameters and the answer of every query.

A query reads, or makes its lane do less; it needs no order. Its name is written here and nowhere
else. `Reply.value` holds the answer in plain values; `ANSWERS` says which type reads it.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, TypeVar

import msgspec

from allegro.core.agent.tallies import SessionTally
from allegro.core.base.errors import EdgeError
from allegro.core.base.untrusted import Number, Unreadable, read_value
from allegro.core.health.duty_runs import DutyView
from allegro.core.protocol.answers.fleet import LaneFleet, LaneOffer, PeerSeen, Rested
from allegro.core.protocol.answers.forge import (
    Listing,
    PinnedChange,
    PinnedIssue,
    PinnedPull,
    PinnedRepository,
    Sighting,
    Talk,
)
from allegro.core.protocol.answers.lane import LaneFact, LaneStatus, OwnLabel
from allegro.core.protocol.answers.models import ModelAnswer
from allegro.core.protocol.statement import HouseStatement

Params = Mapping[str, object]
"""The parameters of a query as they came, before `read_query` read them."""


class QueryName(enum.StrEnum):
    """`Query.method` of every query that a lane of this release answers."""

    DENY = "deny"
    DOCTOR = "doctor"
    FLEET = "fleet"
    INFORM = "inform"
    ISSUE_DETAILS = "issue_details"
    LISTING = "listing"
    LOOK = "look"
    LOOK_AT = "look_at"
    MODEL_BEGIN = "model_begin"
    MODEL_NEXT = "model_next"
    OFFER = "offer"
    PIN_CHANGE = "pin_change"
    PIN_CLOSE = "pin_close"
    PIN_PULL = "pin_pull"
    PIN_REPOSITORY = "pin_repository"
    REST = "rest"
    REVOKE_LOAN = "revoke_loan"
    RUN_DUTY = "run_duty"
    SESSIONS = "sessions"
    STATUS = "status"
    STOP_SESSION = "stop_session"
    TALLIES = "tallies"
    TRIAGE_LABEL = "triage_label"


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """The parameters of one query. The docstring of each class is its line in the docs."""

    name: ClassVar[QueryName]

    def params(self) -> dict[str, object]:
        """Return the parameters as `Query.params` carries them: plain values, and bytes."""
        found: dict[str, object] = msgspec.to_builtins(self, builtin_types=(bytes,))
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in found.items()
        }


# --- what stands on the forge --------------------------------------------------------------------


class AskIssue(Asked, frozen=True, kw_only=True):
    """An issue with its newest comments, labels, timeline and linked pull requests."""

    name = QueryName.ISSUE_DETAILS
    repository: str
    number: Number


class AskRepository(Asked, frozen=True, kw_only=True):
    """The repository and the forge; refused where issue `number` (0: none) is not there."""

    name = QueryName.PIN_REPOSITORY
    repository: str
    number: Number | None = 0


class AskChange(Asked, frozen=True, kw_only=True):
    """The base commit, and what stands there at each path. `base` empty: the default branch."""

    name = QueryName.PIN_CHANGE
    repository: str
    base: str | None = ""
    paths: tuple[str, ...]
    deleted: tuple[str, ...] | None = ()


class AskPull(Asked, frozen=True, kw_only=True):
    """The commits at base and head, and which changed paths can make the forge run code."""

    name = QueryName.PIN_PULL
    repository: str
    base: str | None = ""
    head: str


class AskClose(Asked, frozen=True, kw_only=True):
    """The issue as it stands, with its newest comment by somebody else."""

    name = QueryName.PIN_CLOSE
    repository: str
    number: Number


class Look(Asked, frozen=True, kw_only=True, omit_defaults=True):
    """Whether the effect of an action is there. `content` is the digest of bytes sent ahead."""

    name = QueryName.LOOK
    action: bytes = b""
    content: str = ""
    branch: str
    marker: str


class AskListing(Asked, frozen=True, kw_only=True):
    """The numbers and comment ids that exist in a repository (by id), once it was reconciled."""

    name = QueryName.LISTING
    repository: Number


# --- the lane ------------------------------------------------------------------------------------


class AskStatus(Asked, frozen=True, kw_only=True):
    """What `allegro status` shows of the lane."""

    name = QueryName.STATUS


class AskDoctor(Asked, frozen=True, kw_only=True):
    """What `allegro doctor` shows of the lane; `asks_forge` false: without a request to the forge."""

    name = QueryName.DOCTOR
    asks_forge: bool | None = True


class RunDuty(Asked, frozen=True, kw_only=True):
    """Begins a scheduled duty of the lane now, and waits 15 s for its end.

    The answer is the duty as it is then. With `begun_s` (Unix s) no run is begun: it waits on for
    the one that began then.
    """

    name = QueryName.RUN_DUTY
    duty: str
    begun_s: float = 0.0


class Inform(Asked, frozen=True, kw_only=True):
    """Says when the house may be silent, and which alerts of the lane it told. Answers true."""

    name = QueryName.INFORM
    statement: HouseStatement


class TriageLabel(Asked, frozen=True, kw_only=True):
    """Names the label of house.toml; the lane names its own and sets no other than this."""

    name = QueryName.TRIAGE_LABEL
    label: str


# --- the fleet -----------------------------------------------------------------------------------


class AskFleet(Asked, frozen=True, kw_only=True):
    """Roster, quorum, roles held and able to hold, who else is heard."""

    name = QueryName.FLEET


class AskOffer(Asked, frozen=True, kw_only=True):
    """Where its council server is reached, its certificate, its failure domain."""

    name = QueryName.OFFER


class Rest(Asked, frozen=True, kw_only=True):
    """Takes a lane for not ready for a role for so long, a day at most; the holder hands over."""

    name = QueryName.REST
    lane: str
    role: str
    seconds: float
    to: str = ""


class LookAt(Asked, frozen=True, kw_only=True):
    """Whether that lane's page is fresh, and whether anything answers at its address."""

    name = QueryName.LOOK_AT
    lane: str


# --- sessions and lent models --------------------------------------------------------------------


class AskSessions(Asked, frozen=True, kw_only=True):
    """The ids of the sessions that run on this lane."""

    name = QueryName.SESSIONS


class AskTallies(Asked, frozen=True, kw_only=True):
    """What agent and proxy counted of each session of the last eight days, beside its events."""

    name = QueryName.TALLIES


class Deny(Asked, frozen=True, kw_only=True):
    """Whether that question was pending, and got its no."""

    name = QueryName.DENY
    session: str
    number: Number


class StopSession(Asked, frozen=True, kw_only=True):
    """Whether it ran; its token, its processes and its memory are gone."""

    name = QueryName.STOP_SESSION
    session: str


class RevokeLoan(Asked, frozen=True, kw_only=True):
    """Whether its token was still good; it is taken back."""

    name = QueryName.REVOKE_LOAN
    loan: str


class ModelBegin(Asked, frozen=True, kw_only=True):
    """Begins a model call of a program at home: `call`, and its status if it answers in 15 s."""

    name = QueryName.MODEL_BEGIN
    path: str
    authorization: str
    body: bytes


class ModelNext(Asked, frozen=True, kw_only=True):
    """Its status, once; then `piece` (bytes) and `done`; empty, not done after 15 s of silence."""

    name = QueryName.MODEL_NEXT
    call: str


A = TypeVar("A", bound=Asked)


def read_query(params: object, type_: type[A]) -> A:
    """Return the parameters of a query as its type. Raises EdgeError where they are of another."""
    query = read_value(params, type_, strict=False)
    if isinstance(query, Unreadable):
        raise EdgeError(f"{type_.name}: bad parameters: {query}", transient=False)
    return query


def _named() -> Iterator[type[Asked]]:
    for value in globals().copy().values():
        if isinstance(value, type) and issubclass(value, Asked) and value is not Asked:
            yield value


QUERIES: Mapping[str, type[Asked]] = {value.name: value for value in _named()}
"""The parameters of each query, in the order of the documentation."""

ANSWERS: Mapping[QueryName, Any] = {
    QueryName.PIN_REPOSITORY: PinnedRepository,
    QueryName.PIN_CHANGE: PinnedChange,
    QueryName.PIN_PULL: PinnedPull,
    QueryName.PIN_CLOSE: PinnedIssue,
    QueryName.LOOK: Sighting,
    QueryName.ISSUE_DETAILS: Talk,
    QueryName.LISTING: Listing,
    QueryName.STATUS: LaneStatus,
    QueryName.DOCTOR: list[LaneFact],
    QueryName.RUN_DUTY: DutyView,
    QueryName.INFORM: bool,
    QueryName.TRIAGE_LABEL: OwnLabel,
    QueryName.FLEET: LaneFleet,
    QueryName.OFFER: LaneOffer,
    QueryName.REST: Rested,
    QueryName.LOOK_AT: PeerSeen,
    QueryName.SESSIONS: list[str],
    QueryName.TALLIES: list[SessionTally],
    QueryName.DENY: bool,
    QueryName.STOP_SESSION: bool,
    QueryName.REVOKE_LOAN: bool,
    QueryName.MODEL_BEGIN: ModelAnswer,
    QueryName.MODEL_NEXT: ModelAnswer,
}
"""The type that reads each query's answer where it comes in."""
