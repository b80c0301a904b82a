"""What came in by a channel, as a value: a command, a tap, something that is neither, or unreadable.

A channel's adapter reads its service's wire into these and nothing else, so that no rule ever sees a
field of a service. A value here says what was sent; whether its sender may do it is `allow`'s.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from allegro.core.base.untrusted import MAX_NUMBER, Number, Unreadable

Id = Annotated[int, Meta(gt=-MAX_NUMBER, lt=MAX_NUMBER)]
"""A chat's or a person's id: chats of several people have negative ones on Telegram."""

Why = Literal[
    "edited", "forwarded", "anonymous", "channel post", "by a bot", "no command", "for another bot",
    "inline", "another kind",
]  # fmt: skip
"""Why something readable is no command and no tap."""


class Sender(msgspec.Struct, frozen=True):
    """Who sent something, and in which chat. In a chat of two the ids are equal on Telegram."""

    chat: Id
    person: Id


class Command(msgspec.Struct, frozen=True, tag="command"):
    """A message that begins with `/name`. `at_s` is the service's time in Unix seconds."""

    sender: Sender
    message: Number
    name: str
    argument: str
    at_s: Number

    @property
    def key(self) -> str:
        """Return what stays the same however often the message is read."""
        return f"message:{self.sender.chat}:{self.message}"


class Tap(msgspec.Struct, frozen=True, tag="tap"):
    """A press of a button below the message `message`; `data` is what the button carried.

    `id` is the service's, to answer the press with. It carries no time: a tap is as old as it is.
    """

    id: str
    sender: Sender
    message: Number
    data: str

    @property
    def key(self) -> str:
        """Return what stays the same however often the press is read, in at most 68 characters."""
        return f"tap:{hashlib.sha256(self.id.encode('utf-8', 'replace')).hexdigest()}"


class Ignored(msgspec.Struct, frozen=True):
    """Something readable that asks for nothing. `sender` is None where nobody stands for it."""

    why: Why
    sender: Sender | None = None


Content = Command | Tap | Ignored | Unreadable


class Update(msgspec.Struct, frozen=True):
    """One thing received. `number` is the channel's running number, None where it was unreadable."""

    number: int | None
    content: Content


class Batch(msgspec.Struct, frozen=True):
    """What one reading brought, oldest first.

    `confirm` goes into the next reading once every update of this batch is on disk; None where
    nothing is to be confirmed.
    """

    updates: tuple[Update, ...] = ()
    confirm: int | None = None
