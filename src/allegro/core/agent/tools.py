"""Which tools a toolset of Hermes holds, and which toolsets no lane lets in, whatever the version.

The names were read in the versions of `TRIED`; docs/hermes.md has the table. What an agent really
offers is compared with it at every start, since a version may switch a toolset on beside those
that were asked for.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

TRIED = ("0.19.0", "0.22.2")
"""Versions that were run with these settings. Another one is used all the same, checked alike."""

TOOLS: Mapping[str, frozenset[str]] = {
    "terminal": frozenset({"terminal", "process", "process_manage"}),
    "file": frozenset({"read_file", "write_file", "patch", "search_files"}),
    "code_execution": frozenset({"execute_code"}),
    "web": frozenset({"web_search", "web_extract"}),
    "search": frozenset({"web_search"}),
    "vision": frozenset({"vision_analyze"}),
    "video": frozenset({"video_analyze"}),
    "image_gen": frozenset({"image_generate"}),
    "tts": frozenset({"text_to_speech"}),
    "todo": frozenset({"todo"}),
    "browser": frozenset({
        "browser_navigate", "browser_snapshot", "browser_click", "browser_type", "browser_scroll",
        "browser_back", "browser_press", "browser_get_images", "browser_vision", "browser_console",
        "browser_cdp", "browser_dialog", "web_search",
    }),
}  # fmt: skip

REFUSED: Mapping[str, str] = {
    "delegation": "its agents' calls are neither told nor asked about",
    "memory": "it keeps what sessions said",
    "session_search": "it reads earlier sessions",
    "skills": "it lets the agent write its own skills",
    "cronjob": "it lets the agent act on its own later",
    "kanban": "it lets the agent act on its own later",
}
UNKNOWN = "no version of this toolset was read: what it holds cannot be checked"


def why_refused(toolset: str) -> str:
    """Return why no lane lets this toolset in; empty where it may."""
    return REFUSED.get(toolset, "" if toolset in TOOLS else UNKNOWN)


def against_offer(toolsets: Collection[str], offered: Collection[str]) -> str:
    """Return what an agent offers beside its toolsets, or fails to offer; empty where it is right.

    `offered` are the names that a model saw. Some tools of a toolset are offered only where what
    they need is there; the terminal always is.
    """
    allowed = frozenset[str]().union(*(TOOLS.get(name, frozenset()) for name in toolsets))
    more = sorted(set(offered) - allowed)
    if more:
        on = (
            f"beside what {', '.join(sorted(toolsets))} holds"
            if toolsets
            else "with every tool off"
        )
        return f"it offers {', '.join(more[:8])} {on}"
    if "terminal" in toolsets and "terminal" not in offered:
        return "it offers no terminal, though that toolset is on"
    return ""


def is_tried(version: str) -> bool:
    """Say whether this version, or this fork's copy of it, was run with our settings."""
    number = version.partition(" ")[0].partition(".post")[0]
    return any(number == one or number.startswith(one + ".") for one in TRIED)
