"""The council's contract, on every adapter: one register a role, one page a lane."""

from __future__ import annotations

import asyncio
from itertools import count

import pytest

from allegro.core.authority.lease import MAX_EPOCH, Record, Slot
from allegro.core.forge.marks import Mark
from allegro.core.protocol.pages import Page

from .council_backends import NAMES, Hall

pytestmark = pytest.mark.asyncio(loop_scope="module")
ROUNDS = 20
GARBAGE = (
    b"", b"\x00\xff\xfe", b"null", b"[1]", b"{", b"{}", b'{"holder":"a"}',
    b'{"holder":"a","process":"p","epoch":0}', b'{"holder":"","process":"p","epoch":1}',
    b'{"holder":"a","process":"p","epoch":1,"more":1}', b"[" * 20_000, b'{"more":' * 2_000,
    b'{"holder":"\\ud800","process":"p","epoch":1}', b'{"lane":"\\ud800","at_s":1}', b"x" * 20_000,
)  # fmt: skip
_roles = count()


@pytest.fixture
def role() -> str:
    """A register that no other case wrote."""
    return f"r{next(_roles)}"


def record(holder: str = "a", epoch: int = 1) -> Record:
    return Record(holder, "process", epoch)


async def test_a_register_never_written_reads_as_revision_0_without_a_record(
    hall: Hall, role: str
) -> None:
    for lane in NAMES:
        assert await hall.lanes[lane].read(role) == Slot(0, None)


async def test_a_write_with_the_right_expectation_is_read_back_by_every_lane(
    hall: Hall, role: str
) -> None:
    first = await hall.lanes["a"].write(role, record("a", 1), 0)
    assert first
    for lane in NAMES:
        assert await hall.lanes[lane].read(role) == Slot(first, record("a", 1))
    second = await hall.lanes["b"].write(role, record("b", 2), first)
    assert second not in {None, first}
    for lane in NAMES:
        assert await hall.lanes[lane].read(role) == Slot(second or 0, record("b", 2))


async def test_a_stale_a_zero_or_a_future_expectation_returns_none_and_changes_nothing(
    hall: Hall, role: str
) -> None:
    first = await hall.lanes["a"].write(role, record("a", 1), 0) or 0
    now = await hall.lanes["a"].write(role, record("a", 2), first) or 0
    for lane in NAMES:
        for expected in (first, 0, now + 1_000):
            assert await hall.lanes[lane].write(role, record(lane, 9), expected) is None
    assert await hall.lanes["c"].read(role) == Slot(now, record("a", 2))


async def test_a_register_never_written_refuses_every_expectation_but_0(
    hall: Hall, role: str
) -> None:
    assert await hall.lanes["a"].write(role, record(), 7) is None
    assert await hall.lanes["a"].read(role) == Slot(0, None)


async def test_of_many_writers_with_the_same_expectation_exactly_one_wins(
    hall: Hall, role: str
) -> None:
    revision = 0
    for epoch in range(1, ROUNDS + 1):
        tries = [record(f"{lane}{i}", epoch) for i in range(3) for lane in NAMES]
        answers = await asyncio.gather(
            *(hall.lanes[t.holder[0]].write(role, t, revision) for t in tries)
        )
        won = [(answer, t) for answer, t in zip(answers, tries, strict=True) if answer is not None]
        assert len(won) == 1, answers
        revision, winner = won[0]
        for lane in NAMES:
            assert await hall.lanes[lane].read(role) == Slot(revision, winner)


async def test_revisions_never_repeat_even_where_the_same_words_are_written_again(
    hall: Hall, role: str
) -> None:
    revisions = [0]
    for i in range(12):
        if i % 4 == 3:
            await hall.scribble("b", "role." + role, b"garbage")
            revisions.append((await hall.lanes["a"].read(role)).revision)
        else:
            written = await hall.lanes["a"].write(role, record(), revisions[-1])
            assert written is not None
            revisions.append(written)
    assert revisions == sorted(set(revisions))


@pytest.mark.parametrize("garbage", GARBAGE, ids=lambda value: repr(value[:40]))
async def test_garbage_in_a_register_reads_as_no_record_with_its_revision(
    hall: Hall, role: str, garbage: bytes
) -> None:
    first = await hall.lanes["a"].write(role, record(), 0)
    assert first
    await hall.scribble("b", "role." + role, garbage)
    slot = await hall.lanes["a"].read(role)
    assert slot.record is None
    assert slot.revision > first
    assert await hall.lanes["c"].write(role, record("c"), first) is None
    after = await hall.lanes["c"].write(role, record("c"), slot.revision)
    assert await hall.lanes["a"].read(role) == Slot(after or 0, record("c"))


async def test_a_deleted_register_keeps_its_revision_and_is_no_register_never_written(
    hall: Hall, role: str
) -> None:
    first = await hall.lanes["a"].write(role, record(), 0) or 0
    await hall.delete("b", "role." + role)
    slot = await hall.lanes["c"].read(role)
    assert slot.record is None
    assert slot.revision > first
    assert await hall.lanes["c"].write(role, record("c"), 0) is None
    assert await hall.lanes["c"].write(role, record("c"), slot.revision)


async def test_registers_do_not_touch_each_other(hall: Hall, role: str) -> None:
    one, other = role, role + "x"
    first = await hall.lanes["a"].write(one, record("a"), 0)
    second = await hall.lanes["b"].write(other, record("b"), 0)
    assert await hall.lanes["c"].read(one) == Slot(first or 0, record("a"))
    assert await hall.lanes["c"].read(other) == Slot(second or 0, record("b"))


@pytest.mark.parametrize(
    "words",
    [
        Record("x", "y", 1),
        Record("l" * 64, "p" * 64, MAX_EPOCH, offered="o" * 64, beat=2**53 - 1),
        Record('"\\/\b\f\n\r\t', "\x00\x01\x7f", 2, offered="*"),
        Record("дорожка-é-中-🌻", "\u2028\u2029\ufeff\u202e", 3, offered=" spaced "),
        Record("$KV.x.>", "Nats-Rollup: all\r\n\r\n", 4, beat=1),
    ],
)
async def test_the_words_of_a_record_survive_exactly(hall: Hall, role: str, words: Record) -> None:
    revision = await hall.lanes["a"].write(role, words, 0)
    assert await hall.lanes["b"].read(role) == Slot(revision or 0, words)


async def test_the_page_of_a_lane_that_never_wrote_is_missing(hall: Hall) -> None:
    assert await hall.lanes["a"].page("nobody") == (0, None)


async def test_a_page_is_read_by_every_lane_and_replaced_with_a_new_revision(hall: Hall) -> None:
    mark = Mark(1_760_000_000, 1_760_000_000.25)
    one = Page("a", 1.5, ("forge", "hermes"), marks={"forge/x": mark}, done="é\n", version="1.0")
    two = Page("a", 2.5, house_linked=True)
    await hall.lanes["a"].publish(one)
    first, _ = await hall.lanes["a"].page("a")
    for lane in NAMES:
        assert await hall.lanes[lane].page("a") == (first, one)
    await hall.lanes["a"].publish(two)
    second, _ = await hall.lanes["a"].page("a")
    assert second > first > 0
    for lane in NAMES:
        assert await hall.lanes[lane].page("a") == (second, two)
    await hall.lanes["a"].publish(two)
    assert (await hall.lanes["b"].page("a"))[0] > second


@pytest.mark.parametrize("garbage", GARBAGE, ids=lambda value: repr(value[:40]))
async def test_garbage_on_another_lanes_page_reads_as_no_page(hall: Hall, garbage: bytes) -> None:
    await hall.lanes["b"].publish(Page("b", 1.0))
    first, _ = await hall.lanes["a"].page("b")
    await hall.scribble("b", "page.b", garbage)
    revision, page = await hall.lanes["a"].page("b")
    assert page is None
    assert revision > first
    await hall.lanes["b"].publish(Page("b", 2.0))
    assert (await hall.lanes["a"].page("b"))[1] == Page("b", 2.0)


async def test_a_closed_council_may_be_closed_again(hall: Hall) -> None:
    for lane in NAMES:
        await hall.lanes[lane].close()
        await hall.lanes[lane].close()
    assert await hall.lanes["a"].read("never") == Slot(0, None)
