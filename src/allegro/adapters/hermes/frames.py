"""What one frame of Hermes' stream says, as an agent event; total over every frame there can be."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from allegro.adapters.hermes.completeness import MAX_OUTPUT
from allegro.core.agent.sessions import (
    AgentEvent,
    Answered,
    Asked,
    End,
    Ended,
    Gap,
    TextDelta,
    ToolBegan,
    ToolEnded,
)
from allegro.core.base.untrusted import (
    MAX_DEPTH,
    MAX_NUMBER,
    Unreadable,
    is_text,
    read_json,
    real_of,
    text_of,
)

MAX_TOOL = 200
MAX_WHY = 4_000
MAX_DIGITS = 4_000
_ENDS = {
    "completed": End.COMPLETED,
    "failed": End.FAILED,
    "cancelled": End.STOPPED,
    "interrupted": End.LOST,
}
_ALIASES = {"approve": "once", "approved": "once", "allow": "once"}
_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    rb"|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)

Frame = Mapping[str, Any]


def read_object(raw: bytes) -> dict[str, Any] | Unreadable:
    """Read a JSON object of Hermes.

    Python writes half of a character where a text was cut within one: it becomes a replacement.
    """
    found = read_json(raw, dict[str, Any])
    if isinstance(found, Unreadable):
        mended = _ESCAPE.sub(_whole_character, raw)
        return read_json(mended, dict[str, Any]) if mended != raw else found
    return found


def _whole_character(escape: re.Match[bytes]) -> bytes:
    return b"\\ufffd" if escape[1] else escape[0]


def end_of_status(run: Frame) -> Ended | None:
    """Return the end that a run's status tells, None while it goes on."""
    status = run.get("status")
    end = _ENDS.get(status) if isinstance(status, str) else None
    return None if end is None else _ended(end, run)


def event_of(frame: Frame) -> AgentEvent | None:
    """Return what one frame of the stream tells, None for what others tell better."""
    name = frame.get("event")
    read = READERS.get(name) if isinstance(name, str) else None
    return None if read is None else read(frame)


def _delta(frame: Frame) -> AgentEvent:
    return TextDelta(text_of(frame.get("delta"), MAX_OUTPUT))


def _interim(frame: Frame) -> AgentEvent | None:
    """Text beside tool calls: on some surfaces it was streamed before."""
    if frame.get("already_streamed") is True:
        return None
    return TextDelta(text_of(frame.get("text"), MAX_OUTPUT))


def _asked(frame: Frame) -> AgentEvent:
    keys = frame.get("pattern_keys")
    return Asked(
        text_of(frame.get("command"), MAX_OUTPUT),
        text_of(frame.get("description"), MAX_OUTPUT),
        tuple(text_of(one, MAX_TOOL) for one in keys[:20]) if isinstance(keys, list) else (),
        request_id=text_of(frame.get("request_id"), MAX_TOOL),
    )


def _answered(frame: Frame) -> AgentEvent:
    choice = text_of(frame.get("choice"), 20)
    return Answered(_ALIASES.get(choice, choice))


def _tool_began(frame: Frame) -> AgentEvent:
    words = {"preview": text_of(frame.get("preview"), MAX_WHY)}
    return ToolBegan(text_of(frame.get("tool"), MAX_TOOL), "", words)


def _tool_ended(frame: Frame) -> AgentEvent:
    seconds = real_of(frame.get("duration"))
    ms = None if seconds is None else real_of(seconds * 1000.0)
    preview = text_of(frame.get("preview"), MAX_WHY)
    return ToolEnded(
        text_of(frame.get("tool"), MAX_TOOL),
        "",
        frame.get("error") is False,
        ms,
        {"preview": preview} if preview else {},
    )


def _child_began(frame: Frame) -> AgentEvent:
    words = {"goal": text_of(frame.get("goal"), MAX_WHY)}
    return ToolBegan("subagent", text_of(frame.get("subagent_id"), MAX_TOOL), words)


def _child_ended(frame: Frame) -> AgentEvent:
    ok = frame.get("status") == "completed"
    words = {"preview": text_of(frame.get("preview"), MAX_WHY)}
    return ToolEnded("subagent", text_of(frame.get("subagent_id"), MAX_TOOL), ok, None, words)


def _steered(_: Frame) -> AgentEvent:
    return Gap("another client of this Hermes put words into the run; which ones is not told")


def _end_reader(end: End) -> Callable[[Frame], AgentEvent]:
    return lambda frame: _ended(end, frame)


READERS: Mapping[str, Callable[[Frame], AgentEvent | None]] = {
    "message.delta": _delta,
    "message.interim": _interim,
    "approval.request": _asked,
    "approval.responded": _answered,
    "tool.started": _tool_began,
    "tool.completed": _tool_ended,
    "subagent.start": _child_began,
    "subagent.complete": _child_ended,
    "run.steered": _steered,
    **{f"run.{name}": _end_reader(end) for name, end in _ENDS.items()},
}
"""Every event that is read. `reasoning.*` repeats the answer, `replay.truncated` is a hole."""


def _ended(end: End, frame: Frame) -> Ended:
    """Read an end. Newer versions tell `turn_exit_reason` where there is no error."""
    usage = frame.get("usage")
    numbers = usage if isinstance(usage, dict) else {}
    claimed = {
        text_of(name, 40): value
        for name, value in list(numbers.items())[:10]
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < MAX_NUMBER
    }
    error = frame.get("error")
    error = text_of(error.get("message") if isinstance(error, dict) else error, MAX_WHY)
    if end is not End.COMPLETED and not error:
        error = text_of(frame.get("turn_exit_reason"), MAX_WHY)
    if end is End.FAILED and not error:
        error = "the agent gave no reason"
    runtime = frame.get("runtime")
    served = text_of(runtime.get("model"), MAX_TOOL) if isinstance(runtime, dict) else ""
    return Ended(end, text_of(frame.get("output"), MAX_OUTPUT), error, claimed, served)


def stamp_of(value: object) -> float:
    """Return the time that a frame or datagram tells of itself, 0 where it tells none."""
    return real_of(value) or 0.0


def tamed(value: Any, depth: int = MAX_DEPTH) -> Any:
    """Return a decoded value as JSON holds it; what it cannot hold becomes words that say what it was.

    A call's arguments are told home whatever stands in them: one odd number loses nothing else.
    """
    if isinstance(value, dict | list) and depth <= 0:
        return "[nested too deep]"
    if isinstance(value, dict):
        return {text_of(key, MAX_WHY): tamed(inner, depth - 1) for key, inner in value.items()}
    if isinstance(value, list):
        return [tamed(inner, depth - 1) for inner in value]
    return _tamed_leaf(value)


def _tamed_leaf(value: Any) -> Any:
    if isinstance(value, str):
        return value if is_text(value) else text_of(value, len(value))
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        if -MAX_NUMBER < value < MAX_NUMBER:
            return value
        return str(value) if value.bit_length() < 3 * MAX_DIGITS else "[a longer number]"
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    return f"[{type(value).__name__}]"


def json_of(value: Any) -> str:
    """Return a tamed value as JSON, for what is shown or compared."""
    return msgspec.json.encode(value).decode()


def squeezed(text: object) -> str:
    """Return the words of a call's arguments, or of what the stream shows of them, without spaces.

    Hermes shows the beginning of one argument, with dots or a count of what it left out behind.
    """
    words = "".join(str(one) for one in text.values()) if isinstance(text, dict) else text
    return "".join(words.split()).rstrip(".…") if isinstance(words, str) else ""
