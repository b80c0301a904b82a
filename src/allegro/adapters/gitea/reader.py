"""The ForgeReader port: reads only, everything keyed by repository id."""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Awaitable, Callable
from typing import TypeVar

import msgspec

from allegro.adapters.gitea import wire
from allegro.adapters.gitea.differences import finds_pull_by_branches, flavour_of, tells_own_token
from allegro.adapters.gitea.http import GiteaHttp, decode, quote
from allegro.adapters.gitea.listing import MAX_PAGES, every, is_last, items, single
from allegro.core.base.errors import EdgeError
from allegro.core.base.untrusted import names_of, number_of
from allegro.core.forge.issues import (
    Branch,
    Comment,
    Issue,
    PullRequest,
    Repository,
    TimelineEntry,
    TreeEntry,
)
from allegro.core.forge.marks import Window
from allegro.core.forge.token_audit import Identity
from allegro.core.ports import (
    CommentPage,
    Commit,
    IssuePage,
    PushPage,
    Server,
    Unread,
)

COPIES_S = 3_600
"""Two copies of one effect are made while two orders race, which takes about a minute."""
FRESH_S = 2.0
"""How long a name that the forge gave for an id is used without asking for it again."""
PAGE = 50

T = TypeVar("T")


class GiteaReader:
    """Reads a Gitea or Forgejo. A renamed repository is followed by its id."""

    def __init__(self, http: GiteaHttp) -> None:
        self._http = http
        self._names: dict[int, str] = {}
        self._named_s: dict[int, float] = {}
        self._server: Server | None = None

    async def server(self) -> Server:
        """Return what the forge says of itself; asked once."""
        return await self._learn_server(None)

    async def _learn_server(self, token: str | None) -> Server:
        if self._server is None:
            answer = await self._http.call("GET", "/version", token=token)
            server = decode(answer, wire.WireVersion, "/version")
            answer = await self._http.call("GET", "/settings/api", token=token)
            settings = decode(answer, wire.WireSettings, "/settings/api")
            size = min(PAGE, number_of(settings.max_response_items) or PAGE)
            version = self._http.clean(server.version)
            self._server = Server(flavour_of(version), version, size)
        return self._server

    async def stores_lfs(self) -> bool:
        """Say whether the forge may keep files by LFS: it does, unless it says that it does not."""
        try:
            settings = await self._http.get("/settings/repository", wire.WireSettings)
        except EdgeError as error:
            if error.transient:
                raise
            return True
        return settings.lfs_disabled is not True

    async def date_s(self) -> int:
        return (await self._http.call("GET", "/version")).date_s

    async def whoami(self, token: str | None = None, *, scopes: bool = True) -> Identity:
        answer = await self._http.call("GET", "/user", token=token)
        user = decode(answer, wire.User, "/user")
        login = self._http.clean(user.login)
        held = await self._scopes(token) if scopes else None
        return Identity(user.id, login, user.is_admin, held)

    async def user_id(self, login: str) -> int | None:
        user = await self._http.find(f"/users/{quote(login)}", wire.User)
        return None if user is None else user.id

    async def repository(self, name: str) -> Repository | None:
        """Return a repository by a name, also by one it had before it was renamed."""
        owner, _, short = name.partition("/")
        path = f"/repos/{quote(owner)}/{quote(short)}"
        try:
            answer = await self._http.call("GET", path, follow=True)
        except EdgeError as error:
            if error.kind == "not_found":
                return None
            raise
        return self._keep(decode(answer, wire.WireRepository, path))

    async def repository_by_id(self, repository_id: int) -> Repository | None:
        found = await self._http.find(f"/repositories/{repository_id}", wire.WireRepository)
        if found is None:
            return None
        self._named_s[found.id] = asyncio.get_running_loop().time()
        return self._keep(found)

    async def organisation_repositories(self, organisation: str) -> tuple[Repository, ...]:
        path, size = f"/orgs/{quote(organisation)}/repos", (await self.server()).page_size
        found = await every(self._http, path, wire.WireRepository, size, key=lambda repo: repo.id)
        return tuple(self._keep(repo) for repo in found)

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
        asked: dict[str, str | int] = {"since": wire.utc(since_s), "page": page, "limit": size}
        return await self._repo(
            repo, lambda base: self._comment_page(f"{base}/issues/comments", asked, repo, 0)
        )

    async def issue(self, repo: Repository, number: int) -> Issue | None:
        async def read(base: str) -> Issue:
            found = await self._http.get(f"{base}/issues/{number}", wire.WireIssue)
            if found.repository is not None:
                _belongs(found.repository.id, repo)
            return wire.issue(found, self._current(repo))

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
        since: dict[str, str | int] = {"since": wire.utc(since_s)} if since_s > 0 else {}

        async def read(base: str) -> tuple[TimelineEntry, ...]:
            path, size = f"{base}/issues/{number}/timeline", (await self.server()).page_size
            entries: dict[int, TimelineEntry] = {}
            odd: set[Unread] = set()
            for page in range(1, MAX_PAGES + 1):
                asked = {"page": page, "limit": size, **since}
                answer = await self._http.call("GET", path, params=asked)
                found, unread = items(answer, wire.WireTimeline, path)
                fresh = {e.id: wire.timeline(e) for e in found if e.id not in entries}
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

    async def branches(self, repo: Repository) -> tuple[Branch, ...]:
        """Return all branches. Raises EdgeError for more than the pages of a list."""
        size = (await self.server()).page_size

        async def read(base: str) -> tuple[Branch, ...]:
            path = f"{base}/branches"
            found = await every(
                self._http, path, wire.WireBranch, size, key=lambda branch: branch.name
            )
            return tuple(wire.branch(one) for one in found)

        return await self._repo(repo, read)

    async def pushes(self, repo: Repository, page: int) -> PushPage:
        """Return the pushes on one page of all activities; none where there is no such list for us."""
        size = (await self.server()).page_size

        async def read(base: str) -> PushPage:
            path = f"{base}/activities/feeds"
            answer = await self._http.call("GET", path, params={"page": page, "limit": size})
            found, odd = items(answer, wire.WireActivity, path)
            pushes = tuple(wire.push(one) for one in found if one.op_type == "commit_repo")
            times = [at_s for one in found if (at_s := wire.seconds(one.created)) > 0]
            ends = answer.more is False or not (found or odd)
            return PushPage(pushes, min(times, default=0), len(odd), more=not ends)

        try:
            return await self._repo(repo, read)
        except EdgeError as error:
            if error.kind in {"not_found", "forbidden", "not_allowed"}:
                return PushPage((), 0, 0, more=False)
            raise

    async def branch(self, repo: Repository, name: str, token: str | None = None) -> Branch | None:
        async def read(base: str) -> Branch:
            path = f"{base}/branches/{quote(name)}"
            answer = await self._http.call("GET", path, token=token)
            return wire.branch(decode(answer, wire.WireBranch, path))

        return await self._found(repo, read)

    async def commit(self, repo: Repository, commit: str) -> Commit | None:
        async def read(base: str) -> Commit:
            found = await self._http.get(
                f"{base}/git/commits/{quote(commit)}",
                wire.WireCommit,
                stat="false",
                verification="false",
                files="false",
            )
            return wire.commit(found)

        return await self._found(repo, read)

    async def tree(self, repo: Repository, tree: str) -> dict[str, TreeEntry]:
        """Return one directory, not its subdirectories, by name."""

        async def read(base: str) -> dict[str, TreeEntry]:
            entries: dict[str, TreeEntry] = {}
            for page in range(1, MAX_PAGES + 1):
                found = await self._tree_page(base, tree, page)
                fresh = {e.path: wire.tree_entry(e) for e in found.tree or ()}
                done = not (fresh.keys() - entries.keys())
                entries |= fresh
                if done or not found.truncated:
                    return entries
            raise EdgeError("the directory is too large to read", transient=False)

        return await self._repo(repo, read)

    async def whole_tree(self, repo: Repository, tree: str) -> dict[str, TreeEntry] | None:
        """Return everything below a tree by path; None where it is more than one page."""

        async def read(base: str) -> dict[str, TreeEntry] | None:
            found = await self._tree_page(base, tree, 1, recursive="true")
            if found.truncated:
                return None
            return {e.path: wire.tree_entry(e) for e in found.tree or ()}

        return await self._repo(repo, read)

    async def _tree_page(self, base: str, tree: str, page: int, **more: str) -> wire.WireTree:
        path = f"{base}/git/trees/{quote(tree)}"
        return await self._http.get(path, wire.WireTree, page=page, per_page=1000, **more)

    async def blob(self, repo: Repository, blob: str) -> bytes | None:
        try:
            found = await self._find(repo, f"/git/blobs/{quote(blob)}", wire.WireBlob)
        except EdgeError as error:
            if error.status == 400:  # how both forges say that there is no such object
                return None
            raise
        if found is None or found.content is None:
            return None
        try:
            return base64.b64decode(found.content)
        except binascii.Error as error:
            raise EdgeError("a blob came without base64", transient=True, kind="garbage") from error

    async def pull(self, repo: Repository, number: int) -> PullRequest | None:
        async def read(base: str) -> PullRequest:
            found = await self._http.get(f"{base}/pulls/{number}", wire.WirePull)
            if found.base is not None and found.base.repo_id:
                _belongs(found.base.repo_id, repo)
            return wire.pull(found)

        return await self._found(repo, read)

    async def pulls_between(
        self, repo: Repository, base: str, head: str
    ) -> tuple[PullRequest, ...]:
        """Return the pull requests from `head` to `base`, open or not, by number.

        Both are branches of this repository, which may be gone by now. Where the forge can be asked
        for one by its branches and has none, there is none; else the list is read, as far back as a
        copy can be.
        """

        async def read(path: str) -> tuple[PullRequest, ...]:
            one = None
            if finds_pull_by_branches((await self.server()).version) and "/" not in base:
                one = await self._http.find(
                    f"{path}/pulls/{quote(base)}/{quote(head)}", wire.WirePull
                )
                if one is None:
                    return ()
            since_s = 0 if one is None else wire.seconds(one.created_at) - COPIES_S
            listed = await self._pulls_since(path, since_s)
            found = {p.number: p for p in (listed if one is None else [one, *listed])}
            return tuple(
                wire.pull(found[number])
                for number in sorted(found)
                if wire.is_between(found[number], base, head)
            )

        return await self._repo(repo, read)

    async def _pulls_since(self, path: str, since_s: int) -> list[wire.WirePull]:
        """Read the list of pull requests, last touched first, back to this second (0: all)."""
        size = (await self.server()).page_size
        found: dict[int, wire.WirePull] = {}
        for page in range(1, MAX_PAGES + 1):
            answer = await self._http.call(
                "GET",
                f"{path}/pulls",
                params={"state": "all", "sort": "recentupdate", "page": page, "limit": size},
            )
            listed = decode(answer, wire.nullable(wire.WirePull), path) or []
            fresh = {pull.number: pull for pull in listed if pull.number not in found}
            found |= fresh
            if is_last(answer.more, answer.total, len(found), fresh=bool(fresh)):
                return list(found.values())
            if listed and wire.seconds(listed[-1].updated_at) < since_s:
                return list(found.values())
        raise EdgeError("too many pull requests to look through", transient=False)

    async def is_ancestor(self, repo: Repository, commit: str, of_commit: str) -> bool | None:
        """Say whether a commit is in another one's history; None when it cannot be told."""
        path = f"/compare/{quote(of_commit)}...{quote(commit)}"
        try:
            found = await self._find(repo, path, wire.WireCompare)
        except EdgeError as error:
            if error.transient and error.kind != "server":
                raise
            return None
        if found is None or found.total_commits < 0:
            return None
        return found.total_commits == 0

    def name_of(self, repo_id: int, otherwise: str) -> str:
        """Return the newest name known of a repository."""
        return self._names.get(repo_id, otherwise)

    def is_fresh(self, repo_id: int) -> bool:
        """Say whether the forge gave this id's name within the last FRESH_S seconds."""
        now_s = asyncio.get_running_loop().time()
        return now_s - self._named_s.get(repo_id, float("-inf")) < FRESH_S

    def _keep(self, found: wire.WireRepository) -> Repository:
        owner, _, short = found.full_name.partition("/")
        if not owner or not short:
            raise EdgeError("a repository came without a name", transient=True, kind="garbage")
        self._names[found.id] = found.full_name
        return wire.repository(found)

    def _current(self, repo: Repository) -> Repository:
        name = self.name_of(repo.id, repo.name)
        return (
            repo
            if name == repo.name
            else Repository(repo.id, name, repo.default_branch, repo.private, repo.archived)
        )

    def path_of(self, repo: Repository) -> str:
        owner, _, short = self.name_of(repo.id, repo.name).partition("/")
        return f"/repos/{quote(owner)}/{quote(short)}"

    async def _repo(self, repo: Repository, read: Callable[[str], Awaitable[T]]) -> T:
        """Read below a repository; when its name led nowhere, ask for it by id, once."""
        path = self.path_of(repo)
        try:
            return await read(path)
        except EdgeError as error:
            if error.kind not in {"redirected", "not_found"}:
                raise
            if error.kind == "not_found" and self.is_fresh(repo.id):
                raise
            found = await self.repository_by_id(repo.id)
            if found is None or self.path_of(repo) == path:
                raise
            return await read(self.path_of(repo))

    async def _found(self, repo: Repository, read: Callable[[str], Awaitable[T]]) -> T | None:
        try:
            return await self._repo(repo, read)
        except EdgeError as error:
            if error.kind == "not_found":
                return None
            raise

    async def _find(self, repo: Repository, suffix: str, type_: type[T]) -> T | None:
        return await self._found(repo, lambda base: self._http.get(base + suffix, type_))

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
            "since": wire.utc(window.since_s),
            "page": page,
            "limit": limit or (await self.server()).page_size,
            **extra,
        }
        if window.until_s is not None:
            params["before"] = wire.utc(window.until_s)
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
                issues.append(wire.issue(one, owner))
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
            of_issue = number or wire.comment_number(one)
            if of_issue:
                pairs.append((of_issue, wire.comment(one)))
            else:
                unread.append(Unread(repo.id, 0, one.id, "the forge does not say of which issue"))
        return CommentPage(tuple(pairs), answer.total, tuple(unread), answer.more)

    def _owner(self, one: wire.WireIssue, repo: Repository | None) -> Repository | None:
        """Return whose issue this is; None where the forge does not tell."""
        repository = one.repository
        if repo is not None:
            if repository is not None:
                _belongs(repository.id, repo)
            return self._current(repo)
        if repository is None:
            return None
        if "/" in repository.full_name:
            self._names[repository.id] = repository.full_name
        return Repository(repository.id, repository.full_name)

    async def _scopes(self, token: str | None) -> tuple[str, ...] | None:
        if not tells_own_token((await self._learn_server(token)).version):
            return None
        try:
            answer = await self._http.call("GET", "/token", token=token)
        except EdgeError as error:
            if error.kind in {"not_found", "forbidden", "not_allowed"}:
                return None
            raise
        scopes = decode(answer, wire.WireToken, "/token").scopes
        return names_of(scopes) if isinstance(scopes, list) else None


def _of(unread: Unread, repo: Repository | None, number: int = 0) -> Unread:
    """Say whose this is, where the place it was found in tells."""
    return msgspec.structs.replace(
        unread,
        repository=repo.id if repo else unread.repository,
        number=number or unread.number,
    )


def _belongs(answered_id: int, repo: Repository) -> None:
    """Raise EdgeError where an answer is of another repository, which took the name of this one."""
    if answered_id != repo.id:
        raise EdgeError(
            f"{repo.name} is the name of another repository now", transient=True, kind="redirected"
        )
