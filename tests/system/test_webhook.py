"""The forge's hints: they make the next poll come at once, and are never believed."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from allegro.scratch.forge_users import People
from allegro.scratch.processes import Forge, Stage, free_port

from .fleet_fixture import QuickStage
from .test_keys import WORLD

SECRET = "a secret between forge and lane"


class Hooked:
    """A fleet that polls once a minute and listens for hints."""

    def __init__(self, stage: Stage, url: str, port: int, owner: str) -> None:
        self.stage = stage
        self.url = url
        self.hook = f"http://127.0.0.1:{port}/hook"
        self.owner = owner

    async def post(self, body: bytes, signature: str, delivery: str = "d1") -> int:
        headers = {"X-Gitea-Signature": signature, "X-Gitea-Delivery": delivery}
        async with (
            aiohttp.ClientSession() as session,
            session.post(self.hook, data=body, headers=headers) as response,
        ):
            return response.status

    async def known(self, title: str) -> bool:
        response: dict[str, Any] = await self.stage.client.get(
            "issues", repository="timmy/house", since_s=0
        )
        return any(issue["title"] == title for issue in response["issues"])


def sign(body: bytes) -> str:
    return hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()


@pytest.fixture
async def hooked(tmp_path: Path) -> AsyncIterator[Hooked]:
    stage = QuickStage(tmp_path / "stage")
    try:
        simulator = await stage.start_simulator(WORLD)
        tokens, port = simulator["tokens"], free_port()
        secret = stage.folder / "hook.secret"
        secret.touch(mode=0o600)
        secret.write_text(SECRET + "\n")
        forge = Forge(
            simulator["url"],
            "timmy/house",
            ("allegro", "allegro-change"),
            tokens["allegro"]["daily"],
            tokens["allegro-change"]["change"],
        )
        lane = {
            "forge.poll_s": 60.0,
            "webhook.listen": f"127.0.0.1:{port}",
            "webhook.secret_file": str(secret),
            "webhook.per_minute": 20,
        }
        await stage.prepare(forge, lane=lane)
        await stage.start_lane()
        await stage.start_house()
        await stage.linked()
        owner = (await stage.simulate("token", user="timmy", scopes=["all"]))["result"]
        yield Hooked(stage, simulator["url"], port, owner)
    finally:
        await stage.close()


async def test_a_hint_of_the_forge_brings_an_issue_home_long_before_the_next_poll(
    hooked: Hooked,
) -> None:
    people = People(hooked.url, hooked.owner)
    try:
        config = {"url": hooked.hook, "content_type": "json", "secret": SECRET}
        body = {"type": "gitea", "config": config, "events": ["issues"], "active": True}
        await people.call("POST", "/repos/timmy/house/hooks", body)
        await people.open_issue("timmy/house", "Knock, knock", "somebody is at the door")
        await hooked.stage.until(
            lambda: hooked.known("Knock, knock"), "the hint brings it home", within_s=15
        )
    finally:
        await people.aclose()


async def test_an_unsigned_or_wrongly_signed_hint_is_refused(hooked: Hooked) -> None:
    body = b'{"action":"opened"}'
    assert await hooked.post(body, "") == 401
    assert await hooked.post(body, "0" * 64) == 401
    assert await hooked.post(body + b" ", sign(body)) == 401
    assert await hooked.post(body, sign(body)) == 202


async def test_hints_beyond_the_rate_are_dropped_and_the_lane_lives(hooked: Hooked) -> None:
    body = b'{"action":"opened"}'
    statuses = [await hooked.post(body, sign(body), f"d{n}") for n in range(30)]
    assert statuses[:20] == [202] * 20
    assert set(statuses[20:]) == {429}
    assert hooked.stage.lane.is_running
