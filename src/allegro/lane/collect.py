"""Reads everything a window of the forge's time holds, over data that moves while it is read."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec

from allegro.core.errors import EdgeError
from allegro.core.issues import Issue
from allegro.core.marks import Window, halves
from allegro.core.ports import IssuePage

MAX_PASSES = 10

ReadPage = Callable[[Window, int], Awaitable[IssuePage]]


class Collected(msgspec.Struct, frozen=True):
    """All issues of a window, newest version each. `date_s`: the forge's clock at the start."""

    issues: tuple[Issue, ...]
    date_s: int


async def collect(read: ReadPage, window: Window, *, page_size: int) -> Collected:
    """Return every issue updated inside the window.

    A window of more than one page is halved in time, so that no offset page runs over moving
    data; a single second with more than one page is read again until one pass saw as many issues
    as the forge counted at its start. Raises EdgeError, also when that never comes.
    """
    found: dict[int, Issue] = {}
    first = await read(window, 1)
    await _into(found, read, window, first, page_size)
    return Collected(tuple(sorted(found.values(), key=_order)), first.date_s)


async def _into(
    found: dict[int, Issue], read: ReadPage, window: Window, first: IssuePage, page_size: int
) -> None:
    _add(found, first)
    unsure = first.total < 0 and len(first.issues) >= page_size
    if not unsure and first.total <= len(first.issues):
        return
    newest_s = max((issue.updated_s for issue in first.issues), default=window.since_s)
    split = halves(window, now_s=max(newest_s, first.date_s))
    if split is None:
        await _pages(found, read, window)
        return
    for half in split:
        await _into(found, read, half, await read(half, 1), page_size)


async def _pages(found: dict[int, Issue], read: ReadPage, window: Window) -> None:
    """Read one second page by page until a pass saw as many issues as it began with.

    An issue that is touched meanwhile leaves the second, and what stood behind it moves up by
    one, past the page that is read next: only a pass of its own tells whether one was jumped over.
    """
    for _ in range(MAX_PASSES):
        first = answer = await read(window, 1)
        seen: set[int] = set()
        page = 1
        while answer.issues:
            seen |= {issue.id for issue in answer.issues}
            _add(found, answer)
            page += 1
            answer = await read(window, page)
        if len(seen) >= first.total:
            return
    raise EdgeError("the forge's issues move faster than they can be read", transient=True)


def _add(found: dict[int, Issue], page: IssuePage) -> None:
    for issue in page.issues:
        held = found.get(issue.id)
        if held is None or held.updated_s <= issue.updated_s:
            found[issue.id] = issue


def _order(issue: Issue) -> tuple[int, int]:
    return issue.updated_s, issue.id
