"""Who is in the fleet, and what a stolen lane can do to it (R1, R4, S6).

One scratch fleet for all tests of this file, in this order: each takes it as the last one left it.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio

from allegro.client.errors import BadRequest
from allegro.client.redundancy import FailoverEvent, RedundancyManager
from allegro.core.authority.lease import MAX_EPOCH_JUMP
from allegro.core.base.errors import UserError
from allegro.core.protocol.pages import FRESH_PAGES
from allegro.drill.report import TARGET_S
from allegro.lane.fleet.peers import PAGE_S
from allegro.scratch.network import Namespaces
from tests.patience import patient

from .fleet_far import Seen
from .fleet_life import LEASE_S, Life, open_life
from .fleet_secrets import loose_files, secrets_of, shown_in
from .fleet_thief import Thief

pytestmark = [
    pytest.mark.slow, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(420),
]  # fmt: skip
ROOT = Path(__file__).parents[2]
WITHIN_S = 110.0
CLOSE_S = 30.0
SOON_S = 12.0


class Asides:
    """Programs that make a fleet of their own, run beside the tests one after the other."""

    def __init__(self) -> None:
        self._children: list[asyncio.subprocess.Process] = []
        self._running = asyncio.Lock()

    async def run(self, *arguments: str) -> tuple[int, bytes]:
        async with self._running:
            child = await asyncio.create_subprocess_exec(
                sys.executable, "-m", *arguments, cwd=ROOT, stdout=asyncio.subprocess.PIPE
            )
            self._children.append(child)
            out, _ = await child.communicate()
            return child.returncode or 0, out

    async def close(self) -> None:
        """Interrupt what still runs: it takes its fleet down before it ends."""
        for child in self._children:
            if child.returncode is None:
                child.send_signal(signal.SIGINT)
                await asyncio.wait_for(child.wait(), patient(CLOSE_S))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def asides() -> AsyncIterator[dict[str, asyncio.Task[tuple[int, bytes]]]]:
    """A fleet whose lanes have networks of their own, and a drill in a fleet of its own."""
    programs, tasks = Asides(), {}
    if not Namespaces.trouble():
        tasks["far"] = asyncio.create_task(programs.run("tests.system.fleet_far"))
    tasks["drill"] = asyncio.create_task(
        programs.run("allegro", "drill", "failover", "--kill", "--json")
    )
    yield tasks
    for task in tasks.values():
        task.cancel()
    await asyncio.gather(*tasks.values(), return_exceptions=True)
    await programs.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def fleet(
    tmp_path_factory: pytest.TempPathFactory,
    asides: dict[str, asyncio.Task[tuple[int, bytes]]],
) -> AsyncIterator[Life]:
    """Three lanes with their council servers, a forge and a house."""
    async with open_life(tmp_path_factory.mktemp("members") / "fleet") as opened:
        yield opened


async def test_health_tells_a_well_lane_from_one_whose_program_ended(fleet: Life) -> None:
    holder = await fleet.settled()
    ended, other = fleet.others(holder)
    async with RedundancyManager(fleet.socket) as manager:
        well = await manager.health_check_vps(ended)
        assert (well.verdict, well.house.host, well.house.daemon) == ("well", True, True)
        assert {name: (one.host, one.council) for name, one in well.siblings.items()} == {
            holder: (True, True), other: (True, True),
        }  # fmt: skip

        fleet.lanes[ended].signal(signal.SIGKILL, server=False)
        await asyncio.sleep(FRESH_PAGES * PAGE_S + PAGE_S)

        async def is_ill() -> bool:
            ill = await manager.health_check_vps(ended)
            siblings = {name: (one.host, one.council) for name, one in ill.siblings.items()}
            told = (ill.verdict, ill.house.host, ill.house.daemon)
            return told == ("ill", True, False) and siblings == {
                holder: (True, False), other: (True, False),
            }  # fmt: skip

        # the wire of the scratch fleet may hang up while the house looks: then it looks again
        await fleet.until(is_ill, "the host is well and its program is not")
        with pytest.raises(BadRequest, match="no lane is named nobody"):
            await manager.health_check_vps("nobody")


async def test_health_tells_what_a_lanes_own_doctor_says_of_forge_and_clock(fleet: Life) -> None:
    async with RedundancyManager(fleet.socket) as manager:
        seen = await manager.health_check_vps(await fleet.settled())
    assert (seen.house.forge, seen.house.clock) == (True, True)
    assert not [trouble for trouble in seen.troubles if trouble.startswith("None")]


async def test_routing_is_taken_over_and_what_happened_is_on_record(fleet: Life) -> None:
    holder = await fleet.settled()
    began_s = time.time()
    async with RedundancyManager(fleet.socket) as manager:
        told = await manager.take_over_routing(holder)
        assert (told.failed_host, told.roles) == (holder, ("forge",))
        assert set(told.informed) == set(fleet.others())
        assert (await fleet.another_took(holder, began_s))["before"] == holder

        mesh = await manager.maintain_syncthing_mesh()
        assert not mesh.configured
        assert mesh.detail.startswith("not configured")
        event = FailoverEvent("moved before a reboot", holder, "forge")
        id_ = await manager.report_failover_event(event)
        (reported,) = await fleet.events("failover.reported")
        assert (reported["id"], reported["data"]) == (id_, msgspec.to_builtins(event))

        async def is_another() -> bool:
            return (await manager.fleet())["roles"].get("forge", {"lane": ""})["lane"] not in {
                "",
                holder,
            }

        await fleet.until(is_another, "the house sees another holder")


async def test_nobody_rests_who_is_not_in_the_council(fleet: Life) -> None:
    holder = str(await fleet.until(fleet.holder, "a lane holds the role"))
    async with RedundancyManager(fleet.socket) as manager:
        for lane, to in (("nosuch", ""), ("", ""), (holder, "nosuch"), (holder, holder)):
            with pytest.raises(BadRequest, match=r"not in the council|to itself"):
                await manager.take_over_routing(lane, to)
        with pytest.raises(BadRequest):
            await manager.health_check_vps(f"{holder}?x=1")
    for minutes in ("0", "-3", "99999"):
        told = await fleet.command("fleet", "drain", holder, "--minutes", minutes, code=1)
        assert "rests" not in told
    assert await fleet.holder() == holder


async def test_a_planned_drill_on_the_running_fleet_loses_nothing(fleet: Life) -> None:
    before = str(await fleet.until(fleet.holder, "a lane holds the role"))
    told = json.loads(await fleet.command("drill", "failover", "--json"))
    assert told["ok"]
    assert 0 < told["median_s"] <= told["max_s"] < SOON_S
    assert (told["duplicates"], told["lost"]) == (0, 0)
    assert told["trials"][0]["victim"] == before
    assert told["trials"][0]["holder"] != before


async def test_no_secret_of_the_council_is_seen_and_every_file_is_its_owners(fleet: Life) -> None:
    await fleet.commented("before all is searched")
    secrets = secrets_of(fleet)
    assert len(secrets) == 2 * len(fleet.lanes)
    assert shown_in(fleet.folder, secrets) == []
    assert loose_files(fleet) == []
    told = json.dumps([await fleet.events(""), await fleet.status(), await fleet.fleet()])
    assert not [name for name, secret in secrets.items() if secret.decode() in told]


async def test_a_lane_is_replaced_while_roles_go_on(fleet: Life) -> None:
    first, *stay = fleet.others()
    await fleet.add_lane("dora")
    await fleet.command("fleet", "join", "--config", str(fleet.house_config), "dora")
    await fleet.until(lambda: fleet.agree(first, *stay, "dora"), "four lanes agree", within_s=30)
    await fleet.commented("by one of four")

    await fleet.command("fleet", "leave", "--config", str(fleet.house_config), first)
    await fleet.command("revoke", "lane", "--config", str(fleet.house_config), first)
    await fleet.kill(first)
    await fleet.until(lambda: fleet.agree(*stay, "dora"), "three lanes agree", within_s=30)
    assert (await fleet.fleet())["revoked"] == [first]
    issue = await fleet.open_issue("after a lane was replaced")
    await fleet.came_home(issue)
    await fleet.commented("by one of the new three")

    with pytest.raises(UserError, match="2 lanes cannot go on when one fails: let another join"):
        await fleet.command("fleet", "leave", "--config", str(fleet.house_config), "dora")
    assert await fleet.agree(*stay, "dora")


async def test_a_stolen_lane_holds_a_role_until_it_is_revoked_and_doubles_and_loses_nothing(
    fleet: Life,
) -> None:
    await fleet.until(lambda: fleet.agree(*fleet.others()), "the fleet agrees", within_s=30)
    holder = str(await fleet.until(fleet.holder, "a lane holds the role"))
    stolen, honest = fleet.others(holder)
    thief = Thief(fleet, stolen)
    await thief.scribble(b"\x00{garbage")
    assert (await fleet.register(honest)).record is None
    await fleet.until(lambda: fleet.is_held_again(honest, ""), "garbage is written over")

    async with thief.holding():
        began_s = time.time()
        await asyncio.sleep(LEASE_S + 3)
        assert (await fleet.record(honest)).holder == stolen
        issues = [await fleet.open_issue("while it is held")]
        await fleet.commented("while it is held")
        told = await fleet.command("fleet", "status", code=1)
        assert "forge: NOBODY holds it" in told
        assert thief.written > 0

        revoked_s = time.time()
        await fleet.command("revoke", "lane", "--config", str(fleet.house_config), stolen)
        issues.append(await fleet.open_issue("after it was revoked"))
        await fleet.came_home(*issues)
        taken = await fleet.another_took(stolen, revoked_s)
        assert taken["at_s"] - revoked_s < SOON_S
        assert taken["epoch"] < MAX_EPOCH_JUMP
        await fleet.until(
            lambda: fleet.keep_council(holder, honest), "its server is out", within_s=SOON_S
        )
        written = thief.written
        await asyncio.sleep(3.0)
        assert thief.written == written

    await fleet.until(lambda: fleet.is_held_again(honest, stolen), "one of them holds the role")
    assert await fleet.keep_council(holder, honest)
    lanes = {one["name"]: one for one in (await fleet.fleet())["lanes"]}
    assert stolen not in lanes[holder]["hears"] + lanes[honest]["hears"]
    marks = [e["data"]["forge_s"] for e in await fleet.events("forge.mark")]
    assert max(marks) <= time.time() + 1
    await fleet.until(lambda: fleet.are_seen(*issues), "the issues are marked as seen")
    await fleet.commented("after it was revoked")
    assert await fleet.count("while it is held") == 1
    assert [one for one in await fleet.taken(began_s) if one["lane"] == stolen] == []


async def test_a_fleet_that_ends_leaves_lanes_that_are_alone_and_poll(fleet: Life) -> None:
    left = [one["name"] for one in (await fleet.fleet())["lanes"] if one["linked"]]
    await fleet.command("fleet", "leave", "--config", str(fleet.house_config), "--all")

    async def are_alone() -> bool:
        lanes = [one for one in (await fleet.fleet())["lanes"] if one["name"] in left]
        return all(one["council"] == "alone" and "forge" in one["held"] for one in lanes)

    try:
        await fleet.until(are_alone, "each lane is alone")
    except UserError as error:
        raise UserError(f"{error} {json.dumps(await fleet.fleet())}") from error
    await fleet.until(
        lambda: not any(fleet.lanes[name].server.running.exists() for name in left),
        "no council server runs",
    )
    issue = await fleet.open_issue("when all are alone")

    async def all_poll() -> bool:
        lanes = [one for one in (await fleet.status())["lanes"] if one["name"] in left]
        return all(lane["detail"]["done"] == "polled" for lane in lanes)

    await fleet.until(all_poll, "each lane polls for itself")
    await fleet.came_home(issue)
    assert len(left) > 1


async def test_a_drill_that_kills_a_lane_of_a_scratch_fleet_ends_well(
    asides: dict[str, asyncio.Task[tuple[int, bytes]]],
) -> None:
    code, out = await asyncio.wait_for(asyncio.shield(asides["drill"]), patient(WITHIN_S))
    told = json.loads(out)
    assert code == 0
    assert told["ok"]
    assert 0 < told["median_s"] <= told["max_s"] < TARGET_S
    assert (told["duplicates"], told["lost"]) == (0, 0)


@pytest.mark.skipif(bool(Namespaces.trouble()), reason=Namespaces.trouble() or "none")
async def test_a_lane_whose_machine_is_gone_is_dead_for_the_house_and_for_its_siblings(
    asides: dict[str, asyncio.Task[tuple[int, bytes]]],
) -> None:
    code, out = await asyncio.wait_for(asyncio.shield(asides["far"]), patient(WITHIN_S))
    assert code == 0
    seen = msgspec.json.decode(out, type=Seen)
    assert seen.well.verdict == "well"
    assert (seen.gone.verdict, seen.gone.house.host, seen.gone.house.daemon) == (
        "dead", False, False,
    )  # fmt: skip
    assert len(seen.gone.siblings) == 2
    assert all((one.host, one.council) == (False, False) for one in seen.gone.siblings.values())
