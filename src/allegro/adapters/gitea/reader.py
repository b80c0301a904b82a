"""The ForgeReader port: reads only, everything keyed by repository id."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Awaitable, Callable
from typing import TypeVar

from allegro.adapters.gitea import wire
from allegro.adapters.gitea.differences import flavour_of, tells_own_token
from allegro.adapters.gitea.http import GiteaHttp, decode, quote
from allegro.core.errors import EdgeError
from allegro.core.issues import (
    Branch,
    Comment,
    Issue,
    PullRequest,
    Repository,
    TimelineEntry,
    TreeEntry,
)
from allegro.core.marks import Window
from allegro.core.ports import CommentPage, Commit, Identity, IssuePage, Server

MAX_PAGES = 200
PULL_PAGES = 3

T = TypeVar("T")


class GiteaReader:
    """Reads a Gitea or Forgejo. A renamed repository is followed by its id."""

    def __init__(self, http: GiteaHttp) -> None:
        self._http = http
        self._names: dict[int, str] = {}
        self._server: Server | None = None

    async def server(self) -> Server:
        """Return what the forge says of itself; asked once."""
        if self._server is None:
            version = (await self._http.get("/version", dict[str, str])).get("version", "")
            settings = await self._http.get("/settings/api", dict[str, int])
            page = settings.get("max_response_items", 50)
            self._server = Server(flavour_of(version), version, max(1, min(50, page)))
        return self._server

    async def date_s(self) -> int:
        return (await self._http.call("GET", "/version")).date_s

    async def whoami(self, token: str | None = None) -> Identity:
        answer = await self._http.call("GET", "/user", token=token)
        user = decode(answer, wire.User, "/user")
        return Identity(user.id, user.login, user.is_admin, await self._scopes(token))

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
        return None if found is None else self._keep(found)

    async def organisation_repositories(self, organisation: str) -> tuple[Repository, ...]:
        path = f"/orgs/{quote(organisation)}/repos"
        found = await self._all(path, wire.WireRepository)
        return tuple(self._keep(repo) for repo in found)

    async def repository_issues(self, repo: Repository, window: Window, page: int) -> IssuePage:
        """Return one page. Raises EdgeError when the name leads to another repository."""
        return await self._repo(
            repo, lambda base: self._issue_page(f"{base}/issues", window, page, repo, {})
        )

    async def organisation_issues(self, org: str, window: Window, page: int) -> IssuePage:
        return await self._issue_page("/repos/issues/search", window, page, None, {"owner": org})

    async def repository_comments(self, repo: Repository, since_s: int, page: int) -> CommentPage:
        size = (await self.server()).page_size

        async def read(base: str) -> CommentPage:
            path = f"{base}/issues/comments"
            answer = await self._http.call(
                "GET", path, params={"since": wire.utc(since_s), "page": page, "limit": size}
            )
            found = decode(answer, wire.nullable(wire.WireComment), path) or []
            pairs = tuple((wire.comment_number(c), wire.comment(c)) for c in found)
            return CommentPage(pairs, answer.total)

        return await self._repo(repo, read)

    async def issue(self, repo: Repository, number: int) -> Issue | None:
        async def read(base: str) -> Issue:
            found = await self._http.get(f"{base}/issues/{number}", wire.WireIssue)
            if found.repository is not None:
                _belongs(found.repository.id, repo)
            return wire.issue(found, self._current(repo))

        return await self._found(repo, read)

    async def comments(self, repo: Repository, number: int) -> tuple[Comment, ...] | None:
        found = await self._find(
            repo, f"/issues/{number}/comments", wire.nullable(wire.WireComment)
        )
        return None if found is None else tuple(wire.comment(c) for c in found)

    async def timeline(self, repo: Repository, number: int) -> tuple[TimelineEntry, ...]:
        """Return an issue's whole history. An empty page comes as JSON null."""

        async def read(base: str) -> tuple[TimelineEntry, ...]:
            path, size = f"{base}/issues/{number}/timeline", (await self.server()).page_size
            entries: dict[int, TimelineEntry] = {}
            for page in range(1, MAX_PAGES + 1):
                found = await self._http.get(
                    path,
                    wire.nullable(wire.WireTimeline),
                    page=page,
                    limit=size,
                )
                fresh = {e.id: wire.timeline(e) for e in found or () if e.id not in entries}
                if not fresh:
                    break
                entries |= fresh
            return tuple(entries.values())

        return await self._repo(repo, read)

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
                found = await self._http.get(
                    f"{base}/git/trees/{quote(tree)}", wire.WireTree, page=page, per_page=1000
                )
                fresh = {e.path: wire.tree_entry(e) for e in found.tree or ()}
                done = not (fresh.keys() - entries.keys())
                entries |= fresh
                if done or not found.truncated:
                    return entries
            raise EdgeError("the directory is too large to read", transient=False)

        return await self._repo(repo, read)

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
        """Return the pull requests from `head` to `base`, open or not, by number."""

        async def read(path: str) -> tuple[PullRequest, ...]:
            found: dict[int, PullRequest] = {}
            one = await self._http.find(f"{path}/pulls/{quote(base)}/{quote(head)}", wire.WirePull)
            if one is not None:
                found[one.number] = wire.pull(one)
            size = (await self.server()).page_size
            for page in range(1, PULL_PAGES + 1):
                listed = await self._http.get(
                    f"{path}/pulls",
                    wire.nullable(wire.WirePull),
                    state="all",
                    sort="recentupdate",
                    page=page,
                    limit=size,
                )
                pulls = [wire.pull(p) for p in listed or ()]
                found |= {p.number: p for p in pulls if (p.base, p.head) == (base, head)}
                if len(pulls) < size:
                    break
            return tuple(found[number] for number in sorted(found))

        return await self._repo(repo, read)

    async def is_in_history(self, repo: Repository, commit: str, branch: str) -> bool | None:
        """Say whether a commit is an ancestor of a branch's tip; None when it cannot be told."""
        tip = await self.branch(repo, branch)
        if tip is None:
            return None
        if tip.commit == commit:
            return True
        path = f"/compare/{quote(tip.commit)}...{quote(commit)}"
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

    def _keep(self, found: wire.WireRepository) -> Repository:
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

    async def _all(self, path: str, type_: type[T]) -> list[T]:
        size = (await self.server()).page_size
        found: list[T] = []
        for page in range(1, MAX_PAGES + 1):
            listed = await self._http.get(path, wire.nullable(type_), page=page, limit=size)
            found += listed or []
            if not listed or len(listed) < size:
                break
        return found

    async def _issue_page(
        self,
        path: str,
        window: Window,
        page: int,
        repo: Repository | None,
        extra: dict[str, str],
    ) -> IssuePage:
        size = (await self.server()).page_size
        params: dict[str, str | int] = {
            "state": "all",
            "since": wire.utc(window.since_s),
            "page": page,
            "limit": size,
            **extra,
        }
        if window.until_s is not None:
            params["before"] = wire.utc(window.until_s)
        answer = await self._http.call("GET", path, params=params)
        found = decode(answer, wire.nullable(wire.WireIssue), path) or []
        issues = tuple(
            wire.issue(one, owner) for one in found if (owner := self._owner(one, repo)) is not None
        )
        return IssuePage(issues, answer.total, answer.date_s)

    def _owner(self, one: wire.WireIssue, repo: Repository | None) -> Repository | None:
        """Return whose issue this is; None where the forge does not tell."""
        told = one.repository
        if repo is not None:
            if told is not None:
                _belongs(told.id, repo)
            return self._current(repo)
        if told is None:
            return None
        if told.full_name:
            self._names.setdefault(told.id, told.full_name)
        return Repository(told.id, told.full_name)

    async def _scopes(self, token: str | None) -> tuple[str, ...] | None:
        if not tells_own_token((await self.server()).version):
            return None
        try:
            answer = await self._http.call("GET", "/token", token=token)
        except EdgeError as error:
            if error.kind in {"not_found", "forbidden", "not_allowed"}:
                return None
            raise
        told = decode(answer, dict[str, object], "/token").get("scopes")
        return tuple(str(scope) for scope in told) if isinstance(told, list) else None


def _belongs(told_id: int, repo: Repository) -> None:
    """Raise EdgeError where an answer is of another repository, which took the name of this one."""
    if told_id != repo.id:
        raise EdgeError(
            f"{repo.name} is the name of another repository now", transient=True, kind="redirected"
        )
