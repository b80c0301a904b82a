"""What a look, a new request and a mirror cost grows with what moved, not with what is open."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from types import FrameType

import msgspec
import pytest

from allegro.core.authority.actions.families import action_bytes, action_digest
from allegro.core.authority.actions.forge import MirrorRequest, RepositoryRef
from allegro.core.authority.freeze import Freeze, FreezeSet
from allegro.core.requests.lifecycle import State, Step
from allegro.core.requests.requests import Request
from allegro.testing.virtual import VirtualClock
from tests.core.builders import FORGE

from .house import House

FROZEN = FreezeSet((Freeze("f1", 1.0, "a person", "stop"),))
FEW, MANY = 40, 1_000


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    made = House(tmp_path, VirtualClock())
    await made.start()
    yield made
    await made.ledger.close()


async def open_up(house: House, count: int, state: State) -> None:
    """Let so many comments and as many mirrors of different requests be open."""
    seed = await house.comment("seed")
    made: list[Request] = []
    for number in range(count):
        action = MirrorRequest(
            id=f"m{number:019}", forge=FORGE, repository=RepositoryRef(7, "home/garden"), issue=3,
            request=f"r{number}", body="words",
        )  # fmt: skip
        raw = action_bytes(action)
        made += [
            msgspec.structs.replace(seed, id=f"c{number:019}", digest=f"d{number}", state=state),
            msgspec.structs.replace(
                seed, id=action.id, kind="mirror_request", action=raw, digest=action_digest(raw),
                internal=True, state=state,
            ),
        ]  # fmt: skip
    await house.ledger.save(*made)
    house.wire()


async def calls_of(work: Callable[[], Awaitable[object]]) -> int:
    """Return how many Python functions this work calls, in this thread."""
    count = 0

    def note(frame: FrameType, event: str, _: object) -> None:
        nonlocal count
        count += event == "call"

    sys.setprofile(note)
    try:
        await work()
    finally:
        sys.setprofile(None)
    return count


async def one_moves(house: House) -> None:
    """Ask for one thing, look at it, and let it end."""
    request = await house.comment("another")
    await house.orders.step()
    await house.requests.withdraw(request.id)
    await house.orders.step()


@pytest.mark.parametrize("state", [State.APPROVED, State.ORDERED, State.UNKNOWN])
async def test_one_look_costs_the_same_however_much_is_open(tmp_path: Path, state: State) -> None:
    costs = []
    for count in (FEW, MANY):
        folder = tmp_path / str(count)
        folder.mkdir()
        house = House(folder, VirtualClock())
        await house.start()
        await open_up(house, count, state)
        house.frozen, house.is_linked = FROZEN, False
        await house.orders.step()
        idle = await calls_of(house.orders.step)
        house.is_linked = True
        moved = await calls_of(lambda: one_moves(house))  # noqa: B023 (called in this turn)
        costs.append((idle, moved))
        await asyncio.gather(*house.orders.running(), return_exceptions=True)
        await house.ledger.close()
    (idle_few, moved_few), (idle_many, moved_many) = costs
    assert idle_many <= 2 * idle_few + 100
    assert moved_many <= 2 * moved_few + 300


async def test_the_home_of_a_request_is_found_among_many(house: House) -> None:
    house.frozen = FROZEN
    await open_up(house, MANY, State.APPROVED)
    assert house.requests.newest_mirror("r700") is not None
    calls = await calls_of(lambda: asyncio.sleep(0, house.requests.newest_mirror("r701")))
    assert calls < 50


async def test_a_key_and_a_digest_are_found_among_many(house: House) -> None:
    house.frozen = FROZEN
    await open_up(house, MANY, State.APPROVED)
    asked = await house.propose(kind="comment", issue=3, body="w", key="k", asked_by="a")
    few = await calls_of(
        lambda: house.propose(kind="comment", issue=3, body="w", key="k", asked_by="a")
    )
    assert few < 200
    found = house.requests.of_digest(asked.digest)
    assert found is not None
    assert found.id == asked.id


async def test_all_of_many_are_ordered_in_the_end_each_once(house: House) -> None:
    await open_up(house, 60, State.APPROVED)
    for _ in range(200):
        await house.step()
    digests = [given.action for given in house.lane.orders]
    assert len(digests) == 121
    for request in house.requests.all():
        assert house.now(request).state is State.ORDERED
        await house.requests.take_step(request, Step.RECEIPT)
    assert await house.step() > 1
