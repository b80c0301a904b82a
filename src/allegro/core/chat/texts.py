"""Text for chats: what is ours, what is foreign, how long it is, and how it is escaped.

Foreign words stand in a `Foreign` part from where they are read until they are sent. A channel shows
them so that they mention, link and command nothing; hidden characters are visible in them.
"""

from __future__ import annotations

import msgspec

from allegro.core.effects.render import one_line, visible


class Foreign(msgspec.Struct, frozen=True):
    """Words of somebody else inside a message of ours, at most `limit` characters of them."""

    words: str
    limit: int = 200


Part = str | Foreign


def shown(part: Part) -> str:
    """Return the characters of a part as a reader sees them: nothing hidden is left in it.

    Foreign words can start no line. Ours keep their line ends.
    """
    return one_line(part.words, part.limit) if isinstance(part, Foreign) else visible(part)


def plain_text(parts: tuple[Part, ...]) -> str:
    """Return a body without any markup, foreign words between quotation marks."""
    return "".join(f"“{shown(one)}”" if isinstance(one, Foreign) else shown(one) for one in parts)


def units(text: str) -> int:
    """Return the length of a text in UTF-16 code units, as Telegram counts entities and limits."""
    return len(text) + sum(char > "\uffff" for char in text)


def cut_units(text: str, limit: int) -> str:
    """Return the longest beginning of at most `limit` UTF-16 units; never half a character."""
    if units(text) <= limit:
        return text
    taken, count = 0, 0
    for char in text:
        count += 2 if char > "\uffff" else 1
        if count > limit:
            break
        taken += 1
    return text[:taken]


def html(text: str) -> str:
    """Escape text for Telegram's HTML: the three characters that it asks for."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
