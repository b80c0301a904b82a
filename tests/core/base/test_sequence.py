from __future__ import annotations

import hashlib
import itertools
from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from allegro.core.base.errors import Refusal
from allegro.core.base.sequence import (
    GENESIS,
    Continue,
    Entry,
    HouseBehind,
    Kept,
    Position,
    Restart,
    ShedEntry,
    extend,
    follow,
    follow_hash,
    resume,
    start,
)
from tests.core.builders import refused

BODIES = st.lists(st.binary(max_size=6), min_size=1, max_size=10)


def chains(bodies: Sequence[bytes]) -> list[bytes]:
    """The chain written out by hand: chains(b)[n] is the value after n entries."""
    values = [bytes(32)]
    for body in bodies:
        values.append(hashlib.sha256(values[-1] + hashlib.sha256(body).digest()).digest())
    return values


def at(bodies: Sequence[bytes], seq: int, journal: str = "j") -> Position:
    return Position(journal, seq, chains(bodies)[seq])


def shed(body: bytes) -> ShedEntry:
    return ShedEntry(hashlib.sha256(body).digest(), "full", 5)


def test_a_journal_starts_with_nothing() -> None:
    assert start("j") == Position("j", 0, GENESIS)


def test_what_is_appended_is_what_is_followed() -> None:
    end, links = extend(start("j"), [b"a", b"b"])
    assert end == at([b"a", b"b"], 2)
    assert [chain for _, chain in links] == chains([b"a", b"b"])[1:]
    assert follow(start("j"), 1, [Kept(b"a"), Kept(b"b")]) == end
    assert follow_hash(follow_hash(start("j"), links[0][0]), links[1][0]) == end


def test_a_shed_entry_keeps_its_place_in_the_chain() -> None:
    assert follow(start("j"), 1, [Kept(b"a"), shed(b"b"), Kept(b"c")]) == at([b"a", b"b", b"c"], 3)


def test_a_jump_and_a_repeat_are_refused() -> None:
    here = at([b"a", b"b"], 1)
    assert refused(follow(here, 3, [Kept(b"c")]), "sequence_jump")
    assert refused(follow(here, 1, [Kept(b"a")]), "sequence_jump")


def test_a_hash_of_another_length_is_refused() -> None:
    assert refused(follow(start("j"), 1, [ShedEntry(b"short", "full", 5)]), "bad_hash")


@pytest.mark.parametrize("raw", [
    msgspec.msgpack.encode(Position("j", -1, GENESIS)),
    msgspec.msgpack.encode(Position("j", 2**63, GENESIS)),
    msgspec.msgpack.encode(Position("j", 1, b"short")),
])  # fmt: skip
def test_a_position_that_could_not_be_stored_is_not_read(raw: bytes) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.msgpack.decode(raw, type=Position)


def test_a_shed_class_that_could_not_be_stored_is_not_read() -> None:
    raw = msgspec.msgpack.encode(ShedEntry(GENESIS, "full", 2**64 - 1))
    with pytest.raises(msgspec.ValidationError):
        msgspec.msgpack.decode(raw, type=ShedEntry)


@given(BODIES, st.data())
def test_any_way_to_cut_a_journal_into_batches_gives_the_same_end(
    bodies: list[bytes], data: st.DataObject
) -> None:
    cuts = sorted(data.draw(st.sets(st.integers(0, len(bodies)), max_size=4)) | {0, len(bodies)})
    position: Position | Refusal = start("j")
    for first, last in itertools.pairwise(cuts):
        assert isinstance(position, Position)
        kept = data.draw(st.lists(st.booleans(), min_size=last - first, max_size=last - first))
        entries: list[Entry] = [
            Kept(body) if keep else shed(body)
            for keep, body in zip(kept, bodies[first:last], strict=True)
        ]
        position = follow(position, first + 1, entries)
    assert position == at(bodies, len(bodies))


@given(BODIES, st.data())
def test_batches_repeated_lost_or_mixed_up_never_lead_beside_the_chain(
    bodies: list[bytes], data: st.DataObject
) -> None:
    places = st.integers(0, len(bodies))
    batches = data.draw(st.lists(st.tuples(places, places), max_size=12))
    position, reached = start("j"), 0
    for first, last in batches:
        answer = follow(position, first + 1, [Kept(b) for b in bodies[first:last]])
        if first != reached:
            assert refused(answer, "sequence_jump")
            continue
        assert isinstance(answer, Position)
        position, reached = answer, max(first, last)
        assert position == at(bodies, reached)


@given(BODIES, st.data())
def test_one_entry_changed_swapped_or_left_out_is_another_chain(
    bodies: list[bytes], data: st.DataObject
) -> None:
    forged = list(bodies)
    match data.draw(st.sampled_from(["change", "leave out", "add", "swap"])):
        case "change":
            forged[data.draw(st.integers(0, len(forged) - 1))] = data.draw(st.binary(max_size=6))
        case "leave out":
            del forged[data.draw(st.integers(0, len(forged) - 1))]
        case "add":
            forged.insert(data.draw(st.integers(0, len(forged))), data.draw(st.binary(max_size=6)))
        case _:
            one, two = data.draw(st.integers(0, len(forged) - 1)), len(forged) - 1
            forged[one], forged[two] = forged[two], forged[one]
    answer = follow(start("j"), 1, [Kept(body) for body in forged])
    assert (answer == at(bodies, len(bodies))) == (forged == bodies)


@given(
    st.integers(-5, 40),
    st.lists(st.binary(max_size=40).map(lambda h: ShedEntry(h, "", 0)), max_size=5),
)
def test_garbage_is_a_refusal_or_a_step_of_exactly_its_length(
    first: int, entries: list[Entry]
) -> None:
    answer = follow(start("j"), first, entries)
    if isinstance(answer, Position):
        assert first == 1
        assert answer.seq == len(entries)
    else:
        assert first != 1 or any(isinstance(e, ShedEntry) and len(e.hash) != 32 for e in entries)


def go_on(cursor: Position | None, own: bytes | None, *, head: int = 5, acked: int = 2) -> object:
    bodies = [b"a", b"b", b"c", b"d", b"e"]
    return resume(
        head=at(bodies, head), acked=at(bodies, acked), cursor=cursor, chain_at_cursor=own
    )


BODIES_5 = [b"a", b"b", b"c", b"d", b"e"]


def test_both_sides_go_on_where_the_house_is() -> None:
    assert go_on(at(BODIES_5, 3), chains(BODIES_5)[3]) == Continue(at(BODIES_5, 3))


def test_a_house_that_has_all_goes_on_at_the_end() -> None:
    assert go_on(at(BODIES_5, 5), chains(BODIES_5)[5]) == Continue(at(BODIES_5, 5))


def test_a_house_that_never_saw_a_new_journal_begins_at_its_start() -> None:
    assert go_on(None, None, acked=0) == Continue(start("j"))


def test_a_lane_whose_disk_went_back_takes_a_new_journal() -> None:
    assert isinstance(go_on(at(BODIES_5, 5), None, head=3), Restart)


def test_a_lane_with_another_chain_takes_a_new_journal() -> None:
    assert isinstance(go_on(at(BODIES_5, 3), chains([b"x", b"y", b"z"])[3]), Restart)
    assert isinstance(go_on(Position("j", 0, b"x" * 32), None, acked=0), Restart)


def test_a_new_journal_and_a_refused_entry_have_their_reason() -> None:
    assert go_on(at(BODIES_5, 5), None, head=3) == Restart(
        "this journal ends before what the house has"
    )
    assert go_on(at(BODIES_5, 3), None) == Restart("this journal differs from what the house has")
    jump = follow(at(BODIES_5, 1), 3, [Kept(b"c")])
    assert str(jump) == "sequence_jump: expected 2, got 3"
    short = follow(start("j"), 1, [ShedEntry(b"short", "full", 5)])
    assert str(short) == "bad_hash: an entry's hash must be 32 bytes"


def test_a_lane_that_no_longer_knows_its_chain_there_takes_a_new_journal() -> None:
    assert isinstance(go_on(at(BODIES_5, 3), None), Restart)


def test_a_house_that_lost_what_it_acknowledged_is_told_so() -> None:
    assert go_on(at(BODIES_5, 1), chains(BODIES_5)[1]) == HouseBehind(at(BODIES_5, 2))
    assert go_on(None, None) == HouseBehind(at(BODIES_5, 2))
    assert isinstance(go_on(Position("j", -1, GENESIS), None, acked=0), HouseBehind)


@given(BODIES, st.data())
def test_a_lane_goes_on_only_where_both_chains_are_the_same(
    bodies: list[bytes], data: st.DataObject
) -> None:
    head = data.draw(st.integers(0, len(bodies)))
    acked = data.draw(st.integers(0, head))
    seq = data.draw(st.integers(0, len(bodies)))
    honest = data.draw(st.booleans())
    chain = chains(bodies)[seq] if honest else hashlib.sha256(b"fork").digest()
    knows = data.draw(st.booleans())
    own = chains(bodies)[seq] if knows and seq <= head else None
    decision = resume(
        head=at(bodies, head), acked=at(bodies, acked), cursor=Position("j", seq, chain),
        chain_at_cursor=own,
    )  # fmt: skip
    if seq > head:
        assert isinstance(decision, Restart)
    elif seq < acked:
        assert decision == HouseBehind(at(bodies, acked))
    elif honest and (knows or seq == 0):
        assert decision == Continue(at(bodies, seq))
    else:
        assert isinstance(decision, Restart)
