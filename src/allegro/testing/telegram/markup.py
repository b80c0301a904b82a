"""Telegram's HTML: the visible text of a message, or the words of the error."""

from __future__ import annotations

import html
import re

TAGS = {"b", "strong", "i", "em", "u", "ins", "s", "strike", "del", "code", "pre", "a", "tg-spoiler",
        "blockquote", "span"}  # fmt: skip
_TAG = re.compile(r"<(/?)([A-Za-z][A-Za-z0-9-]*)([^<>]*)>")


class MarkupError(Exception):
    """The text cannot be parsed; the message is Telegram's."""


def visible_text(text: str) -> str:
    """Return what a reader sees. Raises MarkupError for tags Telegram does not know or that differ."""
    shown: list[str] = []
    open_tags: list[str] = []
    at = 0
    while at < len(text):
        if text[at] != "<":
            end = text.find("<", at)
            end = len(text) if end < 0 else end
            shown.append(html.unescape(text[at:end]))
            at = end
            continue
        where = len(text[:at].encode())
        match = _TAG.match(text, at)
        if match is None:
            raise MarkupError(f"can't parse entities: Unclosed start tag at byte offset {where}")
        closes, name = bool(match[1]), match[2].lower()
        if name not in TAGS:
            kind = "end" if closes else "start"
            raise MarkupError(
                f'can\'t parse entities: Unsupported {kind} tag "{name}" at byte offset {where}'
            )
        if closes and (not open_tags or open_tags.pop() != name):
            raise MarkupError(f"can't parse entities: Unexpected end tag at byte offset {where}")
        if not closes:
            open_tags.append(name)
        at = match.end()
    if open_tags:
        raise MarkupError(
            f"can't parse entities: Can't find end tag corresponding to start tag \"{open_tags[-1]}\""
        )
    return "".join(shown)
