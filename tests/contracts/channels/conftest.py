"""One suite over all chats: the one in memory, and Telegram's adapter on the stand-in."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Protocol

import pytest
import pytest_asyncio

from allegro.adapters.channels.telegram.channel import TelegramChannel
from allegro.core.channels import ChannelError, Chat
from allegro.core.chat.received import Sender
from allegro.core.chat.texts import plain_text
from allegro.core.settings.channels import TelegramSettings
from allegro.testing.channels import MemoryChat
from allegro.testing.telegram.server import TelegramStandIn
from allegro.testing.telegram.world import TOKEN

OWNER = Sender(77, 77)


class Place(Protocol):
    """A chat, and the other side of it."""

    @property
    def chat(self) -> Chat: ...
    def texts(self) -> list[str]: ...
    def says(self, text: str) -> None: ...
    def presses(self, message: str, data: str) -> None: ...
    def answers(self) -> list[str]: ...
    def refuses(self, *, permanent: bool) -> None: ...


class InMemory:
    def __init__(self) -> None:
        self.chat = MemoryChat()

    def texts(self) -> list[str]:
        return [f"{one.title}\n{plain_text(one.body)}" for one in self.chat.sent.values()]

    def says(self, text: str) -> None:
        self.chat.says(OWNER, text)

    def presses(self, message: str, data: str) -> None:
        self.chat.presses(OWNER, int(message.rpartition(":")[2]), data)

    def answers(self) -> list[str]:
        return list(self.chat.answered.values())

    def refuses(self, *, permanent: bool) -> None:
        kind = "forbidden" if permanent else "server"
        self.chat.errors.append(ChannelError("no", transient=not permanent, kind=kind))


class OnTelegram:
    def __init__(self, server: TelegramStandIn) -> None:
        self.server, self.world = server, server.world
        settings = TelegramSettings(
            token_file="token", chat="77", url=server.url, poll_s=1, timeout_s=5.0
        )
        self.chat = TelegramChannel(settings, lambda _: TOKEN, time.monotonic)
        self.world.message(77, 77, "/start")

    def texts(self) -> list[str]:
        return [one.get("text") or one.get("caption", "") for one in self.world.sent()]

    def says(self, text: str) -> None:
        self.world.says(77, text)

    def presses(self, message: str, data: str) -> None:
        self.world.presses(77, 77, int(message.rpartition(":")[2]), data)

    def answers(self) -> list[str]:
        return list(self.world.answered.values())

    def refuses(self, *, permanent: bool) -> None:
        self.server.fail("status", method="sendMessage", status=403 if permanent else 500)


@pytest_asyncio.fixture
async def telegram() -> AsyncIterator[OnTelegram]:
    async with TelegramStandIn() as server:
        place = OnTelegram(server)
        yield place
        await place.chat.close()


@pytest_asyncio.fixture(params=["memory", "telegram"])
async def place(request: pytest.FixtureRequest) -> AsyncIterator[Place]:
    if request.param == "memory":
        yield InMemory()
        return
    async with TelegramStandIn() as server:
        made = OnTelegram(server)
        yield made
        await made.chat.close()
