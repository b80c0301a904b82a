"""Reads all comments of a repository page by page, however large they are."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from allegro.core.base.errors import EdgeError
from allegro.core.forge.issues import Repository
from allegro.core.ports import CommentPage, ForgeReader
from allegro.lane.forge.collect import narrowed_for, smaller

MAX_PAGES = 4_000
MAX_EMPTY = 20

TakeComments = Callable[[CommentPage], Awaitable[None]]


async def read_talk(
    reader: ForgeReader,
    repo: Repository,
    since_s: int,
    page_size: int,
    take: TakeComments,
    *,
    patient: bool,
) -> tuple[int, set[int]]:
    """Read the comments changed since a second once; give each page to `take`.

    Pages that are too large are read in smaller ones, down to one comment, which the page then
    names as unread. Returns what the forge counted at most (-1: it does not count) and the ids
    that were seen. Raises EdgeError, also for a list of more than `MAX_PAGES` pages.
    """
    total, seen, at, limit, empty = -1, set[int](), 0, page_size, 0
    for _ in range(MAX_PAGES):
        asked = 0 if limit == page_size else limit
        try:
            page = await reader.repository_comments(repo, since_s, at // limit + 1, asked)
        except EdgeError as error:
            if error.kind not in narrowed_for(patient) or limit == 1:
                raise
            limit = smaller(limit)
            continue
        total = max(total, page.total)
        await take(page)
        fresh = {comment.id for _, comment in page.comments}
        fresh |= {one.id or -at - 1 for one in page.unread}
        if fresh <= seen and (page.count or not page.more):
            return total, seen
        seen |= fresh
        empty = 0 if page.count else empty + 1
        if empty > MAX_EMPTY:
            break
        if len(seen) == total:
            return total, seen
        at += limit
        if at % page_size == 0:
            limit = page_size
    raise EdgeError(
        f"{repo.name}: the list of comments has no end", transient=True, kind="too_much"
    )
