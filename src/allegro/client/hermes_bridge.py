"""What Timmy's programs import to run sessions on a connected lane and see every step."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

import msgspec

from allegro.client.bridge import Bridge, asked_by
from allegro.client.errors import (
    BadRequest,
    EffectFailed,
    Expired,
    StillOpen,
    Withdrawn,
)
from allegro.client.house_client import WAIT_S, named

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


class HermesBridge(Bridge):
    """Sessions of a real agent on a lane; Timmy sees each step and decides what a tool may do.

    Use as an async context manager or call `close`.
    """

    async def run_session(
        self,
        prompt: str,
        model: str | None = None,
        *,
        instructions: str = "",
        history: Sequence[tuple[str, str]] = (),
        tools: Sequence[str] | None = None,
        issue: str = "",
        network: bool = False,
        limit_s: int = 3600,
    ) -> HermesResult:
        """Run one session to its end and return how it ended.

        `model` None is the configured default; an unknown one raises EffectFailed. `history` are
        earlier turns as (user or assistant, text): the lane remembers none. `tools` None is what
        the lane has switched on. `issue` (owner/name#1) brings its text in as quoted data and
        shows the session's progress there. Cancelling the await leaves the session running.
        """
        session = await self.begin_session(
            prompt,
            model,
            instructions=instructions,
            history=history,
            tools=tools,
            issue=issue,
            network=network,
            limit_s=limit_s,
        )
        return await self.result(session)

    async def begin_session(
        self,
        prompt: str,
        model: str | None = None,
        *,
        instructions: str = "",
        history: Sequence[tuple[str, str]] = (),
        tools: Sequence[str] | None = None,
        issue: str = "",
        network: bool = False,
        limit_s: int = 3600,
        key: str = "",
    ) -> str:
        """Ask for a session without waiting; return its id. Asked twice with a `key`, it is one."""
        response = await self._house.post(
            "sessions",
            {
                "prompt": prompt,
                "model": model or "",
                "instructions": instructions,
                "history": [{"role": role, "text": text} for role, text in history],
                "tools": None if tools is None else list(tools),
                "issue": issue,
                "network": network,
                "limit_s": limit_s,
                "asked_by": asked_by(),
                "key": key,
            },
        )
        return str(response["id"])

    async def result(self, session_id: str, *, wait_s: float | None = None) -> HermesResult:
        """Wait until a session ended; raise what it came to when it never began."""
        left_s = self._wait_s if wait_s is None else wait_s
        while True:
            slice_s = min(WAIT_S, left_s)
            response = await self._riding_over(
                lambda: self._house.get(f"sessions/{named(session_id)}/wait", timeout_s=slice_s)  # noqa: B023
            )
            if response.get("end"):
                return _result(response)
            _raise_unbegun(response)
            left_s -= slice_s
            if left_s <= 0:
                raise StillOpen(f"session {session_id} still runs", session_id)

    async def stop_session(self, session_id: str) -> bool:
        """Stop a session at once. Needs no approval."""
        response = await self._house.post(f"sessions/{named(session_id)}/stop")
        return bool(response["stopped"])

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
        async for event in self._house.events(**params):
            if str(event["type"]).startswith(_PREFIXES):
                yield _telemetry(event)

    async def get_session_summary(self, session_id: str) -> SessionSummary:
        """Return the counters of a session. Raises BadRequest when there is none of this id."""
        response = await self._house.get(f"sessions/{named(session_id)}")
        if "lane" not in response or response.get("request"):
            raise BadRequest(
                f"session {session_id} has not begun: {response.get('why') or response['state']}"
            )
        return _summary(response)

    async def provide_model_access(
        self, model: str, *, lives_s: int = 900, max_tokens: int = 200_000
    ) -> ModelEndpoint:
        """Lend one model of a lane, through the house's socket, for a short time."""
        response = await self._house.post(
            "loans",
            {"model": model, "lives_s": lives_s, "max_tokens": max_tokens, "asked_by": asked_by()},
        )
        return ModelEndpoint(
            base_url=f"http://house/v1/models/{response['lane']}/v1",
            socket=str(self._house.socket),
            api_key=response["token"],
            model=response["model"],
            expires_s=response["expires_s"],
            lane=response["lane"],
            loan_id=response["id"],
        )

    async def revoke_model_access(self, endpoint: ModelEndpoint) -> bool:
        """Take a lent model back at once; False when it had ended. Needs no approval."""
        response = await self._house.post(f"loans/{named(endpoint.loan_id)}/revoke")
        return bool(response["revoked"])


def _raise_unbegun(session: dict[str, Any]) -> None:
    """Raise what a session that never began came to; return while it still may."""
    why, state = str(session.get("why") or session["state"]), session["state"]
    if session.get("request"):
        kinds = {"failed": EffectFailed, "withdrawn": Withdrawn, "expired": Expired}
        if state in kinds:
            raise kinds[state](f"session {session['id']}: {why}", session["id"])


def _result(session: dict[str, Any]) -> HermesResult:
    return HermesResult(
        session["id"],
        session["end"],
        session.get("output", ""),
        session["why"],
        session["model"],
        session["tokens"],
        session.get("cost_usd"),
        session.get("duration_s"),
        session["tools"],
        session["denied"],
        session["local"],
    )


def _summary(session: dict[str, Any]) -> SessionSummary:
    names = SessionSummary.__struct_fields__
    known = {name: session[name] for name in names if name in session}
    return SessionSummary(
        **{**known, "session_id": session["id"], "state": session["end"] or session["state"]}
    )


def _telemetry(event: dict[str, Any]) -> TelemetryEvent:
    return TelemetryEvent(
        event["row"],
        str(event["data"].get("session", "")),
        event["type"],
        event["time"],
        event["lane"],
        event["archived_s"],
        event["data"],
        event["words"],
    )
