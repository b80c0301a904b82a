"""Codes of sessions, the sandbox around them, and model providers."""

from __future__ import annotations

from allegro.core.health.codes import runbook
from allegro.core.health.codes.code import P0, P1, P2, P3, Code

HERMES = Code(
    "agent.hermes",
    "hermes",
    P1,
    fix=(
        "Run `allegro hermes install --config lane.toml`, then read the lane's log; with hermes.url "
        "check that it answers and hermes.key_file."
    ),
    runbook=runbook.SESSION,
)
HERMES_APPROVALS = Code(
    "agent.hermes.approvals",
    "approvals of a foreign Hermes",
    P2,
    fix="Set approvals.mode to manual there: its default lets a model decide.",
    runbook=runbook.SESSION,
)
HERMES_TOOLSET = Code(
    "agent.hermes.toolset",
    "toolset of a foreign Hermes",
    P1,
    fix="Take {subject} out of platform_toolsets.api_server there.",
    runbook=runbook.SESSION,
)
HERMES_TOOLS = Code(
    "agent.hermes.tools",
    "tools of a foreign Hermes",
    P2,
    fix="Leave on what you would hand to a stranger.",
    runbook=runbook.SESSION,
)
SANDBOX = Code(
    "agent.sandbox",
    "sandbox",
    P1,
    fix="Install bubblewrap and restart; tools stay off without a sandbox.",
    runbook=runbook.SESSION,
)
SANDBOX_ATTACK = Code(
    "agent.sandbox.attack",
    "attack on the sandbox",
    P0,
    fix="Switch every tool off and report this.",
    runbook=runbook.SESSION,
    depends_on="agent.sandbox",
)
TOOLS = Code(
    "agent.tools",
    "tools",
    P1,
    fix="See docs/hermes.md: install another version, or take the tool out of hermes.tools.",
    runbook=runbook.SESSION,
    depends_on="agent.sandbox",
)
FORGED = Code(
    "agent.forged",
    "forged facts of a session",
    P1,
    fix="Read the session's events; stop it if it goes on.",
    runbook=runbook.SESSION,
    alert="session {subject}: {count} facts were forged inside its sandbox, none believed",
)
QUESTION = Code(
    "agent.question",
    "question that waits",
    P2,
    fix="Run `allegro requests`, then approve or reject.",
    runbook=runbook.QUESTION,
)
QUESTION_UNREADABLE = Code(
    "agent.question.unreadable",
    "question that cannot be read",
    P1,
    fix="Read the session's events; stop it if it goes on.",
    runbook=runbook.QUESTION,
    alert="session {subject}: a question that cannot be read",
)
QUESTION_DENIED = Code(
    "agent.question.denied",
    "question that was denied",
    P2,
    fix="Nothing: the session goes on without it.",
    runbook=runbook.QUESTION,
    alert="session {subject}: its lane denied a question: {reason}",
)
QUESTION_UNASKED = Code(
    "agent.question.not_asked",
    "question that cannot be asked",
    P1,
    fix="Read the reason; the lane denies the question when its time is over.",
    runbook=runbook.QUESTION,
    alert="session {subject}: a question that cannot be asked: {reason}",
)
PROVIDER = Code(
    "model.provider",
    "model provider",
    P2,
    fix="See the runbook's table for the trouble that is named; the ladder goes on with the next.",
    runbook=runbook.PROVIDER,
)
DIALECT = Code(
    "model.dialect",
    "how a provider wants to be asked",
    P3,
    fix="Nothing.",
    runbook=runbook.PROVIDER,
)
SPEND = Code(
    "model.spend",
    "spend of today",
    P2,
    fix="Raise the cap and restart the lane, or wait.",
    runbook=runbook.PROVIDER,
)
