"""A small forge with a hand-moved clock, and clients that speak plain HTTP to it."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import aiohttp
from multidict import CIMultiDict

from allegro.testing.gitea import GiteaSimulator, World

from .oracle import Oracle

API = "/api/v1"
WEB = "/repos/acme/web"


class Clock:
    """Wall time that stands still until a test moves it; begins inside a second."""

    def __init__(self) -> None:
        self.now_s = 1_790_000_000.4

    def __call__(self) -> float:
        return self.now_s

    def move(self, seconds: float) -> None:
        self.now_s += seconds


@dataclass(frozen=True)
class Answer:
    status: int
    json: Any
    text: str
    headers: CIMultiDict[str]


class Client:
    """Calls with one user's token; redirects are not followed."""

    def __init__(self, session: aiohttp.ClientSession, base: str, headers: dict[str, str]) -> None:
        self.session, self.base, self.headers = session, base, headers

    async def call(
        self, method: str, path: str, body: Any = None, query: dict[str, str] | None = None
    ) -> Answer:
        async with self.session.request(
            method,
            f"{self.base}{API}{path}",
            json=body,
            params=query,
            headers=self.headers,
            allow_redirects=False,
        ) as response:
            text = (await response.read()).decode()
            is_json = response.content_type == "application/json" and text
            value = await response.json() if is_json else None
            return Answer(response.status, value, text, response.headers.copy())

    async def get(self, path: str, /, **query: str) -> Answer:
        return await self.call("GET", path, query=query)

    async def post(self, path: str, body: Any = None) -> Answer:
        return await self.call("POST", path, body)

    async def patch(self, path: str, body: Any) -> Answer:
        return await self.call("PATCH", path, body)

    async def put(self, path: str, body: Any) -> Answer:
        return await self.call("PUT", path, body)

    async def delete(self, path: str, body: Any = None) -> Answer:
        return await self.call("DELETE", path, body)


class Forge:
    """A running simulator: org `acme` of `timmy` with private `web`; `bot` may write there."""

    def __init__(self, simulator: GiteaSimulator, clock: Clock, oracle: Oracle) -> None:
        self.simulator, self.clock, self.oracle = simulator, clock, oracle
        self.world: World = simulator.world
        self.faults = simulator.faults
        self._session: aiohttp.ClientSession | None = None
        populate(self.world)

    async def start(self) -> None:
        await self.simulator.start()
        self._session = aiohttp.ClientSession()

    async def stop(self) -> None:
        if self._session is not None:
            await self._session.close()
        await self.simulator.stop()

    def client(self, login: str = "bot", *scopes: str, **headers: str) -> Client:
        """A client with a fresh token of all scopes, or those given; nobody when login is empty."""
        assert self._session is not None
        if login:
            token = self.world.token(login, scopes or ("all",))
            headers = {"Authorization": f"token {token}", **headers}
        return Client(self._session, self.simulator.url, headers)


def populate(world: World) -> None:
    for login in ("timmy", "alice", "stranger"):
        world.add_user(login)
    world.add_user("bot", bot=True)
    world.add_org("acme")
    world.add_member("acme", "timmy", "owner")
    web = world.add_repo("acme", "web", True, {"README.md": "hello\n", "src/app.py": "x = 1\n"})
    world.add_collaborator(web, "bot", "write")
    world.add_collaborator(web, "alice", "read")


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def utc(at_s: float) -> str:
    return datetime.fromtimestamp(int(at_s), UTC).isoformat().replace("+00:00", "Z")
