"""The shipped units under a real systemd: copied unchanged they start, come back, and end in order.

What cannot be seen here: memory and task limits, since a box has no cgroup controllers.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from allegro.scratch.fleet import BOT, LANES
from allegro.scratch.network import Loopback, Namespaces
from allegro.testing.models import ModelStub, play

from . import systemd_vm
from .agent_fixture import PROVIDER_KEY, needs_hermes, terminal
from .install_fixture import COUNCIL, HOUSE_UNIT, UNIT, Machines

_TROUBLE = systemd_vm.trouble()
_APART = Namespaces.trouble()
pytestmark = [
    pytest.mark.slow, pytest.mark.skipif(bool(_TROUBLE), reason=_TROUBLE or "none"),
    pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(420),
]  # fmt: skip
LANE, HOME = "allegro", "home"
TAKEN_S = 30.0
# WatchdogSec=30 is long for a test: this is the one line of a unit that is not as shipped.
WATCHDOG = "[Service]\nWatchdogSec=2\n"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lane(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Machines]:
    """One lane as the README makes it, linked with a house."""
    machines = Machines(tmp_path_factory.mktemp("units") / "lane", Loopback(), [LANE])
    try:
        await machines.open()
        await machines.start_house()
        await machines.make_lane(LANE)
        await machines.put_unit(LANE, "lane.service")
        await machines.systemctl(LANE, "enable", "--now", UNIT)
        yield machines
    finally:
        await machines.close()


async def test_a_copied_lane_unit_runs_at_the_first_try(lane: Machines) -> None:
    await lane.until(lane.are_linked, "the lane is linked and reaches the forge")
    await lane.work("first")

    shown = await lane.shown(LANE)
    assert (shown["ActiveState"], shown["SubState"]) == ("active", "running")
    assert shown["NRestarts"] == "0"
    status = await lane.boxes[LANE].run("cat", f"/proc/{shown['MainPID']}/status")
    closed = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert (closed["Seccomp"], closed["NoNewPrivs"]) == ("2", "1")
    assert int(closed["CapBnd"], 16) == int(closed["CapEff"], 16) == 0


async def test_a_killed_lane_is_started_again_and_works(lane: Machines) -> None:
    before = await lane.shown(LANE)
    await lane.systemctl(LANE, "kill", "-s", "KILL", UNIT)
    after = await lane.came_back(LANE, before)
    assert int(after["NRestarts"]) == int(before["NRestarts"]) + 1
    await lane.work("after a kill")


async def test_a_lane_that_hangs_is_ended_by_the_watchdog_and_comes_back(lane: Machines) -> None:
    await lane.boxes[LANE].put(f"/etc/systemd/system/{UNIT}.service.d/test.conf", WATCHDOG)
    await lane.systemctl(LANE, "daemon-reload")
    await lane.systemctl(LANE, "restart", UNIT)
    before = await lane.shown(LANE)
    await lane.systemctl(LANE, "kill", "-s", "STOP", "--kill-whom=main", UNIT)
    await lane.came_back(LANE, before)
    assert "Watchdog timeout" in await lane.journal(LANE, "-u", UNIT)
    await lane.work("after a hang")


async def test_a_lane_stops_in_order_and_its_log_tells_no_secret(lane: Machines) -> None:
    shown = await lane.shown(LANE)
    began_s = time.monotonic()
    await lane.systemctl(LANE, "stop", UNIT)
    assert time.monotonic() - began_s < int(shown["TimeoutStopUSec"].removesuffix("s"))
    shown = await lane.shown(LANE)
    assert (shown["ActiveState"], shown["Result"]) == ("inactive", "success")
    await lane.systemctl(LANE, "start", UNIT)
    await lane.work("after a stop")

    await lane.is_quiet(LANE, lane.tokens[BOT]["daily"])


# --- a house, and a lane for sessions, on one machine --------------------------------------------


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def home(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Machines]:
    """A person's house in a box, with house.service."""
    machines = Machines(tmp_path_factory.mktemp("units") / "home", Loopback(), [HOME])
    try:
        await machines.open()
        await machines.make_house(HOME)
        yield machines
    finally:
        await machines.close()


async def test_a_copied_house_unit_runs_and_comes_back_when_killed(home: Machines) -> None:
    before = await home.shown(HOME, HOUSE_UNIT)
    assert (before["ActiveState"], before["NRestarts"]) == ("active", "0")
    await home.at_home(HOME, "requests")

    await home.user_systemctl(HOME, "kill", "-s", "KILL", HOUSE_UNIT)
    await home.came_back(HOME, before, HOUSE_UNIT)
    await home.at_home(HOME, "requests")

    await home.user_systemctl(HOME, "stop", HOUSE_UNIT)
    after = await home.shown(HOME, HOUSE_UNIT)
    assert (after["ActiveState"], after["Result"]) == ("inactive", "success")
    await home.user_systemctl(HOME, "start", HOUSE_UNIT)


@needs_hermes
async def test_a_copied_sessions_unit_runs_a_session_in_its_sandbox(home: Machines) -> None:
    stub = ModelStub(key=PROVIDER_KEY)
    port = await stub.start()
    try:
        await home.make_session_lane(HOME, f"http://127.0.0.1:{port}/v1", PROVIDER_KEY)
        await home.pair(HOME, at_home=HOME)
        await home.put_unit(HOME, "lane-sessions.service")
        await home.systemctl(HOME, "enable", "--now", UNIT)
        await home.ready(HOME)
        assert re.search(r"sandbox +bubblewrap", await home.at_home(HOME, "doctor"))
        assert "bubblewrap" in await home.allegro(HOME, "doctor")
        await _session(home)

        await home.boxes[HOME].cut_power()
        await home.boxes[HOME].boot()
        await home.ready(HOME)
        await _session(home)

        await home.systemctl(HOME, "stop", UNIT)
        after = await home.shown(HOME)
        assert (after["ActiveState"], after["Result"]) == ("inactive", "success")
        assert "inside.py" not in await home.boxes[HOME].run("ps", "-ef")
    finally:
        await stub.stop()
    await home.is_quiet(HOME, PROVIDER_KEY)


async def _session(machines: Machines) -> None:
    """Let an agent call a tool, and read what the tool saw: nothing of the lane."""
    steps = (terminal("id -un; ls /etc/allegro /var/lib/allegro"), {"say": "the end"})
    told = json.loads(await machines.at_home(HOME, "run", play(*steps), "--json"))
    assert (told["state"], told["output"], told["tools"]) == ("completed", "the end", 1)
    ended = await machines.at_home(HOME, "events", "--type", "session.tool_ended", "--json")
    (result,) = {str(json.loads(line)["words"]["result"]) for line in ended.splitlines()}
    assert "agent" in result
    assert result.count("No such file or directory") == 2


# --- a fleet: lane.service and council.service on three machines -------------------------------


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def fleet(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Machines]:
    """Three lanes, each in a box with a network of its own, joined as the README says."""
    folder = tmp_path_factory.mktemp("units") / "fleet"
    machines = Machines(folder, Namespaces(LANES), LANES)
    try:
        await machines.open()
        await machines.start_house()
        await asyncio.gather(*(_make(machines, name) for name in LANES))
        await machines.until(machines.are_linked, "all lanes are linked")
        home = ("--config", str(machines.house_config))
        await machines.command("fleet", "join", *home, *LANES)
        await machines.whole()
        yield machines
    finally:
        await machines.close()


async def _make(machines: Machines, name: str) -> None:
    address = f"{machines.network.address(name)}:7430"
    council = {"council.listen": "0.0.0.0:7430", "council.address": address}
    await machines.make_lane(name, {**council, "lane.failure_domain": name})
    await machines.put_unit(name, "lane.service")
    await machines.put_unit(name, "council.service", COUNCIL)
    await machines.systemctl(name, "enable", "--now", UNIT, COUNCIL)


async def _another_polls(machines: Machines, before: str) -> None:
    """Wait until the house sees another holder: it believes no lane until a second one says so."""

    async def is_another() -> bool:
        return await machines.holder() not in {"", before}

    await machines.until(is_another, "another lane polls", within_s=TAKEN_S)


needs_networks = pytest.mark.skipif(bool(_APART), reason=_APART or "none")


@needs_networks
async def test_a_fleet_of_copied_units_survives_a_power_cut(fleet: Machines) -> None:
    await fleet.work("whole")
    holder = await fleet.whole()
    await fleet.boxes[holder].cut_power()
    await fleet.work("while a machine is dark", within_s=TAKEN_S)
    await _another_polls(fleet, holder)

    await fleet.boxes[holder].boot()
    await fleet.whole()
    await fleet.work("whole again")


@needs_networks
async def test_a_restart_of_the_lane_that_polls_hands_over(fleet: Machines) -> None:
    holder = await fleet.whole()
    await fleet.systemctl(holder, "restart", UNIT)
    await fleet.work("after a restart", within_s=TAKEN_S)
    assert await fleet.why_taken() == "offered"
    await fleet.whole()


@needs_networks
async def test_a_machine_that_shuts_down_hands_over(fleet: Machines) -> None:
    holder = await fleet.whole()
    await fleet.boxes[holder].shut_down()
    await fleet.work("after a shutdown", within_s=TAKEN_S)
    assert await fleet.why_taken() == "offered"
    await fleet.boxes[holder].boot()
    await fleet.whole()


@needs_networks
async def test_a_planned_reboot_goes_as_the_runbook_says(fleet: Machines) -> None:
    holder = await fleet.whole()
    await fleet.command("fleet", "drain", holder, "--minutes", "20")
    await _another_polls(fleet, holder)
    await fleet.boxes[holder].shut_down()
    await fleet.work("during a reboot")
    await fleet.boxes[holder].boot()
    await fleet.whole()
    for name in LANES:
        shown = await fleet.shown(name, COUNCIL)
        assert (shown["ActiveState"], shown["NRestarts"]) == ("active", "0")
        await fleet.is_quiet(name, fleet.tokens[BOT]["daily"])


@needs_networks
async def test_a_killed_council_server_is_started_again(fleet: Machines) -> None:
    holder = await fleet.whole()
    before = await fleet.shown(holder, COUNCIL)
    await fleet.systemctl(holder, "kill", "-s", "KILL", COUNCIL)
    await fleet.came_back(holder, before, COUNCIL)
    await fleet.whole()
    await fleet.work("after a council server was killed")
