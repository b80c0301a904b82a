"""What persons do on the forge in the play: by the owner's own token, over the official API."""

from __future__ import annotations

from typing import Any

import aiohttp

from allegro.core.base.errors import UserError


class People:
    """The owner of a scratch repository, on a simulated or a real forge alike."""

    def __init__(self, url: str, token: str) -> None:
        self._base = url.rstrip("/") + "/api/v1"
        self._session = aiohttp.ClientSession(headers={"Authorization": f"token {token}"})
        self.login = ""

    async def aclose(self) -> None:
        await self._session.close()

    async def call(self, method: str, path: str, body: Any = None, token: str | None = None) -> Any:
        """Send one request. Raises UserError for every answer but 2xx."""
        headers = {"Authorization": f"token {token}"} if token else None
        async with self._session.request(
            method, self._base + path, json=body, headers=headers
        ) as response:
            if response.status >= 300:
                answer = (await response.text())[:300]
                raise UserError(f"the forge refused {method} {path}: {response.status} {answer}")
            return await response.json() if response.status != 204 else None

    async def login_of(self, token: str | None = None) -> str:
        return str((await self.call("GET", "/user", token=token))["login"])

    async def make_repository(self, name: str, bots: tuple[str, str]) -> str:
        """Make a private repository that our bots may write to, but not its default branch."""
        self.login = await self.login_of()
        body = {"name": name, "private": True, "auto_init": True, "default_branch": "main"}
        await self.call("POST", "/user/repos", body)
        full = f"{self.login}/{name}"
        for bot in bots:
            await self.call("PUT", f"/repos/{full}/collaborators/{bot}", {"permission": "write"})
        await self.call(
            "POST",
            f"/repos/{full}/branch_protections",
            {
                "rule_name": "main",
                "branch_name": "main",
                "enable_push": False,
                "enable_merge_whitelist": True,
                "merge_whitelist_usernames": [self.login],
            },
        )
        return full

    async def remove_repository(self, full: str) -> None:
        await self.call("DELETE", f"/repos/{full}")

    async def open_issue(self, full: str, title: str, body: str) -> int:
        made = await self.call("POST", f"/repos/{full}/issues", {"title": title, "body": body})
        return int(made["number"])

    async def comment(self, full: str, number: int, body: str) -> None:
        await self.call("POST", f"/repos/{full}/issues/{number}/comments", {"body": body})

    async def pull(self, full: str, number: int) -> dict[str, Any]:
        return dict(await self.call("GET", f"/repos/{full}/pulls/{number}"))

    async def pulls(self, full: str) -> list[dict[str, Any]]:
        return list(await self.call("GET", f"/repos/{full}/pulls?state=all&limit=50"))

    async def file(self, full: str, path: str, ref: str) -> str:
        async with self._session.get(
            f"{self._base}/repos/{full}/raw/{path}", params={"ref": ref}
        ) as response:
            return await response.text()
