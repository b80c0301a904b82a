"""The council while its servers stop, hang and come back."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import count
from pathlib import Path

import nats.errors
import pytest
import pytest_asyncio
from tests.patience import patient

from allegro.adapters.nats.council import STREAM, SUBJECT
from allegro.core.authority.lease import Record, Slot
from allegro.core.authority.roster import MAX_MEMBERS
from allegro.core.base.errors import EdgeError
from allegro.core.ports import Council
from allegro.core.protocol.pages import Page

from .council_backends import NAMES
from .servers import Servers, formed, free_ports, raw_client
from .steady import ELECTED_S, becomes

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]
TIMEOUT_S = 1.2
SPARE_S = 1.0
_roles = count()


@pytest.fixture
def role() -> str:
    """A register that no other case wrote."""
    return f"r{next(_roles)}"


@pytest_asyncio.fixture(loop_scope="module")
async def lanes(servers: Servers) -> AsyncIterator[dict[str, Council]]:
    """Each lane's council; at the end all three servers run again."""
    made: dict[str, Council] = {name: servers.steady(name) for name in NAMES}
    yield made
    await servers.start_missing()


async def works(councils: dict[str, Council], role: str) -> None:
    """Every call of every lane does what it should, if need be after an election."""
    slot = await next(iter(councils.values())).read(role)
    for name, council in councils.items():
        record = Record(name, "process", (slot.record.epoch if slot.record else 0) + 1)
        assert await council.write(role, record, slot.revision + 1_000) is None
        revision = await council.write(role, record, slot.revision)
        assert revision
        slot = Slot(revision, record)
        await council.publish(Page(name, time.time()))
        for other in councils.values():
            await shows(other, role, slot)
            assert (await other.page(name))[1] is not None


async def shows(council: Council, role: str, slot: Slot) -> None:
    """A register comes to hold this, whoever led before."""
    assert await becomes(lambda: council.read(role), lambda found: found == slot) == slot


def sockets() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


async def stands_still(pid: int) -> None:
    """Wait until each thread of a process has stopped: the signal itself only asks for it."""
    for _ in range(200):
        states = [file.read_text() for file in Path(f"/proc/{pid}/task").glob("*/stat")]
        if all(state.rpartition(")")[2].split()[0] == "T" for state in states):
            return
        await asyncio.sleep(0.01)


async def refused(call: Awaitable[object]) -> float:
    """Return after how long (s) a call was refused as it should be."""
    began_s = time.monotonic()
    with pytest.raises(EdgeError) as raised:
        await call
    assert raised.value.transient
    return time.monotonic() - began_s


async def refused_in_the_end(call: Callable[[], Awaitable[object]]) -> float:
    """Return after how long (s) a read was refused, once it is.

    Whoever led when the others went, or was elected in that moment, reads on until it finds out.
    """
    until_s = time.monotonic() + patient(ELECTED_S)
    while True:
        began_s = time.monotonic()
        with contextlib.suppress(EdgeError):
            await call()
            assert began_s < until_s, "it reads on for ever"
            await asyncio.sleep(0.1)
            continue
        return time.monotonic() - began_s


@pytest.mark.parametrize("which", ["leader", "follower"])
async def test_with_one_server_down_everything_still_works(
    servers: Servers, lanes: dict[str, Council], role: str, which: str
) -> None:
    await works(lanes, role)
    leader = await servers.leader()
    down = leader if which == "leader" else next(name for name in NAMES if name != leader)
    await servers.stop(down)
    await works({name: council for name, council in lanes.items() if name != down}, role)
    assert await refused(servers.council(down).read(role)) < SPARE_S  # it has no server to ask


async def test_with_two_servers_down_every_call_is_refused_in_time_until_one_is_back(
    servers: Servers, lanes: dict[str, Council], role: str
) -> None:
    await works(lanes, role)
    before = await lanes["a"].read(role)
    leader = await servers.leader()
    left, back = (name for name in NAMES if name != leader)
    await servers.stop(leader)
    await servers.stop(back)
    council = servers.council(left, TIMEOUT_S)
    for read in (lambda: council.read(role), lambda: council.page("b")):
        assert await refused_in_the_end(read) < TIMEOUT_S + SPARE_S
    for write in (
        council.write(role, Record("a", "late", 99), before.revision + 1_000),
        council.publish(Page(left, 99.0)),
    ):
        assert await refused(write) < TIMEOUT_S + SPARE_S
    # and all at once: nobody waits for another's time-out
    reads = (refused_in_the_end(lambda: council.read(role)) for _ in range(6))
    assert max(await asyncio.gather(*reads)) < TIMEOUT_S + SPARE_S
    await servers.start(back)
    await shows(lanes[left], role, before)
    await works({name: lanes[name] for name in (left, back)}, role)


async def test_a_leader_left_alone_acknowledges_nothing_and_shows_only_what_was_acknowledged(
    servers: Servers, lanes: dict[str, Council], role: str
) -> None:
    """It reads on until it finds out, and keeps what it could not store for when others are back.

    So a read may be old, a write that was lost may still land, and until then the next write with
    the same expectation is told that somebody was faster.
    """
    await works(lanes, role)
    leader = await servers.leader()
    before = await lanes[leader].read(role)
    for name in NAMES:
        if name != leader:
            await servers.stop(name)
    council, late = servers.council(leader, TIMEOUT_S), Record("a", "late", 99)
    assert await refused(council.write(role, late, before.revision)) < TIMEOUT_S + SPARE_S
    for _ in range(3):
        with contextlib.suppress(EdgeError):
            assert await council.write(role, Record("a", "later", 100), before.revision) is None
        with contextlib.suppress(EdgeError):
            assert await council.read(role) == before
    await servers.start_missing()

    def is_allowed(after: Slot) -> bool:
        return after == before or (after.record == late and after.revision > before.revision)

    assert is_allowed(await becomes(lambda: lanes[leader].read(role), is_allowed))


async def test_a_client_whose_server_starts_again_elsewhere_reconnects_by_itself(
    servers: Servers, lanes: dict[str, Council], role: str
) -> None:
    await works(lanes, role)
    leader = await servers.leader()
    name = next(name for name in NAMES if name != leader)
    slot = await lanes[name].read(role)
    before = servers.access(name)
    await servers.stop(name)
    await servers.start(name)
    after = servers.access(name)
    assert before is not None
    assert after is not None
    assert before.url != after.url
    await shows(lanes[name], role, slot)


async def test_a_server_that_hangs_costs_each_call_one_time_out_and_leaves_no_sockets(
    servers: Servers, lanes: dict[str, Council], role: str
) -> None:
    council = servers.council("c", TIMEOUT_S)
    await formed(council)
    pid, open_files = servers.pid("c"), sockets()
    os.kill(pid, signal.SIGSTOP)
    try:
        await stands_still(pid)
        assert await refused(council.read(role)) < TIMEOUT_S + SPARE_S
        await council.close()
        for _ in range(2):
            waits = await asyncio.gather(*(refused(council.read(role)) for _ in range(5)))
            assert max(waits) < TIMEOUT_S + SPARE_S
        assert sockets() <= open_files + 1
    finally:
        os.kill(pid, signal.SIGCONT)
    await formed(council)
    await works(lanes, role)


async def test_the_largest_council_is_one(tmp_path: Path) -> None:
    largest = Servers(tmp_path)
    more = "defg"
    for name, port in zip(more, free_ports(len(more)), strict=True):
        largest.members[name] = largest.make_member(name, port)
    names = [*largest.members]
    assert len(names) == MAX_MEMBERS
    try:
        await asyncio.gather(*(largest.start(name) for name in names))
        made: dict[str, Council] = {name: largest.steady(name) for name in names}
        for council in made.values():
            await formed(council)
        await works(made, "forge")

        async def shape() -> tuple[set[tuple[str, int]], list[set[str]]]:
            groups = {largest.group(name) for name in names}
            return groups, [largest.routes(name) for name in names]

        routes = [{*names} - {name} for name in names]
        groups, found = await becomes(
            shape, lambda now: len(now[0]) == 1 and "" not in dict(now[0]) and now[1] == routes
        )
        assert len(groups) == 1
        assert groups.pop()[1] == MAX_MEMBERS
        assert found == routes
    finally:
        await largest.close()


async def test_a_bucket_that_somebody_made_otherwise_is_not_used(tmp_path: Path) -> None:
    strange = Servers(tmp_path)
    config = {"name": STREAM, "subjects": [SUBJECT + ">"], "storage": "memory", "num_replicas": 3}
    try:
        await strange.start_all()
        until_s = time.monotonic() + patient(ELECTED_S)
        async with raw_client(strange.access("a")) as (client, _):
            made: dict[str, object] = {"error": ""}
            while "error" in made and time.monotonic() < until_s:  # before they agree it is refused
                with contextlib.suppress(nats.errors.Error):
                    raw = json.dumps(config).encode()
                    reply = await client.request(f"$JS.API.STREAM.CREATE.{STREAM}", raw, timeout=1)
                    made = json.loads(reply.data)
        assert "error" not in made

        async def why() -> str:
            with pytest.raises(EdgeError) as raised:
                await strange.council("b").read("forge")
            return str(raised.value)

        assert "storage is memory" in await becomes(why, lambda reason: "storage is" in reason)
    finally:
        await strange.close()
