"""Reading a window of the forge's time while people write: nothing that was there is jumped over."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from allegro.core.base.errors import EdgeError
from allegro.core.forge.issues import Issue
from allegro.core.forge.marks import Window
from allegro.core.ports import IssuePage
from allegro.lane.forge.collect import collect
from tests.core.builders import issue

Move = tuple[str, int]


class Listing:
    """A forge's list of issues that people change between the pages.

    `moves` says before which read (counted from 0) which move is made. Every move has a second of its own, later than all that was
    there: what is read of a second that still runs is read again by the next poll's overlap.
    """

    def __init__(
        self,
        seconds: Iterable[int],
        *,
        page_size: int,
        moves: Mapping[int, Move] | None = None,
        counts: bool = True,
    ) -> None:
        self.issues = {n: issue(id=n, number=n, updated_s=s) for n, s in enumerate(seconds, 1)}
        self.now_s = max((i.updated_s for i in self.issues.values()), default=0)
        self.pages: list[tuple[Window, int]] = []
        self._page_size = page_size
        self._moves = moves or {}
        self._counts = counts

    async def read(self, window: Window, page: int, limit: int) -> IssuePage:
        del limit
        move = self._moves.get(len(self.pages))
        self.pages.append((window, page))
        if move is not None:
            self._move(*move)
        found = sorted(
            (i for i in self.issues.values() if within(i, window)),
            key=lambda i: (i.updated_s, i.id),
            reverse=True,
        )
        shown = found[(page - 1) * self._page_size : page * self._page_size]
        return IssuePage(tuple(shown), len(found) if self._counts else -1, self.now_s)

    def _move(self, what: str, which: int) -> None:
        self.now_s += 1
        if what == "open":
            number = 1000 + self.now_s
            self.issues[number] = issue(id=number, number=number, updated_s=self.now_s)
        elif self.issues:
            number = sorted(self.issues)[which % len(self.issues)]
            if what == "delete":
                del self.issues[number]
            else:
                touched = msgspec.structs.replace(self.issues[number], updated_s=self.now_s)
                self.issues[number] = touched


def within(found: Issue, window: Window) -> bool:
    until_s = float("inf") if window.until_s is None else window.until_s
    return window.since_s <= found.updated_s <= until_s


def written(chance: random.Random) -> dict[int, Move]:
    """Return moves before some of the reads: fewer than a crowded second is given passes."""
    kinds = ("touch", "touch", "open", "delete")
    return {chance.randrange(40): (chance.choice(kinds), chance.randrange(40)) for _ in range(9)}


@settings(max_examples=150, deadline=None, database=None)
@given(
    seed=st.integers(0, 2**32),  # hypothesis itself prefers few moves, and few find nothing
    page_size=st.integers(1, 7),
    since_s=st.integers(95, 101),
    until_s=st.none() | st.integers(101, 120),
)
async def test_everything_that_was_there_and_still_matches_is_returned(
    seed: int, page_size: int, since_s: int, until_s: int | None
) -> None:
    chance = random.Random(seed)
    seconds = [chance.choice((100, 101, 101, 101, 105)) for _ in range(chance.randint(5, 40))]
    window = Window(since_s, until_s)
    forge = Listing(seconds, page_size=page_size, moves=written(chance))
    before = {n: i for n, i in forge.issues.items() if within(i, window)}

    collected = await collect(forge.read, window, page_size=page_size)

    got = {i.id: i for i in collected.issues}
    assert len(got) == len(collected.issues)
    for number, was in before.items():
        now = forge.issues.get(number)
        if now is not None and within(now, window):
            assert number in got
            assert was.updated_s <= got[number].updated_s <= now.updated_s
    assert all(within(i, window) for i in got.values())


@settings(max_examples=50, deadline=None, database=None)
@given(seconds=st.lists(st.integers(100, 140), max_size=60), page_size=st.integers(1, 7))
async def test_a_forge_that_does_not_count_is_read_to_the_end_all_the_same(
    seconds: list[int], page_size: int
) -> None:
    forge = Listing(seconds, page_size=page_size, counts=False)
    collected = await collect(forge.read, Window(0, None), page_size=page_size)
    assert sorted(i.id for i in collected.issues) == list(range(1, len(seconds) + 1))


async def test_what_fits_on_one_page_is_read_once() -> None:
    forge = Listing([100, 101, 102], page_size=3)
    collected = await collect(forge.read, Window(90, None), page_size=3)
    assert forge.pages == [(Window(90, None), 1)]
    assert [i.updated_s for i in collected.issues] == [100, 101, 102]
    assert collected.date_s == 102


async def test_a_window_of_more_than_one_page_is_halved_and_never_paged() -> None:
    forge = Listing(range(1_000, 1_120), page_size=50)
    collected = await collect(forge.read, Window(0, None), page_size=50)
    assert len(collected.issues) == 120
    assert {page for _, page in forge.pages} == {1}
    assert len({window.since_s for window, _ in forge.pages}) > 2


async def test_one_crowded_second_is_paged_to_its_end() -> None:
    forge = Listing([500] * 130 + [400, 600], page_size=50)
    collected = await collect(forge.read, Window(300, None), page_size=50)
    assert len(collected.issues) == 132
    crowded = {window for window, page in forge.pages if page > 1}
    assert crowded == {Window(500, 500)}


async def test_a_touch_in_a_crowded_second_hides_nobody_who_moved_up() -> None:
    forge = Listing([500] * 9, page_size=3)
    quiet = Window(500, 500)
    reads = 0

    async def read(window: Window, page: int, limit: int) -> IssuePage:
        nonlocal reads
        reads += 1
        if reads == 3:  # between two pages, the first one listed leaves the second
            forge.issues[9] = msgspec.structs.replace(forge.issues[9], updated_s=501)
        return await forge.read(window, page, limit)

    collected = await collect(read, quiet, page_size=3)
    assert {i.id for i in collected.issues} >= set(range(1, 9))


async def test_issues_that_never_hold_still_are_told_and_not_half_returned() -> None:
    class Restless:
        """Gives each pass one issue fewer than it counted at its start, never the same ones."""

        reads = 0

        async def read(self, window: Window, page: int, limit: int) -> IssuePage:
            del window, limit
            self.reads += 1
            found = (issue(id=self.reads, number=page, updated_s=500),) if page < 4 else ()
            return IssuePage(found, 5, 500)

    with pytest.raises(EdgeError, match="faster") as raised:
        await collect(Restless().read, Window(500, 500), page_size=1)
    assert raised.value.transient
