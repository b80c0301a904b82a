"""Reads everything a window of the forge's time holds, over data that moves while it is read."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec

from allegro.core.base.errors import EdgeError
from allegro.core.effects.render import cap
from allegro.core.forge.issues import Issue
from allegro.core.forge.marks import Window, halves
from allegro.core.ports import IssuePage, Unread
from allegro.lane.forge.snapshots import MAX_WORDS

MAX_PASSES = 10
FIRST_READS = 400
DEPTH = 64
MAX_PAGES = 200

ReadPage = Callable[[Window, int, int], Awaitable[IssuePage]]
"""Reads page n (from 1) of a window, of at most `limit` issues (0: as many as the forge gives)."""

TakePage = Callable[[IssuePage], Awaitable[None]]


class Collected(msgspec.Struct, frozen=True):
    """All issues of a window, newest version each. `date_s`: the forge's clock at the start."""

    issues: tuple[Issue, ...]
    date_s: int
    unread: tuple[Unread, ...] = ()


async def collect(
    read: ReadPage, window: Window, *, page_size: int, now_s: int = 0, patient: bool = False
) -> Collected:
    """Return every issue updated inside the window. Raises EdgeError; see `Walk`."""
    found: dict[int, Issue] = {}
    unread: dict[tuple[int, int, int], Unread] = {}

    async def take(page: IssuePage) -> None:
        for issue in page.issues:
            held = found.get(issue.id)
            if held is None or held.updated_s <= issue.updated_s:
                found[issue.id] = issue
        unread.update({(one.repository, one.number, one.id): one for one in page.unread})

    date_s = await Walk(read, take, page_size=page_size, now_s=now_s, patient=patient).over(window)
    issues = tuple(sorted(found.values(), key=_order))
    return Collected(issues, date_s, tuple(unread.values()))


class Walk:
    """Reads a window page by page and gives each page to `take`, in the order they are read.

    A window of more than one page is halved in time, so that no offset page runs over moving
    data; a single second with more than one page is read again until one pass saw as many issues
    as the forge counted at its start, or two passes saw the same. Where an answer is too large,
    windows and then pages are made smaller, down to one issue, which `read` names as unread.
    `now_s` is about the forge's time, used where no answer told it; `patient` as in
    `narrowed_for`. Texts are cut at `MAX_WORDS`, so that memory stays bounded.
    Raises EdgeError, also for a list without an end: one that needs more pages than halving
    can for what it holds.
    """

    def __init__(
        self, read: ReadPage, take: TakePage, *, page_size: int, now_s: int = 0, patient: bool
    ) -> None:
        self._read_page = read
        self._take = take
        self._page_size = page_size
        self._narrow = narrowed_for(patient)
        self._now_s = now_s
        self._reads = 0
        self._ids: set[int] = set()
        self._date_s = 0

    async def over(self, window: Window) -> int:
        """Read the window; return the forge's clock (Unix s) at the start, 0 when never told."""
        todo = [window]
        while todo:
            todo += reversed(await self._window(todo.pop()))
        return self._date_s

    async def _window(self, window: Window) -> tuple[Window, ...]:
        """Read one window; return the halves that are to be read instead of its other pages."""
        newest_s = self._now_s
        try:
            first = await self._read(window, 1, 0)
        except EdgeError as error:
            if error.kind not in self._narrow:
                raise
        else:
            await self._take(first)
            if self._is_whole(first) or not await self._goes_on(window, first):
                return ()
            listed_s = max((issue.updated_s for issue in first.issues), default=window.since_s)
            newest_s = max(listed_s, first.date_s)
        split = halves(window, now_s=newest_s)
        if split is None:
            await self._second(window)
        return split or ()

    def _is_whole(self, first: IssuePage) -> bool:
        """Whether a first page holds all. A count below what it holds is no count."""
        if first.more or (first.total < 0 and first.count >= self._page_size):
            return False
        return first.count == 0 or first.total < 0 or first.total == first.count

    async def _goes_on(self, window: Window, first: IssuePage) -> bool:
        """Whether more follows a page that is not said to be all.

        A short page with nothing new behind it is all, whatever the forge counts or links: a
        wrong count must not cost a question for each second.
        """
        if first.count >= self._page_size:
            return True
        second = await self._read(window, 2, 0)
        await self._take(second)
        old = {issue.id for issue in first.issues} | {one.id for one in first.unread}
        new = {issue.id for issue in second.issues} | {one.id for one in second.unread}
        return bool(new - old)

    async def _second(self, window: Window) -> None:
        """Read one second page by page until a pass saw as many issues as it began with.

        An issue that is touched meanwhile leaves the second, and what stood behind it moves up by
        one, past the page that is read next: only a pass of its own tells whether one was jumped
        over. A forge may also count what it does not show us: then two passes see the same.
        """
        before: set[tuple[int, int]] | None = None
        for _ in range(MAX_PASSES):
            total, seen = await self._pass(window)
            if len(seen) >= total or seen == before:
                return
            before = seen
        raise EdgeError("the forge's issues move faster than they can be read", transient=True)

    async def _pass(self, window: Window) -> tuple[int, set[tuple[int, int]]]:
        """Read all pages once; return what the first one counted, and what was seen."""
        total, seen, at, limit = 0, set[tuple[int, int]](), 0, self._page_size
        while True:
            asked = 0 if limit == self._page_size else limit
            try:
                answer = await self._read(window, at // limit + 1, asked)
            except EdgeError as error:
                if error.kind not in self._narrow or limit == 1:
                    raise
                limit = smaller(limit)
                continue
            total = max(total, answer.total)
            await self._take(answer)
            fresh = {(issue.id, 0) for issue in answer.issues} | {
                (one.id, one.number or -at - 1) for one in answer.unread
            }
            if fresh <= seen and (answer.count or not answer.more):
                return total, seen
            seen |= fresh
            at += limit
            if at % self._page_size == 0:
                limit = self._page_size
            if at >= MAX_PAGES * self._page_size:
                raise EdgeError("one second of issues has no end", transient=True, kind="too_much")

    async def _read(self, window: Window, page: int, limit: int) -> IssuePage:
        self._reads += 1
        if self._reads > FIRST_READS + DEPTH * len(self._ids) // self._page_size:
            raise EdgeError(
                f"the list of issues has no end: {self._reads} pages hold {len(self._ids)}",
                transient=True,
                kind="too_much",
            )
        answer = await self._read_page(window, page, limit)
        self._date_s = self._date_s or answer.date_s
        self._ids |= {issue.id for issue in answer.issues}
        self._ids |= {one.id or -one.number for one in answer.unread}
        if all(len(issue.body) <= MAX_WORDS for issue in answer.issues):
            return answer
        return msgspec.structs.replace(answer, issues=tuple(map(_cut, answer.issues)))


def _cut(issue: Issue) -> Issue:
    return msgspec.structs.replace(issue, body=cap(issue.body, MAX_WORDS))


def narrowed_for(patient: bool) -> frozenset[str]:
    """Return the errors after which less is asked for at once.

    An answer that is too large always. One whose JSON is spoilt, as one item may do for all others,
    only when it was so again and again (`patient`): a moment's nonsense is asked for again.
    """
    return frozenset({"too_large", "garbled"} if patient else {"too_large"})


def smaller(limit: int) -> int:
    """Return the next smaller page size, one that divides this one: pages begin where they did."""
    return max(n for n in range(1, max(1, limit // 4) + 1) if limit % n == 0)


def _order(issue: Issue) -> tuple[int, int]:
    return issue.updated_s, issue.id
