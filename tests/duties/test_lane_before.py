"""Today's house and a lane of commit a8b1bd5, played from the frames that commit's code made.

`tests/vectors/lane_of_a8b1bd5.json` holds what that lane says, and every field that it reads: it
refuses a frame with any other field, and every protocol number but 1.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import web

from allegro.adapters.crypto.signatures import verify
from allegro.core.authority.freeze import Freeze
from allegro.core.authority.tokens import unb64url
from allegro.core.base.errors import EdgeError
from allegro.core.base.sequence import Position, start
from allegro.core.protocol.messages import (
    Bring,
    FromLane,
    GiveOrder,
    Greet,
    LaneBeat,
    Serves,
    Stop,
    Welcome,
)
from allegro.link.frames import decode_from_lane
from allegro.link.handshake import check_greeting

from .link_ends import House, dialling, until

VECTORS = json.loads((Path(__file__).parents[1] / "vectors/lane_of_a8b1bd5.json").read_bytes())
SAYS = {name: bytes.fromhex(frame) for name, frame in VECTORS["lane_says"].items()}
READS = {tag: set(fields) for tag, fields in VECTORS["lane_reads"].items()}
ANSWERS = {"challenge_wanted": "challenge", "order": "order_answer"}


class Recorded:
    """Serves a link with recorded frames, and reads as strictly as that lane did."""

    def __init__(self) -> None:
        self.heard: list[dict[str, Any]] = []
        self.refused: list[str] = []
        self.dialled = 0

    async def serve(self, request: web.Request) -> web.WebSocketResponse:
        self.dialled += 1
        socket = web.WebSocketResponse(max_msg_size=VECTORS["largest_read"])
        await socket.prepare(request)
        async for message in socket:
            if message.type is not aiohttp.WSMsgType.BINARY:
                break
            said = msgspec.msgpack.decode(message.data)
            tag = said.pop("t")
            if tag not in READS or not set(said) <= READS[tag]:
                self.refused.append(f"{tag} {sorted(said)}")
                break
            self.heard.append({"t": tag, **said})
            for frame in self.replies(tag, said):
                await socket.send_bytes(frame)
            if tag == "hello" and said["protocol"] != 1:
                break
        await socket.close()
        return socket

    def replies(self, tag: str, said: dict[str, Any]) -> list[bytes]:
        if tag == "hello":
            return [SAYS["greet" if said["protocol"] == 1 else "refused"]]
        if tag == "login":
            return [SAYS["welcome"], SAYS["batch"], SAYS["beat"]]
        if tag == "query":
            name = "error" if said["method"] == "gone" else "reply"
            return [_with_id(SAYS[name], said["id"])]
        if tag in ANSWERS:
            return [_with_id(SAYS[ANSWERS[tag]], said["id"])]
        return []


def _with_id(frame: bytes, id_: int) -> bytes:
    """Return a recorded answer as the answer to this question."""
    return msgspec.msgpack.encode({**msgspec.msgpack.decode(frame), "id": id_})


class Archiving(House):
    """A house that also remembers what else it heard."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.welcome: Welcome | None = None
        self.greeting: Greet | None = None
        self.others: list[FromLane] = []

    async def log_in(self, greeting: Greet, hello: Any) -> Any:
        self.greeting = greeting
        return await super().log_in(greeting, hello)

    async def welcomed(self, welcome: Welcome) -> None:
        self.welcome = welcome
        await super().welcomed(welcome)

    async def hear(self, message: FromLane) -> None:
        self.others.append(message)


@pytest.fixture
async def lane(tmp_path: Path) -> AsyncIterator[tuple[Recorded, str]]:
    recorded, app = Recorded(), web.Application()
    app.router.add_get("/link", recorded.serve)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.UnixSite(runner, str(tmp_path / "s")).start()
    yield recorded, f"ws+unix://{tmp_path / 's'}"
    await runner.cleanup()


async def test_a_house_of_today_works_with_a_lane_of_a8b1bd5(lane: tuple[Recorded, str]) -> None:
    recorded, url = lane
    house = Archiving(url)
    async with dialling(house) as link:
        await until(lambda: house.ids == ["e1", "e2"])
        await until(lambda: [one["t"] for one in recorded.heard].count("ack") == 1)
        assert await link.ask("status", {}) == {
            "healthy": True, "journal_waiting": 0, "words": "ä",
        }  # fmt: skip
        with pytest.raises(EdgeError, match="no such issue"):
            await link.ask("gone", {"repository": 1, "number": 2})
        assert await link.ask("echo", {"long": "x" * 500_000}) is not None
        content = b"y" * 300_000
        assert await link.send_ahead(content) is None, "it knows nothing of content ahead"
        taken = await link.order(lambda id_: GiveOrder(id_, "o", content, "a", "b", "m", "t"))
        assert taken.reason == ""
        await link.say(Stop(Freeze("f2", 6.0, "house", "stop")))
        await link.say(Bring("a token"))
        await until(lambda: {"stop", "bring"} <= {one["t"] for one in recorded.heard})
    assert recorded.refused == []
    assert recorded.dialled == 2, "once with protocol 2, which it refuses, and at once with 1"
    orders = [one for one in recorded.heard if one["t"] == "order"]
    assert [one["action"] for one in orders] == [content]
    assert house.welcome is not None
    assert house.welcome.serves == Serves(True, 1, False)
    assert [freeze.id for freeze in house.welcome.freezes] == ["f1"]
    assert house.others == [LaneBeat(3, "polled", {"forge": 7})]


async def test_the_journal_of_that_lane_goes_on_in_its_chain(lane: tuple[Recorded, str]) -> None:
    recorded, url = lane
    house = Archiving(url)
    async with dialling(house):
        await until(lambda: any(one["t"] == "ack" for one in recorded.heard))
    acked = next(one for one in recorded.heard if one["t"] == "ack")["position"]
    assert house.at is not None
    assert house.at.seq == 3
    assert Position(*acked.values() if isinstance(acked, dict) else acked) == house.at
    assert house.at.journal == start("0123456789abcdef").journal


def test_the_greeting_of_that_lane_holds_in_every_point() -> None:
    greeting = decode_from_lane(SAYS["greet"])
    assert isinstance(greeting, Greet)
    counter = check_greeting(
        greeting, challenge=VECTORS["challenge"], fleet=VECTORS["fleet"],
        lane_key=unb64url(VECTORS["key"]), verify=verify, protocol=1,
    )  # fmt: skip
    assert counter == VECTORS["counter_challenge"]


@pytest.mark.parametrize("name", SAYS)
def test_every_frame_of_that_lane_is_read(name: str) -> None:
    decode_from_lane(SAYS[name])
