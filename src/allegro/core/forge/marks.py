"""The poll mark: up to which moment of the forge's clock everything was read.

Invariant: every object that the forge had committed by `Mark.forge_s` was taken into the journal,
or its repository could not be read and is due for a comparison of the whole.
An object's `updated_at` is taken when the forge writes the row, but the row shows only when its
transaction commits, with a time that already lies behind the newest one seen. So the mark is never
made of the newest `updated_at`: it is the forge's own `Date` header of the first answer of a
complete cycle, and each poll reaches back by an overlap (10 s, and 5 min once a minute). The mark
moves no further than our own clock moved since it was set. Only where a forge sends no `Date` at
all, the poller goes by the newest change it saw and by the lane's own steady clock (the health fact
*forge's clock* warns of it).

Order: take the `Date` of the first answer, read every page of every window, commit the events, and
commit the new mark with them or after them. A cycle that was not completed moves nothing. A window
that holds more than a page is cut in halves of time (`halves`), never paged by offset: pages shift
while objects are deleted.

Must never happen: a mark ahead of the forge's clock, whatever a forge says and however often (it
could hide what is written behind it until the daily comparison); a mark moved by a `Date` more than
a day off our clock, which is no clock; a mark from another lane that is not finite, not in range or
not of a watch of ours. To go back is safe: what is read twice is recognised by its content.

Sources: docs/adr/0006-two-marks.md (simulated with late commits: 40 of 40 runs lost issues with the
obvious mark, 0 of 40 with this one), docs/adr/0012-a-poll-mark-never-outruns-our-clock.md,
docs/forge.md ("How polling loses nothing"). `Date`: RFC 9110 section 6.6.1, whole seconds. For
Gitea 1.21 and newer and Forgejo 7 and newer, whose `since` filters whole seconds of `updated_at`.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping

import msgspec

from allegro.core.base.untrusted import MAX_NUMBER

MAX_OFF_S = 86_400.0
MAX_WATCHES = 64
"""So many marks at most are taken from one lane, and put on one page."""

MAX_WATCH = 200
"""The length of a watch's name, in characters."""

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


def is_usable(watch: str, mark: Mark) -> bool:
    """Say whether a mark that another wrote down can be kept, counted with and passed on."""
    return (
        0 < len(watch) <= MAX_WATCH
        and 0 <= mark.forge_s < MAX_NUMBER
        and math.isfinite(mark.wall_s)
    )


def usable(marks: Mapping[str, Mark], watches: Collection[str]) -> dict[str, Mark]:
    """Return the usable marks of these watches: what is no watch of ours is nobody's business."""
    found = ((watch, marks[watch]) for watch in watches if watch in marks)
    return {watch: mark for watch, mark in found if is_usable(watch, mark)}


def of_watches(marks: Mapping[str, Mark], watches: Collection[str]) -> dict[str, Mark]:
    """Return the newest `MAX_WATCHES` usable marks of these watches."""
    found = sorted(usable(marks, watches).items(), key=lambda one: -one[1].forge_s)
    return dict(found[:MAX_WATCHES])


def clock_of(forge_date_s: int, now_s: float) -> int:
    """Return the forge's second; ours where it tells none, or one more than a day off."""
    return forge_date_s if abs(forge_date_s - now_s) <= MAX_OFF_S else int(now_s)


def is_clock(forge_date_s: int, now_s: float) -> bool:
    """Say whether what a forge told is its clock: no clock is a day off, and 0 is none told."""
    return forge_date_s > 0 and abs(forge_date_s - now_s) <= MAX_OFF_S


def first_mark(forge_date_s: int, now_s: float) -> Mark:
    """Return the mark of a watch that begins now."""
    return Mark(forge_date_s, now_s)


def next_mark(mark: Mark, forge_date_s: int, now_s: float) -> Mark:
    """Return the mark after a complete cycle whose first answer carried this `Date`.

    It moves no further than our own clock did, so a forge that lies about its clock cannot push
    it ahead, however often it tries. It goes back with a clock that went back, and forward again
    with it: what is read again is known by its content. A `Date` more than a day off is no clock
    and moves nothing. Both arguments are Unix seconds: the forge's and ours.
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
    """Return what the next poll reads: from `overlap_s` seconds before the mark, open at the end."""
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
