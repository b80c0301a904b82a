"""The checker of fail-over trials finds what is planted."""

from __future__ import annotations

import msgspec
import pytest

from allegro.drill.checker import (
    SEEN,
    Evidence,
    Poll,
    Taken,
    Wanted,
    Write,
    calls_of,
    duplicates,
    faults,
    late_writes,
    longest_silence,
)

GOOD = Evidence(
    writes=(
        Write(1.0, "a", "label", "/repos/1/issues/1/labels"),
        Write(2.0, "a", "branch", "work-1"),
        Write(3.0, "a", "pull", "Change 1"),
        Write(4.0, "b", "comment", "hello"),
    ),
    taken=(Taken(0.0, "a", 1), Taken(3.5, "b", 2)),
    wanted=(Wanted("pull", "Change 1", "done"), Wanted("comment", "hello", "done")),
    opened=frozenset({1}),
    archived=frozenset({1, 2}),
    labelled={1: (SEEN,)},
    intents=((1, "a"), (2, "b")),
)


def with_(**changes: object) -> Evidence:
    return msgspec.structs.replace(GOOD, **changes)


def test_a_good_trial_has_no_fault() -> None:
    assert faults(GOOD) == []
    assert duplicates(GOOD) == 0
    assert late_writes(GOOD) == ()


@pytest.mark.parametrize(
    ("planted", "words"),
    [
        (with_(writes=(*GOOD.writes, Write(5.0, "b", "comment", "hello"))), "made 2 times"),
        (with_(writes=(*GOOD.writes, Write(5.0, "b", "pull", "Change 1"))), "made 2 times"),
        (with_(writes=(*GOOD.writes, Write(5.0, "b", "branch", "work-1"))), "made 2 times"),
        (with_(writes=(*GOOD.writes, Write(5.0, "b", "pull", "Other"))), "asked for by nobody"),
        (with_(writes=(*GOOD.writes, Write(5.0, "b", "other", "DELETE /x"))), "by nobody"),
        (with_(writes=GOOD.writes[:3]), "made 0 times"),
        (with_(archived=frozenset({2})), "never came home"),
        (with_(vanished=("forge/1#1",)), "forge/1#1 was told as deleted"),
        (with_(labelled={}), "0 seen labels"),
        (with_(labelled={1: (SEEN, SEEN)}), "2 seen labels"),
        (with_(intents=((1, "a"), (1, "b"))), "order 1 was carried out by a, b"),
        (with_(frozen=((2.5, 3.2),)), "while the fleet was stopped"),
        (with_(wanted=(Wanted("pull", "Change 1", "rejected"), GOOD.wanted[1])), "is rejected"),
    ],
)
def test_what_is_planted_is_found(planted: Evidence, words: str) -> None:
    found = faults(planted)
    assert len(found) == 1
    assert words in found[0]


def test_a_doubled_effect_counts_once_for_each_too_many() -> None:
    doubled = Write(5.0, "b", "comment", "hello")
    assert duplicates(with_(writes=(*GOOD.writes, doubled, doubled))) == 2


def test_a_label_by_a_lane_that_lost_the_role_is_counted() -> None:
    late = Write(4.0, "a", "label", "/repos/1/issues/1/labels")
    assert late_writes(with_(writes=(*GOOD.writes, late))) == (late,)


def test_the_forges_log_is_read_by_address() -> None:
    call = {"peer": "192.0.2.11", "method": "GET", "path": "/api/v1/repos/a/b/issues",
            "status": 200, "at_s": 1.0, "effect": False, "json": None}  # fmt: skip
    made = {**call, "method": "POST", "path": "/api/v1/repos/a/b/pulls", "status": 201,
            "effect": True, "json": {"title": "Change 1"}}  # fmt: skip
    person = {**made, "peer": "192.0.2.254"}
    unread = {**call, "status": 502}
    lost = {**made, "effect": False}
    polls, writes = calls_of(
        [call, made, person, unread, lost],
        lambda logged: "a" if logged["peer"] == "192.0.2.11" else "",
    )
    assert polls == (Poll(1.0, "a"),)
    assert writes == (Write(1.0, "a", "pull", "Change 1"),)


def test_the_longest_silence_counts_from_the_last_poll_before_and_to_the_end() -> None:
    polls = [Poll(at, "a") for at in (8.0, 9.0, 16.0, 17.0)]
    assert longest_silence(polls, 10.0, 18.0) == 7.0
    assert longest_silence(polls[:2], 10.0, 18.0) == 9.0
    assert longest_silence([], 10.0, 18.0) == 8.0
