"""The bot's world: its chats, what was sent there, what people do, and the queue of updates."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]
BOT_ID = 4_200_001
BOT_NAME = "stand_in_bot"
TOKEN = f"{BOT_ID}:stand-in_TOKEN-0123456789abcdefghij"


@dataclass(slots=True)
class World:
    """All state. `clock` gives Unix seconds. People act by its methods; each returns its update."""

    clock: Callable[[], float]
    messages: dict[tuple[int, int], Json] = field(default_factory=dict)
    documents: dict[tuple[int, int], bytes] = field(default_factory=dict)
    updates: list[Json] = field(default_factory=list)
    taps: dict[str, float] = field(default_factory=dict)
    answered: dict[str, str] = field(default_factory=dict)
    blocked: set[int] = field(default_factory=set)
    commands: list[Json] = field(default_factory=list)
    webhook: str = ""
    allowed: list[str] | None = None
    next_update: int = 9_000_001
    next_message: int = 100
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    def now(self) -> int:
        return int(self.clock())

    def message(self, chat: int, person: int, text: str, **extra: Any) -> Json:
        """Make a message of a person; `extra` are further fields, such as `forward_origin`."""
        self.next_message += 1
        made = {
            "message_id": self.next_message, "date": self.now(), "chat": self.chat(chat),
            "from": self.user(person), "text": text,
        } | extra  # fmt: skip
        self.messages[chat, self.next_message] = made
        return made

    def chat(self, chat: int) -> Json:
        if chat > 0:
            return {"id": chat, "type": "private", "first_name": f"P{chat}"}
        return {"id": chat, "type": "supergroup", "title": f"Group {-chat}"}

    def user(self, person: int) -> Json:
        return {"id": person, "is_bot": False, "first_name": f"P{person}"}

    def bot(self) -> Json:
        return {"id": BOT_ID, "is_bot": True, "first_name": "Stand-in", "username": BOT_NAME}

    def queue(self, kind: str, content: Json) -> Json | None:
        """Put an update behind the others, if its kind was asked for."""
        default = kind not in {"chat_member", "message_reaction", "message_reaction_count"}
        if not (kind in self.allowed if self.allowed else default):
            return None
        update = {"update_id": self.next_update, kind: content}
        self.next_update += 1
        self.updates.append(update)
        self.arrived.set()
        return update

    # --- what people do -----------------------------------------------------------------------
    def says(self, person: int, text: str, *, chat: int | None = None, **extra: Any) -> Json | None:
        where = person if chat is None else chat
        if text.startswith("/"):
            length = len(text.split(maxsplit=1)[0])
            entity = {"type": "bot_command", "offset": 0, "length": length}
            extra = {"entities": [entity]} | extra
        return self.queue("message", self.message(where, person, text, **extra))

    def forwards(self, person: int, text: str, *, chat: int | None = None) -> Json | None:
        origin = {"type": "user", "date": self.now() - 60, "sender_user": self.user(person + 1)}
        return self.says(person, text, chat=chat, forward_origin=origin)

    def says_anonymously(self, chat: int, text: str) -> Json | None:
        """A group's administrator writes in the group's name."""
        group_bot = {"id": 1_087_968_824, "is_bot": True, "first_name": "Group",
                     "username": "GroupAnonymousBot"}  # fmt: skip
        extra = {"from": group_bot, "sender_chat": self.chat(chat)}
        return self.says(1_087_968_824, text, chat=chat, **extra)

    def posts(self, channel: int, text: str) -> Json | None:
        post = self.message(channel, 1, text)
        del post["from"]
        place = {"id": channel, "type": "channel", "title": "Channel"}
        return self.queue("channel_post", post | {"chat": place, "sender_chat": place})

    def edits(self, update: Json, text: str) -> Json | None:
        message = update["message"] | {"text": text, "edit_date": self.now()}
        return self.queue("edited_message", message)

    def presses(self, person: int, chat: int, message: int, data: str) -> Json | None:
        tap = f"{self.next_update}{person:012d}"
        self.taps[tap] = self.clock()
        content = {"id": tap, "from": self.user(person), "message": self.messages[chat, message],
                   "chat_instance": "1", "data": data}  # fmt: skip
        return self.queue("callback_query", content)

    def sent(self) -> list[Json]:
        """Return the bot's own messages, oldest first."""
        own = [one for one in self.messages.values() if one.get("from", {}).get("id") == BOT_ID]
        return sorted(own, key=lambda one: one["message_id"])
