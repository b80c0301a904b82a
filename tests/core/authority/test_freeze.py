from __future__ import annotations

import hashlib
import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from allegro.core.authority.freeze import (
    MAX_LIFTED,
    UNKNOWN,
    Freeze,
    FreezeSet,
    add,
    contains,
    is_sound,
    merge,
    sound,
    thaw,
    tidied,
)

# one id names one freeze: ids are random and the rest follows from the id
FREEZES = st.sampled_from([Freeze(f"f{n}", float(n % 3), "house", f"reason {n}") for n in range(6)])
IDS = st.sampled_from([f"f{n}" for n in range(6)])
SETS = st.builds(
    FreezeSet, st.lists(FREEZES, unique=True).map(tuple), st.frozensets(IDS), st.booleans()
)


def stop(id_: str = "f1") -> Freeze:
    return Freeze(id_, 1.0, "telegram", "stop")


def ids(frozen: FreezeSet) -> set[str]:
    return {freeze.id for freeze in frozen.freezes}


def test_a_known_empty_set_lets_effects_happen() -> None:
    assert FreezeSet().is_thawed


def test_one_stop_is_enough() -> None:
    frozen = add(FreezeSet(), stop())
    assert not frozen.is_thawed
    assert frozen.active == (stop(),)


def test_a_set_that_is_not_known_counts_as_frozen() -> None:
    assert not UNKNOWN.is_thawed
    assert not add(UNKNOWN, stop()).known


def test_a_set_that_was_told_is_known_from_then_on() -> None:
    assert merge(UNKNOWN, FreezeSet()).is_thawed
    assert not merge(UNKNOWN, UNKNOWN).known


def test_a_thaw_lifts_exactly_the_ids_it_names() -> None:
    frozen = add(add(FreezeSet(), stop("f1")), stop("f2"))
    assert thaw(frozen, ("f1",)).active == (stop("f2"),)
    assert thaw(frozen, ("f1", "f2")).is_thawed


def test_a_thaw_outlives_an_older_copy_of_its_freeze() -> None:
    thawed = thaw(add(FreezeSet(), stop()), ("f1",))
    assert merge(thawed, FreezeSet((stop(),))).is_thawed


def test_a_thaw_told_by_the_other_side_is_not_believed() -> None:
    frozen = add(FreezeSet(), stop())
    assert not merge(frozen, FreezeSet((), frozenset({"f1"}))).is_thawed


def test_a_thaw_does_not_make_an_unknown_set_known() -> None:
    assert not thaw(UNKNOWN, ("f1",)).is_thawed


@pytest.mark.parametrize("id_", ["a-b", "f1", "0" * 48, "thief.1"])
def test_an_id_of_plain_characters_is_kept_as_it_is(id_: str) -> None:
    assert is_sound(stop(id_))
    assert add(FreezeSet(), stop(id_)).active == (stop(id_),)


@pytest.mark.parametrize("id_", ["", "-x", "a b", "x" * 49, "\x1b[2J", "ü", "a\nb", "\ud800"])
def test_an_id_that_cannot_be_used_is_replaced_by_the_same_one_everywhere(id_: str) -> None:
    kept = sound(stop(id_))
    assert not is_sound(stop(id_))
    assert is_sound(kept)
    assert kept == sound(stop(id_))
    frozen = add(FreezeSet(), stop(id_))
    assert contains(frozen, id_)
    assert contains(frozen, kept.id)
    assert thaw(frozen, (kept.id,)).is_thawed
    assert thaw(frozen, (id_,)).is_thawed


def test_a_stop_with_endless_words_is_a_stop_with_few() -> None:
    long = Freeze("f1", 1e300, "x" * 10_000, "y\ud800" * 50_000)
    (kept,) = add(FreezeSet(), long).active
    assert len(kept.by) <= 64
    assert len(kept.reason) <= 300
    assert kept.at_s < 2**53
    assert is_sound(kept)
    msgspec.json.encode(kept)


@pytest.mark.parametrize(("at_s", "kept"), [
    (0.0, 0.0), (0.5, 0.5), (2.0**53 - 1, 2.0**53 - 1), (2.0**53, 0.0), (1e300, 0.0), (-1.0, 0.0),
    (math.nan, 0.0),
])  # fmt: skip
def test_a_time_that_a_store_does_not_hold_becomes_0(at_s: float, kept: float) -> None:
    assert sound(Freeze("f1", at_s, "house", "stop")).at_s == kept


def test_an_id_in_the_place_of_one_that_cannot_be_used_is_a_digest() -> None:
    assert sound(stop("a b")).id == hashlib.sha256(b"a b").hexdigest()[:32]


def test_whether_a_set_is_known_is_a_plain_yes_or_no() -> None:
    for unknown in (add(UNKNOWN, stop()), tidied(UNKNOWN), merge(UNKNOWN, UNKNOWN)):
        assert unknown.known is False
    assert add(FreezeSet(), stop()).known is True


def test_a_set_read_from_disk_is_as_frozen_as_it_was() -> None:
    raw = FreezeSet((stop("a b"), stop("c d")), frozenset({"a b"}))
    assert [freeze.id for freeze in tidied(raw).active] == [sound(stop("c d")).id]
    assert tidied(raw).known
    assert not tidied(FreezeSet(known=False)).is_thawed


def test_what_is_held_is_found_by_id() -> None:
    frozen = add(FreezeSet(), stop())
    assert contains(frozen, "f1")
    assert not contains(frozen, "f2")


@pytest.mark.parametrize("at_s", [math.nan, -1.0, -math.inf])
def test_a_freeze_whose_time_could_not_be_stored_is_not_read(at_s: float) -> None:
    raw = msgspec.msgpack.encode(Freeze("f1", at_s, "lane", ""))
    with pytest.raises(msgspec.ValidationError):
        msgspec.msgpack.decode(raw, type=Freeze)


@given(SETS, SETS)
def test_union_gives_both_sides_the_same_freezes(a: FreezeSet, b: FreezeSet) -> None:
    assert merge(a, b).freezes == merge(b, a).freezes
    assert ids(merge(a, b)) == ids(a) | ids(b)


@given(SETS, SETS)
def test_union_twice_is_union_once(a: FreezeSet, b: FreezeSet) -> None:
    once = merge(a, b)
    assert merge(once, b) == once
    assert merge(once, once) == once


@given(SETS, SETS, SETS)
def test_the_order_of_telling_does_not_matter(a: FreezeSet, b: FreezeSet, c: FreezeSet) -> None:
    assert merge(merge(a, b), c) == merge(merge(a, c), b)


@given(SETS, SETS)
def test_no_copy_however_old_or_forged_thaws_a_known_set(
    mine: FreezeSet, theirs: FreezeSet
) -> None:
    if mine.known and not mine.is_thawed:
        assert not merge(mine, theirs).is_thawed
    assert {f.id for f in mine.active} <= {f.id for f in merge(mine, theirs).active}
    assert merge(mine, theirs).thawed == mine.thawed


def test_what_was_lifted_long_ago_is_gone_and_its_id_still_lifts_it() -> None:
    frozen = FreezeSet()
    for turn in range(4):
        names = tuple(f"t{turn}-{n}" for n in range(MAX_LIFTED))
        for name in names:
            frozen = add(frozen, Freeze(name, float(turn), "a lane", "stop"))
        frozen = thaw(frozen, names)
        assert frozen.is_thawed
    assert ids(frozen) == {f"t3-{n}" for n in range(MAX_LIFTED)}
    assert add(frozen, Freeze("t0-7", 0.0, "a lane", "stop")).is_thawed
    held = add(frozen, stop("held"))
    assert thaw(held, ("t3-1",)).active == (stop("held"),)
