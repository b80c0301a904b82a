"""Requests are found by what they are asked for, whatever else there is."""

from __future__ import annotations

from allegro.core.requests.index import RequestIndex, program_of
from allegro.core.requests.lifecycle import State

from .test_ordering import mirror, request


def test_a_restarted_program_is_the_same_program() -> None:
    assert program_of("tool.py (pid 12)") == program_of("tool.py (pid 99)") == "tool.py"
    assert program_of("tool.py (pid twelve)") == "tool.py (pid twelve)"


def test_a_request_is_found_by_digest_and_by_the_key_of_its_program() -> None:
    index = RequestIndex([request(key="k", asked_by="a (pid 1)", digest="d1")])
    assert index.by_digest("d1") == "r1"
    assert index.by_digest("d2") is None
    assert index.by_key("a (pid 2)", "k") == "r1"
    assert index.by_key("b", "k") is None
    assert index.by_key("a", "") is None


def test_only_open_requests_of_the_same_thing_are_the_same() -> None:
    first, second = mirror("r9", id="m1"), mirror("r9", id="m2", created_s=11.0)
    index = RequestIndex([first, second, mirror("r8", id="m3"), request()])
    assert index.same(first) == ["m2"]
    index.put(mirror("r9", id="m2", created_s=11.0, state=State.DONE))
    assert index.same(first) == []
    assert index.newest("mirror r9") == "m2"
    assert index.newest("mirror r7") is None


def test_the_newest_is_by_age_not_by_arrival() -> None:
    index = RequestIndex([mirror("r9", id="new", created_s=20.0), mirror("r9", id="old")])
    assert index.newest("mirror r9") == "new"


def test_open_requests_of_a_kind_are_listed_until_they_end() -> None:
    index = RequestIndex([request(id="a"), mirror("x", id="m"), request(id="b")])
    assert index.open_of("comment") == ["a", "b"]
    index.put(request(id="a", state=State.FAILED))
    assert index.open_of("comment") == ["b"]
    assert index.open_of("run_session") == []


def test_what_left_memory_is_found_no_more() -> None:
    kept = request(id="b", digest="d2", key="k2", asked_by="p")
    gone = request(id="a", digest="d1", key="k", asked_by="p", state=State.DONE)
    index = RequestIndex([gone, kept])
    index.drop(gone)
    index.drop(gone)
    assert (index.by_digest("d1"), index.by_key("p", "k"), index.newest("a")) == (None, None, None)
    assert (index.by_digest("d2"), index.by_key("p", "k2"), len(index)) == ("b", "b", 1)


def test_an_order_that_may_have_written_is_found_by_its_very_target_until_it_is_settled() -> None:
    out = {"order_number": 4, "outstanding": (4,)}
    index = RequestIndex([request(state=State.ORDERED, **out), request(id="r2", target="f/8#1")])
    target = request().target
    assert index.may_have_written(target) == ["r1"]
    assert index.may_have_written(target.partition("#")[0]) == []
    assert index.may_have_written("f/8#1") == []
    for state in (State.SENT, State.UNKNOWN, State.FAILED):
        index.put(request(state=state, **out))
        assert index.may_have_written(target) == ["r1"]
    index.put(request(state=State.DONE, **out))
    assert index.may_have_written(target) == []
    index.put(request(state=State.UNKNOWN, **out))
    index.put(request(state=State.UNKNOWN, artifact=44, **out))
    assert index.may_have_written(target) == []


def test_what_is_stale_is_listed_until_it_was_asked_again() -> None:
    index = RequestIndex(
        [request(state=State.STALE), request(id="i", state=State.STALE, internal=True)]
    )
    assert index.stale() == ["r1"]
    index.put(request(state=State.STALE, superseded_by="r2"))
    assert index.stale() == []
