"""Every odd delivery at the webhook: refused and counted, and the next good one hints."""

from __future__ import annotations

import hashlib
import hmac
import io
import json
import urllib.parse
from collections.abc import AsyncIterator
from typing import NamedTuple

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer

from allegro.lane.forge.webhook import MAX_BODY, Webhook
from tests.bad.values import HEADERS, WHOLE_BODIES, bent_json, sample

SECRET = "the hook's own"
GOOD = json.dumps({"action": "opened", "issue": {"id": 7, "number": 1, "title": "ä + &"}}).encode()
COVERS = ("X-Gitea-Signature", "X-Forgejo-Signature", "X-Gitea-Delivery", "Content-Type", "body")


class Wall:
    now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


class Door(NamedTuple):
    """A served hook. `hints` counts the polls it asked for."""

    hook: Webhook
    url: str
    session: ClientSession
    hints: list[int]
    clock: Wall

    async def send(self, body: bytes, **headers: str) -> int:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.session.post(self.url, data=io.BytesIO(body), headers=given) as answer:
            return answer.status

    async def good(self, delivery: str) -> int:
        return await self.send(
            GOOD, Content_Type="application/json", X_Gitea_Signature=signed(GOOD),
            X_Gitea_Delivery=delivery,
        )  # fmt: skip

    def told(self) -> tuple[str, str]:
        (fact,) = self.hook.facts()
        return fact.state, fact.detail


def signed(payload: bytes) -> str:
    return hmac.new(SECRET.encode(), payload, hashlib.sha256).hexdigest()


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    hints: list[int] = []
    clock = Wall()
    hook = Webhook(SECRET, lambda: hints.append(1), clock, per_minute=100_000)
    async with TestServer(hook.routes()) as server, ClientSession() as session:
        yield Door(hook, str(server.make_url("/hook")), session, hints, clock)


def form(payload: bytes) -> bytes:
    return urllib.parse.urlencode({"payload": payload.decode()}).encode()


@pytest.mark.parametrize("header", ["X-Gitea-Signature", "X-Forgejo-Signature"])
@pytest.mark.parametrize("kind", ["json", "form"])
async def test_both_content_types_of_both_forges_are_taken(
    door: Door, header: str, kind: str
) -> None:
    body = GOOD if kind == "json" else form(GOOD)
    type_ = {"json": "application/json", "form": "application/x-www-form-urlencoded"}[kind]
    given = {header: signed(GOOD), "Content_Type": type_}
    assert await door.send(body, **given) == 202
    assert len(door.hints) == 1
    assert door.told()[0] == "ok"


FORMS = (b"", b"payload", b"payload=", b"other=1", b"payload=%7B%7D&payload=%7B%7D",
         b"payload=%ff", b"\xff\xfe", b"&" * 100, b"payload=" + b"%5B" * 20_000)  # fmt: skip


@pytest.mark.parametrize("body", FORMS, ids=range(len(FORMS)))
async def test_a_form_that_is_none_is_refused_and_said(door: Door, body: bytes) -> None:
    status = await door.send(
        body, Content_Type="application/x-www-form-urlencoded", X_Gitea_Signature=signed(body)
    )
    assert status in {400, 401}
    assert door.hints == []
    assert door.told()[0] == "bad"
    assert await door.good("1") == 202
    assert door.told()[0] == "ok"


async def test_a_body_without_our_signature_is_refused_whatever_it_is(door: Door) -> None:
    bodies = [row.value for row in WHOLE_BODIES]
    bodies += [body for _, body in sample(bent_json(json.loads(GOOD)), 60, seed=1)]
    for body in bodies:
        assert await door.send(body[:100_000], Content_Type="application/json") == 401
    assert door.hints == []
    assert sum(door.hook.refused.values()) == len(bodies)
    assert "signature" in door.told()[1]


async def test_a_signed_body_hints_whatever_it_holds_for_it_is_never_read(door: Door) -> None:
    for n, (_, body) in enumerate(sample(bent_json(json.loads(GOOD)), 60, seed=2)):
        status = await door.send(
            body, Content_Type="application/json", X_Gitea_Signature=signed(body),
            X_Gitea_Delivery=str(n),
        )  # fmt: skip
        assert status == 202
    assert len(door.hints) == 60


@pytest.mark.parametrize("name", [name for name in COVERS if name != "body"])
async def test_no_header_ends_the_hook(door: Door, name: str) -> None:
    for row in HEADERS:
        given = {
            "Content-Type": "application/json", "X-Gitea-Signature": signed(GOOD),
            "X-Gitea-Delivery": row.name, name: row.value,
        }  # fmt: skip
        if name == "X-Forgejo-Signature":
            del given["X-Gitea-Signature"]
        assert await door.send(GOOD, **given) in {202, 400, 401}
    door.hints.clear()
    assert await door.good("the next one") == 202
    assert len(door.hints) == 1


async def test_a_body_that_is_too_large_is_refused_and_counted(door: Door) -> None:
    assert await door.send(b"x" * (MAX_BODY + 1), Content_Type="application/json") == 413
    assert door.hook.refused == {"too large": 1}
    assert await door.good("1") == 202


async def test_a_delivery_told_twice_hints_once(door: Door) -> None:
    assert [await door.good("same"), await door.good("same")] == [202, 202]
    assert len(door.hints) == 1


async def test_doctor_says_what_no_hook_announced(door: Door) -> None:
    assert door.told() == ("warn", "no delivery yet since the start")
    await door.good("1")
    door.clock.now_s += 10
    door.hook.found_new()
    assert door.told()[0] == "ok"
    door.clock.now_s += 100
    door.hook.found_new()
    verdict, words = door.told()
    assert verdict == "warn"
    assert "1 new issues that no delivery announced" in words
    await door.good("2")
    assert door.told()[0] == "ok"


async def test_a_hook_without_its_guard_is_found(door: Door) -> None:
    """The planted one reads what it is sent before it looks at the signature."""

    async def unguarded(request: web.Request) -> web.Response:
        number = json.loads(await request.read())["issue"]["number"]
        return web.Response(status=202 if int(number) else 400)

    app = web.Application()
    app.router.add_post("/hook", unguarded)
    async with TestServer(app) as server:
        broken = 0
        for _, body in sample(bent_json(json.loads(GOOD)), 40, seed=3):
            async with door.session.post(server.make_url("/hook"), data=body) as answer:
                broken += answer.status == 500
    assert broken > 5
