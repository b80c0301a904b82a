"""What of a lane's answer is kept, by example and at its bounds. tests/bad holds the table."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from allegro.core.base.untrusted import Unreadable
from allegro.core.protocol.answers import (
    MAX_SHOWN,
    MAX_STATUS_BYTES,
    LaneFact,
    Sighting,
    read_facts,
    read_status,
    sound_url,
)

EMPTY = {
    "healthy": False, "frozen": False, "freezes": [], "safe_mode": False, "shadow": False,
    "done": "?", "forge_trouble": "", "journal_waiting": 0, "sessions": None,
}  # fmt: skip
NO_SESSIONS = {"ready": 0, "gateways": 0, "local": False, "trouble": "", "running": []}
FACT = {"what": "forge", "verdict": "ok", "told": "answers", "source": "poll"}


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


# --- status -------------------------------------------------------------------------------------


def test_a_status_gets_a_value_for_each_field_that_screens_read() -> None:
    status: Any = read_status({})
    assert {name: status[name] for name in EMPTY} | {"freezes": []} == EMPTY
    assert list(status["freezes"]) == []


def test_a_status_keeps_what_screens_read_and_what_is_said_beside_it() -> None:
    said = {"healthy": True, "freezes": ["f1"], "done": "9 of 9", "other": {"a": [1, None]}}
    status: Any = read_status(said)
    assert {name: status[name] for name in said} | {"freezes": ["f1"]} == said
    assert list(status["freezes"]) == ["f1"]
    assert status["journal_waiting"] == 0


def test_what_a_lane_says_of_its_sessions_is_kept_beside_what_is_read() -> None:
    status: Any = read_status({"sessions": {"ready": 2, "more": "x"}})
    assert {**status["sessions"], "running": []} == {**NO_SESSIONS, "ready": 2, "more": "x"}


def test_words_and_names_of_a_status_are_cut_to_what_a_screen_shows() -> None:
    status: Any = read_status({"done": "x" * 2_001, "other": [{"n" * 2_001: "y" * 2_001}]})
    assert status["done"] == "x" * 2_000
    assert status["other"] == [{"n" * 2_000: "y" * 2_000}]


def test_a_status_is_nested_eight_levels_deep_at_most() -> None:
    status: Any = read_status({"other": nested(7)})
    assert status["other"] == nested(7)
    assert read_status({"other": nested(8)}) == Unreadable("nested too deep")


def test_a_status_that_does_not_fit_is_unreadable_and_says_why() -> None:
    wrong = read_status({"healthy": "yes"})
    assert wrong == Unreadable("Expected `bool`, got `str` - at `$.healthy`")
    assert isinstance(read_status([]), Unreadable)


def test_a_status_is_as_long_as_its_limit_and_no_longer() -> None:
    words = ["x" * 2_000] * 31
    room = MAX_STATUS_BYTES - len(msgspec.json.encode({"other": [*words, ""]}))
    status: Any = read_status({"other": [*words, "x" * room]})
    assert status["other"][-1] == "x" * room
    longer = read_status({"other": [*words, "x" * (room + 1)]})
    assert longer == Unreadable("longer than 64000 bytes")


# --- facts --------------------------------------------------------------------------------------


def test_each_fact_is_read_and_one_that_cannot_be_read_hides_no_other() -> None:
    good = LaneFact("forge", "ok", "answers", "poll")
    read: Any = read_facts([FACT, {**FACT, "verdict": "fine"}, {**FACT, "told": "x" * 2_001}])
    assert read[0] == good
    assert isinstance(read[1], Unreadable)
    assert read[2] == LaneFact("forge", "ok", "x" * 2_000, "poll")


def test_a_fact_is_nested_four_levels_deep_at_most() -> None:
    shallow, deep = {**FACT, "other": nested(3)}, {**FACT, "other": nested(4)}
    assert read_facts([shallow, deep]) == [
        LaneFact("forge", "ok", "answers", "poll"), Unreadable("nested too deep"),
    ]  # fmt: skip


def test_so_many_facts_are_read_and_no_more() -> None:
    read: Any = read_facts([FACT] * (MAX_SHOWN + 1))
    assert len(read) == MAX_SHOWN


def test_what_is_no_list_has_no_facts() -> None:
    assert read_facts({"what": "forge"}) == Unreadable("no list of facts")


# --- single values ------------------------------------------------------------------------------


@pytest.mark.parametrize(("finding", "number", "present"), [
    ("Present", 1, True), ("Present", 0, False), ("Absent", 1, False), ("Conflict", 7, False),
])  # fmt: skip
def test_an_effect_is_present_with_the_number_of_its_artifact(
    finding: Any, number: int, present: bool
) -> None:
    assert Sighting(finding=finding, number=number).is_present is present


def test_an_address_is_one_word_of_http_of_bounded_length() -> None:
    for good in ("http://a", "https://forge.example.org/x?y#z", "https://" + "x" * 290):
        assert sound_url(good) == good
    for bad in ("", "ftp://a", "https://", "https://a b", "https://\u00e4", "https://" + "x" * 291):
        assert sound_url(bad) == ""
