"""A key names one asking of one program: twice is once, and never the first one's for another."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from allegro.core.authority.actions.agent import RunSession
from allegro.core.base.errors import EdgeError
from allegro.core.requests.requests import Request
from allegro.house.requests.asking import THE_HOUSE, Origin, Terms
from allegro.testing.virtual import VirtualClock

from .house import House


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    made = House(tmp_path, VirtualClock())
    await made.start()
    yield made
    await made.ledger.close()


async def ask(house: House, body: str = "words", who: str = "a (pid 1)", key: str = "k") -> Request:
    return await house.propose(kind="comment", issue=3, body=body, asked_by=who, key=key)


async def session(house: House, prompt: str, key: str = "k") -> Request:
    action = RunSession(id=house.requests.new_id(), prompt=prompt)
    terms = Terms("Run it?", "review", expires_s=9e9)
    return await house.requests.propose_act(action, terms, Origin("a", key))


async def test_the_same_asking_with_the_same_key_is_one_request(house: House) -> None:
    first = await ask(house)
    assert (await ask(house)).id == first.id
    assert (await ask(house, who="a (pid 2)")).id == first.id  # the program began anew
    await house.restart()
    assert (await ask(house)).id == first.id


async def test_a_key_used_again_for_other_content_is_refused(house: House) -> None:
    first = await ask(house)
    with pytest.raises(EdgeError, match=first.id) as caught:
        await ask(house, body="other words")
    assert (caught.value.kind, caught.value.transient) == ("key_reused", False)
    assert [request.id for request in house.requests.all()] == [first.id]


async def test_another_program_with_the_same_key_asks_for_itself(house: House) -> None:
    mine, theirs = await ask(house, body="mine"), await ask(house, body="theirs", who="b (pid 1)")
    assert mine.id != theirs.id
    assert (await ask(house, body="theirs", who="b (pid 9)")).id == theirs.id


async def test_nobody_asks_in_the_name_of_the_house(house: House) -> None:
    request = await ask(house, who=THE_HOUSE)
    assert request.asked_by != THE_HOUSE


async def test_two_that_ask_at_once_with_one_key_get_one_request(house: House) -> None:
    asked = await asyncio.gather(*(ask(house) for _ in range(5)))
    assert len({request.id for request in asked}) == 1


async def test_an_asking_that_waits_for_a_slow_lane_holds_up_no_other(house: House) -> None:
    house.lane.silent = asyncio.Event()
    waits = asyncio.create_task(ask(house, key="slow"))
    await asyncio.sleep(0)
    made = await session(house, "water the roses")  # asks no lane
    assert made.kind == "run_session"
    house.lane.silent.set()
    assert (await waits).kind == "comment"


async def test_a_sessions_key_works_alike(house: House) -> None:
    first = await session(house, "water the roses")
    assert (await session(house, "water the roses")).id == first.id
    with pytest.raises(EdgeError, match="used before"):
        await session(house, "cut the roses")


async def test_a_ledger_of_before_knows_its_keys_without_their_content(house: House) -> None:
    first = await ask(house)
    await house.ledger.save(msgspec.structs.replace(first, asked=""))
    await house.restart()
    assert (await ask(house, body="other words")).id == first.id
