"""What a question of Hermes is about: only what is shown whole may be approved (H8, S10).

The stream hides what looks like a secret (`X=***`), and a shell runs it all the same. The plugin
tells the arguments of each call as they are, before Hermes asks.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from allegro.core.sessions import AgentEvent, Asked, ToolBegan, ToolEnded

MAX_COMMAND = 16_000
MAX_OPEN = 64
_MASK = re.compile(r"\*{3,}|\.\.\.|\[REDACTED[^\]]*\]|«redacted[^»]*»")


class OpenCalls:
    """The tool calls that run now, with what each would execute; None where that is not known."""

    def __init__(self) -> None:
        self._open: list[tuple[str, str, str | None]] = []

    def hear(self, event: AgentEvent) -> None:
        if isinstance(event, ToolBegan):
            text = _executed(event.words.get("args") if isinstance(event.words, dict) else None)
            self._open = [*self._open, (event.tool, event.call, text)][-MAX_OPEN:]
        elif isinstance(event, ToolEnded):
            ended = next((one for one in self._open if one[:2] == (event.tool, event.call)), None)
            if ended is not None:
                self._open.remove(ended)

    def whole(self, asked: Asked, *, is_complete: bool) -> Asked:
        """Return the question with what would run, or with the reason why it must be denied.

        A masked command may be shown of several calls alike: it is known only where one call runs
        and no word of the plugin is missing (`is_complete`).
        """
        texts = [text for _, _, text in self._open]
        if not _MASK.search(asked.command):
            if asked.command in texts:
                return within_size(asked)
        elif is_complete and len(texts) == 1 and texts[0] and _may_show(asked.command, texts[0]):
            return within_size(msgspec.structs.replace(asked, command=texts[0]))
        return refused(asked, "what would run is not known for sure")


def unmasked(asked: Asked) -> Asked:
    """Return the question of an agent that tells no arguments: denied where a part seems hidden."""
    if _MASK.search(asked.command):
        return refused(asked, "this Hermes hides a part of what would run")
    return within_size(asked)


def within_size(asked: Asked) -> Asked:
    """Return the question, denied where it is longer than can be shown."""
    if max(len(asked.command), len(asked.description)) > MAX_COMMAND:
        return refused(asked, f"it is longer than {MAX_COMMAND} characters")
    return asked


def refused(asked: Asked, why: str) -> Asked:
    """Return a question that no approval may meet, cut to what can be shown."""
    return msgspec.structs.replace(
        asked, command=asked.command[:MAX_COMMAND], description=asked.description[:MAX_COMMAND],
        refused=why,
    )  # fmt: skip


def _executed(args: Any) -> str | None:
    """Return what a call would execute, in the form in which Hermes asks about it."""
    if not isinstance(args, dict):
        return None
    command, code = args.get("command"), args.get("code")
    if isinstance(command, str):
        return command
    return f"execute_code <<'PY'\n{code}\nPY" if isinstance(code, str) else None


def _may_show(shown: str, text: str) -> bool:
    """Whether `shown` is `text` with parts of it hidden."""
    first, *others = _MASK.split(shown)
    if not others or not text.startswith(first):
        return False
    at = len(first)
    *middle, last = others
    for part in middle:
        found = text.find(part, at)
        if found < 0:
            return False
        at = found + len(part)
    return len(text) - at >= len(last) and text.endswith(last)
