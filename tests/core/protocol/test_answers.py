"""What of a lane's answer is kept, by example and at its bounds. tests/bad holds the table."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from allegro.core.base.untrusted import Unreadable
from allegro.core.protocol.answers.fleet import LaneFleet
from allegro.core.protocol.answers.forge import Listing, Sighting, sound_url
from allegro.core.protocol.answers.lane import (
    MAX_SHOWN,
    MAX_STATUS_BYTES,
    LaneFact,
    LaneSessions,
    LaneStatus,
    UnknownStatus,
    read_facts,
    read_status,
)

FACT = {"what": "forge", "verdict": "ok", "told": "answers", "source": "poll"}


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


# --- status -------------------------------------------------------------------------------------


def test_a_status_gets_a_value_for_each_field_that_an_older_lane_does_not_send() -> None:
    assert read_status({}) == LaneStatus()
    status = read_status({"healthy": True, "freezes": ["f1"], "done": "9 of 9"})
    assert status == LaneStatus(healthy=True, freezes=("f1",), done="9 of 9")


def test_what_a_newer_lane_sends_beside_it_is_left_out() -> None:
    status = read_status({"other": {"a": [1, None]}, "sessions": {"ready": 2, "more": "x"}})
    assert status == LaneStatus(sessions=LaneSessions(ready=2))


def test_no_lane_can_pass_its_status_off_as_unknown() -> None:
    assert read_status({"error": "not linked", "healthy": True}) == LaneStatus(healthy=True)


def test_of_a_status_that_could_not_be_had_nothing_but_the_reason_is_said() -> None:
    written = msgspec.to_builtins(UnknownStatus(error="not linked"))
    assert written == {"error": "not linked"}
    assert msgspec.convert(written, LaneStatus).error == "not linked"


def test_words_of_a_status_are_cut_to_what_a_screen_shows() -> None:
    assert read_status({"done": "x" * 2_001}) == LaneStatus(done="x" * 2_000)


def test_a_status_is_nested_eight_levels_deep_at_most() -> None:
    assert read_status({"other": nested(7)}) == LaneStatus()
    assert read_status({"other": nested(8)}) == Unreadable("nested too deep")


def test_a_status_that_does_not_fit_is_unreadable_and_says_why() -> None:
    wrong = read_status({"healthy": "yes"})
    assert wrong == Unreadable("Expected `bool`, got `str` - at `$.healthy`")
    assert isinstance(read_status([]), Unreadable)


def test_a_status_is_as_long_as_its_limit_and_no_longer() -> None:
    room = MAX_STATUS_BYTES - len(msgspec.json.encode(LaneStatus(freezes=("",))))
    names = ["x" * 297] * (room // 300)
    fits = {"freezes": [*names, "x" * (room % 300)]}
    assert isinstance(read_status(fits), LaneStatus)
    longer = read_status({"freezes": [*names, "x" * (room % 300 + 1)]})
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


# --- what counts as missing ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer", [{}, {"issues": [1]}, {"comments": []}, {"issues": [0], "comments": []}]
)
def test_a_listing_that_is_not_whole_is_none(answer: object) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(answer, Listing)


def test_a_lane_says_what_it_holds_or_that_is_not_known() -> None:
    assert msgspec.convert({}, LaneFleet).held is None
    assert msgspec.convert({"held": {}}, LaneFleet).held == {}


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
