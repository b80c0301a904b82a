"""What the house answers about sessions of agents and models that were lent."""

from __future__ import annotations

import msgspec
from msgspec import UNSET, UnsetType

from allegro.core.base.untrusted import Name
from allegro.core.protocol.answers.bounds import Seconds


class SessionAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Answers `GET /v1/sessions/ID`: a session. `end` is empty until it ended: completed, failed, stopped or lost.

    `output` are a model's words; a list of sessions leaves it out. `subject` is what its events are
    archived under. `tokens` and `cost_usd` are measured by the lane's proxy, None where the price is
    unknown. Times are Unix seconds of the house, `duration_s` is None until it ended.
    """

    id: str
    state: str
    lane: str
    why: str
    end: str
    began_s: float
    schema: str = msgspec.field(default_factory=lambda: "allegro.session/1")
    issue: str = ""
    output: str | UnsetType = UNSET
    model: str = ""
    provider: str = ""
    agent: str = ""
    run: str = ""
    local: bool = False
    limit_s: float = 0.0
    tools_on: tuple[str, ...] = ()
    tools: int = 0
    calls: int = 0
    questions: int = 0
    asked: int = 0
    denied: int = 0
    tokens: int = 0
    cost_usd: float | None = None
    duration_s: float | None = None
    ended_s: float = 0.0
    heard_s: float = 0.0
    presumed: bool = False
    row: int = 0
    subject: str | UnsetType = UNSET
    kind: str | UnsetType = UNSET
    request: str | UnsetType = UNSET

    @property
    def has_begun(self) -> bool:
        """Whether a lane runs or ran it; else this is the request for it, of this `kind`."""
        return self.kind is UNSET


class UnbegunSession(SessionAnswer, frozen=True, kw_only=True, omit_defaults=True):
    """The request for a session that did not begin: nothing but the request is known and written.

    Its `state` is the request's, `request` is the same and stands only where one is shown.
    """


class SessionsAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Answers `GET /v1/sessions`, newest last."""

    schema: str = "allegro.sessions/1"
    sessions: tuple[SessionAnswer, ...] = ()


class StoppedAnswer(msgspec.Struct, frozen=True):
    """Answers `POST /v1/sessions/ID/stop`: whether it ran, or its request was withdrawn."""

    id: str
    stopped: bool = False


class LentModel(msgspec.Struct, frozen=True):
    """What a lane seals into the receipt of a loan. `token` is good until `expires_s` (Unix s)."""

    token: Name
    model: Name
    expires_s: Seconds


class LoanAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Answers `POST /v1/loans`: a model of this lane, lent under the id of its request."""

    id: str
    token: str
    model: str
    expires_s: float
    lane: str


class RevokedAnswer(msgspec.Struct, frozen=True):
    """Answers `POST /v1/loans/ID/revoke`: whether its token was still good."""

    revoked: bool = False
