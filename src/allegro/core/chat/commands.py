"""Reads the words of a message as a command. Four are known; the rest is answered with the list."""

from __future__ import annotations

import re

import msgspec

from allegro.core.base.untrusted import text_of

KNOWN = ("status", "requests", "stop", "help")
MAX_ARGUMENT = 300

_COMMAND = re.compile(
    r"/([A-Za-z][A-Za-z0-9_]{0,31})(?:@([A-Za-z0-9_]{1,64}))?(?:\s+(.*))?", re.DOTALL
)


class Words(msgspec.Struct, frozen=True):
    """A command in lower case, and at most 300 characters of what stood behind it."""

    name: str
    argument: str


def read_command(text: str, bot: str) -> Words | str | None:
    """Return the command a message is, None where it is none, or the other bot that it names.

    `bot` is our own name there. While it is not known (empty) every address is taken as ours: a
    `/stop` must not be lost because a name could not be asked for.
    """
    match = _COMMAND.fullmatch(text)
    if match is None:
        return None
    name, addressed, argument = match[1].lower(), match[2] or "", match[3] or ""
    if bot and addressed and addressed.lower() != bot.lower():
        return addressed
    return Words(name, text_of(argument.strip(), MAX_ARGUMENT))
