from __future__ import annotations

import hashlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allegro.core.base.errors import Refusal
from allegro.link.blobs import IDLE_S, LIFE_S, MAX_BLOBS, Blobs
from tests.core.builders import refused

TOTAL = 1_000


def digest_of(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()


def send(blobs: Blobs, raw: bytes, *, upto: int | None = None, now_s: float = 0.0) -> Any:
    """Offer some bytes and send them from where they are wanted; return the last answer."""
    digest = digest_of(raw)
    here: Any = blobs.offer(digest, len(raw), now_s)
    while isinstance(here, int) and here < (len(raw) if upto is None else upto):
        here = blobs.add(digest, here, raw[here : here + 100], now_s)
    return here


@given(st.binary(min_size=1, max_size=700), st.lists(st.integers(0, 7), max_size=4))
def test_what_was_cut_off_goes_on_where_it_stopped(raw: bytes, cuts: list[int]) -> None:
    blobs, sent = Blobs(TOTAL), 0
    for cut in sorted(cuts):
        before = blobs.offer(digest_of(raw), len(raw), 0.0)
        assert isinstance(before, int)
        assert before >= sent
        sent = before
        send(blobs, raw, upto=min(len(raw), 100 * cut))
    assert send(blobs, raw) == len(raw)
    assert blobs.find(digest_of(raw)) == raw
    assert blobs.take(digest_of(raw)) == raw
    assert blobs.take(digest_of(raw)) is None


@pytest.mark.parametrize(("offset", "data"), [
    (0, b"again"), (3, b"x"), (5, b"hole"), (2**53, b"x"), (4, b""), (4, b"too much"),
], ids=["overlap", "overlap by one", "hole", "far", "empty", "beyond the end"])  # fmt: skip
def test_a_piece_that_does_not_go_on_ends_its_blob_alone(offset: int, data: bytes) -> None:
    blobs = Blobs(TOTAL)
    raw, other = b"some bytes", b"other bytes"
    send(blobs, other)
    digest = digest_of(raw)
    assert blobs.offer(digest, len(raw), 0.0) == 0
    assert blobs.add(digest, 0, raw[:4], 0.0) == 4
    assert refused(blobs.add(digest, offset, data, 0.0), "wrong_piece")
    assert refused(blobs.add(digest, 4, raw[4:], 0.0), "not_offered")
    assert blobs.find(other_digest := digest_of(other)) == other
    assert blobs.offer(other_digest, len(other), 0.0) == len(other)


def test_other_bytes_than_were_announced_are_not_kept() -> None:
    blobs = Blobs(TOTAL)
    digest = digest_of(b"signed")
    assert blobs.offer(digest, 6, 0.0) == 0
    assert refused(blobs.add(digest, 0, b"forged", 0.0), "wrong_digest")
    assert blobs.find(digest) is None
    assert blobs.reserved == 0


@pytest.mark.parametrize("size", [0, -1, TOTAL + 1, 2**53])
def test_a_blob_has_some_bytes_and_not_too_many(size: int) -> None:
    blobs = Blobs(TOTAL)
    assert refused(blobs.offer(digest_of(b"x"), size, 0.0), "wrong_size")
    assert blobs.count == 0


def test_a_blob_offered_again_with_another_size_is_refused() -> None:
    blobs = Blobs(TOTAL)
    blobs.offer(digest_of(b"x"), 5, 0.0)
    assert refused(blobs.offer(digest_of(b"x"), 6, 0.0), "wrong_size")


def test_no_more_is_held_than_there_is_room_for() -> None:
    blobs = Blobs(TOTAL)
    assert blobs.offer(digest_of(b"a"), 600, 0.0) == 0
    assert refused(blobs.offer(digest_of(b"b"), 600, IDLE_S - 1), "no_room")
    assert blobs.offer(digest_of(b"b"), 600, IDLE_S + 1) == 0
    assert blobs.reserved <= TOTAL
    assert refused(blobs.add(digest_of(b"a"), 0, b"x", IDLE_S + 1), "not_offered")


def test_no_more_blobs_are_open_than_allowed() -> None:
    blobs = Blobs(TOTAL)
    answers = [blobs.offer(digest_of(bytes([n])), 1, 0.0) for n in range(MAX_BLOBS + 5)]
    assert sum(isinstance(one, Refusal) for one in answers) == 5
    assert blobs.count == MAX_BLOBS


def test_a_blob_that_moves_lives_and_one_that_stands_still_is_forgotten() -> None:
    blobs = Blobs(TOTAL)
    raw = b"x" * 400
    for minute in range(30):
        here = blobs.offer(digest_of(raw), len(raw), minute * 60.0)
        assert here == minute
        blobs.add(digest_of(raw), minute, b"x", minute * 60.0)
    blobs.expire(29 * 60.0 + LIFE_S - 1)
    assert blobs.count == 1
    blobs.expire(29 * 60.0 + LIFE_S)
    assert blobs.count == 0


def test_clear_forgets_whole_and_half_blobs() -> None:
    blobs = Blobs(TOTAL)
    send(blobs, b"whole")
    send(blobs, b"h" * 200, upto=100)
    blobs.clear()
    assert blobs.reserved == 0
    assert blobs.find(digest_of(b"whole")) is None
