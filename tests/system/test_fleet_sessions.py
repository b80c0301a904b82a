"""Sessions go to the lane that holds the `hermes` role, and to another when it dies (R1, H1)."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from allegro import HermesBridge
from allegro.link.timing import BEAT_S
from allegro.scratch.fleet import ScratchFleet
from allegro.scratch.network import Loopback
from allegro.testing.agents import make_stand_in
from allegro.testing.models import ModelStub, play

from .fleet_trials import QuickFleet

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]


class Fleet:
    def __init__(self, scratch: ScratchFleet, stub: ModelStub, bridge: HermesBridge) -> None:
        self.scratch, self.stub, self.bridge = scratch, stub, bridge

    def beginnings(self, tag: str) -> int:
        """Return how often the model saw the first turn of a prompt with this tag."""
        return sum(
            tag in str(one["messages"])
            and not any(message.get("role") == "assistant" for message in one["messages"])
            for one in self.stub.requests
        )

    async def lane_of(self, session: str) -> str:
        (lane,) = {
            event["lane"]
            async for event in self.scratch.client.events(
                prefix="session.", subject=f"session:{session}"
            )
        }
        return str(lane)

    async def held(self, by: str = "") -> None:
        """Wait until a lane (this one) is ready for sessions and holds the role."""

        async def ready() -> bool:
            shown = await self.scratch.fleet()
            holder = shown["roles"].get("hermes", {}).get("lane", "")
            able = {one["name"] for one in shown["lanes"] if "hermes" in one["ready"]}
            return holder in able and (not by or holder == by)

        await self.scratch.until(ready, f"{by or 'a lane'} holds the hermes role", within_s=40)
        await asyncio.sleep(BEAT_S + 0.5)  # the house orders by what the last beat said


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def fleet(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Fleet]:
    tmp_path = tmp_path_factory.mktemp("sessions")
    stub = ModelStub()
    port = await stub.start()
    make_stand_in(tmp_path / "agent")
    scratch = QuickFleet(tmp_path / "fleet", Loopback())
    rung = {"model": "main", "provider": "stub", "base_url": f"http://127.0.0.1:{port}/v1",
            "upstream": "stub"}  # fmt: skip
    try:
        await scratch.set_up(
            lane={"hermes.gateways": 1, "hermes.folder": str(tmp_path / "agent"),
                  "models.rungs": [rung], "forge.timeout_s": 2.0},
            house={"orders.ttl_s": 4, "orders.settle_s": 1},
        )  # fmt: skip
        async with HermesBridge(scratch.socket, wait_s=60.0) as bridge:
            yield Fleet(scratch, stub, bridge)
    finally:
        await scratch.close()
        await stub.stop()


async def test_a_session_runs_where_the_role_is_and_moves_on_with_it(fleet: Fleet) -> None:
    await fleet.held()
    first = (await fleet.scratch.holder("hermes"), "one")
    result = await fleet.bridge.run_session(play({"say": "hello"}, tag="one"))
    assert (result.state, result.output) == ("completed", "hello")
    assert await fleet.lane_of(result.session_id) == first[0]

    fleet.scratch.lanes[first[0]].signal(signal.SIGKILL)

    async def moved() -> bool:
        return await fleet.scratch.holder("hermes") not in {"", first[0]}

    await fleet.scratch.until(moved, "another lane holds the role", within_s=30)
    await fleet.held()
    result = await fleet.bridge.run_session(play({"say": "on"}, tag="two"))
    assert (result.state, result.output) == ("completed", "on")
    assert await fleet.lane_of(result.session_id) != first[0]
    assert fleet.beginnings("one") == fleet.beginnings("two") == 1


async def test_a_session_on_a_lane_that_dies_is_lost_and_begun_nowhere_else(fleet: Fleet) -> None:
    await fleet.held()
    holder = await fleet.scratch.holder("hermes")
    session = await fleet.bridge.begin_session(
        play({"say": "word", "pieces": 100, "gap_ms": 100}, tag="dying")
    )
    await fleet.scratch.until(lambda: fleet.beginnings("dying"), "the model was asked")
    fleet.scratch.lanes[holder].signal(signal.SIGKILL)
    await fleet.scratch.lanes[holder].daemon.end(signal.SIGKILL)
    await fleet.scratch.lanes[holder].council.end(signal.SIGKILL)
    await fleet.scratch.start(holder)
    result = await fleet.bridge.result(session, wait_s=60)
    assert result.state == "lost"
    assert fleet.beginnings("dying") == 1
