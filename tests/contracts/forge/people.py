"""What persons do on a forge, by the owner's token and the same HTTP calls everywhere."""

from __future__ import annotations

import asyncio
import base64
import secrets
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import aiohttp

from allegro.core.forge.issues import Repository

from .forge_backends import Site

Json = dict[str, Any]
Files = Mapping[str, str | bytes | None]
MAIN = "main"


class People:
    """The owner of scratch repositories. Leaving deletes everything that was made."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._session = aiohttp.ClientSession()
        self._repositories: list[int] = []
        self._organisations: list[str] = []
        self._users: list[str] = []
        self.owner = ""
        self.owner_id = 0
        self.daily, self.change = "", ""
        self.bots: frozenset[int] = frozenset()

    async def __aenter__(self) -> Self:
        me = await self.call("GET", "/user")
        self.owner, self.owner_id = me["login"], me["id"]
        daily = await self.call("GET", "/user", token=self._site.daily)
        change = await self.call("GET", "/user", token=self._site.change)
        self.daily, self.change = daily["login"], change["login"]
        self.bots = frozenset({daily["id"], change["id"]})
        return self

    async def __aexit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        try:
            for repository_id in self._repositories:
                await self._remove(repository_id)
            for organisation in self._organisations:
                await self.call("DELETE", f"/orgs/{organisation}")
            for login in self._users:
                await self.call("DELETE", f"/admin/users/{login}", accept=(404,))
        finally:
            await self._session.close()

    async def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        token: str | None = None,
        password_of: tuple[str, str] | None = None,
        accept: tuple[int, ...] = (),
    ) -> Any:
        """Make one call; anything but 2xx or an accepted status ends the test."""
        headers = {"Authorization": f"token {token or self._site.owner}"}
        if password_of:
            headers["Authorization"] = aiohttp.encode_basic_auth(*password_of)
        async with self._session.request(
            method,
            f"{self._site.url}/api/v1{path}",
            json=body,
            headers=headers,
            allow_redirects=False,
        ) as response:
            text = await response.text()
            if response.status in accept:
                return None
            assert 200 <= response.status < 300, f"{method} {path}: {response.status} {text}"
            return await response.json() if text else None

    # repositories

    async def repository(
        self, files: Files | None = None, *, protected: bool = True, organisation: str = ""
    ) -> Repository:
        """Make a scratch repository that both bots may write to and that has these files."""
        place = f"/orgs/{organisation}/repos" if organisation else "/user/repos"
        made = await self.call(
            "POST",
            place,
            {"name": scratch_name(), "private": True, "auto_init": True, "default_branch": MAIN},
        )
        self._repositories.append(made["id"])
        repo = Repository(made["id"], made["full_name"], MAIN, private=True)
        for bot in (self.daily, self.change):
            await self.admit(repo, bot)
        if files:
            await self.commit(repo, files)
        if protected:
            await self.protect(repo)
        return repo

    async def organisation(self) -> str:
        name = scratch_name()
        await self.call("POST", "/orgs", {"username": name})
        self._organisations.append(name)
        return name

    async def many_repositories(self, organisation: str, count: int) -> set[int]:
        """Make public, empty repositories of an organisation."""
        made = await _gather(
            self.call("POST", f"/orgs/{organisation}/repos", {"name": scratch_name()})
            for _ in range(count)
        )
        ids = [repo["id"] for repo in made]
        self._repositories += ids
        return set(ids)

    async def admit(self, repo: Repository, login: str, permission: str = "write") -> None:
        await self.call("PUT", f"{at(repo)}/collaborators/{login}", {"permission": permission})

    async def protect(
        self,
        repo: Repository,
        branch: str = MAIN,
        *,
        push: Sequence[str] = (),
        merge: Sequence[str] | None = (),
    ) -> None:
        """Let the owner and `push` push, the owner and `merge` merge; None: whoever may write."""
        await self.call(
            "POST",
            f"{at(repo)}/branch_protections",
            {
                "rule_name": branch,
                "enable_push": True,
                "enable_push_whitelist": True,
                "push_whitelist_usernames": [self.owner, *push],
                "enable_merge_whitelist": merge is not None,
                "merge_whitelist_usernames": [] if merge is None else [self.owner, *merge],
            },
        )

    async def unprotect(self, repo: Repository, branch: str = MAIN) -> None:
        await self.call("DELETE", f"{at(repo)}/branch_protections/{branch}")

    async def rename(self, repo: Repository, name: str) -> Repository:
        """Give a repository another name; return it under that name."""
        response = await self.call("PATCH", at(repo), {"name": name})
        return Repository(repo.id, response["full_name"])

    async def reuse_name(self, repo: Repository) -> Repository:
        """Make another repository under the name that this one had."""
        short = repo.name.partition("/")[2]
        body = {"name": short, "private": True, "auto_init": True, "default_branch": MAIN}
        made = await self.call("POST", "/user/repos", body)
        self._repositories.append(made["id"])
        other = Repository(made["id"], made["full_name"])
        for bot in (self.daily, self.change):
            await self.admit(other, bot)
        return other

    async def archive(self, repo: Repository) -> None:
        await self.call("PATCH", at(repo), {"archived": True})

    async def delete(self, repo: Repository) -> None:
        await self.call("DELETE", at(repo))

    # code

    async def commit(
        self, repo: Repository, files: Files, branch: str = MAIN, *, new_branch: str = ""
    ) -> str:
        """Commit on a branch, or on a new one made of it; None deletes. Return the commit."""
        operations = [await self._operation(repo, branch, path, files[path]) for path in files]
        body: Json = {"branch": branch, "message": "by a person", "files": operations}
        if new_branch:
            body["new_branch"] = new_branch
        response = await self.call("POST", f"{at(repo)}/contents", body)
        return str(response["commit"]["sha"])

    async def patch(self, repo: Repository, diff: str, branch: str = MAIN) -> None:
        body = {"branch": branch, "message": "by a patch", "content": diff}
        body["sha"] = await self.tip(repo, branch)  # Forgejo asks for one; it does not look at it
        await self.call("POST", f"{at(repo)}/diffpatch", body)

    async def tip(self, repo: Repository, branch: str = MAIN) -> str:
        response = await self.call("GET", f"{at(repo)}/branches/{quote(branch, safe='')}")
        return str(response["commit"]["id"])

    async def blob_id(self, repo: Repository, path: str, branch: str = MAIN) -> str:
        response = await self.call("GET", f"{at(repo)}/contents/{quote(path)}?ref={quote(branch)}")
        return str(response["sha"])

    async def branch(self, repo: Repository, name: str, commit: str) -> None:
        body = {"new_branch_name": name, "old_ref_name": commit}
        await self.call("POST", f"{at(repo)}/branches", body)

    async def delete_branch(self, repo: Repository, name: str) -> None:
        await self.call("DELETE", f"{at(repo)}/branches/{quote(name, safe='')}")

    async def rewrite_main(self, repo: Repository, commit: str) -> None:
        """Let the protected default branch begin anew at a commit, as a forced push would."""
        aside = f"aside-{secrets.token_hex(4)}"
        await self.branch(repo, aside, commit)
        await self.call("PATCH", at(repo), {"default_branch": aside})
        await self.unprotect(repo)
        await self.delete_branch(repo, MAIN)
        await self.branch(repo, MAIN, commit)
        await self.call("PATCH", at(repo), {"default_branch": MAIN})
        await self.protect(repo)

    async def pull(
        self, repo: Repository, head: str, title: str, body: str = "", *, token: str | None = None
    ) -> int:
        response = await self.call(
            "POST",
            f"{at(repo)}/pulls",
            {"head": head, "base": MAIN, "title": title, "body": body},
            token=token,
        )
        return int(response["number"])

    async def edit_pull(self, repo: Repository, number: int, **fields: str) -> None:
        await self.call("PATCH", f"{at(repo)}/pulls/{number}", fields)

    async def merge(self, repo: Repository, number: int) -> None:
        """Merge, as soon as the forge has found out that it can."""
        for _ in range(60):
            path = f"{at(repo)}/pulls/{number}"
            if (await self.call("GET", path))["mergeable"]:
                break
            await asyncio.sleep(0.25)
        await self.call("POST", f"{at(repo)}/pulls/{number}/merge", {"Do": "merge"}, accept=(405,))
        assert (await self.call("GET", f"{at(repo)}/pulls/{number}"))["merged"]

    # issues

    async def issue(self, repo: Repository, title: str = "an issue", body: str = "") -> int:
        response = await self.call("POST", f"{at(repo)}/issues", {"title": title, "body": body})
        return int(response["number"])

    async def many_issues(self, repo: Repository, count: int) -> set[int]:
        made = await _gather(self.issue(repo, f"issue {n}") for n in range(count))
        return set(made)

    async def edit_issue(self, repo: Repository, number: int, **fields: Any) -> None:
        await self.call("PATCH", f"{at(repo)}/issues/{number}", fields)

    async def delete_issue(self, repo: Repository, number: int) -> None:
        await self.call("DELETE", f"{at(repo)}/issues/{number}")

    async def lock(self, repo: Repository, number: int) -> bool:
        """Lock a conversation; False where this forge has no such call."""
        path = f"{at(repo)}/issues/{number}/lock"
        await self.call("PUT", path, {"lock_reason": ""}, accept=(404, 405))
        return bool((await self.call("GET", f"{at(repo)}/issues/{number}"))["is_locked"])

    async def comment(
        self, repo: Repository, number: int, body: str, *, token: str | None = None
    ) -> int:
        path = f"{at(repo)}/issues/{number}/comments"
        return int((await self.call("POST", path, {"body": body}, token=token))["id"])

    async def edit_comment(self, repo: Repository, comment: int, body: str) -> None:
        await self.call("PATCH", f"{at(repo)}/issues/comments/{comment}", {"body": body})

    async def delete_comment(self, repo: Repository, comment: int) -> None:
        await self.call("DELETE", f"{at(repo)}/issues/comments/{comment}")

    async def label(
        self, repo: Repository, number: int, name: str, *, exclusive: bool = False
    ) -> None:
        """Make a label and put it on an issue."""
        body = {"name": name, "color": "#123456", "exclusive": exclusive}
        made = await self.call("POST", f"{at(repo)}/labels", body)
        path = f"{at(repo)}/issues/{number}/labels"
        await self.call("POST", path, {"labels": [made["id"]]})

    async def label_names(self, repo: Repository) -> list[str]:
        response = await self.call("GET", f"{at(repo)}/labels?page=1&limit=50")
        return sorted(label["name"] for label in response)

    # accounts

    async def newcomer(self) -> tuple[str, str]:
        """Make a person; return login and password."""
        login, password = scratch_name(), secrets.token_urlsafe(24)
        self._users.append(login)
        body = {"username": login, "email": f"{login}@example.test", "password": password}
        await self.call("POST", "/admin/users", {**body, "must_change_password": False})
        return login, password

    async def delete_person(self, login: str) -> None:
        await self.call("DELETE", f"/admin/users/{login}")

    async def make_administrator(self, login: str, admin: bool) -> None:
        body = {"source_id": 0, "login_name": login, "admin": admin}
        await self.call("PATCH", f"/admin/users/{login}", body)

    async def next_second(self) -> None:
        """Wait until what is written now carries a later second than what was written before."""
        await asyncio.sleep(1.05)

    # inside

    async def _operation(
        self, repo: Repository, branch: str, path: str, content: str | bytes | None
    ) -> Json:
        response = await self.call(
            "GET", f"{at(repo)}/contents/{quote(path)}?ref={quote(branch)}", accept=(404,)
        )
        operation = "create" if response is None else "delete" if content is None else "update"
        file: Json = {"operation": operation, "path": path}
        if response is not None:
            file["sha"] = response["sha"]
        if content is not None:
            raw = content.encode() if isinstance(content, str) else content
            file["content"] = base64.b64encode(raw).decode()
        return file

    async def _remove(self, repository_id: int) -> None:
        response = await self.call("GET", f"/repositories/{repository_id}", accept=(404,))
        if response is not None:
            await self.call("DELETE", f"/repos/{response['full_name']}")


def at(repo: Repository) -> str:
    return f"/repos/{repo.name}"


def scratch_name() -> str:
    return f"allegro-contract-{secrets.token_hex(6)}"


async def _gather(calls: Any) -> list[Any]:
    """Make calls a few at a time."""
    gate = asyncio.Semaphore(6)

    async def one(call: Any) -> Any:
        async with gate:
            return await call

    return list(await asyncio.gather(*(one(call) for call in calls)))
