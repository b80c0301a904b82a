"""Pull requests, by number and by the branches they lead from and to."""

from __future__ import annotations

from allegro.adapters.gitea import values, wire
from allegro.adapters.gitea.differences import finds_pull_by_branches
from allegro.adapters.gitea.http import decode, quote
from allegro.adapters.gitea.listing import MAX_PAGES, is_last
from allegro.adapters.gitea.repositories import Repositories, belongs
from allegro.core.base.errors import EdgeError
from allegro.core.forge.issues import (
    PullRequest,
    Repository,
)

COPIES_S = 3_600
"""Two copies of one effect are made while two orders race, which takes about a minute."""


class PullReads(Repositories):
    """Pull requests."""

    async def pull(self, repo: Repository, number: int) -> PullRequest | None:
        async def read(base: str) -> PullRequest:
            found = await self._http.get(f"{base}/pulls/{number}", wire.WirePull)
            if found.base is not None and found.base.repo_id:
                belongs(found.base.repo_id, repo)
            return values.pull(found)

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
            since_s = 0 if one is None else values.seconds(one.created_at) - COPIES_S
            listed = await self._pulls_since(path, since_s)
            found = {p.number: p for p in (listed if one is None else [one, *listed])}
            return tuple(
                values.pull(found[number])
                for number in sorted(found)
                if values.is_between(found[number], base, head)
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
            if listed and values.seconds(listed[-1].updated_at) < since_s:
                return list(found.values())
        raise EdgeError("too many pull requests to look through", transient=False)
