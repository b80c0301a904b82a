"""A lane that was revoked is cut off while the council of the others runs on."""

from __future__ import annotations

import asyncio
import contextlib
import time
from pathlib import Path

import pytest
from tests.patience import patient

from allegro.core.base.errors import EdgeError

from .council_backends import NAMES
from .servers import Servers, formed, raw_client
from .steady import becomes

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]


async def leads(servers: Servers, name: str) -> None:
    """Have this server lead the bucket's replicas."""
    others, keeper = frozenset(NAMES) - {name}, servers.keeper_of(name)

    async def move() -> str:
        await keeper.move_leader(others, name)
        return await servers.leader()

    assert await becomes(move, lambda leader: leader == name) == name


async def is_cut(servers: Servers, gone: str, kept: list[str]) -> None:
    until_s = time.monotonic() + patient(20.0)
    while any(servers.routes(name) != set(kept) - {name} for name in kept):
        assert time.monotonic() < until_s
        await asyncio.sleep(0.05)
    for _ in range(20):  # and it stays out: it dials the whole time
        assert not servers.routes(gone)
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("gone_leads", [True, False])
async def test_a_revoked_lane_is_cut_off_while_the_others_servers_and_connections_live_on(
    tmp_path: Path, gone_leads: bool
) -> None:
    servers = Servers(tmp_path)
    try:
        await servers.start_all()
        await servers.formed()
        await leads(servers, "c" if gone_leads else "a")
        lanes = {name: servers.council(name, 0.7) for name in ("a", "b")}
        for council in lanes.values():
            await formed(council)
        pids = {name: servers.pid(name) for name in lanes}

        await leads(servers, "a")  # asked to, the other one hands over
        assert await asyncio.gather(*(servers.cut("c", name) for name in lanes)) == [True, True]

        for council in lanes.values():
            await formed(council)
        await is_cut(servers, "c", ["a", "b"])
        assert {name: servers.pid(name) for name in lanes} == pids
    finally:
        await servers.close()


async def test_a_leader_that_cannot_be_moved_is_given_up_in_time(servers: Servers) -> None:
    council, took_s = servers.council("a", 0.4), 0.0
    for _ in range(10):  # on a busy machine another one may be elected just then
        await leads(servers, "b")
        began_s = time.monotonic()
        with contextlib.suppress(EdgeError):
            # a lane's own key may not ask it to step down
            await council.move_leader(frozenset({"b"}), "a")
            continue
        took_s = time.monotonic() - began_s
        break
    assert 0.0 < took_s < patient(2.0)


async def test_who_keeps_a_server_may_only_look_who_leads_and_ask_it_to_step_down(
    servers: Servers,
) -> None:
    async with raw_client(servers.keeper_access("a")) as (client, errors):
        for subject in ("$KV.allegro.role.forge", "$KV.allegro.page.a", "$JS.API.STREAM.DELETE.X"):
            await client.publish(subject, b"")
        await client.flush(2)
        for _ in range(100):
            if len(errors) == 3:
                break
            await asyncio.sleep(0.02)
    assert len(errors) == 3
    assert all("permissions violation for publish" in one.lower() for one in errors)


async def test_a_reload_that_leaves_a_route_of_before_open_is_no_cut(servers: Servers) -> None:
    for name in NAMES:
        await formed(servers.council(name))
    before = servers.routes("a")
    assert not await servers.running["a"].reload()  # the settings are the same
    assert servers.routes("a") == before
    await formed(servers.council("a"))


async def test_a_server_that_does_not_run_cannot_be_reloaded(tmp_path: Path) -> None:
    servers = Servers(tmp_path)
    await servers.start("a")
    await servers.stop("a")
    assert not await servers.running["a"].reload()
