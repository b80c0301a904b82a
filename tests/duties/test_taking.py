"""Each version of a forge object has one id, the same on every lane that saw the same."""

from __future__ import annotations

from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allegro.core.forge.issues import Issue, PullRequest, Repository
from allegro.core.ports import Journal, Version
from allegro.lane.context.recorder import Author, Recorder
from allegro.lane.forge.snapshots import MANY, Notes, Taking
from allegro.testing.virtual import PlainSealer, SeededDice, VirtualClock

GARDEN = Repository(7, "timmy/garden")
SUBJECT = "forge/7#3"
GONE = ""
Seen = tuple[str, int]


def issue_of(body: str, updated_s: int) -> Issue:
    return Issue(GARDEN, 3, 3, "title", body, "open", 1, "timmy", (), (), 0, 1, updated_s)


class Observer:
    """One lane's taking; it restarts with what was kept."""

    def __init__(self) -> None:
        self._recorder = Recorder(
            cast(Journal, None),  # events are made here, not written
            PlainSealer(), VirtualClock(), SeededDice(1), by=Author("a", b"s" * 32),
        )  # fmt: skip
        self._kept: dict[str, Version] = {}
        self.restart()

    def restart(self) -> None:
        self._taking = Taking(self._recorder, "forge", dict(self._kept))

    def see(self, body: str, updated_s: int = 1) -> str:
        """Look at the issue (gone when its body is empty); return the id of what is new."""
        if body:
            return self._keep(self._taking.issue(issue_of(body, updated_s)))
        living = SUBJECT in self._kept and self._kept[SUBJECT].hash
        return self._keep(self._taking.vanished(7, SUBJECT, 3)) if living else ""

    def pull(self, state: str, updated_s: int) -> str:
        """Look at a pull request whose issue was last touched then."""
        pull = PullRequest(3, "url", state, "title", "body", 1, "main", "work", "c0ffee")
        return self._keep(self._taking.pull(GARDEN, pull, issue_of("body", updated_s)))

    def _keep(self, notes: Notes) -> str:
        events, versions = notes
        self._taking.keep(versions)
        self._kept.update({version.subject: version for version in versions})
        return events[0].id if events else ""


def test_two_lanes_give_one_version_one_id_though_one_saw_more_of_its_second() -> None:
    first, second = Observer(), Observer()
    all_of_it = [first.see(body) for body in ("one", "two", "three")]

    assert second.see("three") == all_of_it[2]
    assert len(set(all_of_it)) == 3


def test_what_comes_back_within_a_second_is_another_version() -> None:
    lane = Observer()
    seen = [lane.see(body) for body in ("one", "two", "one", "two", "one")]
    assert len(set(seen)) == 5


def test_what_comes_back_after_a_restart_is_another_version() -> None:
    lane = Observer()
    seen = [lane.see(body) for body in ("one", "two", "one", "two", "three")]
    lane.restart()
    seen += [lane.see(body) for body in ("one", "two", "three", "one")]
    assert len(set(seen)) == 9


def test_a_pull_request_that_is_opened_again_is_told_again() -> None:
    lane = Observer()
    seen = [lane.pull("open", 1), lane.pull("closed", 5), lane.pull("open", 9)]
    assert len(set(seen)) == 3
    assert lane.pull("open", 12) == ""  # somebody commented: nothing of the pull request is new


def test_what_was_gone_and_is_back_is_told_each_time() -> None:
    lane = Observer()
    seen = [lane.see(body) for body in ("one", GONE, "one", GONE, "one")]
    lane.restart()
    seen += [lane.see(GONE)]
    lane.restart()
    seen += [lane.see("one"), lane.see(GONE)]
    assert len(set(seen)) == 8


def test_what_is_gone_may_be_told_as_gone_twice() -> None:
    lane = Observer()
    seen = [lane.see(body) for body in ("one", "two", GONE)]
    again, _ = lane._taking.vanished(7, SUBJECT, 3)
    assert again[0].id not in seen


def test_a_version_that_was_not_kept_has_the_same_id_when_it_is_seen_again() -> None:
    lane = Observer()
    lane.see("one")
    lane.see("two")
    issue = issue_of("one", 1)
    taking = lane._taking
    assert taking.issue(issue)[0][0].id == taking.issue(issue)[0][0].id


@pytest.mark.parametrize("restarts", [False, True])
def test_a_second_with_very_many_versions_still_tells_them_apart(restarts: bool) -> None:
    lane = Observer()
    seen = [lane.see(f"body {n % 40}") for n in range(3 * MANY)]
    if restarts:
        lane.restart()
    seen += [lane.see(f"body {n % 40}") for n in range(3 * MANY, 6 * MANY)]
    assert len(set(seen)) == 6 * MANY


@given(
    st.lists(
        st.tuples(st.sampled_from(["one", "two", "three", GONE]), st.integers(0, 1)), max_size=14
    ),
    st.sets(st.integers(0, 13)),
)
def test_no_two_versions_ever_share_an_id(seen: list[Seen], restarts: set[int]) -> None:
    lane, at_s = Observer(), 1
    found = []
    for n, (body, later) in enumerate(seen):
        at_s += later
        if n in restarts:
            lane.restart()
        if told := lane.see(body, at_s):
            found.append(told)
    assert len(set(found)) == len(found)


@given(st.lists(st.sampled_from(["one", "two", "three"]), max_size=6, unique=True), st.data())
def test_whatever_a_lane_missed_it_names_the_rest_alike(
    bodies: list[str], data: st.DataObject
) -> None:
    first, second = Observer(), Observer()
    names = {body: first.see(body) for body in bodies}
    for body in bodies:
        if data.draw(st.booleans()):
            assert second.see(body) == names[body]
