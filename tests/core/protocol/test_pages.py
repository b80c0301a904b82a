from __future__ import annotations

import msgspec
import pytest

from allegro.core.authority.freeze import Freeze, is_sound
from allegro.core.authority.lease import ROLES, Sibling
from allegro.core.forge.marks import MAX_WATCHES, Mark
from allegro.core.protocol.pages import (
    FRESH_PAGES,
    MAX_FREEZES,
    MAX_VALUE,
    Page,
    Sighting,
    is_fresh,
    page_bytes,
    parsed,
    read_page,
    sibling,
    sighted,
)

PAGE_S = 2.0
READY = Page("a", 1.0, ready=("forge", "cooking"))


def see(
    before: Sighting | None, revision: int, page: Page | None = READY, *, at_s: float
) -> Sighting:
    return sighted(before, revision, page, boot_s=at_s, page_s=PAGE_S)


def test_a_lane_is_ready_from_its_first_page_that_says_so() -> None:
    seen = see(None, 1, at_s=10.0)
    assert seen.ready_since_s == {"forge": 10.0}, "a role nobody knows is not kept"
    seen = see(seen, 2, at_s=12.0)
    assert sibling("a", seen, "forge", boot_s=15.0) == Sibling("a", 5.0)
    assert sibling("a", seen, "hermes", boot_s=15.0) == Sibling("a", 0.0)


def test_a_lane_seen_ready_this_moment_counts_as_ready() -> None:
    assert sibling("a", see(None, 1, at_s=10.0), "forge", boot_s=10.0).ready_s > 0


def test_one_page_that_does_not_say_so_starts_the_count_anew() -> None:
    seen = see(see(None, 1, at_s=10.0), 2, Page("a", 1.0), at_s=12.0)
    assert seen.ready_since_s == {}
    assert see(seen, 3, at_s=14.0).ready_since_s == {"forge": 14.0}


def test_a_page_that_stands_still_is_fresh_for_a_while_and_then_ready_for_nothing() -> None:
    seen = see(None, 1, at_s=10.0)
    last_s = 10.0 + FRESH_PAGES * PAGE_S
    assert see(seen, 1, at_s=last_s) is seen
    assert is_fresh(seen, boot_s=last_s, page_s=PAGE_S)
    stale = see(seen, 1, at_s=last_s + 0.01)
    assert stale.ready_since_s == {}
    assert not is_fresh(stale, boot_s=last_s + 0.01, page_s=PAGE_S)
    assert see(stale, 2, at_s=30.0).ready_since_s == {"forge": 30.0}


def test_a_page_that_cannot_be_read_is_no_page() -> None:
    seen = see(see(None, 1, at_s=10.0), 2, None, at_s=12.0)
    assert not is_fresh(seen, boot_s=12.0, page_s=PAGE_S)
    assert sibling("a", seen, "forge", boot_s=12.0) == Sibling("a", 0.0)


def test_a_lane_never_seen_is_not_ready() -> None:
    assert sibling("a", None, "forge", boot_s=1.0) == Sibling("a", 0.0)


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"{", b"[]", b"\xff", b'{"lane":"","at_s":1}', b'{"lane":"a","at_s":1,"more":1}',
        b'{"lane":"a","at_s":NaN}', b'{"lane":"a","at_s":1,"freezes":[{"id":"f"}]}',
        b'{"lane":"a","at_s":1,"ready":"forge"}',
    ],
)  # fmt: skip
def test_a_page_out_of_form_is_read_as_none(raw: bytes) -> None:
    assert parsed(raw, Page) is None


def test_a_page_in_form_is_read() -> None:
    assert parsed(b'{"lane":"a","at_s":1,"ready":["forge"]}', Page) == Page("a", 1.0, ("forge",))


def full(reason: str, by: str = "chat") -> Page:
    freezes = tuple(Freeze(f"f{n}", float(n), by, reason) for n in range(MAX_FREEZES))
    marks = {f"acme/{n}" + "x" * 180: Mark(n, 1.0) for n in range(MAX_WATCHES)}
    return Page("a", 1.0, ROLES, freezes, marks, done="y" * 200, version="z" * 64)


@pytest.mark.parametrize("reason", ["stop", "é" * 300, "\x00" * 300, "😀" * 300, '"' * 300])
def test_a_page_always_fits_and_a_stop_stays_on_it(reason: str) -> None:
    raw = page_bytes(full(reason, reason[:64]), MAX_VALUE)
    assert len(raw) <= MAX_VALUE
    page = read_page(raw, "a")
    assert page is not None
    assert page.ready == ROLES
    assert full(reason).freezes[-1].id in {freeze.id for freeze in page.freezes}


def test_of_a_page_that_fits_nothing_is_cut() -> None:
    page = Page("a", 1.0, freezes=(Freeze("f", 1.0, "chat", "stop"),), marks={"w": Mark(1, 1.0)})
    assert read_page(page_bytes(page, MAX_VALUE), "a") == page


def test_what_a_page_says_is_bounded_where_it_is_read() -> None:
    long = Freeze("a b", 1.0, "x" * 9_000, "y" * 9_000)
    raw = msgspec.json.encode(Page("a", 1.0, ("cooking", "forge"), (long, long)))
    page = read_page(raw, "a")
    assert page is not None
    assert page.ready == ("forge",)
    assert [is_sound(freeze) for freeze in page.freezes] == [True]
    assert read_page(raw, "b") is None
