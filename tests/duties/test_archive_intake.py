"""What the archive takes in: no event is pushed out, nothing is dropped unnamed, no time wins."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from allegro.adapters.sqlite.archive import SqliteArchive, open_archive
from allegro.adapters.sqlite.gaps import MAX_GAPS
from allegro.adapters.sqlite.intake import FORGE_SLACK_S, MAX_TURNS
from allegro.core.base.errors import ConfigError, Refusal
from allegro.core.base.events import Event, decode_event, encode_event
from allegro.core.base.sequence import Kept, ShedEntry
from allegro.core.stores import Taken
from tests.bad import values as bad

TIME = "2030-01-01T00:00:00Z"
NOW_S = 1_000_000.0


class Shelf:
    def __init__(self, archive: SqliteArchive) -> None:
        self.archive = archive
        self._seq: dict[str, int] = {}

    async def bring(self, lane: str, *bodies: bytes, at_s: float = NOW_S) -> Taken:
        first = self._seq.get(lane, 0) + 1
        entries = [Kept(body) for body in bodies]
        taken = await self.archive.take(lane, "j-" + lane, first, entries, at_s)
        assert not isinstance(taken, Refusal)
        self._seq[lane] = first + len(bodies) - 1
        return taken

    async def told(self, lane: str = "") -> list[tuple[str, Any, bytes]]:
        rows = await self.archive.events(0, 10_000)
        events = [decode_event(row.stored) for row in rows if not lane or row.lane == lane]
        return [(event.id, event.data, event.sealed) for event in events]


@pytest.fixture
async def shelf(tmp_path: Path) -> AsyncIterator[Shelf]:
    archive = open_archive(tmp_path / "a.db", quota_bytes=10**9)
    yield Shelf(archive)
    await archive.close()


def made(id_: str, sealed: bytes = b"", type_: str = "action.receipt", **data: Any) -> bytes:
    return encode_event(
        Event(id_, type_, "lane:x", TIME, subject="f/7#3", data=data, sealed=sealed)
    )


@pytest.mark.parametrize("first", [
    [("ID", {"n": 2}, b"")], [("ID", {"n": 1}, b"other words")],
    [("ID", {"n": 2}, b""), ("ID@honest", {"n": 2}, b""), ("ID", {"n": 3}, b"")],
    [("ID", {"n": n}, b"") for n in range(2, 40)],
])  # fmt: skip
async def test_whatever_a_thief_sends_first_an_honest_event_is_archived(
    shelf: Shelf, first: list[tuple[str, dict[str, Any], bytes]]
) -> None:
    for id_, data, sealed in first:
        await shelf.bring("thief", made(id_, sealed, **data))
    taken = await shelf.bring("honest", made("ID", b"words", n=1))
    assert taken.fresh == 1
    assert await shelf.told("honest") == [("ID", {"n": 1}, b"words")]


@pytest.mark.parametrize("id_", ["ID\0honest\x000", "ID\0", "\0"])
async def test_an_id_that_looks_like_a_key_of_the_archive_is_no_id(shelf: Shelf, id_: str) -> None:
    taken = await shelf.bring("thief", made(id_, n=2))
    assert (taken.fresh, taken.rejected) == (0, 1)
    assert len(await shelf.archive.gaps()) == 1


async def test_what_two_lanes_tell_alike_is_archived_once(shelf: Shelf) -> None:
    await shelf.bring("a", made("ID", b"words", n=1))
    taken = await shelf.bring("b", made("ID", b"words", n=1))
    assert (taken.fresh, taken.clashes, taken.rejected) == (0, 0, 0)
    assert len(await shelf.told()) == 1


async def test_one_lane_that_tells_two_things_under_one_id_keeps_both_and_it_is_counted(
    shelf: Shelf,
) -> None:
    await shelf.bring("a", made("ID", n=1))
    taken = await shelf.bring("a", made("ID", n=2), made("ID", n=2), made("ID", n=1))
    assert (taken.fresh, taken.clashes) == (1, 1)
    assert [data["n"] for _, data, _ in await shelf.told("a")] == [1, 2]


async def test_an_id_told_with_endless_contents_becomes_a_named_gap(shelf: Shelf) -> None:
    for n in range(MAX_TURNS + 5):
        await shelf.bring("a", made("ID", n=n))
    assert len(await shelf.told("a")) == MAX_TURNS
    gaps = await shelf.archive.gaps()
    assert [gap[2] for gap in gaps] == list(range(MAX_TURNS + 1, MAX_TURNS + 6))
    assert all("clash" in gap[6] for gap in gaps)


async def test_a_repeat_is_not_counted_against_a_lane(shelf: Shelf) -> None:
    await shelf.bring("a", made("ID", n=1))
    before = (await shelf.archive.counts())["bytes"]
    await shelf.bring("a", made("ID", n=1), made("ID", n=1))
    assert (await shelf.archive.counts())["bytes"] == before


# --- nothing is dropped in silence -----------------------------------------------------------

ISSUE: dict[str, Any] = {
    "repository": 7, "number": 3, "updated_s": 100, "created_s": 90, "backdated": False,
}  # fmt: skip


async def test_an_issue_with_odd_facts_is_archived_or_a_named_gap(shelf: Shelf) -> None:
    for count, (name, data) in enumerate(bad.bent_json(ISSUE)):
        head = b'{"specversion":"1.0","id":"%d","type":"forge.snapshot.issue",' % count
        body = head + b'"source":"lane:a","time":"t","subject":"s%d","data":' % count + data + b"}"
        before = len(await shelf.archive.gaps())
        taken = await shelf.bring("a", body)
        named = len(await shelf.archive.gaps()) - before
        assert taken.fresh + named == 1, name
    good = await shelf.bring("a", made("good", type_="forge.snapshot.issue", **ISSUE))
    assert good.fresh == 1


@pytest.mark.parametrize("updated_s", [-2_208_988_800, 253_402_300_799, 2**63, "9999", None])
async def test_an_issue_of_the_year_1900_or_9999_is_archived(shelf: Shelf, updated_s: Any) -> None:
    event = made(
        "e", type_="forge.snapshot.issue", **dict[str, Any]({**ISSUE, "updated_s": updated_s})
    )
    assert (await shelf.bring("a", event)).rejected == 0
    assert len(await shelf.archive.objects(7, 0, "forge.snapshot.issue")) == 1


async def test_gaps_of_one_lane_without_end_are_counted_in_one_row(shelf: Shelf) -> None:
    for at in range(3):
        bodies = [made(f"{at}{n}") if n % 2 else b"no event" for n in range(MAX_GAPS)]
        await shelf.bring("a", *bodies)
    gaps = await shelf.archive.gaps()
    assert len(gaps) <= MAX_GAPS + 1
    assert sum(gap[4] for gap in gaps) == 3 * MAX_GAPS / 2


# --- no time of the future wins --------------------------------------------------------------


async def test_a_version_of_the_far_future_does_not_shadow_an_honest_newer_one(
    shelf: Shelf,
) -> None:
    far = {**ISSUE, "updated_s": 2**34 - 1}
    await shelf.bring("thief", made("t", type_="forge.snapshot.issue", **far))
    later_s = NOW_S + FORGE_SLACK_S + 1
    honest = made("h", type_="forge.snapshot.issue", **{**ISSUE, "updated_s": int(later_s)})
    await shelf.bring("honest", honest, at_s=later_s)
    newest = await shelf.archive.newest("f/7#3")
    assert newest is not None
    assert decode_event(newest).id == "h"


async def test_a_poll_mark_of_the_far_future_is_no_further_than_now(shelf: Shelf) -> None:
    mark: dict[str, Any] = {"watch": "acme/web", "forge_s": 2**33, "wall_s": 2.0**33}
    await shelf.bring("thief", made("m", type_="forge.mark", **mark))
    held = (await shelf.archive.marks(["thief"], 9))["acme/web"]
    assert held.forge_s <= NOW_S + FORGE_SLACK_S
    assert held.wall_s <= NOW_S + FORGE_SLACK_S


# --- older and newer files -------------------------------------------------------------------

BEFORE = """
CREATE TABLE event (
  row INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, lane TEXT NOT NULL,
  type TEXT NOT NULL, subject TEXT NOT NULL, at_s REAL NOT NULL, stored BLOB NOT NULL);
CREATE TABLE cursor (
  lane TEXT NOT NULL, journal TEXT NOT NULL, seq INTEGER NOT NULL, chain BLOB NOT NULL,
  at_s REAL NOT NULL, PRIMARY KEY (lane, journal));
CREATE TABLE gap (
  lane TEXT NOT NULL, journal TEXT NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL,
  count INTEGER NOT NULL, shed INTEGER NOT NULL, reason TEXT NOT NULL, at_s REAL NOT NULL);
CREATE TABLE object (
  subject TEXT PRIMARY KEY, row INTEGER NOT NULL, updated_s INTEGER NOT NULL,
  repository INTEGER NOT NULL);
CREATE TABLE mark (
  lane TEXT NOT NULL, watch TEXT NOT NULL, forge_s INTEGER NOT NULL, wall_s REAL NOT NULL,
  PRIMARY KEY (lane, watch));
CREATE TABLE usage (lane TEXT PRIMARY KEY, bytes INTEGER NOT NULL, repeats INTEGER NOT NULL);
"""


async def test_an_archive_of_before_opens_with_all_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    old = sqlite3.connect(path)
    old.executescript(BEFORE)
    body = made("e1", type_="forge.snapshot.issue", **ISSUE)
    old.execute("INSERT INTO event VALUES (1,'e1','a','forge.snapshot.issue','f/7#3',50.0,?)",
                (body,))  # fmt: skip
    old.execute("INSERT INTO object VALUES ('f/7#3', 1, ?, 7)", (2**34 - 1,))
    old.execute("INSERT INTO cursor VALUES ('a','j-a',1,?,50.0)", (bytes(32),))
    old.execute("INSERT INTO mark VALUES ('a','acme/web',?,1.0)", (2**33,))
    old.commit()
    old.close()
    archive = open_archive(path, quota_bytes=10**9)
    assert [row.stored for row in await archive.events(0, 10)] == [body]
    assert (await archive.marks(["a"], 9))["acme/web"].forge_s <= 50 + FORGE_SLACK_S
    tie = await archive.tie()
    await archive.close()
    again = open_archive(path, quota_bytes=10**9)
    assert await again.tie() == tie
    assert tie.id
    newer = made("e2", type_="forge.snapshot.issue", **{**ISSUE, "updated_s": 50 + FORGE_SLACK_S})
    await Shelf(again).bring("b", newer)
    newest = await again.newest("f/7#3")
    assert newest is not None
    assert decode_event(newest).id == "e2"
    await again.close()


async def test_a_file_of_a_newer_version_is_refused_with_its_name(tmp_path: Path) -> None:
    path = tmp_path / "archive.db"
    newer = sqlite3.connect(path)
    newer.execute("CREATE TABLE x (y)")
    newer.execute("PRAGMA user_version = 99")
    newer.close()
    with pytest.raises(ConfigError, match=r"archive\.db was written by a newer allegro"):
        open_archive(path, quota_bytes=1)


async def test_a_shed_entry_beside_an_unreadable_one_are_two_gaps(shelf: Shelf) -> None:
    entries: list[Kept | ShedEntry] = [
        ShedEntry(bytes(32), "overflow", 5),
        Kept(b"no event"),
        Kept(made("e")),
    ]
    taken = await shelf.archive.take("b", "j", 1, entries, NOW_S)
    assert not isinstance(taken, Refusal)
    assert [gap[2:6] for gap in await shelf.archive.gaps()] == [(1, 1, 1, 5), (2, 2, 1, -2)]
    assert msgspec.to_builtins(taken.position)["seq"] == 3


@pytest.mark.parametrize(
    ("id_chars", "subject_chars"), [(1, 0), (32, 40), (200, 0), (8, 1_000), (200, 1_000)]
)
async def test_a_quota_holds_on_the_disk_whatever_events_are_made_of(
    tmp_path: Path, id_chars: int, subject_chars: int
) -> None:
    """Ids and subjects stand in the trees of their indexes too: that counts."""
    quota = 3_000_000
    archive = open_archive(tmp_path / "q.db", quota_bytes=quota)
    for n in range(1_000):
        events = [
            Event(
                f"{n}-{m}-".ljust(id_chars, "i"), "forge.snapshot.issue", "x", TIME,
                subject=f"{n}-{m}".ljust(subject_chars, "s") if subject_chars else "",
                data={"repository": 7},
            )
            for m in range(100)
        ]  # fmt: skip
        entries = [Kept(encode_event(event)) for event in events]
        if isinstance(await archive.take("thief", "j", n * 100 + 1, entries, NOW_S), Refusal):
            break
    else:
        raise AssertionError("the quota has no end")
    await archive.close()
    size = (tmp_path / "q.db").stat().st_size
    assert 0.5 * quota < size < 1.2 * quota
