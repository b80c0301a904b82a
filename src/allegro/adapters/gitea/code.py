"""Branches, pushes, commits, trees and blobs of a repository."""

from __future__ import annotations

import base64
import binascii

from allegro.adapters.gitea import values, wire
from allegro.adapters.gitea.http import decode, quote
from allegro.adapters.gitea.listing import MAX_PAGES, every, items
from allegro.adapters.gitea.repositories import Repositories
from allegro.core.base.errors import EdgeError
from allegro.core.forge.issues import (
    Branch,
    Repository,
    TreeEntry,
)
from allegro.core.ports import (
    Commit,
    PushPage,
)


class CodeReads(Repositories):
    """What git holds, as the forge shows it."""

    async def branches(self, repo: Repository) -> tuple[Branch, ...]:
        """Return all branches. Raises EdgeError for more than the pages of a list."""
        size = (await self.server()).page_size

        async def read(base: str) -> tuple[Branch, ...]:
            path = f"{base}/branches"
            found = await every(
                self._http, path, wire.WireBranch, size, key=lambda branch: branch.name
            )
            return tuple(values.branch(one) for one in found)

        return await self._repo(repo, read)

    async def pushes(self, repo: Repository, page: int) -> PushPage:
        """Return the pushes on one page of all activities; none where there is no such list for us."""
        size = (await self.server()).page_size

        async def read(base: str) -> PushPage:
            path = f"{base}/activities/feeds"
            answer = await self._http.call("GET", path, params={"page": page, "limit": size})
            found, odd = items(answer, wire.WireActivity, path)
            pushes = tuple(values.push(one) for one in found if one.op_type == "commit_repo")
            times = [at_s for one in found if (at_s := values.seconds(one.created)) > 0]
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
            return values.branch(decode(answer, wire.WireBranch, path))

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
            return values.commit(found)

        return await self._found(repo, read)

    async def tree(self, repo: Repository, tree: str) -> dict[str, TreeEntry]:
        """Return one directory, not its subdirectories, by name."""

        async def read(base: str) -> dict[str, TreeEntry]:
            entries: dict[str, TreeEntry] = {}
            for page in range(1, MAX_PAGES + 1):
                found = await self._tree_page(base, tree, page)
                fresh = {e.path: values.tree_entry(e) for e in found.tree or ()}
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
            return {e.path: values.tree_entry(e) for e in found.tree or ()}

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
