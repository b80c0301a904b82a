"""The port of a channel: a message goes out with proof, and a chat's commands and taps come in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import msgspec

from allegro.core.base.errors import EdgeError
from allegro.core.chat.received import Batch, Sender, Tap
from allegro.core.chat.texts import Part


class Button(msgspec.Struct, frozen=True):
    """One button below a message. `data` comes from `chat.taps.button_data`."""

    label: str
    data: str


class Message(msgspec.Struct, frozen=True):
    """One message to a person.

    `title` is ours and stands alone in its line; `body` are parts, of which foreign ones are marked.
    `quiet` asks the service to make no sound. What is longer than a channel takes goes out whole as
    a document, with its beginning as the words beside it.
    """

    title: str
    body: tuple[Part, ...]
    buttons: tuple[Button, ...] = ()
    quiet: bool = False


class Proof(msgspec.Struct, frozen=True):
    """A service has taken a message. `message` is its id there, empty where it gives none.

    `at_s` is when (Unix s), by the service's clock where it says so. Taken is not read.
    """

    channel: str
    message: str
    at_s: float


class Limits(msgspec.Struct, frozen=True):
    """What one message of a channel holds. Lengths in UTF-16 units; 0 where it has none of it."""

    text: int
    caption: int
    buttons: int
    button_bytes: int


class ChannelError(EdgeError):
    """A channel did not take, or did not give.

    `permanent`: the same call fails again until a person does something (a token, a chat, the text
    itself); the message is kept and goes by another channel. `kind` is one of KINDS. `sent` is
    false where the service certainly did not take the message, so that trying again doubles nothing.
    """

    @property
    def permanent(self) -> bool:
        return not self.transient


class AnotherReader(ChannelError):
    """Somebody else reads this channel with our token: a lane that does not know it lost its role,
    a dead one whose last reading the service still holds, or a stranger. Transient."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail, transient=True, status=409, kind="another_reader")


KINDS = {
    "another_reader": "somebody else reads with this token",
    "webhook": "the service delivers to a webhook; nothing can be read until it is removed",
    "secret": "the file with the secret cannot be read",
    "token": "the service does not know the token",
    "forbidden": "the chat has blocked the bot, or the bot is no member of it",
    "refused": "the service refuses this message",
    "rate_limited": "the service asks to be left alone for `retry_after_s`",
    "server": "the service fails",
    "unreachable": "no answer from the service",
    "unreadable": "an answer that is none of the service's",
    "not_installed": "a package is missing here",
}


class Channel(Protocol):
    """One way to a person. Raises ChannelError and nothing else; one adapter for each service.

    `name` is a word for records and for freezes (`telegram`). `send` returns once the service has
    taken the message; a time-out may have sent it (`ChannelError.sent`).
    """

    @property
    def name(self) -> str: ...
    @property
    def limits(self) -> Limits: ...
    async def send(self, message: Message) -> Proof: ...
    async def close(self) -> None: ...


class Chat(Channel, Protocol):
    """A channel that is read as well. One reader at a time for each token.

    `receive` waits a few seconds for updates. It gives each again until `confirm`, the batch's own,
    comes with a later call: store first, confirm then, act after. `waiting` asks how many updates
    nobody has confirmed. `answer` ends the spinning of a pressed button, whether or not it is still
    there. `reply` writes into the chat of a sender who is allowed. `edit` changes a message of ours;
    the same words again are no error. `confirm` confirms at once what a batch asks to be confirmed,
    and waits for no update. `prepare` makes the chat readable, dropping nothing that waits, and
    lists the commands (name, then what it does) in its menu.
    """

    async def prepare(self, commands: Mapping[str, str]) -> None: ...
    async def receive(self, confirm: int | None = None) -> Batch: ...
    async def confirm(self, upto: int) -> None: ...
    async def waiting(self) -> int: ...
    async def answer(self, tap: Tap, words: str) -> None: ...
    async def reply(self, to: Sender, message: Message) -> Proof: ...
    async def edit(self, proof: Proof, message: Message) -> None: ...


class Outlet(msgspec.Struct, frozen=True):
    """One channel by which the owner is called.

    `content`: whether titles and names may leave by it; else only code, urgency and age do.
    """

    channel: Channel
    content: bool = False


class Channels(msgspec.Struct, frozen=True):
    """All channels of one program. `outlets` in the order in which they are tried.

    `chat` is the one that is read, None where nobody is allowed to command; it may be the channel
    of an outlet too.
    """

    outlets: tuple[Outlet, ...] = ()
    chat: Chat | None = None

    async def close(self) -> None:
        """Close each channel once."""
        found = [one.channel for one in self.outlets]
        if self.chat is not None and all(one is not self.chat for one in found):
            found.append(self.chat)
        for channel in found:
            await channel.close()
