"""Reads Telegram's updates into commands and taps. Total: anything else is Ignored or Unreadable.

A message is a command only if a person wrote it anew, under his own name, in the chat it is in:
edits, forwards, anonymous administrators, channel posts, bots and inline results are none. A mark of
any of these counts by being there at all, whatever its value is.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from allegro.core.base.untrusted import MAX_NAME, Number, Unreadable, read_value
from allegro.core.chat.commands import read_command
from allegro.core.chat.received import Command, Content, Id, Ignored, Sender, Tap, Update, Why

KINDS = ("message", "callback_query")
"""What is asked for. Others may come for a while after a bot was used otherwise."""

MAX_TEXT = 8_192
_INT32 = 2**31


class _Chat(msgspec.Struct, frozen=True):
    id: Id


class _User(msgspec.Struct, frozen=True):
    id: Annotated[int, Meta(gt=0, lt=2**53)]
    is_bot: bool


class _Message(msgspec.Struct, frozen=True):
    message_id: Number
    date: Number
    chat: _Chat
    sender: _User | UnsetType = msgspec.field(name="from", default=UNSET)
    text: Annotated[str, Meta(max_length=MAX_TEXT)] = ""
    sender_chat: Any = UNSET
    author_signature: Any = UNSET
    forward_origin: Any = UNSET
    forward_date: Any = UNSET
    forward_from: Any = UNSET
    forward_from_chat: Any = UNSET
    forward_sender_name: Any = UNSET
    is_automatic_forward: Any = UNSET
    via_bot: Any = UNSET
    edit_date: Any = UNSET


class _Callback(msgspec.Struct, frozen=True):
    id: Annotated[str, Meta(min_length=1, max_length=MAX_NAME)]
    sender: _User = msgspec.field(name="from")
    message: _Message | UnsetType = UNSET
    data: Annotated[str, Meta(max_length=MAX_NAME)] = ""


def read_update(raw: object, bot: str) -> Update:
    """Read one update. `bot` is our user name there, empty while it is not known."""
    if not isinstance(raw, dict):
        return Update(None, Unreadable("an update that is no object"))
    number = raw.get("update_id")
    if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < _INT32:
        return Update(None, Unreadable("an update without a number"))
    return Update(number, _content(raw, bot))


def _content(raw: dict[str, Any], bot: str) -> Content:
    if "message" in raw and "callback_query" in raw:
        return Unreadable("an update of two kinds")
    if "message" in raw:
        message = read_value(raw["message"], _Message)
        return message if isinstance(message, Unreadable) else _message(message, bot)
    if "callback_query" in raw:
        callback = read_value(raw["callback_query"], _Callback)
        return callback if isinstance(callback, Unreadable) else _tap(callback)
    if "edited_message" in raw:
        return _other(raw["edited_message"], "edited")
    if "channel_post" in raw or "edited_channel_post" in raw:
        return Ignored("channel post")
    return Ignored("another kind")


def _other(raw: object, why: Why) -> Content:
    message = read_value(raw, _Message)
    return message if isinstance(message, Unreadable) else Ignored(why, _sender(message))


def _sender(message: _Message) -> Sender | None:
    user = message.sender
    return None if user is UNSET else Sender(message.chat.id, user.id)


def _message(message: _Message, bot: str) -> Content:
    sender = _sender(message)
    why = _why_not(message)
    if why is not None or sender is None:
        return Ignored(why or "anonymous", sender if why != "anonymous" else None)
    words = read_command(message.text, bot)
    if words is None:
        return Ignored("no command", sender)
    if isinstance(words, str):
        return Ignored("for another bot", sender)
    return Command(sender, message.message_id, words.name, words.argument, message.date)


def _why_not(message: _Message) -> Why | None:
    forwarded = (
        message.forward_origin, message.forward_date, message.forward_from,
        message.forward_from_chat, message.forward_sender_name, message.is_automatic_forward,
    )  # fmt: skip
    if any(mark is not UNSET for mark in forwarded):
        return "forwarded"
    if message.edit_date is not UNSET:
        return "edited"
    if message.sender_chat is not UNSET or message.author_signature is not UNSET:
        return "anonymous"
    user = message.sender
    if isinstance(user, UnsetType):
        return "anonymous"
    return "by a bot" if message.via_bot is not UNSET or user.is_bot else None


def _tap(callback: _Callback) -> Content:
    if callback.message is UNSET:
        return Ignored("inline")
    sender = Sender(callback.message.chat.id, callback.sender.id)
    if callback.sender.is_bot:
        return Ignored("by a bot", sender)
    return Tap(callback.id, sender, callback.message.message_id, callback.data)
