"""What a question of Hermes is about: only what is shown whole may be approved (H8, S10).

The stream hides what looks like a secret (`X=***`), and a shell runs it all the same; of a file
that is written it names no more than the file. The plugin tells the arguments of each call as they
are, before Hermes asks.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from allegro.adapters.hermes.frames import json_of
from allegro.core.agent.sessions import AgentEvent, Asked, ToolBegan, ToolEnded

MAX_COMMAND = 16_000
MAX_OPEN = 64
WRITES = frozenset({"write_file", "patch"})
_WRITE = re.compile(r"<write to [^\n]+>")
_MASK = re.compile(r"\*{3,}|\.\.\.|\[REDACTED[^\]]*\]|«redacted[^»]*»")


class Call(msgspec.Struct, frozen=True):
    """A tool call that runs. `text` is what it would execute or write, None where not known."""

    tool: str
    id: str
    text: str | None


class OpenCalls:
    """The tool calls that run now."""

    def __init__(self) -> None:
        self._open: list[Call] = []

    def hear(self, event: AgentEvent) -> None:
        if isinstance(event, ToolBegan):
            args = event.words.get("args") if isinstance(event.words, dict) else None
            call = Call(event.tool, event.call, _text_of_call(event.tool, args))
            self._open = [*self._open, call][-MAX_OPEN:]
        elif isinstance(event, ToolEnded):
            ended = next(
                (one for one in self._open if (one.tool, one.id) == (event.tool, event.call)), None
            )
            if ended is not None:
                self._open.remove(ended)

    def whole(self, asked: Asked, *, is_complete: bool) -> Asked:
        """Return the question with what would run, or with the reason why it must be denied.

        A masked command, and a write that names its file alone, may be shown of several calls
        alike: it is known only where one call runs and no word of the plugin is missing
        (`is_complete`).
        """
        texts = [call.text for call in self._open if call.tool not in WRITES]
        is_plain = not _MASK.search(asked.command) and not _WRITE.fullmatch(asked.command)
        if is_plain and asked.command in texts:
            return within_size(asked)
        only = self._open[0] if is_complete and len(self._open) == 1 else None
        if only is not None and only.text and self._may_be(only, asked.command):
            text = f"{asked.command}\n{only.text}" if only.tool in WRITES else only.text
            return within_size(msgspec.structs.replace(asked, command=text))
        return refused(asked, "what would run is not known for sure")

    @staticmethod
    def _may_be(call: Call, shown: str) -> bool:
        """Say whether a question that shows this may be about this call."""
        if call.tool in WRITES:
            return _WRITE.fullmatch(shown) is not None
        return shown == call.text or _may_show(shown, call.text or "")


def unmasked(asked: Asked) -> Asked:
    """Return the question of an agent that tells no arguments: denied where a part seems hidden."""
    if _MASK.search(asked.command) or "\ufffd" in asked.command:
        return refused(asked, "this Hermes hides a part of what would run")
    if _WRITE.fullmatch(asked.command):
        return refused(asked, "this Hermes does not show what would be written")
    return within_size(asked)


def within_size(asked: Asked) -> Asked:
    """Return the question, denied where it shows nothing, or is longer than can be shown."""
    if not asked.command.strip():
        return refused(asked, "it does not say what would run")
    if max(len(asked.command), len(asked.description)) > MAX_COMMAND:
        return refused(asked, f"it is longer than {MAX_COMMAND} characters")
    return asked


def refused(asked: Asked, why: str) -> Asked:
    """Return a question that no approval may meet, cut to what can be shown."""
    return msgspec.structs.replace(
        asked,
        command=asked.command[:MAX_COMMAND],
        description=asked.description[:MAX_COMMAND],
        refused=why,
    )


def _text_of_call(tool: str, args: Any) -> str | None:
    """Return what a call would execute, as Hermes asks about it, or what it would write."""
    if not isinstance(args, dict):
        return None
    if tool in WRITES:
        return _text_of_write(tool, args)
    command, code = args.get("command"), args.get("code")
    if isinstance(command, str):
        return command
    return f"execute_code <<'PY'\n{code}\nPY" if isinstance(code, str) else None


def _text_of_write(tool: str, args: dict[str, Any]) -> str:
    """Return the tool, the path, every other argument, and the text line by line.

    Each line of text has a mark before it, so that no content can look like another argument.
    """
    texts = {name: args[name] for name in _TEXTS if isinstance(args.get(name), str)}
    rest = {name: value for name, value in args.items() if name not in texts and name != "path"}
    lines = [f"{tool} {json_of(args.get('path'))}", *([json_of(rest)] if rest else [])]
    for name, text in texts.items():
        lines += [f"{_TEXTS[name]} {line}" for line in text.split("\n")]
    return "\n".join(lines)


_TEXTS = {"old_string": "-", "new_string": "+", "content": "+", "patch": "|"}


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
