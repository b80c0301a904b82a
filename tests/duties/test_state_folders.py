"""The state folders that commit a8b1bd5 left after real work open whole in this version.

`state_of_a8b1bd5.tar.xz` is what that commit's own programs wrote: a house and three lanes in one
council, an agent's session, a pull request, a comment, a status and a closed issue; requests done,
rejected, withdrawn, proposed and approved; one freeze that was thawed and one that stands. `@STATE@`
in the configurations stands for the folder.
"""

from __future__ import annotations

import hashlib
import json
import lzma
import tarfile
from collections import Counter
from pathlib import Path

import pytest

from allegro.adapters.clock import SystemDice
from allegro.adapters.crypto.signatures import load_signing_key
from allegro.adapters.sqlite.archive import SqliteArchive, open_archive
from allegro.adapters.sqlite.journal import SqliteJournal, open_journal
from allegro.adapters.sqlite.ledger import open_ledger
from allegro.config import load_house, load_lane
from allegro.core.authority.freeze import FreezeSet
from allegro.core.authority.tokens import fingerprint
from allegro.core.base.events import Event, decode_event
from allegro.core.base.sequence import follow
from allegro.house.archive.content import Words
from allegro.house.archive.store_ties import tie_stores
from allegro.house.files import (
    HouseFiles,
    bring_fleet_forward,
    files_of,
    load_fleet,
    load_house_key,
    load_sealing,
)
from allegro.lane.agent.build import load_open
from allegro.lane.folder.files import LaneFiles
from allegro.lane.folder.forms import (
    bring_all_forward,
    load_crashes,
    load_day,
    load_epochs,
    load_freezes,
    load_pairing,
)
from allegro.sovereign.keystore import load_sovereign_key

PACKED = Path(__file__).with_name("state_of_a8b1bd5.tar.xz")
LANES = ("allegro", "ezra", "bezalel")
PRACTICE, NIGHT = "e5381ec407e3d8a7", "86117c0bcf728c89"
TIME = "2026-11-29T12:00:00Z"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Unpack the folders as that commit left them."""
    with lzma.open(PACKED) as raw, tarfile.open(fileobj=raw) as packed:
        packed.extractall(tmp_path, filter="data")
    for config in tmp_path.glob("*.toml"):
        config.write_text(config.read_text("utf-8").replace("@STATE@", str(tmp_path)), "utf-8")
    return tmp_path


def house_of(folder: Path) -> HouseFiles:
    return files_of(load_house(folder / "house.toml"))


def lane_of(folder: Path, name: str) -> LaneFiles:
    return LaneFiles(Path(load_lane(folder / f"{name}.toml").lane.state_dir))


def archive_of(files: HouseFiles) -> SqliteArchive:
    return open_archive(files.archive, quota_bytes=10**9)


async def journal_of(files: LaneFiles) -> SqliteJournal:
    return await open_journal(
        files.journal, cap_bytes=10**9, reserved_share=0.1, new_id="new", now_s=lambda: 2e9,
        gap_event=lambda *row: Event("g", "journal.gap", "lane:a", TIME),
    )  # fmt: skip


async def open_everything(folder: Path) -> None:
    """Open all that house and lanes keep, as their programs do, and close it."""
    house = house_of(folder)
    bring_fleet_forward(house)
    await archive_of(house).close()
    await open_ledger(house.ledger).close()
    for name in LANES:
        bring_all_forward(lane_of(folder, name))
        await (await journal_of(lane_of(folder, name))).close()


def hashes(folder: Path) -> dict[str, str]:
    """Return a hash of each file's content, locks left out."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix != ".lock"
    }


async def test_the_house_knows_its_keys_and_its_fleet(folder: Path) -> None:
    files = house_of(folder)
    before = json.loads(files.fleet.read_bytes())
    bring_fleet_forward(files)
    fleet = load_fleet(files)
    assert json.loads(files.fleet.read_bytes()) == {**before, "schema": 2}
    assert [lane.name for lane in fleet.lanes] == list(LANES)
    assert fleet.roster is not None
    assert (fleet.roster.number, {one.name for one in fleet.roster.members}) == (1, set(LANES))
    assert load_house_key(files).public == fleet.house
    assert load_sovereign_key(files, lambda: b"correct horse battery staple") is not None


async def test_requests_freezes_and_numbers_are_as_they_were(folder: Path) -> None:
    ledger = open_ledger(house_of(folder).ledger)
    assert ledger.damaged == ()
    assert Counter(r.state.value for r in ledger.requests.values()) == {
        "done": 14, "approved": 2, "proposed": 1, "rejected": 1, "withdrawn": 1,
    }  # fmt: skip
    freezes = await ledger.freezes()
    assert [freeze.id for freeze in freezes.freezes] == [PRACTICE, NIGHT]
    assert [freeze.id for freeze in freezes.active] == [NIGHT]
    assert freezes.known
    assert len(await ledger.strings("thaws")) == 1
    assert len(await ledger.sessions()) == 1
    for name in ("followed", "sessions followed", "fleet"):
        assert (await ledger.place(name)).row == 140
    assert await ledger.next_number("order") == 15
    await ledger.close()


async def test_the_archive_holds_every_event_and_opens_the_words_of_each(folder: Path) -> None:
    files = house_of(folder)
    archive, fleet, sealing = archive_of(files), load_fleet(files), load_sealing(files)
    words = Words(lambda id_, sealed: sealing.open(fleet.id, id_, sealed))
    found = await archive.events(0, 1_000)
    events = [decode_event(one.stored) for one in found]
    assert len(events) == 136
    kinds = Counter(event.type for event in events)
    assert (kinds["action.receipt"], kinds["freeze.added"], kinds["freeze.thawed"]) == (14, 6, 3)
    sealed = [event for event in events if event.sealed]
    assert sealed
    assert all(words.open(event) is not None for event in sealed)
    assert await archive.gaps() == []
    ledger = open_ledger(files.ledger)
    assert await tie_stores(archive, ledger, SystemDice()) is None, "the two belong together"
    await archive.close()
    await ledger.close()


@pytest.mark.parametrize("name", LANES)
async def test_a_lane_knows_all_that_it_knew(folder: Path, name: str) -> None:
    files = lane_of(folder, name)
    plain = json.loads(files.epochs.read_bytes())
    bring_all_forward(files)
    held, _ = load_pairing(files.trust, files.paired)
    fleet = load_fleet(house_of(folder))
    assert (held.trust.fleet, held.trust.sovereign) == (fleet.id, fleet.sovereign)
    assert held.trust.lane == fingerprint(load_signing_key(files.key).public)
    assert held.roster == fleet.roster
    freezes = load_freezes(files.freezes)
    assert isinstance(freezes, FreezeSet)
    assert freezes.known
    assert [freeze.id for freeze in freezes.active] == [NIGHT]
    assert freezes.thawed == {PRACTICE}
    assert load_epochs(files.epochs) == plain == {"forge": 3, "hermes": 3}
    assert load_day(files.spend) is not None
    assert load_crashes(files.crashes) == []
    opened = ["dbdb5ea637070b10caa1"] if name == "ezra" else []
    assert list(load_open(files.sessions)) == opened


@pytest.mark.parametrize("name", LANES)
async def test_journal_and_archive_are_one_chain_and_it_goes_on(folder: Path, name: str) -> None:
    journal, archive = await journal_of(lane_of(folder, name)), archive_of(house_of(folder))
    (home,) = await archive.cursors(name)
    assert home.journal == journal.acked.journal
    entries = await journal.read(journal.acked.seq, 10**6)
    assert follow(journal.acked, journal.acked.seq + 1, entries) == journal.head
    await journal.append([Event("after", "x.kept", f"lane:{name}", TIME)])
    more = await journal.read(home.seq, 10**6)
    taken = await archive.take(name, home.journal, home.seq + 1, more, 2e9)
    assert (await archive.cursors(name))[0] == journal.head, taken
    await archive.close()
    await journal.close()


async def test_folders_that_were_brought_forward_open_again_unchanged(folder: Path) -> None:
    untouched = hashes(folder)
    await open_everything(folder)
    once = hashes(folder)
    await open_everything(folder)
    assert hashes(folder) == once
    copies = {name for name in once if ".schema-" in name}
    assert {name for name in copies if name.startswith("house")} == {
        "house/archive.db.schema-0", "house/ledger.db.schema-0", "house/fleet.json.schema-1",
    }  # fmt: skip
    for name in copies:
        if name.endswith(".json.schema-1"):
            assert once[name] == untouched[name.removesuffix(".schema-1")]


async def test_the_copies_bring_the_folders_of_before_back(folder: Path) -> None:
    await open_everything(folder)
    for copy in folder.rglob("*.schema-?"):
        path = copy.with_name(copy.name.partition(".schema-")[0])
        path.write_bytes(copy.read_bytes())
    await test_requests_freezes_and_numbers_are_as_they_were(folder)
    await test_the_archive_holds_every_event_and_opens_the_words_of_each(folder)
    for name in LANES:
        await test_a_lane_knows_all_that_it_knew(folder, name)
