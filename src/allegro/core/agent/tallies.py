"""What an agent and the model proxy counted of one session by themselves, beside its telemetry.

A tally is taken where a session ends and travels by another way than the session's events: so what
arrived can be compared with what happened, and a journal is never compared with itself.
"""

from __future__ import annotations

import msgspec

from allegro.core.base.untrusted import Name, Number


class AgentTally(msgspec.Struct, frozen=True):
    """What the agent's own record of a session says: model calls, tool calls, tokens."""

    calls: Number = 0
    tools: Number = 0
    tokens_in: Number = 0
    tokens_out: Number = 0


class SessionTally(msgspec.Struct, frozen=True, kw_only=True):
    """One session that ended at `ended_s` (Unix s). `agent` is None where it kept no record.

    `calls` and `tokens` are what the model proxy let through.
    """

    session: Name
    ended_s: float = 0.0
    agent: AgentTally | None = None
    calls: Number = 0
    tokens: Number = 0


class Counts(msgspec.Struct, frozen=True):
    """What the archive holds of one session. `calls` are different calls, whatever became of each."""

    ends: int = 0
    calls: int = 0
    tools: int = 0
    tokens: int = 0


class Compared(msgspec.Struct, frozen=True):
    """How many items were expected of one session and how many of them came home.

    An item is a tool call, a model call, or the end. `tokens_off` is by how many tokens the archive
    differs from what the proxy counted.
    """

    session: str
    expected: int
    received: int
    tokens_off: int = 0

    @property
    def is_whole(self) -> bool:
        return self.received >= self.expected and self.tokens_off == 0


def compared(tally: SessionTally, counts: Counts) -> Compared:
    """Compare what was counted by others with what came home.

    Of the model calls the larger of both counts is expected: an agent whose record was cut by its
    end counts too few, and so does a proxy that was asked by nobody else.
    """
    agent = tally.agent or AgentTally()
    calls = max(agent.calls, tally.calls)
    wanted = ((1, counts.ends), (agent.tools, counts.tools), (calls, counts.calls))
    return Compared(
        tally.session,
        expected=sum(want for want, _ in wanted),
        received=sum(min(want, had) for want, had in wanted),
        tokens_off=abs(tally.tokens - counts.tokens),
    )
