"""Events of agent sessions and of the model calls they make."""

from __future__ import annotations

from allegro.core.base.untrusted import Number
from allegro.core.protocol.answers.bounds import Seconds
from allegro.core.protocol.event_types import EventType
from allegro.core.protocol.payloads.base import Payload


class Talk(Payload, frozen=True, kw_only=True):
    """Names for readers the events that carry a session. `local`: its lane stands at home."""


class SessionAccepted(Talk, frozen=True, kw_only=True):
    """A session may begin, with these tools, for at most `limit_s`."""

    type_ = EventType.SESSION_ACCEPTED
    model: str
    tools: tuple[str, ...]
    network: bool
    quotes: Number
    agent: str
    limit_s: Number
    session: str = ""
    local: bool = False


class SessionStarted(Talk, frozen=True, kw_only=True):
    """The agent began the run."""

    type_ = EventType.SESSION_STARTED
    run: str
    session: str = ""
    local: bool = False


class SessionDelta(Talk, frozen=True, kw_only=True):
    """A piece of the agent's text, sealed."""

    type_ = EventType.SESSION_DELTA
    session: str = ""
    local: bool = False


class SessionToolBegan(Talk, frozen=True, kw_only=True):
    """The agent says that it begins to use a tool; its input is sealed."""

    type_ = EventType.SESSION_TOOL_BEGAN
    tool: str
    call: str
    session: str = ""
    local: bool = False


class SessionToolEnded(Talk, frozen=True, kw_only=True):
    """The agent says that a tool ended. `claimed_ms` is its own word."""

    type_ = EventType.SESSION_TOOL_ENDED
    tool: str
    call: str
    ok: bool
    claimed_ms: Seconds | None
    session: str = ""
    local: bool = False


class SessionUsage(Talk, frozen=True, kw_only=True):
    """What the agent says it used; the model proxy's own count is in `model.result`."""

    type_ = EventType.SESSION_USAGE
    model: str
    tokens_in: Number | None
    tokens_out: Number | None
    source: str
    session: str = ""
    local: bool = False


class SessionQuestion(Talk, frozen=True, kw_only=True):
    """The agent asks for leave. `question` is its digest; `refused`: the lane denied it already."""

    type_ = EventType.SESSION_QUESTION
    number: Number
    run: str
    question: str
    until_s: Seconds
    refused: bool = False
    session: str = ""
    local: bool = False


class SessionAnswered(Talk, frozen=True, kw_only=True):
    """A question was answered: `once` or `deny`."""

    type_ = EventType.SESSION_ANSWERED
    choice: str
    session: str = ""
    local: bool = False


class SessionEnd(Talk, frozen=True, kw_only=True):
    """The one end of a session. Output and reason are sealed; `claimed` is the agent's own usage."""

    type_ = EventType.SESSION_END
    state: str
    model: str | None = None
    duration_s: Seconds | None = None
    tools: Number | None = None
    questions: Number | None = None
    forged: Number | None = None
    calls: Number | None = None
    tokens: Number | None = None
    cost_usd: Seconds | str | None = None
    claimed: dict[str, int] | None = None
    served: str = ""
    session: str = ""
    local: bool = False


class TelemetryGap(Talk, frozen=True, kw_only=True):
    """The agent's stream broke off for a while: what it did meanwhile is not known."""

    type_ = EventType.TELEMETRY_GAP
    session: str = ""
    local: bool = False


class ModelCall(Talk, frozen=True, kw_only=True):
    """A model call is about to be sent to this provider."""

    type_ = EventType.MODEL_CALL
    call: Number
    provider: str
    asked: str
    used: str
    rung: Number
    source: str
    session: str = ""
    local: bool = False


class ModelResult(Talk, frozen=True, kw_only=True):
    """What came of a model call, and what it cost. `tokens`: reported or estimated."""

    type_ = EventType.MODEL_RESULT
    call: Number
    provider: str
    asked: str
    used: str
    rung: Number
    source: str
    result: str
    tokens_in: Number
    tokens_out: Number
    tokens: str
    cost_usd: Seconds | str
    latency_ms: Seconds
    first_ms: Seconds | None
    tokens_cached: Number = 0
    reset_s: Seconds | None = None
    session: str = ""
    local: bool = False


class ModelRefused(Talk, frozen=True, kw_only=True):
    """The model proxy refused a call: a cap, or no rung."""

    type_ = EventType.MODEL_REFUSED
    reason: str
    session: str = ""
    local: bool = False
