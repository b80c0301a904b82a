"""A fleet as its operator lives with it: deaths, sleep, reboots, orders, what is told (R1 to R5).

One scratch fleet for all tests of this file, each of which leaves it well.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator
from datetime import datetime

import pytest
import pytest_asyncio

from allegro.adapters.nats.council import Access, NatsCouncil
from allegro.adapters.nats.server import access_of, read_running
from allegro.client.errors import NotNow
from allegro.core.authority.lease import Record
from allegro.core.base.errors import EdgeError
from allegro.core.protocol.pages import FRESH_PAGES
from allegro.lane.fleet.peers import PAGE_S
from allegro.scratch.fleet import REPOSITORY
from tests.patience import patient

from .fleet_life import APPROVAL_S, LEASE_S, RETURN_S, Life, open_life

pytestmark = [
    pytest.mark.slow, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(420),
]  # fmt: skip
AT_ONCE_S = 3.5
REBOOT_S = FRESH_PAGES * PAGE_S + 1
LOCAL_ONLY_S = 10.0


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def fleet(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Life]:
    """Three lanes with their council servers, a forge and a house."""
    async with open_life(tmp_path_factory.mktemp("life") / "fleet") as opened:
        yield opened


async def test_a_reboot_hands_the_role_over_at_once_and_it_returns_after_a_while(
    fleet: Life,
) -> None:
    holder = await fleet.settled()
    began_s = time.time()
    await fleet.lanes[holder].daemon.end(signal.SIGTERM)
    taken = await fleet.another_took(holder, began_s)
    assert taken["at_s"] - began_s < AT_ONCE_S
    assert (taken["why"], taken["before"]) == ("offered", holder)

    await asyncio.sleep(began_s + REBOOT_S - time.time())
    back_s = time.time()
    await fleet.start(holder)
    returned = await fleet.took(holder, back_s)
    assert returned["why"] == "offered"
    assert returned["at_s"] - back_s > RETURN_S


async def test_a_lane_that_restarts_quickly_is_offered_nothing_before_it_was_well_for_a_while(
    fleet: Life,
) -> None:
    holder = await fleet.settled()
    began_s = time.time()
    await fleet.lanes[holder].daemon.end(signal.SIGTERM)
    await asyncio.sleep(1.0)
    offered = (await fleet.record(fleet.others(holder)[0])).offered
    back_s = time.time()
    await fleet.start(holder)
    returned = await fleet.took(holder, began_s)
    assert offered == ""
    assert returned["at_s"] - back_s > RETURN_S


async def test_a_lane_told_to_rest_hands_over_at_once_while_it_runs(fleet: Life) -> None:
    holder = await fleet.settled()
    pid, began_s = fleet.lanes[holder].daemon.pid, time.time()
    told = await fleet.command("fleet", "drain", "--minutes", "0.1", holder)
    assert told.startswith(f"{holder} is drained of forge")
    taken = await fleet.another_took(holder, began_s)
    assert taken["at_s"] - began_s < AT_ONCE_S
    assert fleet.lanes[holder].daemon.pid == pid
    assert fleet.lanes[holder].daemon.is_running

    returned = await fleet.took(holder, began_s)
    assert returned["at_s"] - began_s > 0.1 * 60 + RETURN_S


async def test_a_council_server_killed_alone_is_started_again_and_roles_go_on(
    fleet: Life,
) -> None:
    holder = await fleet.settled()
    files = fleet.lanes[holder].server
    before = read_running(files)
    assert before is not None
    began_s = time.time()
    os.kill(before.pid, signal.SIGKILL)
    issue = await fleet.open_issue("while a council server is away")

    def is_another() -> bool:
        after = read_running(files)
        return after is not None and after.pid != before.pid

    await fleet.until(is_another, "the council program starts it again")
    await fleet.came_home(issue)
    await fleet.until(fleet.holder, "the role is held")
    assert time.time() - began_s < patient(30)


async def test_two_of_three_lanes_dead_leave_a_survivor_that_obeys_and_buffers(
    fleet: Life,
) -> None:
    survivor = await fleet.settled()
    dead = fleet.others(survivor)
    fleet.wires[survivor].cut()
    await fleet.kill(*dead)
    cut_s = time.time()
    await asyncio.sleep(LEASE_S * 2.5)
    mended_s = time.time()
    fleet.wires[survivor].mend()
    await fleet.until(
        lambda: fleet.sees(survivor, linked=True, quorum=False, held={}), "it holds no role"
    )
    assert "forge" not in (await fleet.fleet())["roles"]

    async def told_meanwhile() -> list[float]:
        lost = [e for e in await fleet.events("council.lost") if e["lane"] == survivor]
        return [datetime.fromisoformat(event["time"]).timestamp() for event in lost]

    await fleet.until(told_meanwhile, "what it journalled while cut off comes home")
    assert cut_s < (await told_meanwhile())[-1] < mended_s
    await fleet.commented("by the survivor")
    issue = await fleet.open_issue("while no lane holds the role")
    await fleet.came_home(issue)
    assert await fleet.marked(issue) == 0  # it reads on, and changes nothing

    await fleet.start(dead[0])
    await fleet.until(fleet.holder, "a role is held again")

    async def is_marked() -> bool:
        return await fleet.marked(issue) == 1

    await fleet.until(is_marked, "the new holder marks it", within_s=60.0)
    await fleet.start(dead[1])
    await fleet.settled()
    assert await fleet.count("by the survivor") == 1


async def test_with_all_lanes_dead_the_house_says_local_only_and_goes_on_when_they_return(
    fleet: Life,
) -> None:
    await fleet.settled()
    content = base64.b64encode(b"late\n").decode()
    asked = await fleet.client.post(
        "requests",
        {"kind": "propose_change", "repository": REPOSITORY, "base": "main",
         "branch": "work/late", "title": "approved too early", "body": "", "files":
         {"late.txt": content}},
    )  # fmt: skip
    names = fleet.others()
    await fleet.kill(*names)
    died_s = time.time()
    await fleet.command(
        "approve", str(asked["digest"]), "--config", str(fleet.house_config), "--yes", "--json"
    )
    expires_s = time.time() + APPROVAL_S

    async def is_local_only() -> bool:
        return (await fleet.fleet())["local_only_since_s"] is not None

    await fleet.until(is_local_only, "the house notices", within_s=LOCAL_ONLY_S)
    assert time.time() - died_s < LOCAL_ONLY_S
    told = json.loads(await fleet.command("fleet", "status", "--json", code=1))
    assert abs(told["local_only_since_s"] - died_s) < LOCAL_ONLY_S
    assert "LOCAL ONLY for" in await fleet.command("fleet", "status", code=1)
    assert "LOCAL ONLY for" in await fleet.command("status", code=1)
    with pytest.raises(NotNow, match="no lane is linked"):
        await fleet.ask("asked while all were dead")
    asking = asyncio.create_task(fleet.keep_asking("asked while all were dead"))
    await asyncio.sleep(expires_s + 1 - time.time())

    for name in names:
        await fleet.start(name)
    assert await fleet.state(await asyncio.wait_for(asking, patient(40))) == "done"
    assert await fleet.state(str(asked["id"])) == "expired"
    await fleet.settled()
    assert (await fleet.fleet())["local_only_since_s"] is None
    assert await fleet.count("asked while all were dead") == 1
    assert not [w for w in await fleet.writes() if w.name in {"approved too early", "work/late"}]


async def test_a_house_that_slept_through_a_fail_over_gets_everything_once(fleet: Life) -> None:
    holder = await fleet.settled()
    await fleet.house.end(signal.SIGTERM)
    slept_s = time.time()
    issues = [await fleet.open_issue("before the fail-over")]
    await fleet.kill(holder)
    issues.append(await fleet.open_issue("during the fail-over"))
    watcher = fleet.others(holder)[0]

    async def is_taken() -> bool:
        return (await fleet.record(watcher)).holder != holder

    await fleet.until(is_taken, "another lane takes the role")
    issues.append(await fleet.open_issue("after the fail-over"))
    await asyncio.sleep(1.0)
    await fleet.start_house()
    await fleet.came_home(*issues)
    taken = await fleet.another_took(holder, slept_s)
    assert taken["before"] == holder
    took_over = f"forge: {taken['lane']} took over from {holder} (expired)"

    async def alerts() -> list[str]:
        return [alert for alert in await fleet.alerts() if took_over in alert]

    await fleet.until(alerts, "the house tells of the take-over")
    assert len(await alerts()) == 1
    told = Counter((one["role"], one["epoch"]) for one in (await fleet.fleet())["take_overs"])
    assert set(told.values()) == {1}
    assert told["forge", taken["epoch"]] == 1
    await fleet.start(holder)
    await fleet.settled()
    await fleet.came_home(*issues)


async def test_a_stop_reaches_a_lane_that_the_house_cannot_reach_and_no_restart_lifts_it(
    fleet: Life,
) -> None:
    await fleet.settled()
    names = fleet.others()
    unreached = names[-1]
    older = fleet.folder / "older"
    await fleet.copy_stores(older)
    fleet.wires[unreached].cut()
    await fleet.until(lambda: fleet.sees(unreached, linked=False), "its line is cut")
    await fleet.command("stop", "--reason", "test")
    (freeze,) = (await fleet.status())["freezes"]

    def is_frozen() -> bool:
        return all(not fleet.freezes(name).is_thawed for name in names)

    await fleet.until(is_frozen, "all lanes are frozen", within_s=3 * PAGE_S)
    assert freeze["id"] in {one.id for one in fleet.freezes(unreached).active}
    before = len(await fleet.writes())
    issue = await fleet.open_issue("while stopped")
    comment = await fleet.ask("asked while stopped")

    await fleet.kill(*names)
    await fleet.restore_stores(older)
    for name in names:
        await fleet.start(name)
    await fleet.came_home(issue)
    fleet.wires[unreached].mend()
    await fleet.settled()
    assert is_frozen()
    assert len(await fleet.writes()) == before

    await fleet.command("thaw", freeze["id"], "--config", str(fleet.house_config))
    await fleet.until(
        lambda: all(fleet.freezes(name).is_thawed for name in names), "the thaw reaches all lanes"
    )
    assert await fleet.state(comment) == "done"
    assert await fleet.count("asked while stopped") == 1
    assert (await fleet.status())["frozen"] is False


async def test_a_host_with_a_stolen_configuration_but_no_key_is_not_let_into_the_council(
    fleet: Life,
) -> None:
    await fleet.settled()
    victim, *others = fleet.others()
    thief = fleet.steal(victim)
    await thief.daemon.start(fleet.lane_command(thief))
    await fleet.until(lambda: not thief.daemon.is_running, "its lane program ends")
    assert await thief.daemon.end() != 0

    await thief.council.start(fleet.council_command(thief))
    await fleet.until(lambda: "council.not_started" in thief.council.tail(), "no server starts")
    assert read_running(thief.server) is None
    await thief.council.end()

    server = await fleet.serve_with_own_key(thief, victim)
    try:
        await asyncio.sleep(3.0)
        assert await fleet.keep_council(victim, *others)
        own = read_running(thief.server)
        assert own is not None
        assert await fleet.routes(own) == set()
        assert await is_refused(access_of(thief.server, own))
        seed = thief.server.seed.read_text().strip()
        for name in (victim, *others):
            running = read_running(fleet.lanes[name].server)
            assert running is not None
            assert await is_refused(Access(running.client, seed))
    finally:
        await server.stop()
    await fleet.settled()


async def is_refused(access: Access | None) -> bool:
    """Whether nothing can be read from the council this way, and nothing written."""
    council = NatsCouncil(lambda: access, timeout_s=1.0)
    try:
        with pytest.raises(EdgeError, match="the council does not answer"):
            await council.read("forge")
        with pytest.raises(EdgeError, match="the council does not answer"):
            await council.write("forge", Record("thief", "process", 1), 0)
    finally:
        await council.close()
    return True
