"""A gateway as a process: alone, killed, closed; and a Hermes that somebody else runs."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio
from tests.patience import patient

from allegro.adapters.hermes.existing import ExistingHermes
from allegro.adapters.hermes.gateway import HermesGateway
from allegro.adapters.hermes.wire import HermesWire
from allegro.core.agent.sessions import AgentEvent, End, Gap, TextDelta
from allegro.core.ports import GatewaySpec
from allegro.testing.models import play

from .agent_backends import Place, all_of, carry_out, end_of, follow, is_gone, new_run, refused

pytestmark = pytest.mark.asyncio(loop_scope="module")
LONG = {"say": "w", "pieces": 4_000, "gap_ms": 5}
Foreign = tuple[ExistingHermes, HermesWire]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def second(place: Place) -> AsyncIterator[HermesGateway]:
    """A gateway beside the one of the module, killed by the second of its two tests."""
    made = await place.start()
    yield made
    await made.close("")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def foreign(place: Place, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Foreign]:
    """A Hermes that is not ours."""
    async with place.existing(tmp_path_factory.mktemp("foreign")) as opened:
        yield opened


async def test_it_says_which_version_and_wire_it_is(gateway: HermesGateway, place: Place) -> None:
    assert gateway.wire is not None
    assert gateway.version[0].isdigit()
    if not place.is_real:
        assert gateway.version == ("0.22.2" if place.is_new else "0.19.0")
        assert gateway.wire.capabilities.is_idempotent is place.is_new


async def test_a_wrong_key_is_refused(gateway: HermesGateway) -> None:
    wrong = HermesWire("http://hermes", "0" * 64, socket=str(gateway._folder / "api.sock"))
    try:
        assert await wire_status(wrong) == [401, 401, 401]
    finally:
        await wrong.close()


async def wire_status(wire: HermesWire) -> list[int]:
    calls = (wire.learn(), wire.models(), wire.begin({"input": "hello"}, "one"))
    return [(await refused(call)).status for call in calls]


async def test_a_second_gateway_is_independent(
    gateway: HermesGateway, second: HermesGateway
) -> None:
    run = await gateway.begin(new_run(play({"say": "first ", "pieces": 30, "gap_ms": 10})))
    events = await carry_out(second, new_run(play({"say": "second"})))
    assert end_of(events).output == "second"
    assert second.wire is not None
    assert await second.wire.state(run) is None
    end = end_of(await follow(gateway, run))
    assert (end.end, end.output.split()[-1]) == (End.COMPLETED, "29")


async def test_a_run_whose_gateway_is_killed_is_lost(second: HermesGateway) -> None:
    async def kill(_: str, event: AgentEvent) -> None:
        if isinstance(event, TextDelta) and event.text == "w3 ":
            assert second.process is not None
            os.killpg(second.process.pid, signal.SIGKILL)

    end = end_of(await carry_out(second, new_run(play(LONG)), kill))
    assert (end.end, end.output) == (End.LOST, "")


async def test_a_gateway_carries_out_one_run_at_a_time(gateway: HermesGateway) -> None:
    run = await gateway.begin(new_run(play(LONG)))
    error = await refused(gateway.begin(new_run(play({"say": "me too"}))))
    assert (error.status, error.sent, error.transient) == (429, False, True)
    await gateway.stop(run)
    assert end_of(await follow(gateway, run)).end is End.STOPPED


async def test_a_hermes_that_does_not_start_tells_why(place: Place) -> None:
    python = place.python
    place.python = Path("/usr/bin/false")
    try:
        error = await refused(place.start())
    finally:
        place.python = python
    assert "did not start" in str(error)


async def test_a_hermes_of_somebody_else_serves_and_forgets(foreign: Foreign) -> None:
    hermes, wire = foreign
    gateway = await hermes.start(GatewaySpec("", (), (), network=False))
    run = new_run(play({"say": "hello"}))
    assert end_of(await carry_out(gateway, run)).output == "hello"
    error = await refused(gateway.begin(new_run("hello", "unheard-of")))
    assert error.kind == "unknown_model"
    assert run.session in str(await wire._call("GET", "/api/sessions"))
    await gateway.close(run.session)
    assert run.session not in str(await wire._call("GET", "/api/sessions"))


async def test_a_run_of_somebody_else_s_hermes_is_stopped_with_its_gateway(
    foreign: Foreign,
) -> None:
    hermes, wire = foreign
    gateway = await hermes.start(GatewaySpec("", (), (), network=False))
    run = await gateway.begin(new_run(play(LONG)))
    await gateway.close("")
    async with asyncio.timeout(patient(20)):
        while (state := await wire.state(run)) and state["status"] != "cancelled":
            await asyncio.sleep(0.1)
    assert state is not None


async def test_a_run_that_a_restart_cut_is_lost(place: Place, tmp_path: Path) -> None:
    async with place.existing(tmp_path) as (_, wire):
        run = await wire.begin({"input": play(LONG), "model": "stub"}, secrets.token_hex(8))
        async with asyncio.timeout(patient(20)):
            async for event in wire.events(run):
                if isinstance(event, TextDelta):
                    break
    async with place.existing(tmp_path) as (_, wire):
        events = [event async for event in wire.events(run)]
        assert len(all_of(events, Gap)) == 1
        assert end_of(events).end is End.LOST
        assert ("restarted" in end_of(events).error) is place.is_new


async def test_the_newer_wire_begins_a_run_once(gateway: HermesGateway, place: Place) -> None:
    if not place.is_new:
        pytest.skip("an older Hermes begins a run for every call")
    run = new_run(play({"say": "hello"}, tag="just-once"))
    first, again = await gateway.begin(run), await gateway.begin(run)
    assert first == again
    assert end_of(await follow(gateway, first)).output == "hello"
    assert len(place.asked("just-once")) == 1
    other = msgspec.structs.replace(run, prompt="something else")
    assert (await refused(gateway.begin(other))).status == 409


async def test_a_gateway_that_is_closed_leaves_nothing(
    gateway: HermesGateway, place: Place
) -> None:
    """The last of this file: it ends the gateway that all of them share."""
    assert gateway.process is not None
    await carry_out(gateway, new_run(play({"say": "hello"})))
    assert gateway._folder.exists()
    before = set(place.folder.iterdir()) - {gateway._folder}
    await gateway.close("")
    assert set(place.folder.iterdir()) == before
    assert await is_gone(group=gateway.process.pid)
