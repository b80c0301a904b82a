"""What the council's stores survive: a power cut, an old copy put back, a full disk."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio
from tests.system.disk import NO_DISK, can_mount, fill, small_disk

from allegro.core.authority.lease import Record, Slot
from allegro.core.ports import Council
from allegro.core.protocol.pages import Page

from .servers import Servers, formed
from .steady import becomes

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]


async def stored(council: Council, role: str, record: Record) -> int:
    """Write as a holder does, who reads again after a call that was lost; return the revision."""

    async def once() -> int | None:
        slot = await council.read(role)
        if slot.record == record:
            return slot.revision
        return await council.write(role, record, slot.revision)

    revision = await becomes(once, lambda found: found is not None)
    assert revision is not None
    return revision


async def shows(council: Council, role: str, slot: Slot) -> None:
    """A register comes to hold this, whoever led before."""
    assert await becomes(lambda: council.read(role), lambda found: found == slot) == slot


def record(epoch: int) -> Record:
    return Record("a", "process", epoch)


async def shows_page(council: Council, page: Page) -> None:
    found = await becomes(lambda: council.page(page.lane), lambda found: found[1] == page)
    assert found[1] == page


class Cut(msgspec.Struct):
    """What was acknowledged before all three servers were ended, and a copy of what they left."""

    slot: Slot
    page: Page
    stores: Path


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cut(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Cut:
    council, revision, page = servers.steady("a"), 0, Page("a", 5.0)
    for epoch in range(1, 101):
        revision = await council.write("cut", record(epoch), revision) or 0
        assert revision
    await council.publish(page)
    await servers.kill_all()
    stores = tmp_path_factory.mktemp("stores")
    servers.copy_stores(stores)
    await servers.start_all()
    await servers.formed()
    return Cut(Slot(revision, record(100)), page, stores)


async def test_what_was_acknowledged_survives_the_end_of_all_three_servers_at_once(
    servers: Servers, cut: Cut
) -> None:
    for name in servers.members:
        await shows(servers.steady(name), "cut", cut.slot)
        await shows_page(servers.steady(name), cut.page)


async def test_stores_set_back_to_an_older_copy_show_it_and_refuse_newer_expectations(
    servers: Servers, cut: Cut
) -> None:
    council, newer = servers.steady("a"), cut.slot.revision
    for epoch in range(101, 111):
        newer = await council.write("cut", record(epoch), newer) or 0
    assert newer > cut.slot.revision
    await servers.stop_all()
    servers.restore_stores(cut.stores)
    await servers.start_all()
    await servers.formed()
    for name in servers.members:
        lane = servers.steady(name)
        await shows(lane, "cut", cut.slot)
        assert await lane.write("cut", record(111), newer) is None
        await shows(lane, "cut", cut.slot)
    assert await council.write("cut", record(111), cut.slot.revision)


async def test_a_full_disk_on_one_server_stops_nobody_and_heals_by_a_start_with_room(
    tmp_path: Path,
) -> None:
    if not can_mount():
        pytest.skip(NO_DISK)
    with small_disk(tmp_path / "b"):
        servers = Servers(tmp_path)
        try:
            await servers.start_all()
            await servers.formed()
            await _fill_and_heal(servers)
        finally:
            await servers.close()


async def _fill_and_heal(servers: Servers) -> None:
    council, full, revision, epoch = servers.steady("a"), servers.running["b"], 0, 0
    assert not await full.is_broken()
    filler = fill(servers.files["b"].folder)
    for _ in range(200):
        epoch += 1
        revision = await stored(council, "disk", record(epoch))
        if epoch % 20 == 0 and await full.is_broken():
            break
    assert await full.is_broken()
    # its own lane is served by the others
    own = servers.steady("b")
    await shows(own, "disk", Slot(revision, record(epoch)))
    assert await own.write("disk", record(epoch), revision - 1) is None

    filler.unlink()
    await asyncio.sleep(0.5)
    assert await full.is_broken()  # room alone does not heal it
    await servers.stop("b")
    await servers.start("b")
    await formed(own)
    assert not await servers.running["b"].is_broken()
    leader = await servers.leader()
    other = "c" if leader != "c" else "a"
    await servers.stop(other)  # now the healed one's word counts for the majority
    council = servers.steady("a" if other == "c" else "c")
    newest = await stored(council, "disk", record(epoch + 1))
    assert newest > revision
    await shows(own, "disk", Slot(newest, record(epoch + 1)))
