"""A session's events as a person reads them: for the command line, the demo and your programs."""

from __future__ import annotations

from allegro.client.hermes_bridge import TelemetryEvent
from allegro.core.base.untrusted import text_of
from allegro.core.effects.render import lined, one_line, visible
from allegro.core.protocol.event_types import EventType

MAX_DELTA = 1_000_000
BAR = "  │ "


def text_piece(event: TelemetryEvent) -> str:
    """Return the words of a piece of the model's text, made visible."""
    words = event.words if isinstance(event.words, dict) else {}
    return visible(text_of(words.get("text"), MAX_DELTA))


def step_line(event: TelemetryEvent, *, in_text: bool = False) -> tuple[str, bool]:
    """Return what a person reads of one event, and whether a line ends there.

    Each line of the model's own text stands behind a bar, so that it cannot be taken for a question
    or a result, which begin a line. `in_text` says that the piece before was such text too.
    """
    words = lined(event.words) if isinstance(event.words, dict) else {}
    facts = lined(event.facts)
    match event.type:
        case EventType.SESSION_DELTA:
            text = text_piece(event).replace("\n", "\n" + BAR)
            return (text if in_text or not text else BAR + text), False
        case EventType.SESSION_TOOL_BEGAN:
            shown = words.get("args") or words.get("preview") or ""
            return f"\n· {facts.get('tool')}: {one_line(shown, 200)}", True
        case EventType.SESSION_TOOL_ENDED if not facts.get("ok"):
            return f"· {facts.get('tool')} failed or was refused", True
        case EventType.SESSION_QUESTION:
            question = f"\n? it wants to: {words.get('command')}  ({words.get('description')})"
            if words.get("refused"):
                return f"{question}\n  denied: {words['refused']}", True
            return question + "\n  allegro requests; allegro approve DIGEST; or reject", True
        case EventType.SESSION_ANSWERED:
            return f"  answered: {facts.get('choice')}", True
        case EventType.MODEL_RESULT if facts.get("result") != "ok":
            return f"\n· {facts.get('provider')}: {facts.get('result')}", True
        case EventType.TELEMETRY_GAP:
            return (
                "\n· some of its output was lost on the way; the whole answer comes at the end",
                True,
            )
        case EventType.SESSION_END:
            return "\n", False
        case _:
            return "", False
