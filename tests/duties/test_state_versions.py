"""Stores and state files have a number: stepped after a copy, refused when newer, never half done."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from allegro.adapters.copies import copies_of, keep_copy
from allegro.adapters.files import write_state
from allegro.adapters.sqlite.schema import open_versioned
from allegro.adapters.state_form import Form, Newer, bring_forward, load, save
from allegro.core.authority.freeze import UNKNOWN, Freeze, FreezeSet
from allegro.core.base.errors import ConfigError
from allegro.core.base.state_version import MAX_COPIES, copy_name
from allegro.core.base.untrusted import Unreadable
from allegro.lane.folder.files import LaneFiles
from allegro.lane.folder.forms import bring_all_forward, forms_of, load_freezes, save_freezes

from .kill_points import killed_at_each_point

OLD = "CREATE TABLE word (text TEXT NOT NULL)"
SCHEMA = """
CREATE TABLE IF NOT EXISTS word (text TEXT NOT NULL, length INTEGER NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS other (name TEXT);
"""
WORDS = ["one", "three", "eleven"]


def add_length(connection: sqlite3.Connection) -> None:
    connection.execute("ALTER TABLE word ADD COLUMN length INTEGER NOT NULL DEFAULT 0")


def measure(connection: sqlite3.Connection) -> None:
    connection.execute("UPDATE word SET length = length(text)")
    connection.execute("INSERT INTO word VALUES ('last', 4)")


def old_store(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute(OLD)
    connection.executemany("INSERT INTO word VALUES (?)", [(word,) for word in WORDS])
    connection.commit()
    connection.close()


def open_store(path: Path) -> None:
    open_versioned(path, SCHEMA, [add_length, measure]).close()


def content(path: Path) -> tuple[int, list[tuple[object, ...]], list[str]]:
    """Return a store's number, its words and its tables."""
    connection = sqlite3.connect(path)
    try:
        (number,) = connection.execute("PRAGMA user_version").fetchone()
        tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_schema")]
        words = connection.execute("SELECT * FROM word").fetchall() if "word" in tables else []
        return number, words, sorted(tables)
    finally:
        connection.close()


def fresh(folder: Path) -> None:
    """Remove all files of a folder."""
    for one in folder.iterdir():
        one.unlink()


OLD_CONTENT = (0, [(word,) for word in WORDS], ["word"])
NEW_CONTENT = (2, [*((word, len(word)) for word in WORDS), ("last", 4)], ["other", "word"])


def test_an_older_store_is_copied_then_stepped_and_a_second_opening_changes_nothing(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a.db"
    old_store(path)
    open_store(path)
    assert content(path) == NEW_CONTENT
    assert content(tmp_path / copy_name("a.db", 0)) == OLD_CONTENT
    before = path.read_bytes()
    open_store(path)
    assert path.read_bytes() == before
    assert copies_of(path) == [0]


def test_a_store_whose_step_is_killed_anywhere_is_the_old_or_the_new_one(tmp_path: Path) -> None:
    path, seen = tmp_path / "a.db", []
    old_store(path)
    for _ in killed_at_each_point(lambda: open_store(path)):
        found = content(path)
        assert found in (OLD_CONTENT, NEW_CONTENT)
        for number in copies_of(path):
            assert content(tmp_path / copy_name("a.db", number)) == OLD_CONTENT
        seen.append(found)
        open_store(path)
        assert content(path) == NEW_CONTENT
        fresh(tmp_path)
        old_store(path)
    assert OLD_CONTENT in seen
    assert seen[-1] == NEW_CONTENT
    assert len(seen) > 10


def test_a_new_store_whose_making_is_killed_anywhere_is_made_by_the_next_opening(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a.db"
    for _ in killed_at_each_point(lambda: open_store(path)):
        open_store(path)
        assert content(path) == (2, [], ["other", "word"])
        assert copies_of(path) == []
        fresh(tmp_path)


def test_a_newer_store_is_refused_by_both_numbers_and_not_changed(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    old_store(path)
    open_versioned(path, SCHEMA, [add_length, measure, lambda _: None]).close()
    before = {one.name: one.read_bytes() for one in tmp_path.iterdir()}
    with pytest.raises(ConfigError) as refused:
        open_store(path)
    words = str(refused.value)
    assert "a.db was written by a newer allegro: it has schema 3" in words
    assert "reads up to 2" in words
    assert "put back the copy a.db.schema-0" in words
    assert {one.name: one.read_bytes() for one in tmp_path.iterdir()} == before


def test_a_step_that_fails_leaves_the_old_store(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    old_store(path)

    def fails(connection: sqlite3.Connection) -> None:
        connection.execute("DELETE FROM word")
        raise ValueError("a bug")

    with pytest.raises(ValueError, match="a bug"):
        open_versioned(path, SCHEMA, [add_length, fails])
    assert content(path) == OLD_CONTENT


def old_freezes(path: Path) -> None:
    """Write a freeze set as commit a8b1bd5 did: the same fields, no number."""
    write_state(path, FROZEN)


FROZEN = FreezeSet((Freeze("f1", 5.0, "house", "a"), Freeze("f2", 6.0, "chat", "b")),
                   frozenset({"f1"}))  # fmt: skip


def test_a_freeze_set_whose_step_is_killed_anywhere_is_whole(tmp_path: Path) -> None:
    files = LaneFiles(tmp_path)
    old_freezes(files.freezes)
    before = files.freezes.read_bytes()
    count = 0
    for point in killed_at_each_point(lambda: bring_all_forward(files)):
        count = point
        raw = files.freezes.read_bytes()
        assert raw == before or json.loads(raw)["schema"] == 2
        assert load_freezes(files.freezes) == FROZEN
        for number in copies_of(files.freezes):
            assert (tmp_path / copy_name("freezes.json", number)).read_bytes() == before
        fresh(tmp_path)
        old_freezes(files.freezes)
    assert count > 8


def test_a_state_file_that_is_loaded_is_not_changed(tmp_path: Path) -> None:
    files = LaneFiles(tmp_path)
    old_freezes(files.freezes)
    before = files.freezes.read_bytes()
    assert load_freezes(files.freezes) == FROZEN
    assert [one.read_bytes() for one in tmp_path.iterdir()] == [before]


def test_a_state_file_that_was_brought_forward_is_left_alone_the_second_time(
    tmp_path: Path,
) -> None:
    files = LaneFiles(tmp_path)
    old_freezes(files.freezes)
    form = forms_of(files)[files.freezes]
    assert bring_forward(files.freezes, form)
    after = files.freezes.read_bytes()
    save_freezes(files.freezes, FROZEN)
    assert json.loads(files.freezes.read_bytes()) == json.loads(after)
    assert not bring_forward(files.freezes, form)
    assert copies_of(files.freezes) == [1]


@pytest.mark.parametrize("name", [path.name for path in forms_of(LaneFiles(Path("x")))])
def test_a_lane_with_a_newer_state_file_refuses_by_both_numbers_and_changes_nothing(
    tmp_path: Path, name: str
) -> None:
    files = LaneFiles(tmp_path)
    path = tmp_path / name
    path.write_bytes(b'{"schema": 9, "something": "new"}')
    with pytest.raises(ConfigError) as refused:
        bring_all_forward(files)
    assert f"{name} was written by a newer allegro: it has schema 9" in str(refused.value)
    assert f"reads up to {forms_of(files)[path].number}" in str(refused.value)
    assert path.read_bytes() == b'{"schema": 9, "something": "new"}'
    assert {one.name for one in tmp_path.iterdir()} == {name, "running.lock"}


def test_a_freeze_set_of_a_newer_program_counts_as_frozen(tmp_path: Path) -> None:
    path = tmp_path / "freezes.json"
    path.write_bytes(b'{"schema": 9, "freezes": [], "thawed": [], "known": true}')
    assert load_freezes(path) == UNKNOWN


@pytest.mark.parametrize("raw", [b"", b"[]", b"{}", b'{"schema": "2"}', b'{"freezes": []}'])
def test_a_damaged_state_file_is_not_stepped(tmp_path: Path, raw: bytes) -> None:
    files = LaneFiles(tmp_path)
    files.freezes.write_bytes(raw)
    assert not bring_forward(files.freezes, forms_of(files)[files.freezes])
    assert files.freezes.read_bytes() == raw
    assert load_freezes(files.freezes) == UNKNOWN


def test_steps_follow_one_another_from_any_older_number(tmp_path: Path) -> None:
    form = Form((lambda v: {**v, "b": 1}, lambda v: {**v, "c": v["b"] + 1}))
    path = tmp_path / "a.json"
    for raw in (b'{"a": 0}', b'{"schema": 2, "a": 0, "b": 1}'):
        path.write_bytes(raw)
        assert load(path, form, dict[str, int]) == {"schema": 3, "a": 0, "b": 1, "c": 2}
        assert bring_forward(path, form)
    assert copies_of(path) == [1, 2]
    save(path, Form((*form.steps, lambda v: v)), {"a": 5})
    assert isinstance(load(path, form, dict[str, int]), Newer)
    assert isinstance(load(path, Form(()), dict[str, int]), Newer)


def test_a_file_that_cannot_be_copied_is_not_stepped_and_the_sentence_says_why(
    tmp_path: Path,
) -> None:
    files = LaneFiles(tmp_path)
    old_freezes(files.freezes)
    before = files.freezes.read_bytes()
    (tmp_path / (copy_name("freezes.json", 1) + ".new")).mkdir()
    with pytest.raises(ConfigError, match=r"freezes\.json has schema 1 and would become 2, but"):
        bring_all_forward(files)
    assert files.freezes.read_bytes() == before


def test_a_copy_needs_room_on_the_disk(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    path.write_bytes(b"x")
    with pytest.raises(ConfigError, match=r"the copy that comes first cannot be made: .* MB must"):
        keep_copy(path, 0, 1, 10**18, lambda part: None)
    assert copies_of(path) == []


def test_only_the_newest_copies_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b"x")

    def words(text: str) -> Callable[[Path], None]:
        def write(part: Path) -> None:
            part.write_text(text)

        return write

    for number in range(MAX_COPIES + 3):
        keep_copy(path, number, number + 1, 1, words(f"of {number}"))
    assert copies_of(path) == [3, 4, 5]
    keep_copy(path, 5, 6, 1, words("of 5, later"))
    assert (tmp_path / copy_name("a.json", 5)).read_text() == "of 5, later"
    assert (tmp_path / copy_name("a.json", 5)).stat().st_mode & 0o777 == 0o600


def test_a_number_that_is_none_makes_a_file_unreadable(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    for raw in (b'{"schema": 0}', b'{"schema": true}', b'{"schema": 1.5}', b'{"schema": -1}'):
        path.write_bytes(raw)
        assert isinstance(load(path, Form(()), dict[str, int]), Unreadable)
