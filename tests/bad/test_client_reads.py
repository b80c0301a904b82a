"""The client reads what a real house answers, whole: no field of an answer is lost on the way."""

from __future__ import annotations

import ast
import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from allegro.client.errors import BadRequest
from allegro.client.house_client import HouseClient
from allegro.core.protocol.asked import Happened, LetRest, NewSession
from allegro.core.protocol.event_types import EventType
from tests.bad.api_house import ApiHouse, api_house

SOURCE = Path(__file__).parents[2] / "src" / "allegro" / "client" / "house_client.py"
READS: dict[str, tuple[str, Callable[[HouseClient], Awaitable[msgspec.Struct]]]] = {
    "status": ("status", lambda house: house.status()),
    "doctor": ("doctor", lambda house: house.doctor()),
    "set_aside": ("aside", lambda house: house.set_aside()),
    "requests": ("requests", lambda house: house.requests()),
    "sessions": ("sessions?limit=5", lambda house: house.sessions(5)),
    "gaps": ("gaps", lambda house: house.gaps()),
    "fleet": ("fleet", lambda house: house.fleet()),
    "offer": ("fleet/offer/a", lambda house: house.offer("a")),
    "lane_health": ("fleet/health/a", lambda house: house.lane_health("a")),
    "alerts": ("alerts", lambda house: house.alerts()),
    "duties": ("duties", lambda house: house.duties()),
}
"""Method → its path and a call of it."""


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[ApiHouse]:
    async with api_house(tmp_path) as made:
        yield made


def plain(answer: object) -> Any:
    return msgspec.json.decode(msgspec.json.encode(answer))


@pytest.mark.parametrize("method", READS)
async def test_an_answer_has_every_field_that_the_house_sends(api: ApiHouse, method: str) -> None:
    path, ask = READS[method]
    async with HouseClient(api.socket) as house:
        assert plain(await ask(house)) == await house.get(path)


async def test_a_request_keeps_its_bytes_and_every_field(api: ApiHouse) -> None:
    proposal = {"kind": "comment", "repository": "home/garden", "issue": 3, "body": "w"}
    async with HouseClient(api.socket) as house:
        asked = await house.propose(proposal)
        shown = await house.request(asked.digest[:16])
        assert plain(shown) == await house.get(f"requests/{asked.id}")
        assert shown.action == api.house.requests.all()[0].action
        assert (await house.requests()).requests[0].id == asked.id
        assert (await house.note_shown(asked.id)).id == asked.id
        with pytest.raises(BadRequest, match="cannot be asked for"):
            await house.propose({**proposal, "kind": "nothing"})


async def test_a_session_that_has_not_begun_is_told_from_one_that_has(api: ApiHouse) -> None:
    async with HouseClient(api.socket) as house:
        asked = await house.begin_session(NewSession(prompt="p", key="k"))
        shown = await house.session(asked.id)
        assert (shown.has_begun, shown.kind) == (False, "run_session")
        raw = await house.get(f"sessions/{asked.id}")
        assert {name: plain(shown)[name] for name in raw} == raw
        assert "tokens" not in raw
        stopped = await asyncio.gather(house.stop_session(asked.id), return_exceptions=True)
        # an order may have gone out meanwhile: then only its lane can stop it
        assert getattr(stopped[0], "stopped", False) or "it is ordered" in str(stopped[0])


async def test_acts_are_answered_with_what_came_of_them(api: ApiHouse) -> None:
    async with HouseClient(api.socket) as house:
        assert (await house.stop("odd", "a test")).freeze == "f1"
        assert (await house.bring("a.b.c")).lanes == 1
        happened = await house.report_failover(Happened("it fell over"))
        events = [event async for event in house.shown_events(prefix=EventType.FAILOVER_REPORTED)]
        assert [event.id for event in events] == [happened.id]
        with pytest.raises(BadRequest, match="no council"):
            await house.let_rest(LetRest("a"))


def test_every_method_of_the_client_names_the_type_of_its_answer() -> None:
    (client,) = [
        node
        for node in ast.parse(SOURCE.read_text("utf-8")).body
        if isinstance(node, ast.ClassDef) and node.name == "HouseClient"
    ]
    methods = [node for node in client.body if isinstance(node, ast.AsyncFunctionDef)]
    loose = [
        one.name for one in methods if one.returns is None or "Any" in ast.unparse(one.returns)
    ]
    assert (len(methods) > 30, loose) == (True, [])
