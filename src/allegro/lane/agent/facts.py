"""Doctor's facts about agent sessions, models and the sandbox around them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from allegro.core.agent.tools import REFUSED, TRIED, is_tried
from allegro.core.effects.render import one_line
from allegro.core.health.facts import Fact
from allegro.core.settings import LaneSettings


def running_facts(settings: LaneSettings, status: Mapping[str, Any]) -> list[Fact]:
    """Return what a running lane knows of its gateways, tools, models and spend."""
    waiting = [one for one in status["running"] if one["waits_for_answer"]]
    facts = [_gateway_fact(status), *_tool_facts(settings, status)]
    facts += [
        Fact("a question waits", "warn", f"session {one['session'][:10]}, question "
             f"{one['waits_for_answer']}", "gateway", mend="allegro requests, then approve or reject")
        for one in waiting
    ]  # fmt: skip
    facts += [
        Fact("model provider", "warn", f"{one['provider']} ({one['model']}): {one['trouble']}, "
             f"passed over for {one['for_s']:.0f} s", "model proxy",
             mend=_MENDS.get(one["trouble"], "the ladder goes on with the next"))
        for one in status["cooling"] if one["for_s"] > 0
    ]  # fmt: skip
    facts += [
        Fact("model dialect", "ok", f"{one['provider']} ({one['model']}): {one['takes']}",
             "learnt from its refusals")
        for one in status.get("dialects") or ()
    ]  # fmt: skip
    spent = status["spent_today"]
    models = settings.models
    near = (
        spent["usd"] >= 0.8 * models.usd_per_day or spent["tokens"] >= 0.8 * models.tokens_per_day
    )
    told = f"{spent['usd']:.2f} of {models.usd_per_day:g} USD, {spent['tokens']} of {models.tokens_per_day} tokens"
    unpriced = (
        f"; {spent['unpriced_tokens']} tokens of unknown price" if spent["unpriced_tokens"] else ""
    )
    facts.append(Fact("spend today", "warn" if near else "ok", told + unpriced, "model proxy"))
    return facts


_MENDS = {
    "dead_key": "put a living key into its key_file; it is probed again by itself",
    "quota": "raise the quota at the provider, or wait for its reset",
    "unknown_model": "correct models.rungs: upstream",
    "parameter": "it refuses a parameter that the lane adds; allegro events --type model.",
}


def agent_words(version: str) -> str:
    """Return which Hermes this is, and whether its version was run with our settings."""
    if is_tried(version):
        return f"hermes-agent {version}"
    return (
        f"hermes-agent {one_line(version) or 'of unknown version'}, not one that was tried "
        f"({', '.join(TRIED)}): only the check at start speaks for it"
    )


def _gateway_fact(status: Mapping[str, Any]) -> Fact:
    told = f"{status['ready']} of {status['gateways']} ready, {agent_words(status['version'])}"
    if status["trouble"]:
        return Fact("hermes", "bad", status["trouble"][:300], "gateway start",
                    mend="allegro hermes install --config lane.toml; then read the lane's log")  # fmt: skip
    return Fact("hermes", "ok", told, "gateways and their check at start")


def _tool_facts(settings: LaneSettings, status: Mapping[str, Any]) -> list[Fact]:
    wanted, have = settings.hermes.tools, status["tools"]
    if status["sandbox"] != "bubblewrap":
        return [Fact("sandbox", "bad" if wanted else "warn", status["sandbox"], "tried at start",
                     mend="tools stay off without one; install bubblewrap, then restart")]  # fmt: skip
    facts = [Fact("sandbox", "ok", "bubblewrap", "tried at start")]
    if set(wanted) - set(have):
        off = status.get("off") or {}
        words = (
            "; ".join(f"{name}: {why}" for name, why in off.items()) or "the check at start failed"
        )
        facts.append(Fact("tools", "bad", f"off: {words}"[:600], "check at start",
                          mend="see docs/hermes.md: another version, or take it out of hermes.tools"))  # fmt: skip
    else:
        facts.append(Fact("tools", "ok", ", ".join(have) or "none switched on", "lane.toml"))
    return facts


def swap_fact(swaps: str) -> Fact:
    """Judge /proc/swaps: what is swapped out leaves memory for a disk (H7)."""
    devices = [line.split()[0] for line in swaps.splitlines()[1:] if line.strip()]
    if not devices:
        return Fact("swap", "ok", "none: what is in memory stays there", "/proc/swaps")
    return Fact("swap", "warn", f"on: {', '.join(devices)}; sessions in memory may reach that disk",
                "/proc/swaps", mend="swapoff -a, or MemorySwapMax=0 in the lane's unit, or encrypt it")  # fmt: skip


def existing_facts(toolsets: Iterable[str], settings: LaneSettings) -> list[Fact]:
    """Judge a Hermes that somebody else runs, by what its API tells."""
    facts = [
        Fact("approvals of that Hermes", "warn", "its API does not tell approvals.mode", "hermes.url",
             mend="set approvals: {mode: manual} there: its default lets a model decide"),
        Fact("sandbox", "warn", "a Hermes by URL runs as whoever runs it", "hermes.url",
             mend="let the lane run Hermes itself: hermes.gateways without hermes.url"),
    ]  # fmt: skip
    on = list(toolsets)
    facts += [
        Fact("toolset of that Hermes", "bad", f"{name} is on: {REFUSED[name]}", "/v1/toolsets",
             mend=f"take {name} out of platform_toolsets.api_server there")
        for name in on if name in REFUSED
    ]  # fmt: skip
    rest = [name for name in on if name not in REFUSED]
    if rest:
        facts.append(Fact("tools of that Hermes", "warn", ", ".join(rest), "/v1/toolsets",
                          mend="leave on what you would hand to a stranger"))  # fmt: skip
    return facts
