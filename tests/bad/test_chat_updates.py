"""Every kind of update, with every field bent, is read as a value; nothing bent becomes another's."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from aiohttp import web

from allegro.adapters.channels.telegram.channel import TelegramChannel
from allegro.adapters.channels.telegram.updates import read_update
from allegro.core.base.untrusted import Unreadable, read_loose_json
from allegro.core.chat.received import Command, Ignored, Tap, Update
from allegro.core.settings import TelegramSettings
from allegro.testing.channels import MemoryChat
from allegro.testing.telegram.world import TOKEN, World
from allegro.testing.virtual import VirtualClock
from tests.duties.chat_world import ChatLane

from . import values as bad


def updates() -> Iterator[tuple[str, dict[str, Any]]]:
    world = World(lambda: 1_000.0)
    world.allowed = [
        "message",
        "edited_message",
        "channel_post",
        "callback_query",
        "my_chat_member",
    ]
    made = {
        "message": world.says(77, "/stop now"), "forward": world.forwards(77, "/stop"),
        "anonymous": world.says_anonymously(-100, "/stop"), "post": world.posts(-200, "/stop"),
        "press": world.presses(77, 77, 101, "ack~~a1~" + "a" * 16),
        "member": world.queue("my_chat_member", {"chat": world.chat(77)}),
    }  # fmt: skip
    said = made["message"]
    assert said is not None
    made["edit"] = world.edits(said, "/stop")
    for name, update in made.items():
        assert update is not None
        yield name, update


@pytest.mark.parametrize(("kind", "update"), list(updates()), ids=lambda one: str(one)[:12])
def test_a_bent_update_is_read_as_a_value(kind: str, update: dict[str, Any]) -> None:
    whole = read_update(update, "bot").content
    for name, raw in bad.bent_json(update):
        loose = read_loose_json(raw)
        read = read_update(loose, "bot")
        assert isinstance(read, Update), name
        assert isinstance(read.content, Command | Tap | Ignored | Unreadable), name
        if kind not in {"message", "press"}:
            expected = Ignored | Unreadable | (Command if _undone(kind, name) else Ignored)
            assert isinstance(read.content, expected), name
        if isinstance(read.content, Command) and isinstance(whole, Command):
            assert read.content.sender.person > 0, name


def _undone(kind: str, name: str) -> bool:
    """Whether the bend took the very mark away, which makes it an ordinary message."""
    return kind == "forward" and name == "message.forward_origin: missing"


def test_a_mark_counts_by_being_there_whatever_its_value() -> None:
    update = dict(updates())["message"]
    for mark in ("forward_origin", "forward_date", "edit_date", "sender_chat", "via_bot"):
        for row in bad.VALUES:
            if row.value is bad.MISSING:
                continue
            bent = update | {"message": update["message"] | {mark: row.value}}
            assert isinstance(read_update(bent, "bot").content, Ignored), (mark, row.name)


class RawApi:
    """A Bot API that answers `getUpdates` once with these very bytes, then with one good `/stop`."""

    def __init__(self) -> None:
        self.raw = b""
        self.number = 2_000_000_000
        self.replies = 0
        self._runner: web.AppRunner | None = None
        self.url = ""

    async def __aenter__(self) -> RawApi:
        app = web.Application()
        app.router.add_post("/bot{token}/{method}", self._serve)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    def _good(self) -> bytes:
        self.number += 1
        message = {"message_id": self.number, "date": 1_000, "chat": {"id": 77, "type": "private"},
                   "from": {"id": 77, "is_bot": False}, "text": "/stop"}  # fmt: skip
        return json.dumps({"update_id": self.number % 2**31, "message": message}).encode()

    async def _serve(self, request: web.Request) -> web.Response:
        method = request.match_info["method"]
        if method != "getUpdates":
            self.replies += method == "sendMessage"
            sent = {"message_id": 5, "date": 1, "chat": {"id": 77}}
            return web.json_response({"ok": True, "result": sent})
        raw, self.raw = self.raw, b""
        if not raw:
            raw = b'{"ok":true,"result":[' + self._good() + b"]}"
        return web.Response(body=raw, content_type="application/json")


@pytest.fixture
async def raw_api() -> AsyncIterator[RawApi]:
    async with RawApi() as opened:
        yield opened


def bent_answers() -> list[tuple[str, bytes]]:
    """Every kind of update bent in every field, alone in an answer; and whole answers bent."""
    found = [
        (f"{kind} {name}", b'{"ok":true,"result":[' + raw + b"]}")
        for kind, update in updates()
        for name, raw in bad.sample(bad.bent_json(update), 60, 5)
    ]
    whole = {"ok": True, "result": [dict(updates())["message"]]}
    return [*found, *bad.sample(bad.bent_json(whole), 60, 6)]


async def test_a_real_reader_lives_through_every_bent_answer_and_takes_the_next_stop(
    tmp_path: Path, raw_api: RawApi
) -> None:
    telegram = TelegramSettings("token", "77", ("77",), url=raw_api.url, poll_s=1)
    lane = ChatLane(tmp_path, MemoryChat(), VirtualClock())
    channel = TelegramChannel(telegram, lambda _: TOKEN, lane.clock.boot_s)
    lane.chat = cast(MemoryChat, channel)
    await lane.start()
    for name, raw in bent_answers():
        raw_api.raw, before = raw, raw_api.replies
        for _ in range(3):
            lane.clock.advance(await lane.step() + 0.01)
        assert raw_api.replies > before, name
    assert len(lane.state.freezes.active) >= 1
    await channel.close()
    await lane.stop()
