"""The journal and the archive on real SQLite files."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from allegro.adapters.sqlite.archive import SqliteArchive, open_archive
from allegro.adapters.sqlite.journal import SqliteJournal, open_journal
from allegro.core.base.errors import EdgeError, JournalFull, Refusal
from allegro.core.base.events import Event, decode_event, encode_event
from allegro.core.base.sequence import Kept, Position, ShedEntry, follow, start
from allegro.core.forge.marks import Mark

TIME = "2030-01-01T00:00:00Z"


def event(id_: str, type_: str = "x.kept", subject: str = "", size: int = 0) -> Event:
    return Event(id_, type_, "lane:a", TIME, subject=subject, data={"pad": "p" * size})


def gap_event(reason: str, shed: int, count: int, first: int, last: int) -> Event:
    told = {"reason": reason, "class": shed, "count": count, "first": first, "last": last}
    return Event(f"gap-{reason}-{first}-{last}", "journal.gap", "lane:a", TIME, data=told)


class Wall:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


async def make(path: Path, now_s: Callable[[], float], cap_bytes: int = 10**6) -> SqliteJournal:
    return await open_journal(
        path, cap_bytes=cap_bytes, reserved_share=0.1, new_id="j1", now_s=now_s, gap_event=gap_event
    )


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[SqliteJournal]:
    made = await make(tmp_path / "journal.db", Wall())
    yield made
    await made.close()


async def everything(journal: SqliteJournal) -> list[Kept | ShedEntry]:
    found: list[Kept | ShedEntry] = []
    while more := await journal.read(journal.acked.seq + len(found), 10**9):
        found += more
    return found


async def test_appends_that_gather_keep_their_order_and_one_chain(journal: SqliteJournal) -> None:
    await asyncio.gather(*(journal.append([event(f"e{n}")]) for n in range(500)))

    entries = await everything(journal)

    ids = [decode_event(entry.body).id for entry in entries if isinstance(entry, Kept)]
    assert ids == [f"e{n}" for n in range(500)]
    assert follow(start("j1"), 1, entries) == journal.head


async def test_tail_and_disk_tell_the_same_also_after_shedding(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    journal = await make(path, Wall(), cap_bytes=20_000)
    for n in range(60):
        await journal.append([event(f"e{n}", "session.delta", size=500)])
    from_memory = await everything(journal)
    head = journal.head
    await journal.close()
    again = await make(path, Wall(), cap_bytes=20_000)
    assert await everything(again) == from_memory
    assert follow(start("j1"), 1, from_memory) == head
    assert any(isinstance(entry, ShedEntry) for entry in from_memory)
    await again.close()


async def test_a_mark_and_its_events_are_one_commit(journal: SqliteJournal) -> None:
    await journal.append([event("e1")], ("acme/web", Mark(7, 8.0)))
    before = journal.head
    with pytest.raises((EdgeError, TypeError, OverflowError)):
        await journal.append([event("e2")], ("acme/web", Mark(2**70, 9.0)))

    assert await journal.marks() == {"acme/web": Mark(7, 8.0)}
    assert journal.head == before
    end = await journal.append([event("e3")])
    assert follow(start("j1"), 1, await everything(journal)) == end
    assert end.seq == 2


async def test_overflow_sheds_deltas_first_and_never_what_is_reserved(tmp_path: Path) -> None:
    journal = await make(tmp_path / "j.db", Wall(), cap_bytes=40_000)
    kinds = ("session.delta", "session.tool", "lane.metric", "forge.snapshot.issue",
             "action.receipt")  # fmt: skip
    for n in range(8):
        await journal.append([event(f"{k}{n}", k, subject="s", size=400) for k in kinds])
    gone: dict[str, int] = {}
    for n in range(8, 40):
        await journal.append([event(f"session.delta{n}", "session.delta", size=400)])
        await journal.append([event(f"action.receipt{n}", "action.receipt", size=400)])
        for entry in await everything(journal):
            if isinstance(entry, ShedEntry):
                gone.setdefault(str(entry.shed), n)
    kept = [
        decode_event(entry.body).id
        for entry in await everything(journal)
        if isinstance(entry, Kept)
    ]
    assert [id_ for id_ in kept if id_.startswith("action.receipt")] == [
        f"action.receipt{n}" for n in range(40)
    ]
    first = {int(shed): n for shed, n in gone.items()}
    assert list(first.values()) == sorted(first.values())
    assert max(first) == 5
    assert "0" not in gone
    await journal.close()


async def test_a_program_that_reads_the_file_cannot_let_the_journal_outgrow_its_cap(
    tmp_path: Path,
) -> None:
    path, wal = tmp_path / "j.db", tmp_path / "j.db-wal"
    journal = await make(path, Wall(), cap_bytes=4_000_000)
    await journal.append([event("first")])
    backup = sqlite3.connect(path, isolation_level=None)
    backup.execute("BEGIN")
    backup.execute("SELECT count(*) FROM entry").fetchone()

    async def fill() -> None:
        for n in range(100):
            await journal.append([event(f"e{n}", size=400_000)])
            await journal.acknowledge(journal.head)

    with pytest.raises(JournalFull):
        await fill()
    assert 8_000_000 < wal.stat().st_size < 16_000_000
    assert not journal.has_room
    backup.execute("COMMIT")
    await journal.append([event("later")])
    assert journal.has_room
    assert wal.stat().st_size < 1_000_000
    backup.close()
    await journal.close()


async def test_a_full_journal_refuses_and_an_acknowledgement_makes_room(tmp_path: Path) -> None:
    journal = await make(tmp_path / "j.db", Wall(), cap_bytes=10_000)
    while journal.has_room:
        await journal.append([event(f"e{journal.head.seq}", size=500)])
    with pytest.raises(JournalFull):
        await journal.append([event("one more")])
    assert not journal.has_room
    await journal.append([event("r", "action.receipt")])  # the reserved share is open
    await journal.acknowledge(journal.head)
    assert journal.has_room
    await journal.append([event("later")])
    await journal.close()


async def test_only_a_place_in_this_journal_can_be_acknowledged(journal: SqliteJournal) -> None:
    end = await journal.append([event("e1"), event("e2")])
    for wrong in (
        Position("other", 1, end.chain), Position("j1", 2, bytes(32)), Position("j1", 9, end.chain)
    ):  # fmt: skip
        await journal.acknowledge(wrong)
    assert len(await everything(journal)) == 2
    await journal.acknowledge(end)
    assert (await everything(journal), journal.acked) == ([], end)


async def test_a_restart_tells_everything_again_under_a_new_id(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    journal = await make(path, Wall())
    first = await journal.append([event("e1")])
    await journal.append([event("e2"), event("e3")])
    await journal.acknowledge(first)
    bodies = await everything(journal)
    await journal.restart("j2", "the disk went back")
    assert await everything(journal) == bodies
    assert journal.head.journal == "j2"
    assert journal.head.seq == 2
    await journal.close()
    again = await make(path, Wall())
    assert follow(start("j2"), 1, await everything(again)) == again.head
    await again.close()


async def test_age_gives_up_all_but_the_reserved_and_says_so_at_once(tmp_path: Path) -> None:
    wall = Wall()
    journal = await make(tmp_path / "j.db", wall)
    await journal.append([event("old"), event("receipt", "action.receipt")])
    wall.now_s += 7 * 86_400
    await journal.append([event("new")])
    await journal.age_out(wall.now_s - 3600)
    shapes = [
        decode_event(entry.body).type if isinstance(entry, Kept) else entry.reason
        for entry in await everything(journal)
    ]
    assert shapes == ["age", "action.receipt", "x.kept", "journal.gap"]
    await journal.close()


async def test_the_archive_takes_each_event_once_and_names_gaps(tmp_path: Path) -> None:
    archive: SqliteArchive = open_archive(tmp_path / "a.db", quota_bytes=10**6)
    entries: list[Kept | ShedEntry] = [
        Kept(encode_event(event("e1"))),
        ShedEntry(bytes(32), "overflow", 5),
    ]
    await archive.take("a", "j1", 1, entries, 1.0)
    assert isinstance(await archive.take("a", "j1", 2, entries, 1.0), Refusal)
    taken = await archive.take("a", "j2", 1, [*entries, Kept(b"no event")], 2.0)
    assert not isinstance(taken, Refusal)
    assert (taken.fresh, taken.rejected) == (0, 1)
    *shed, unreadable = [gap[2:7] for gap in await archive.gaps()]
    assert shed == [(2, 2, 1, 5, "overflow")] * 2
    assert unreadable[:4] == (3, 3, 1, -2)
    assert unreadable[4].startswith("unreadable: ")
    assert len(await archive.events(0, 10)) == 1
    await archive.close()


async def test_what_vanished_stays_so_whatever_version_the_lane_last_knew(tmp_path: Path) -> None:
    archive = open_archive(tmp_path / "a.db", quota_bytes=10**6)
    for n, (type_, updated_s) in enumerate(
        (("forge.snapshot.issue", 100), ("forge.snapshot.issue", 200), ("forge.vanished", 100))
    ):
        told = Event(
            f"e{n}", type_, "lane:a", TIME, subject="f/1#1",
            data={"repository": 1, "updated_s": updated_s},
        )  # fmt: skip
        await archive.take("a", "j1", n + 1, [Kept(encode_event(told))], 1.0)

    newest = await archive.newest("f/1#1")

    assert newest is not None
    assert decode_event(newest).type == "forge.vanished"
    await archive.close()


async def test_within_one_second_the_later_telling_wins_be_it_a_repeat(tmp_path: Path) -> None:
    archive = open_archive(tmp_path / "a.db", quota_bytes=10**6)

    def told(id_: str) -> Kept:
        data = {"repository": 1, "updated_s": 100}
        event = Event(id_, "forge.snapshot.comment", "lane:a", TIME, subject="c", data=data)
        return Kept(encode_event(event))

    await archive.take("a", "j1", 1, [told("newer")], 1.0)
    await archive.take("a", "j2", 1, [told("older")], 2.0)
    await archive.take("a", "j2", 2, [told("newer")], 3.0)

    newest = await archive.newest("c")

    assert newest is not None
    assert decode_event(newest).id == "newer"
    await archive.close()


async def test_a_late_commit_told_again_after_a_rollback_is_what_counts(tmp_path: Path) -> None:
    archive = open_archive(tmp_path / "a.db", quota_bytes=10**6)

    def told(id_: str, updated_s: int, *, backdated: bool) -> Kept:
        data = {"repository": 1, "updated_s": updated_s, "backdated": backdated}
        event = Event(id_, "forge.snapshot.issue", "lane:a", TIME, subject="i", data=data)
        return Kept(encode_event(event))

    await archive.take("a", "j1", 1, [told("seen first", 103, backdated=False)], 1.0)
    await archive.take("a", "j1", 2, [told("late", 100, backdated=True)], 1.0)
    await archive.take("a", "j2", 1, [told("seen first", 103, backdated=False)], 2.0)
    await archive.take("a", "j2", 2, [told("late", 100, backdated=False)], 2.0)

    newest = await archive.newest("i")

    assert newest is not None
    assert decode_event(newest).id == "late"
    await archive.close()


async def test_the_repository_archived_last_comes_first_where_two_had_one_name(
    tmp_path: Path,
) -> None:
    archive = open_archive(tmp_path / "a.db", quota_bytes=10**9)
    for n, subject in enumerate(("f/1", "f/2"), 1):
        told = [Kept(encode_event(event(f"e{n}", "forge.snapshot.repository", subject)))]
        await archive.take("a", "j1", n, told, 1.0)
    newest = await archive.newest_of_type("forge.snapshot.repository")
    gone = Event("e3", "forge.vanished", "lane:a", TIME, subject="f/2", data={"vanished": True})
    await archive.take("a", "j1", 3, [Kept(encode_event(gone))], 1.0)
    living = await archive.newest_of_type("forge.snapshot.repository")
    await archive.close()
    assert [decode_event(raw).subject for raw in newest] == ["f/2", "f/1"]
    assert [decode_event(raw).subject for raw in living] == ["f/1"]


async def test_a_damaged_file_is_refused_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    path.write_bytes(b"no database at all" * 400)
    with pytest.raises(EdgeError, match=r"is damaged: put a copy back, or move journal\.db"):
        await make(path, Wall())
