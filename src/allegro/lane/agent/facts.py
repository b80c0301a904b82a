"""Doctor's facts about agent sessions, models and the sandbox around them."""

from __future__ import annotations

from collections.abc import Iterable

from allegro.core.agent.tools import REFUSED, TRIED, is_tried
from allegro.core.effects.render import one_line
from allegro.core.health import codes
from allegro.core.health.facts import Fact, State
from allegro.core.protocol.answers.lane import LaneSessions, SpentToday
from allegro.core.settings import LaneSettings

BUBBLEWRAP = "bubblewrap"
"""What the status names as the sandbox where one works; else it holds why there is none."""


def running_facts(settings: LaneSettings, status: LaneSessions) -> list[Fact]:
    """Return what a running lane knows of its gateways, tools, models and spend."""
    facts = [_gateway_fact(status), *_tool_facts(settings, status)]
    facts += [
        Fact(
            codes.QUESTION,
            "warn",
            f"question {one.waits_for_answer}",
            "gateway",
            f"of session {one.session[:10]}",
        )
        for one in status.running
        if one.waits_for_answer
    ]
    facts += [
        Fact(
            codes.PROVIDER,
            "warn",
            f"{one.trouble}, passed over for {one.for_s:.0f} s",
            "model proxy",
            f"{one.model} at {one.provider}",
        )
        for one in status.cooling
        if one.for_s > 0
    ]
    facts += [
        Fact(
            codes.DIALECT,
            "ok",
            one.takes,
            "learnt from its refusals",
            f"{one.model} at {one.provider}",
        )
        for one in status.dialects
    ]
    return [*facts, _spend_fact(settings, status.spent_today)]


def _spend_fact(settings: LaneSettings, spent: SpentToday) -> Fact:
    models = settings.models
    near = spent.usd >= 0.8 * models.usd_per_day or spent.tokens >= 0.8 * models.tokens_per_day
    words = (
        f"{spent.usd:.2f} of {models.usd_per_day:g} USD, "
        f"{spent.tokens} of {models.tokens_per_day} tokens"
    )
    if spent.unpriced_tokens:
        words += f"; {spent.unpriced_tokens} tokens of unknown price"
    return Fact(codes.SPEND, "warn" if near else "ok", words, "model proxy")


def agent_words(version: str) -> str:
    """Return which Hermes this is, and whether its version was run with our settings."""
    if is_tried(version):
        return f"hermes-agent {version}"
    return (
        f"hermes-agent {one_line(version) or 'of unknown version'}, not one that was tried "
        f"({', '.join(TRIED)}): only the check at start speaks for it"
    )


def _gateway_fact(status: LaneSessions) -> Fact:
    if status.trouble:
        return Fact(codes.HERMES, "bad", status.trouble[:300], "gateway start")
    ready = f"{status.ready} of {status.gateways} ready, {agent_words(status.version)}"
    return Fact(codes.HERMES, "ok", ready, "gateways and their check at start")


def _tool_facts(settings: LaneSettings, status: LaneSessions) -> list[Fact]:
    wanted, have = settings.hermes.tools, status.tools
    if status.sandbox != BUBBLEWRAP:
        state: State = "bad" if wanted else "warn"
        return [Fact(codes.SANDBOX, state, status.sandbox, "tried at start")]
    facts = [Fact(codes.SANDBOX, "ok", BUBBLEWRAP, "tried at start")]
    if set(wanted) - set(have):
        off = status.off
        words = (
            "; ".join(f"{name}: {why}" for name, why in off.items()) or "the check at start failed"
        )
        facts.append(Fact(codes.TOOLS, "bad", f"off: {words}"[:600], "check at start"))
    else:
        facts.append(Fact(codes.TOOLS, "ok", ", ".join(have) or "none switched on", "lane.toml"))
    return facts


def swap_fact(swaps: str) -> Fact:
    """Judge /proc/swaps: what is swapped out leaves memory for a disk (H7)."""
    devices = [line.split()[0] for line in swaps.splitlines()[1:] if line.strip()]
    if not devices:
        return Fact(codes.SWAP, "ok", "none: what is in memory stays there", "/proc/swaps")
    words = f"on: {', '.join(devices)}; sessions in memory may reach that disk"
    return Fact(codes.SWAP, "warn", words, "/proc/swaps")


def existing_facts(toolsets: Iterable[str], settings: LaneSettings) -> list[Fact]:
    """Judge a Hermes that somebody else runs, by what its API tells."""
    untold = "its API does not tell approvals.mode"
    foreign = "a Hermes by URL runs as whoever runs it; the lane can run it: hermes.gateways"
    facts = [
        Fact(codes.HERMES_APPROVALS, "unknown", untold, "hermes.url"),
        Fact(codes.SANDBOX, "warn", foreign, "hermes.url"),
    ]
    on = list(toolsets)
    facts += [
        Fact(codes.HERMES_TOOLSET, "bad", f"{name} is on: {REFUSED[name]}", "/v1/toolsets", name)
        for name in on
        if name in REFUSED
    ]
    if rest := [name for name in on if name not in REFUSED]:
        facts.append(Fact(codes.HERMES_TOOLS, "warn", ", ".join(rest), "/v1/toolsets"))
    return facts
