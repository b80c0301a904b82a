"""Where polling stands: a high-water mark that late writers and lying clocks cannot push too far.

An item's `updated` second is taken when the forge writes the row, but the row shows only at
commit: a mark at the newest second seen loses what commits later. So the mark is the forge's own
`Date` at the start of a complete cycle, less an overlap, and never ahead of our own elapsed time.
"""

from __future__ import annotations

import msgspec

MAX_OFF_S = 86_400.0
WOBBLE_S = 60


class Mark(msgspec.Struct, frozen=True):
    """Everything the forge wrote before `forge_s` (its Unix seconds) has been taken.

    `wall_s` is our wall clock when it was set: it bounds how far the next mark may move.
    """

    forge_s: int
    wall_s: float


class Window(msgspec.Struct, frozen=True):
    """A stretch of the forge's time, both ends inclusive whole seconds; `until_s` None is open."""

    since_s: int
    until_s: int | None


def first_mark(forge_date_s: int, now_s: float) -> Mark:
    """Return the mark of a watch that begins now."""
    return Mark(forge_date_s, now_s)


def next_mark(mark: Mark, forge_date_s: int, now_s: float) -> Mark:
    """Return the mark after a complete cycle whose first answer carried this `Date`.

    It moves no further than our own clock did, so a forge that lies about its clock cannot push
    it ahead, however often it tries. It goes back with a clock that went back, and forward again
    with it: what is read again is known by its content. A `Date` more than a day off is no clock, and moves nothing.
    """
    if abs(forge_date_s - now_s) > MAX_OFF_S:
        return mark
    elapsed_s = int(max(0.0, now_s - mark.wall_s))
    if forge_date_s > mark.forge_s + elapsed_s:
        # keep the fraction of a second: the pair of clocks stays as it was
        return Mark(mark.forge_s + elapsed_s, mark.wall_s + elapsed_s)
    if forge_date_s < mark.forge_s + elapsed_s - WOBBLE_S:
        # far behind: perhaps one wrong answer, so what was known of the two clocks is kept
        return Mark(forge_date_s, mark.wall_s + (forge_date_s - mark.forge_s))
    return Mark(forge_date_s, now_s)


def window(mark: Mark, *, overlap_s: int) -> Window:
    return Window(max(0, mark.forge_s - overlap_s), None)


def halves(slice_: Window, *, now_s: int) -> tuple[Window, Window] | None:
    """Split a window that holds more than one page; None when it is a single second.

    An open window is cut at its middle and the later half stays open.
    """
    until_s = slice_.until_s if slice_.until_s is not None else now_s
    if until_s <= slice_.since_s:
        return None
    middle_s = slice_.since_s + (until_s - slice_.since_s) // 2
    return Window(slice_.since_s, middle_s), Window(middle_s + 1, slice_.until_s)
