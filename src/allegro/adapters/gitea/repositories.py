"""Repositories by their id: under which name one is reached now, and reading below it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from allegro.adapters.gitea import values, wire
from allegro.adapters.gitea.differences import flavour_of
from allegro.adapters.gitea.http import GiteaHttp, decode, quote
from allegro.adapters.gitea.listing import every
from allegro.core.base.errors import EdgeError
from allegro.core.base.untrusted import number_of
from allegro.core.forge.issues import (
    Repository,
)
from allegro.core.ports import (
    Server,
)

FRESH_S = 2.0
"""How long a name that the forge gave for an id is used without asking for it again."""
PAGE = 50

T = TypeVar("T")


class Repositories:
    """What all parts of the reader stand on. A renamed repository is followed by its id."""

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

    def name_of(self, repo_id: int, otherwise: str) -> str:
        """Return the newest name known of a repository."""
        return self._names.get(repo_id, otherwise)

    def is_fresh(self, repo_id: int) -> bool:
        """Say whether the forge gave this id's name within the last FRESH_S seconds."""
        now_s = asyncio.get_running_loop().time()
        return now_s - self._named_s.get(repo_id, float("-inf")) < FRESH_S

    def path_of(self, repo: Repository) -> str:
        owner, _, short = self.name_of(repo.id, repo.name).partition("/")
        return f"/repos/{quote(owner)}/{quote(short)}"

    def _keep(self, found: wire.WireRepository) -> Repository:
        owner, _, short = found.full_name.partition("/")
        if not owner or not short:
            raise EdgeError("a repository came without a name", transient=True, kind="garbage")
        self._names[found.id] = found.full_name
        return values.repository(found)

    def _current(self, repo: Repository) -> Repository:
        name = self.name_of(repo.id, repo.name)
        return (
            repo
            if name == repo.name
            else Repository(repo.id, name, repo.default_branch, repo.private, repo.archived)
        )

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


def belongs(answered_id: int, repo: Repository) -> None:
    """Raise EdgeError where an answer is of another repository, which took the name of this one."""
    if answered_id != repo.id:
        raise EdgeError(
            f"{repo.name} is the name of another repository now", transient=True, kind="redirected"
        )
