"""`[telegram]` and `[apprise]`, the same in lane.toml and house.toml: the ways to call the owner."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from allegro.core.settings.words import about


class TelegramSettings(msgspec.Struct, frozen=True):
    """A Telegram bot. Off unless `token_file` and `chat` are set."""

    token_file: Annotated[str, about("file with the bot's token; mode 0600; empty is off")] = ""
    chat: Annotated[
        str,
        about("id of the chat that alerts and reports go to"),
        Meta(pattern=r"\A(-?[0-9]{1,15})?\Z"),
    ] = ""
    allow: Annotated[
        tuple[Annotated[str, Meta(pattern=r"\A(-?[0-9]{1,15}:)?[0-9]{1,15}\Z")], ...],
        about('who may command: "chat:person" ids, or "person" for a chat of two; empty: nobody'),
    ] = ()
    content: Annotated[
        bool, about("send titles and names too; false: reference, kind, urgency, age")
    ] = False
    url: Annotated[str, about("address of the Bot API"), Meta(pattern=r"\Ahttps?://[!-~]+\Z")] = (
        "https://api.telegram.org"
    )
    poll_s: Annotated[
        int,
        about("seconds one poll waits; a dead reader blocks the next one so long", ge=1, le=5),
    ] = 5
    timeout_s: Annotated[
        float, about("seconds any call may take beyond its own wait", ge=0.5, le=30)
    ] = 8.0

    @property
    def sends(self) -> bool:
        """Whether messages go out by it."""
        return bool(self.token_file and self.chat)

    @property
    def reads(self) -> bool:
        """Whether commands come in by it: somebody must be allowed to command."""
        return bool(self.token_file and self.allow)


class AppriseSettings(msgspec.Struct, frozen=True):
    """Copies to services that Apprise knows (the extra `channels`). Off unless `urls_file` is set."""

    urls_file: Annotated[
        str, about("file with one Apprise URL a line; mode 0600: such an URL holds its password")
    ] = ""
    content: Annotated[
        bool, about("send titles and names too; false: reference, kind, urgency, age")
    ] = False
    timeout_s: Annotated[
        float, about("seconds one message may take to all of them", ge=1, le=300)
    ] = 30.0
