"""Everything outside a lane in one place, so that a test can put a fault in between."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from allegro.core.channels import Chat
from allegro.core.ports import (
    AgentHost,
    Clock,
    Council,
    Dice,
    ForgeReader,
    ForgeWriter,
    Journal,
    Sealer,
)


def _same_council(council: Council) -> Council:
    return council


def _same_host(host: AgentHost) -> AgentHost:
    return host


def _same_chat(chat: Chat) -> Chat:
    return chat


class Ports(msgspec.Struct, frozen=True, kw_only=True):
    """The ports of one lane. `councils`, `agents` and `chats` may stand before what a wing makes."""

    clock: Clock
    dice: Dice
    journal: Journal
    sealer: Sealer
    reader: ForgeReader
    writer: ForgeWriter
    councils: Callable[[Council], Council] = _same_council
    agents: Callable[[AgentHost], AgentHost] = _same_host
    chats: Callable[[Chat], Chat] = _same_chat


Wrap = Callable[[Ports], Ports]
