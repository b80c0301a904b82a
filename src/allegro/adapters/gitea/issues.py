"""Issues, their comments and their history, as a forge lists them."""

from __future__ import annotations

import msgspec

from allegro.adapters.gitea import values, wire
from allegro.adapters.gitea.listing import MAX_PAGES, items, single
from allegro.adapters.gitea.repositories import Repositories, belongs
from allegro.core.base.errors import EdgeError
from allegro.core.forge.issues import (
    Comment,
    Issue,
    Repository,
    TimelineEntry,
)
from allegro.core.forge.marks import Window
from allegro.core.ports import (
    CommentPage,
    IssuePage,
    Unread,
)


class IssueReads(Repositories):
    """Issues and conversations."""

    async def repository_issues(
        self, repo: Repository, window: Window, page: int, limit: int = 0
    ) -> IssuePage:
        """Return one page. Raises EdgeError when the name leads to another repository."""
        return await self._repo(
            repo, lambda base: self._issue_page(f"{base}/issues", window, (page, limit), repo, {})
        )

    async def organisation_issues(
        self, org: str, window: Window, page: int, limit: int = 0
    ) -> IssuePage:
        path = "/repos/issues/search"
        return await self._issue_page(path, window, (page, limit), None, {"owner": org})

    async def repository_comments(
        self, repo: Repository, since_s: int, page: int, limit: int = 0
    ) -> CommentPage:
        size = limit or (await self.server()).page_size
        asked: dict[str, str | int] = {"since": values.utc(since_s), "page": page, "limit": size}
        return await self._repo(
            repo, lambda base: self._comment_page(f"{base}/issues/comments", asked, repo, 0)
        )

    async def issue(self, repo: Repository, number: int) -> Issue | None:
        async def read(base: str) -> Issue:
            found = await self._http.get(f"{base}/issues/{number}", wire.WireIssue)
            if found.repository is not None:
                belongs(found.repository.id, repo)
            return values.issue(found, self._current(repo))

        return await self._found(repo, read)

    async def conversation(self, repo: Repository, number: int) -> CommentPage | None:
        """Return the comments of one issue that can be read, None when the issue is not there."""

        async def read(base: str) -> CommentPage:
            path = f"{base}/issues/{number}/comments"
            first = await self._comment_page(path, {}, repo, number)
            if not first.more and first.total <= first.count:
                return first  # these forges give all at once
            return await self._conversation_on(path, first, repo, number)

        return await self._found(repo, read)

    async def _conversation_on(
        self, path: str, first: CommentPage, repo: Repository, number: int
    ) -> CommentPage:
        """Read on where the forge counts or links more than it gave; what is new is added."""
        found = {comment.id: (issue, comment) for issue, comment in first.comments}
        odd, size = set(first.unread), (await self.server()).page_size
        for page in range(1, MAX_PAGES + 1):
            asked: dict[str, str | int] = {"page": page, "limit": size}
            more = await self._comment_page(path, asked, repo, number)
            fresh = {c.id: (issue, c) for issue, c in more.comments if c.id not in found}
            if page > 1 and not fresh and set(more.unread) <= odd:
                return CommentPage(tuple(found.values()), len(found), tuple(odd))
            found |= fresh
            odd |= set(more.unread)
        raise EdgeError(
            f"{repo.name}#{number}: more than {MAX_PAGES} pages of comments",
            transient=False,
            kind="too_much",
        )

    async def comments(self, repo: Repository, number: int) -> tuple[Comment, ...] | None:
        """Return all comments of one issue. Raises EdgeError when one cannot be read."""
        found = await self.conversation(repo, number)
        if found is None:
            return None
        if found.unread:
            raise EdgeError(
                f"{repo.name}#{number}: comment {found.unread[0].id or ''} cannot be read: "
                f"{found.unread[0].reason}",
                transient=True,
                kind="garbage",
            )
        return tuple(comment for _, comment in found.comments)

    async def timeline(
        self, repo: Repository, number: int, since_s: int = 0
    ) -> tuple[TimelineEntry, ...]:
        """Return an issue's history from a second on. An empty page comes as JSON null."""
        since: dict[str, str | int] = {"since": values.utc(since_s)} if since_s > 0 else {}

        async def read(base: str) -> tuple[TimelineEntry, ...]:
            path, size = f"{base}/issues/{number}/timeline", (await self.server()).page_size
            entries: dict[int, TimelineEntry] = {}
            odd: set[Unread] = set()
            for page in range(1, MAX_PAGES + 1):
                asked = {"page": page, "limit": size, **since}
                answer = await self._http.call("GET", path, params=asked)
                found, unread = items(answer, wire.WireTimeline, path)
                fresh = {e.id: values.timeline(e) for e in found if e.id not in entries}
                if not fresh and set(unread) <= odd:  # this list is filtered after it is paged
                    return tuple(entries.values())
                entries |= fresh
                odd |= set(unread)
            raise EdgeError(
                f"{repo.name}#{number}: its history has more than {MAX_PAGES} pages",
                transient=False,
                kind="too_much",
            )

        return await self._repo(repo, read)

    async def _issue_page(
        self,
        path: str,
        window: Window,
        place: tuple[int, int],
        repo: Repository | None,
        extra: dict[str, str],
    ) -> IssuePage:
        """Read one page; `place` is its number and limit (0 for the forge's own)."""
        page, limit = place
        params: dict[str, str | int] = {
            "state": "all",
            "since": values.utc(window.since_s),
            "page": page,
            "limit": limit or (await self.server()).page_size,
            **extra,
        }
        if window.until_s is not None:
            params["before"] = values.utc(window.until_s)
        try:
            answer = await self._http.call("GET", path, params=params)
            found, odd = items(answer, wire.WireIssue, path)
        except EdgeError as error:
            alone = single(error) if limit == 1 else None
            if alone is None:
                raise
            return IssuePage((), -1, 0, (_of(alone, repo),))
        issues: list[Issue] = []
        unread = [_of(one, repo) for one in odd]
        for one in found:
            owner = self._owner(one, repo)
            if owner is None:
                unread.append(Unread(0, one.number, one.id, "the forge does not say whose it is"))
            else:
                issues.append(values.issue(one, owner))
        return IssuePage(tuple(issues), answer.total, answer.date_s, tuple(unread), answer.more)

    async def _comment_page(
        self, path: str, asked: dict[str, str | int], repo: Repository, number: int
    ) -> CommentPage:
        """Read comments, of one issue where `number` is not 0."""
        try:
            answer = await self._http.call("GET", path, params=asked)
            found, odd = items(answer, wire.WireComment, path)
        except EdgeError as error:
            alone = single(error) if asked.get("limit") == 1 else None
            if alone is None:
                raise
            return CommentPage((), -1, (_of(alone, repo),))
        unread = [_of(one, repo, number) for one in odd]
        pairs: list[tuple[int, Comment]] = []
        for one in found:
            of_issue = number or values.comment_number(one)
            if of_issue:
                pairs.append((of_issue, values.comment(one)))
            else:
                unread.append(Unread(repo.id, 0, one.id, "the forge does not say of which issue"))
        return CommentPage(tuple(pairs), answer.total, tuple(unread), answer.more)

    def _owner(self, one: wire.WireIssue, repo: Repository | None) -> Repository | None:
        """Return whose issue this is; None where the forge does not tell."""
        repository = one.repository
        if repo is not None:
            if repository is not None:
                belongs(repository.id, repo)
            return self._current(repo)
        if repository is None:
            return None
        if "/" in repository.full_name:
            self._names[repository.id] = repository.full_name
        return Repository(repository.id, repository.full_name)


def _of(unread: Unread, repo: Repository | None, number: int = 0) -> Unread:
    """Say whose this is, where the place it was found in tells."""
    return msgspec.structs.replace(
        unread,
        repository=repo.id if repo else unread.repository,
        number=number or unread.number,
    )
