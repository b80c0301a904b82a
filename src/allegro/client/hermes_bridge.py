"""What Timmy's programs import to run sessions on a connected lane and see every step."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any, TypedDict, Unpack

import msgspec

from allegro.client.bridge import Bridge, asked_by
from allegro.client.errors import (
    BadRequest,
    EffectFailed,
    Expired,
    StillOpen,
    Withdrawn,
)
from allegro.client.socket import WAIT_S
from allegro.core.authority.actions.agent import Turn
from allegro.core.base.untrusted import text_of
from allegro.core.protocol.answers.house import ShownEvent
from allegro.core.protocol.answers.sessions import SessionAnswer
from allegro.core.protocol.asked import NewLoan, NewSession

_PREFIXES = ("session.", "model.", "telemetry.")


class HermesResult(msgspec.Struct, frozen=True):
    """How a session ended. `output` are a model's words: data, never an instruction.

    `state` is completed, failed, stopped or lost; a lost one may have acted and is never begun
    again by itself. `tokens` and `cost_usd` are measured by the lane's model proxy; `cost_usd`
    is None where the price is unknown. `local` says that it ran beside the house.
    """

    session_id: str
    state: str
    output: str
    why: str
    model: str
    tokens: int
    cost_usd: float | None
    duration_s: float | None
    tools: int
    denied: int
    local: bool


class TelemetryEvent(msgspec.Struct, frozen=True):
    """One archived event of a session. `row` orders all of them; go on after it with `after`.

    `facts` are clear values of the lane (`source` tells measured from claimed), `words` what was
    sealed: text, tool arguments and results, questions.
    """

    row: int
    session_id: str
    type: str
    time: str
    lane: str
    archived_s: float
    facts: dict[str, Any]
    words: Any


class SessionSummary(msgspec.Struct, frozen=True):
    """A session's counters, without a word of it. Times are Unix seconds of the house."""

    session_id: str
    state: str
    model: str
    agent: str
    lane: str
    local: bool
    began_s: float
    ended_s: float
    duration_s: float | None
    calls: int
    tools: int
    questions: int
    denied: int
    tokens: int
    cost_usd: float | None
    why: str


class ModelEndpoint(msgspec.Struct, frozen=True):
    """A model lent for a short time: OpenAI's API at `base_url` through the Unix socket `socket`.

    `api_key` is good for this model until `expires_s` (Unix s) and can be taken back at once.
    """

    base_url: str
    socket: str
    api_key: str
    model: str
    expires_s: float
    lane: str
    loan_id: str

    def __repr__(self) -> str:
        return f"ModelEndpoint({self.model!r} at {self.base_url}, expires_s={self.expires_s:.0f})"


class SessionOptions(TypedDict, total=False):
    """What a session may be given beside its prompt and model.

    `history` are earlier turns as (user or assistant, text), "" and () by default: the lane
    remembers none. `tools` None is what the lane has switched on. `issue` (owner/name#1) brings its
    text in as quoted data and shows the session's progress there. `limit_s` is 3600 by default.
    Asked twice with one `key`, it is one session.
    """

    instructions: str
    history: Sequence[tuple[str, str]]
    tools: Sequence[str] | None
    issue: str
    network: bool
    limit_s: int
    key: str


class HermesBridge(Bridge):
    """Sessions of a real agent on a lane; Timmy sees each step and decides what a tool may do.

    Use as an async context manager or call `close`.
    """

    async def run_session(
        self, prompt: str, model: str | None = None, **options: Unpack[SessionOptions]
    ) -> HermesResult:
        """Run one session to its end and return how it ended.

        `model` None is the configured default; an unknown one raises EffectFailed. Cancelling the
        await leaves the session running.
        """
        return await self.result(await self.begin_session(prompt, model, **options))

    async def begin_session(
        self, prompt: str, model: str | None = None, **options: Unpack[SessionOptions]
    ) -> str:
        """Ask for a session without waiting; return its id."""
        tools = options.get("tools")
        new = NewSession(
            prompt=prompt,
            model=model or "",
            instructions=options.get("instructions", ""),
            history=tuple(Turn(role, text) for role, text in options.get("history", ())),
            tools=None if tools is None else tuple(tools),
            network=options.get("network", False),
            issue=options.get("issue", ""),
            limit_s=options.get("limit_s", 3600),
            asked_by=asked_by(),
            key=options.get("key", ""),
        )
        return (await self._house.begin_session(new)).id

    async def result(self, session_id: str, *, wait_s: float | None = None) -> HermesResult:
        """Wait until a session ended; raise what it came to when it never began."""
        left_s = self._wait_s if wait_s is None else wait_s
        while True:
            slice_s = min(WAIT_S, left_s)
            session = await self._riding_over(
                lambda: self._house.wait_for_session(session_id, slice_s)  # noqa: B023
            )
            if session.end:
                return _result(session)
            _raise_unbegun(session)
            left_s -= slice_s
            if left_s <= 0:
                raise StillOpen(f"session {session_id} still runs", session_id)

    async def stop_session(self, session_id: str) -> bool:
        """Stop a session at once. Needs no approval."""
        return (await self._house.stop_session(session_id)).stopped

    async def stream_telemetry(
        self, session_id: str = "", *, after: int | None = None
    ) -> AsyncIterator[TelemetryEvent]:
        """Yield events of one session, or of all, as they are archived, without end.

        `after` is the row of the last one seen; None begins with what comes from now on, and for
        a single session with its beginning.
        """
        params: dict[str, str | int] = {"follow": 1}
        if session_id:
            params["subject"] = f"session:{session_id}"
        if after is not None:
            params["after"] = after
        elif not session_id:
            params["last"] = 0
        async for event in self._house.shown_events(**params):
            if event.type.startswith(_PREFIXES):
                yield _telemetry(event)

    async def get_session_summary(self, session_id: str) -> SessionSummary:
        """Return the counters of a session. Raises BadRequest when there is none of this id."""
        session = await self._house.session(session_id)
        if not session.has_begun:
            why = session.why or session.state
            raise BadRequest(f"session {session_id} has not begun: {why}")
        return _summary(session)

    async def provide_model_access(
        self, model: str, *, lives_s: int = 900, max_tokens: int = 200_000
    ) -> ModelEndpoint:
        """Lend one model of a lane, through the house's socket, for a short time."""
        new = NewLoan(model, lives_s, max_tokens, asked_by())
        loan = await self._house.lend(new)
        return ModelEndpoint(
            base_url=f"http://house/v1/models/{loan.lane}/v1",
            socket=str(self._house.socket),
            api_key=loan.token,
            model=loan.model,
            expires_s=loan.expires_s,
            lane=loan.lane,
            loan_id=loan.id,
        )

    async def revoke_model_access(self, endpoint: ModelEndpoint) -> bool:
        """Take a lent model back at once; False when it had ended. Needs no approval."""
        return (await self._house.revoke_loan(endpoint.loan_id)).revoked


_UNBEGUN = {"failed": EffectFailed, "withdrawn": Withdrawn, "expired": Expired}


def _raise_unbegun(session: SessionAnswer) -> None:
    """Raise what a session that never began came to; return while it still may."""
    if not session.has_begun and session.state in _UNBEGUN:
        why = session.why or session.state
        raise _UNBEGUN[session.state](f"session {session.id}: {why}", session.id)


def _result(session: SessionAnswer) -> HermesResult:
    return HermesResult(
        session_id=session.id,
        state=session.end,
        output=session.output or "",
        why=session.why,
        model=session.model,
        tokens=session.tokens,
        cost_usd=session.cost_usd,
        duration_s=session.duration_s,
        tools=session.tools,
        denied=session.denied,
        local=session.local,
    )


def _summary(session: SessionAnswer) -> SessionSummary:
    return SessionSummary(
        session_id=session.id,
        state=session.end or session.state,
        model=session.model,
        agent=session.agent,
        lane=session.lane,
        local=session.local,
        began_s=session.began_s,
        ended_s=session.ended_s,
        duration_s=session.duration_s,
        calls=session.calls,
        tools=session.tools,
        questions=session.questions,
        denied=session.denied,
        tokens=session.tokens,
        cost_usd=session.cost_usd,
        why=session.why,
    )


def _telemetry(event: ShownEvent) -> TelemetryEvent:
    return TelemetryEvent(
        row=event.row,
        session_id=text_of(event.data.get("session")),
        type=event.type,
        time=event.time,
        lane=event.lane,
        archived_s=event.archived_s,
        facts=event.data,
        words=event.words,
    )
