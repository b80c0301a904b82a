"""Tries a gateway before it serves: it must ask, take a no, and offer exactly its tools (H8, H11)."""

from __future__ import annotations

from allegro.core.agent.sessions import Answered, Asked, End, Ended, Gap
from allegro.core.agent.tools import against_offer
from allegro.core.base.errors import EdgeError
from allegro.core.ports import AgentGateway, GatewaySpec, Run
from allegro.lane.models.canary import CANARY_PROMPT, CanarySeen
from allegro.lane.models.grants import Grant
from allegro.lane.models.proxy import ModelProxy

CANARY_S = 60.0
CODE = "execute_code"


class CheckFailed(EdgeError):
    """A gateway differs from what its tools promise; it is not used.

    `tool` names the one toolset that is to blame, empty where it is the agent as a whole.
    """

    def __init__(self, message: str, tool: str = "") -> None:
        super().__init__(message, transient=True, kind="check_failed")
        self.tool = tool


async def check(
    proxy: ModelProxy, spec: GatewaySpec, gateway: AgentGateway, session: str, until_s: float
) -> None:
    """Let a canned model order something dangerous and look at all that comes of it.

    Raises CheckFailed with what differs, EdgeError where the check itself did not come to its end.
    """
    model = spec.models[0] if spec.models else ""
    seen = CanarySeen()
    grant = Grant("canary", model, until_s, 0, is_canary=True, seen=seen)
    proxy.grant(spec.token, grant)
    try:
        asked, denied = await _play(gateway, Run(session, CANARY_PROMPT, "", (), model))
    finally:
        proxy.revoke(spec.token)
    if "terminal" in spec.tools and not any(CODE not in command for command in asked):
        raise CheckFailed(
            "this Hermes did not ask before a dangerous command: every tool stays off"
        )
    if denied < len(asked):
        raise CheckFailed("this Hermes did not take our no: every tool stays off")
    if fault := against_offer(spec.tools, seen.offered) or seen.fault():
        raise CheckFailed(f"this Hermes is not used: {fault}")
    if CODE in seen.offered and not any(CODE in command for command in asked):
        why = "this Hermes runs or blocks code without asking"
        raise CheckFailed(f"{why}: code_execution stays off", tool="code_execution")


async def _play(gateway: AgentGateway, run: Run) -> tuple[list[str], int]:
    """Deny whatever it asks, to its end; return the questions and how many took the no."""
    name = await gateway.begin(run)
    asked: list[str] = []
    denied, gap = 0, ""
    async for event in gateway.events(name):
        if isinstance(event, Asked):
            asked.append(event.command)
            await gateway.answer(name, "deny")
        elif isinstance(event, Answered):
            denied += event.choice == "deny"
        elif isinstance(event, Gap):
            gap = event.reason
        elif isinstance(event, Ended) and event.end is not End.COMPLETED:
            raise EdgeError(f"Hermes' check at start {event.end}: {event.error}", transient=True)
    if gap:  # what was not seen must not count against the agent
        raise EdgeError(f"the check at start was not seen whole: {gap}", transient=True)
    return asked, denied
