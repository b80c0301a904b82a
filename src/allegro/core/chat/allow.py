"""The allow-list: who may speak to the fleet, by chat and by person. Both must be on it, together."""

from __future__ import annotations

import msgspec

from allegro.core.base.untrusted import whole_number
from allegro.core.chat.received import Command, Content, Ignored, Sender, Tap


class AllowList(msgspec.Struct, frozen=True):
    """The pairs of chat and person that are let in. Empty: nobody is."""

    senders: frozenset[Sender] = frozenset()


class Stranger(msgspec.Struct, frozen=True):
    """A command or tap of somebody who is not on the list: counted, never answered."""

    sender: Sender


def read_allow_list(entries: tuple[str, ...]) -> AllowList | str:
    """Read entries `chat:person`, or `person` alone for a chat of two; or say what is wrong.

    Ids are decimal, a chat's may be negative; a person's is never negative or zero.
    """
    senders = []
    for entry in entries:
        chat, _, person = entry.rpartition(":")
        who, where = whole_number(person), _chat_id(chat or person)
        if not who or not where:
            return f"{entry!r} is no chat:person and no person: two decimal ids, or one"
        senders.append(Sender(where, who))
    return AllowList(frozenset(senders))


def _chat_id(text: str) -> int | None:
    number = whole_number(text.removeprefix("-"))
    return -number if number is not None and text.startswith("-") else number


def admit(content: Content, allowed: AllowList) -> Command | Tap | Stranger | None:
    """Return what may be acted on, the stranger who sent it, or None for what asks for nothing.

    Of a stranger even what asks for nothing counts as a stranger's, so that probing is seen.
    """
    if isinstance(content, Command | Tap):
        return content if content.sender in allowed.senders else Stranger(content.sender)
    if isinstance(content, Ignored) and content.sender is not None:
        return None if content.sender in allowed.senders else Stranger(content.sender)
    return None
