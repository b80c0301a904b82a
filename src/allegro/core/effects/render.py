"""All text that leaves us: one place that tames foreign words and appends our marker."""

from __future__ import annotations

import enum
import re
import unicodedata
from typing import Any, TypeVar, cast

import msgspec

from allegro.core.authority.actions.families import kind_of
from allegro.core.authority.actions.family import Action
from allegro.core.authority.actions.forge import (
    CommentOnIssue,
    CreatePullRequest,
    MirrorRequest,
    ProposeChange,
)
from allegro.core.authority.policy import Needs, needs_of

T = TypeVar("T")

MAX_RENDERED = 60_000
_BREAK = "\u200b"
_MENTION = re.compile(r"@(?=[\w.-])")
_REFERENCE = re.compile(r"(?<=[#!])(?=\d)")
_LINKED = re.compile(r"(?<=/)(issues|pulls|pull|commit)/(?=\w)")
_COMMENT = re.compile(r"<!--")
_ENTITY = re.compile(r"&(?=#?\w+;)")
_VISIBLE_SPACES = frozenset("\n\t ")
_BLANK = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
_CUT = "\n\n*(cut: the text was longer)*"


def marker_line(marker: str) -> str:
    """Return the line that lets us find our own artifact. A place to look, never evidence."""
    return f"<!-- allegro:{marker} -->"


def tame(text: str) -> str:
    """Return text that notifies nobody, links to nothing and closes nothing on a forge.

    Mentions, references by `#`, `!` or address, HTML comments and the entities that could spell
    them are broken with a zero-width space, so that closing keywords have nothing to close.
    """
    text = _ENTITY.sub("&" + _BREAK, text)
    text = _MENTION.sub("@" + _BREAK, text)
    text = _REFERENCE.sub(_BREAK, text)
    text = _LINKED.sub(lambda match: f"{match[1]}/{_BREAK}", text)
    return _COMMENT.sub(f"<!{_BREAK}--", text)


def fence(foreign: str, *, limit: int = 2_000) -> str:
    """Return foreign text as a code block that it cannot close."""
    foreign = cap(foreign, limit)
    longest = max((len(run) for run in re.findall(r"`+", foreign)), default=0)
    ticks = "`" * max(3, longest + 1)
    return f"{ticks}text\n{tame(foreign)}\n{ticks}"


def cap(text: str, limit: int) -> str:
    """Return at most `limit` characters, and say so where something was cut."""
    return text if len(text) <= limit else text[: max(0, limit - len(_CUT))] + _CUT


def rendered_body(action: Action, marker: str) -> str:
    """Return the exact text that goes to the forge for an action that carries a body.

    Approved words go out as approved; words that were only ordered are tamed. The marker is
    appended last and is no part of the digest.
    """
    body: str = getattr(action, "body", "")
    if needs_of(kind_of(action)) is not Needs.APPROVAL:
        body = tame(body)
    body = cap(body.replace("\r\n", "\n").strip(), MAX_RENDERED)
    return f"{body}\n\n{marker_line(marker)}".strip()


def effect_words(action: Action, marker: str) -> str:
    """Return the words by which a poll's sight of an effect is known again; empty for none."""
    if isinstance(action, CommentOnIssue | MirrorRequest):
        return rendered_body(action, marker)
    if isinstance(action, ProposeChange | CreatePullRequest):
        return action.title + "\n" + rendered_body(action, marker)
    return ""


def visible(text: str) -> str:
    """Return text with every character made visible that a terminal would hide or obey.

    Control, format (bidirectional marks, zero-width), blank (fillers, variation selectors), private
    and unassigned characters become `⟨U+XXXX⟩`; line ends and tabs stay.
    """
    return "".join(_show(char) for char in text)


def one_line(value: object, limit: int = 300) -> str:
    """Return a foreign value as part of one line of a screen, log or alert.

    It can start no line, move no cursor and colour nothing: line ends and tabs become visible like
    every other hidden character. Longer than `limit` characters is cut with `…`. Never raises.
    """
    text = value if isinstance(value, str) else _words_of(value)
    cut = text[:limit]
    shown = "".join(char if char == " " else _show(char, spaces=False) for char in cut)
    return shown + "…" if len(text) > limit else shown


def lined(value: T, limit: int = 2_000) -> T:
    """Return an answer with every word in it made fit for one line (see `one_line`).

    Screens that print line by line use this copy, so that no field can be forgotten. Whole texts
    (a diff, an answer of a model) are shown from the answer itself, in a frame of their own.
    """
    return cast(T, _lined(value, limit))


def _lined(value: Any, limit: int) -> Any:
    if isinstance(value, enum.Enum):  # a word of ours
        return value
    if isinstance(value, str):
        return one_line(value, limit)
    if isinstance(value, msgspec.Struct):
        names = value.__struct_fields__
        changes = {name: _lined(getattr(value, name), limit) for name in names}
        return msgspec.structs.replace(value, **changes)
    if isinstance(value, dict):
        return {one_line(key): _lined(inner, limit) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_lined(inner, limit) for inner in value)
    return value


def framed(text: str) -> str:
    """Return a whole foreign text, made visible, each line behind a bar.

    None of its lines can be taken for one of the program's own, which never begin with a bar.
    """
    return "\n".join("  │ " + line for line in visible(text).split("\n"))


def _words_of(value: object) -> str:
    try:
        return str(value)
    except (ValueError, RecursionError):  # a number of 5,000 digits, a value nested too deep
        return f"<{type(value).__name__}>"


def _show(char: str, *, spaces: bool = True) -> str:
    if spaces and char in _VISIBLE_SPACES:
        return char
    hidden = unicodedata.category(char) in {"Cc", "Cf", "Co", "Cn", "Cs", "Zl", "Zp"}
    return f"⟨U+{ord(char):04X}⟩" if hidden or _BLANK.match(char) else char
